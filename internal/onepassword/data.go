package onepassword

import (
	"encoding/base64"

	"kura/internal/cred"
)

// dataLabel is the label of the field of an item that holds bytes rather than an
// access key. It is no user's item, so nobody calls it otherwise.
const dataLabel = "content"

// Data returns the bytes of an item that was made of some. The error is a
// *FieldError.
func (it *Item) Data() ([]byte, error) {
	f, n := it.dataField()
	switch {
	case n == 0:
		return nil, it.problem(dataLabel, Absent)
	case n > 1:
		return nil, it.problem(dataLabel, Duplicate)
	}
	data, err := base64.StdEncoding.DecodeString(f.value)
	if err != nil {
		return nil, it.problem(dataLabel, Malformed)
	}
	return data, nil
}

// SetData puts bytes into an item that is being edited. The error is a
// *FieldError.
func (it *Item) SetData(data []byte) error {
	value := cred.NewSecret(base64.StdEncoding.EncodeToString(data))
	switch f, n := it.dataField(); n {
	case 0:
		return it.add("CONCEALED", dataLabel, value, nil)
	case 1:
		return it.set(f, value)
	}
	return it.problem(dataLabel, Duplicate)
}

func (it *Item) dataField() (*Field, int) {
	return it.find(dataLabel, func(string) bool { return false })
}
