package onepassword

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"kura/internal/cred"
)

// An Item is an item of 1Password. It keeps the JSON that op printed, numbers
// and members that are not known here included, since an edit replaces all of
// an item by what it is given.
type Item struct {
	ID       string
	Title    string
	Category string // such as "API_CREDENTIAL"
	Version  int    // grows with each change
	Vault    Vault
	Tags     []string
	Fields   []Field
	Files    int // how many are attached

	names   Names
	account string    // see Ref
	read    time.Time // when op had printed it
	members map[string]json.RawMessage
	changed bool
}

// A Field is a line of an item.
type Field struct {
	ID    string // "" for one that is being added
	Type  string // such as "STRING", "CONCEALED" or "OTP"
	Label string

	value   string
	code    string // of an OTP field, when the item was read
	changed bool
	section json.RawMessage
	raw     json.RawMessage
}

// Format implements fmt.Formatter: values are secret.
func (it Item) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "item %q", it.Title) }

// Format implements fmt.Formatter: the value is secret.
func (f Field) Format(s fmt.State, _ rune) { io.WriteString(s, f.name()) }

// name is how messages call a field.
func (f Field) name() string {
	if f.Label != "" {
		return f.Label
	}
	return f.ID
}

// IsEmpty reports whether a field has no value.
func (f Field) IsEmpty() bool { return f.value == "" }

// Value returns the value of a field: of an OTP field, the seed.
func (f Field) Value() cred.Secret { return cred.NewSecret(f.value) }

// decode reads an item as op prints it.
func (c *Client) decode(data []byte) (*Item, error) {
	var head struct {
		ID       string            `json:"id"`
		Title    string            `json:"title"`
		Category string            `json:"category"`
		Version  int               `json:"version"`
		Vault    Vault             `json:"vault"`
		Tags     []string          `json:"tags"`
		Files    []json.RawMessage `json:"files"`
	}
	var fields []json.RawMessage
	it := &Item{names: c.o.Names, read: c.o.Now()}
	// Errors of package json quote what they do not understand.
	if json.Unmarshal(data, &it.members) != nil || json.Unmarshal(data, &head) != nil {
		return nil, errNotJSON
	}
	// Not by way of head, as that would take "Fields" for "fields".
	if raw, ok := it.members["fields"]; ok && json.Unmarshal(raw, &fields) != nil {
		return nil, errNotJSON
	}
	if head.ID == "" || head.Vault.ID == "" {
		return nil, errors.New("an item without an ID")
	}
	it.ID, it.Title, it.Category, it.Version = head.ID, head.Title, head.Category, head.Version
	it.Vault, it.Tags, it.Files = head.Vault, head.Tags, len(head.Files)
	for _, raw := range fields {
		var f struct {
			ID      string          `json:"id"`
			Type    string          `json:"type"`
			Label   string          `json:"label"`
			Value   string          `json:"value"`
			Code    string          `json:"totp"`
			Section json.RawMessage `json:"section"`
		}
		if json.Unmarshal(raw, &f) != nil {
			return nil, errNotJSON
		}
		if f.Type == "FILE" {
			it.Files++
		}
		it.Fields = append(it.Fields, Field{f.ID, f.Type, f.Label, f.Value, f.Code, false, f.Section, raw})
	}
	return it, nil
}

// encode returns the JSON of an item for op: what it was read from, but for the
// fields that were set or added.
func (it *Item) encode() ([]byte, error) {
	fields := make([]json.RawMessage, len(it.Fields))
	for i, f := range it.Fields {
		fields[i] = f.raw
	}
	members := maps.Clone(it.members)
	if len(fields) > 0 {
		var err error
		if members["fields"], err = json.Marshal(fields); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}

// set gives a field of the item another value.
func (it *Item) set(f *Field, value cred.Secret) error {
	text := value.Reveal()
	if f.value == text {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(f.raw, &members) != nil {
		return errNotJSON
	}
	delete(members, "value") // as op shows an empty field
	var err error
	if text != "" {
		if members["value"], err = json.Marshal(text); err != nil {
			return err
		}
	}
	if f.raw, err = json.Marshal(members); err != nil {
		return err
	}
	f.value, f.changed, it.changed = text, true, true
	return nil
}

// add adds a field, in the section of another one unless that is nil.
func (it *Item) add(kind, label string, value cred.Secret, beside *Field) error {
	f := Field{Type: kind, Label: label, value: value.Reveal(), changed: true}
	if beside != nil {
		f.section = beside.section
	}
	var err error
	f.raw, err = json.Marshal(struct {
		Section json.RawMessage `json:"section,omitempty"`
		Type    string          `json:"type"`
		Label   string          `json:"label"`
		Value   string          `json:"value"`
	}{f.section, f.Type, f.Label, f.value})
	if err != nil {
		return err
	}
	it.Fields, it.changed = append(it.Fields, f), true
	return nil
}

// find returns the field that is called label, and how many are: without regard
// to case, blanks, hyphens and underscores, as labels differ from guide to guide.
// Of several it is the one that has a value and the very label. Where there is
// none it is one that is called by another name and has a value of the right
// form.
func (it *Item) find(label string, form func(string) bool, others ...string) (best *Field, n int) {
	better := func(f *Field) bool {
		switch {
		case best == nil:
			return true
		case f.IsEmpty() != best.IsEmpty():
			return best.IsEmpty()
		}
		return f.Label == label && best.Label != label
	}
	for i := range it.Fields {
		if f := &it.Fields[i]; f.isCalled(label) {
			n++
			if better(f) {
				best = f
			}
		}
	}
	if best != nil {
		return best, n
	}
	for i := range it.Fields {
		f := &it.Fields[i]
		if form(f.value) && slices.ContainsFunc(others, f.isCalled) && better(f) {
			best = f
		}
	}
	return best, 0
}

func (f *Field) isCalled(name string) bool {
	return normal(f.Label) == normal(name) || f.ID == name
}

func normal(label string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' || r == '_' {
			return -1
		}
		return r
	}, label))
}
