package onepassword

import (
	"encoding/json"
	"time"

	"kura/internal/cred"
)

// ReadItem reads an item, sets the field of that number, if there is one, and
// returns what would be written.
func ReadItem(data []byte, field int, value string) ([]byte, error) {
	it, err := New(Options{}).decode(data)
	if err != nil {
		return nil, err
	}
	if field >= 0 && field < len(it.Fields) {
		if err := it.set(&it.Fields[field], cred.NewSecret(value)); err != nil {
			return nil, err
		}
	}
	return it.encode()
}

// Decode returns the item that a JSON says.
func Decode(v any) (*Item, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return New(Options{}).decode(data)
}

// CodeOf returns the one-time password of a seed.
func CodeOf(value string, at time.Time) (string, error) {
	s, err := parseSeed(value)
	if err != nil {
		return "", err
	}
	return s.code(at), nil
}

// Options returns the options of a Client.
func (c *Client) Options() *Options { return &c.o }

// Compare finds what an edit has lost.
var Compare = compare

// RedactedLine and KindOfLine are what becomes of a line of op's.
var (
	RedactedLine = redact
	KindOfLine   = kindOf
)
