// Package awsvault reads the access keys that aws-vault left in its store, for
// the command import: the original by 99designs (7.x) and the fork by ByteNess
// wrote them in the same form. It changes nothing there. It knows what
// aws-vault's items look like and, but for its directory of encrypted files,
// nothing of the services that keep them: those are reached through Entries.
//
// Not read are the items of ByteNess's Windows Hello backend, which open only
// by a key that never leaves the security chip, and those in Proton Pass.
package awsvault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"kura/internal/cred"
	"kura/internal/store"
)

// Entries are what aws-vault keeps in one place, as it is there. Errors wrap
// those of package store.
type Entries interface {
	// List returns the names of the entries. A place that was never used has
	// none.
	List(ctx context.Context) ([]string, error)

	// Get returns the bytes of an entry.
	Get(ctx context.Context, name string) ([]byte, error)
}

// A Layout says what the bytes of an entry are. It follows from the backend.
type Layout int

const (
	// Raw entries are the JSON of the AWS SDK's credentials: in the macOS
	// keychain, the Windows Credential Manager and the kernel keyring.
	Raw Layout = iota

	// Enveloped entries are a JSON object of the keyring library with that JSON
	// in its Data: in Secret Service, KWallet, pass, passage, 1Password and the
	// encrypted files.
	Enveloped
)

// A Vault is a store of aws-vault. It is used by one goroutine.
type Vault struct {
	entries Entries
	layout  Layout

	// unlock asks for what it takes to read some entries; nil if Get does.
	unlock func(ctx context.Context, names []string) error
}

// Open returns the store that has some entries. It looks at nothing yet.
func Open(entries Entries, layout Layout) *Vault {
	return &Vault{entries: entries, layout: layout}
}

// OpenFile returns the store in a directory of encrypted files, which of
// aws-vault is ~/.awsvault/keys. It does not look at it yet.
//
// The passphrase is asked once for all files, attempt being 1, and again, up to
// 3, while none of those to be read opens; the same wrong answer twice ends it
// early. An error of passphrase ends it too. If it is nil there is nobody to
// ask.
func OpenFile(dir string, passphrase func(ctx context.Context, attempt int) (string, error)) *Vault {
	f := &files{dir: dir, ask: passphrase}
	return &Vault{entries: f, layout: Enveloped, unlock: f.unlock}
}

// An Item is an access key of aws-vault, or why there is none.
type Item struct {
	Name string // of the profile

	// Key is temporary, and not to be kept, if it is not LongTerm.
	Key cred.Credentials

	// Err says what is wrong with this one item, without its name. It wraps
	// ErrForeign, ErrWrongPassphrase, store.ErrDamaged, store.ErrDenied or
	// store.ErrNotFound. Key is zero then.
	Err error
}

// Contents are what a store of aws-vault has.
type Contents struct {
	Items   []Item // in the order of Entries.List
	Skipped int    // how many sessions and Identity Center tokens there are besides
}

var (
	// ErrForeign says that an entry is not an access key that aws-vault stored,
	// such as another password of the user in the same place.
	ErrForeign = errors.New("not an access key of aws-vault")

	// ErrWrongPassphrase says that an encrypted file does not open with the
	// passphrase. For an Item, that is the one which opens others: aws-vault
	// takes a new passphrase at each write and never compares them, and damage
	// to that part of the file looks the same. For a whole store the error wraps
	// store.ErrLocked too.
	ErrWrongPassphrase = errors.New("wrong passphrase")
)

// Items returns the access keys of the store. Sessions and tokens are counted
// and left alone. Where want is not nil, so are the entries whose names it does
// not want: a password store that pass or passage keep without a prefix is full
// of the user's other secrets, of which want should let nothing through but the
// names of profiles.
//
// What is wrong with one item is said there, and the others go on. An error, to
// which Contents holds what was read before it, is one that ends everything: it
// wraps store.ErrLocked or store.ErrUnavailable, is the cause of ctx, or comes
// from asking the user.
func (v *Vault) Items(ctx context.Context, want func(name string) bool) (Contents, error) {
	var c Contents
	all, err := v.entries.List(ctx)
	if err != nil {
		return c, err
	}
	var names []string
	for _, name := range all {
		switch {
		case isSession(name) || isToken(name):
			c.Skipped++
		case want == nil || want(name):
			names = append(names, name)
		}
	}
	if v.unlock != nil {
		if err := v.unlock(ctx, names); err != nil {
			return c, err
		}
	}
	for _, name := range names {
		key, err := v.get(ctx, name)
		if ctx.Err() != nil {
			return c, context.Cause(ctx)
		}
		if err != nil && !ofOneItem(err) {
			return c, fmt.Errorf("%q: %w", name, err)
		}
		c.Items = append(c.Items, Item{name, key, err})
	}
	return c, nil
}

// ofOneItem reports whether an error leaves hope for other items.
func ofOneItem(err error) bool {
	if errors.Is(err, store.ErrLocked) || errors.Is(err, store.ErrUnavailable) {
		return false
	}
	for _, of := range []error{ErrForeign, ErrWrongPassphrase, store.ErrDamaged, store.ErrDenied, store.ErrNotFound} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

func (v *Vault) get(ctx context.Context, name string) (cred.Credentials, error) {
	data, err := v.entries.Get(ctx, name)
	if err != nil {
		return cred.Credentials{}, err
	}
	defer clear(data)
	if v.layout == Raw {
		return decodeCredentials(data)
	}
	inner, err := decodeEnvelope(data)
	if err != nil {
		return cred.Credentials{}, err
	}
	defer clear(inner)
	return decodeCredentials(inner)
}

// decodeEnvelope returns the Data of an item of the keyring library. That its
// Key is another name than that of the entry is no fault: aws-vault does not
// look at it, and an entry of pass may have been moved.
func decodeEnvelope(data []byte) ([]byte, error) {
	var item struct {
		Key  *string
		Data *string // in base64
	}
	if err := decodeJSON(data, &item); err != nil {
		return nil, err
	}
	if item.Key == nil || item.Data == nil {
		return nil, fmt.Errorf("%w: it has no envelope", ErrForeign)
	}
	inner, err := base64.StdEncoding.Strict().DecodeString(*item.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: its data is not base64", store.ErrDamaged)
	}
	return inner, nil
}

// decodeCredentials reads aws.Credentials of the AWS SDK for Go v2, as
// encoding/json writes them.
func decodeCredentials(data []byte) (cred.Credentials, error) {
	var c struct {
		AccessKeyID, SecretAccessKey, SessionToken, AccountID string
		Expires                                               time.Time
	}
	if err := decodeJSON(data, &c); err != nil {
		return cred.Credentials{}, err
	}
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return cred.Credentials{}, fmt.Errorf("%w: it has no access key ID or no secret access key", ErrForeign)
	}
	for _, text := range []string{c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.AccountID} {
		if strings.ContainsAny(text, "\r\n") {
			return cred.Credentials{}, fmt.Errorf("%w: there is a line break in it", ErrForeign)
		}
	}
	return cred.Credentials{
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: cred.NewSecret(c.SecretAccessKey),
		SessionToken:    cred.NewSecret(c.SessionToken),
		AccountID:       c.AccountID,
		Expires:         c.Expires,
	}, nil
}

// decodeJSON decodes an object. Its errors don't wrap those of encoding/json,
// which quote their input.
func decodeJSON(data []byte, v any) error {
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("{")) {
		return fmt.Errorf("%w: it is not a JSON object", ErrForeign)
	}
	err := json.Unmarshal(data, v)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%w: its JSON is malformed", store.ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("%w: its JSON is another one", ErrForeign)
	}
	return nil
}
