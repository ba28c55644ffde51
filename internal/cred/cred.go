// Package cred defines the credentials that the rest of the program passes
// around. It depends on nothing else in the program.
package cred

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Secret is text that must not be shown. Every fmt verb prints it as
// "[secret]", and encoding it is an error: only Reveal returns the text, so
// that grepping for Reveal finds every place where a secret leaves the program.
type Secret struct{ text string }

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the secret text.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.text == "" }

// Format implements fmt.Formatter for all verbs, %d and %#v included.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[secret]") }

// MarshalText refuses to encode a secret by accident.
func (Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("cred: refusing to encode a secret; call Reveal")
}

// Credentials are what AWS requests are signed with. Those with a zero
// SessionToken are a long-term access key; all others are session credentials.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret
	Expires         time.Time // zero for a long-term access key
	AccountID       string    // 12 digits; empty when not known
}

// LongTerm reports whether c is an access key rather than session credentials.
func (c Credentials) LongTerm() bool { return c.SessionToken.IsZero() }

// wire is the encoding of Credentials in a store. Changing it needs a
// migration: see docs/store-format.md.
type wire struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    `json:",omitempty"`
	Expires         time.Time `json:",omitzero"`
	AccountID       string    `json:",omitempty"`
}

// Encode returns c in the form kept in stores.
func Encode(c Credentials) ([]byte, error) {
	return json.Marshal(wire{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), c.Expires, c.AccountID})
}

// Decode is the inverse of Encode.
func Decode(data []byte) (Credentials, error) {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		// The JSON error can quote the input, so it is not wrapped.
		return Credentials{}, errors.New("malformed credentials")
	}
	if w.AccessKeyID == "" || w.SecretAccessKey == "" {
		return Credentials{}, errors.New("incomplete credentials")
	}
	return Credentials{w.AccessKeyID, Secret{w.SecretAccessKey}, Secret{w.SessionToken}, w.Expires, w.AccountID}, nil
}

// CheckAccessKey returns an error if s can't be a secret access key: such keys
// are 40 characters of base64 today, and AWS promises no more than that they
// are text. The error says nothing of s.
func (s Secret) CheckAccessKey() error {
	if len(s.text) < 16 || !isBase64(s.text) {
		return errors.New("that is not a secret access key, which is 40 letters, digits, slashes and plus signs")
	}
	return nil
}

func isBase64(text string) bool {
	for _, r := range text {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '/', r == '+', r == '=':
		default:
			return false
		}
	}
	return true
}
