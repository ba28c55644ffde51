package onepassword

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"kura/internal/cred"
)

// A Session is what the field session_cache of an item holds: session
// credentials that several programs, and several machines, share by way of
// 1Password. The field's value is the base64 of the JSON that "aws sts
// get-session-token" prints, so that a shell script can read and write it as
// well; what that does not tell stands beside "Credentials", where a script
// passes over it.
type Session struct {
	Credentials cred.Credentials
	KeyID       string // of the access key they were made with; "" if a script wrote them
	MFASerial   string // of the device whose code was used; "" likewise, or if there was none, which KeyID tells apart

	// Lasts is how long the session was to last when it was made, in seconds;
	// 0 if a script wrote it.
	Lasts time.Duration
}

type sessionJSON struct {
	Credentials struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	KeyID     string `json:"SourceAccessKeyId,omitempty"`
	MFASerial string `json:"SerialNumber,omitempty"`
	Lasts     int64  `json:"DurationSeconds,omitempty"`
	AccountID string `json:"AccountId,omitempty"`
}

var errSession = errors.New("not a session")

// DecodeSession reads the value of a session cache. White space in it does not
// count, as base64 of GNU's wraps lines. The error does not quote it.
func DecodeSession(value cred.Secret) (Session, error) {
	text := strings.Join(strings.Fields(value.Reveal()), "")
	data, err := base64.StdEncoding.DecodeString(text)
	defer clear(data)
	var j sessionJSON
	if err != nil || json.Unmarshal(data, &j) != nil {
		return Session{}, errSession
	}
	// RFC 3339, with which fractions of a second are read as well.
	expires, err := time.Parse(time.RFC3339, j.Credentials.Expiration)
	if err != nil || j.Credentials.SecretAccessKey == "" || j.Credentials.SessionToken == "" ||
		!strings.HasPrefix(j.Credentials.AccessKeyID, "ASIA") {
		return Session{}, errSession
	}
	return Session{
		Credentials: cred.Credentials{
			AccessKeyID:     j.Credentials.AccessKeyID,
			SecretAccessKey: cred.NewSecret(j.Credentials.SecretAccessKey),
			SessionToken:    cred.NewSecret(j.Credentials.SessionToken),
			Expires:         expires.UTC(),
			AccountID:       j.AccountID,
		},
		KeyID:     j.KeyID,
		MFASerial: j.MFASerial,
		Lasts:     time.Duration(j.Lasts) * time.Second,
	}, nil
}

// Encode is the inverse of DecodeSession. The value is one line.
func (s Session) Encode() (cred.Secret, error) {
	c := s.Credentials
	if c.LongTerm() || c.Expires.IsZero() {
		return cred.Secret{}, errSession
	}
	j := sessionJSON{KeyID: s.KeyID, MFASerial: s.MFASerial, Lasts: int64(s.Lasts / time.Second), AccountID: c.AccountID}
	j.Credentials.AccessKeyID = c.AccessKeyID
	j.Credentials.SecretAccessKey = c.SecretAccessKey.Reveal()
	j.Credentials.SessionToken = c.SessionToken.Reveal()
	// The AWS CLI prints +00:00 where Go has Z; scripts compare texts.
	j.Credentials.Expiration = c.Expires.UTC().Format("2006-01-02T15:04:05+00:00")
	data, err := json.Marshal(j)
	if err != nil {
		return cred.Secret{}, err
	}
	defer clear(data)
	return cred.NewSecret(base64.StdEncoding.EncodeToString(data)), nil
}

// An Order tells another process to call WriteSession.
type Order struct {
	Item    Ref
	Session Session
}

type orderJSON struct {
	Item    Ref
	Session string
}

// Encode returns an order in the form of DecodeOrder. It is a secret.
func (o Order) Encode() ([]byte, error) {
	value, err := o.Session.Encode()
	if err != nil {
		return nil, err
	}
	return json.Marshal(orderJSON{o.Item, value.Reveal()})
}

// DecodeOrder is the inverse of Encode. The error does not quote the order.
func DecodeOrder(data []byte) (Order, error) {
	var j orderJSON
	if json.Unmarshal(data, &j) != nil {
		return Order{}, errNotJSON
	}
	s, err := DecodeSession(cred.NewSecret(j.Session))
	return Order{j.Item, s}, err
}

// Session returns the session that is in an item's cache and may be used: it is
// valid after a time, and as far as it says was made with the key that is in the
// item now and the device of that serial, to last no shorter than it was to.
// Otherwise the error says why not; that is nothing to tell the user.
func (it *Item) Session(after time.Time, serial string, lasts time.Duration) (Session, error) {
	f, n := it.sessionField()
	switch {
	case n > 1:
		return Session{}, it.problem(it.names.SessionCache, Duplicate)
	case f == nil || f.IsEmpty():
		return Session{}, it.problem(it.names.SessionCache, Absent)
	}
	s, err := DecodeSession(f.Value())
	if err != nil {
		return Session{}, it.problem(f.name(), Malformed)
	}
	key, err := it.Key()
	switch {
	case err != nil:
		return Session{}, err
	case !s.Credentials.Expires.After(after):
		return Session{}, fmt.Errorf("the session in item %q has expired, or is about to", it.Title)
	case s.KeyID != "" && s.KeyID != key.AccessKeyID:
		return Session{}, fmt.Errorf("the session in item %q was made with another access key", it.Title)
	case (s.MFASerial != "" || s.KeyID != "") && s.MFASerial != serial:
		return Session{}, fmt.Errorf("the session in item %q was made with another MFA device", it.Title)
	case s.Lasts > 0 && s.Lasts < lasts:
		return Session{}, fmt.Errorf("the session in item %q was made to last for %v", it.Title, s.Lasts)
	}
	return s, nil
}

// WriteSession puts a session into an item's cache, and makes the field if there
// is none. It leaves the item alone if it has got another access key by now, or
// the session of another program that lasts longer. The whole of it takes
// Options.SessionTimeout at most. Everybody who can read the vault can use the
// session.
func (c *Client) WriteSession(ctx context.Context, ref Ref, s Session) error {
	value, err := s.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.SessionTimeout, errSlow)
	defer cancel()
	_, err = c.Edit(ctx, ref, func(it *Item) error {
		f, n := it.sessionField()
		if n > 1 {
			return it.problem(it.names.SessionCache, Duplicate)
		}
		key, err := it.Key()
		if err != nil {
			return err
		}
		if s.KeyID != "" && s.KeyID != key.AccessKeyID {
			return nil
		}
		if other, err := it.Session(c.o.Now(), s.MFASerial, 0); err == nil && other.Credentials.Expires.After(s.Credentials.Expires) {
			return nil
		}
		if f != nil {
			return it.set(f, value)
		}
		beside, _ := it.secretField()
		return it.add("CONCEALED", it.names.SessionCache, value, beside)
	})
	return err
}

var errSlow = errors.New("writing the session to 1Password took too long")
