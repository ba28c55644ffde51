// Package cred defines the credentials that the rest of the program passes
// around. It depends on nothing else in the program.
package cred

import (
	"errors"
	"fmt"
	"io"
	"strings"
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

// Encode returns c in the form kept in stores and caches: a line for each field
// that is set, its name and value with "=" between them. It is text, so that a
// person can read what a recovered item holds, and simple, because every cached
// command decodes it. Changing it needs a migration: see docs/store-format.md.
func Encode(c Credentials) ([]byte, error) {
	fields := []struct{ name, value string }{
		{"AccessKeyID", c.AccessKeyID},
		{"SecretAccessKey", c.SecretAccessKey.text},
		{"SessionToken", c.SessionToken.text},
		{"Expires", ""},
		{"AccountID", c.AccountID},
	}
	if !c.Expires.IsZero() {
		fields[3].value = c.Expires.UTC().Format(time.RFC3339Nano)
	}
	var data []byte
	for _, f := range fields {
		if strings.ContainsAny(f.value, "\r\n") {
			return nil, fmt.Errorf("credentials with a line break in their %s", f.name)
		}
		if f.value != "" {
			data = append(append(append(append(data, f.name...), '='), f.value...), '\n')
		}
	}
	return data, nil
}

// Decode is the inverse of Encode. Lines that it does not know, which a newer
// version may have written, are passed over.
func Decode(data []byte) (Credentials, error) {
	var c Credentials
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			// The line may be part of a secret, so it is not quoted.
			return Credentials{}, errors.New("malformed credentials")
		}
		switch name {
		case "AccessKeyID":
			c.AccessKeyID = value
		case "SecretAccessKey":
			c.SecretAccessKey = Secret{value}
		case "SessionToken":
			c.SessionToken = Secret{value}
		case "AccountID":
			c.AccountID = value
		case "Expires":
			t, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return Credentials{}, errors.New("malformed credentials")
			}
			c.Expires = t
		}
	}
	if c.AccessKeyID == "" || c.SecretAccessKey.IsZero() {
		return Credentials{}, errors.New("incomplete credentials")
	}
	return c, nil
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
