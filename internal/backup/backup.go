// Package backup writes the access keys of a store into one age file, and reads
// it. It knows nothing of what they mean. The format is described in
// docs/backup-format.md.
//
// age proves that a file is whole and was not changed, and not who made it:
// whoever knows a recipient can encrypt to it. What a backup holds is therefore
// to be shown to the user before it is put into a store.
package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"kura/internal/store"
)

// An Item is an access key in a backup.
type Item struct {
	Name string
	Data []byte
}

// Contents are what a backup holds.
type Contents struct {
	Made  time.Time // in UTC and seconds, as its maker says
	Items []Item    // no two with the same name
}

var (
	// ErrNotBackup says that a file is not a backup: neither it nor what age
	// decrypts it to begins as one does.
	ErrNotBackup = errors.New("it is not a backup of kura")

	// ErrDamaged says that a backup is cut short or corrupt, or that its text
	// was changed by hand and does not keep to the format.
	ErrDamaged = errors.New("the backup is damaged")

	// ErrTooLarge says that a backup is larger than MaxSize.
	ErrTooLarge = errors.New("the backup is too large")

	// ErrNoMatch says that a backup is encrypted to none of the identities.
	ErrNoMatch = errors.New("the backup is encrypted to another recipient")

	// ErrPassphrase is ErrNoMatch for a backup that opens with a passphrase,
	// where none of the identities is one. The error that wraps it wraps
	// ErrNoMatch too.
	ErrPassphrase = errors.New("it opens with a passphrase")

	// ErrWrongPassphrase says that a passphrase, which was asked for, does not
	// open a backup or an identity file.
	ErrWrongPassphrase = errors.New("wrong passphrase")
)

// A VersionError says that a backup has a format that only a newer program
// knows.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the backup has format %d, which is newer than this program, which knows format %d", e.Version, version)
}

// MaxSize is the size in bytes of the largest backup, before encryption: more
// than any store of access keys takes.
const MaxSize = 16 << 20

// Write writes a backup that was made at some time, to the second, and that any
// one of the recipients can open. A passphrase can't be mixed with others, nor
// post-quantum recipients with those that are not; the error is then age's. If
// the program of a plugin is missing the error wraps a *plugin.NotFoundError of
// package filippo.io/age/plugin. Errors of w are wrapped.
func Write(w io.Writer, items []Item, recipients []age.Recipient, made time.Time) error {
	if err := check(items); err != nil {
		return err
	}
	text := encode(Contents{made, items})
	defer clear(text)
	if len(text) > MaxSize {
		return fmt.Errorf("%w: %d bytes, and %d are allowed", ErrTooLarge, len(text), MaxSize)
	}
	if len(recipients) == 0 {
		return ErrNoRecipients
	}
	sealed, err := age.Encrypt(w, recipients...)
	if err != nil {
		return err
	}
	if _, err := sealed.Write(text); err != nil {
		return err
	}
	return sealed.Close()
}

// Read reads a backup, armored or not, with the first of the identities that
// opens it. Besides those of this package errors may be what an identity reports:
// that of a question it asked, or a *plugin.NotFoundError of package
// filippo.io/age/plugin.
func Read(r io.Reader, identities []age.Identity) (Contents, error) {
	// age adds a header, and 16 bytes to each 64 KiB. Armor is a third more.
	src, err := intro(io.LimitReader(r, 2*MaxSize))
	if err != nil {
		return Contents{}, err
	}
	if len(identities) == 0 {
		return Contents{}, ErrNoIdentities
	}
	plain, err := age.Decrypt(src, mark(identities)...)
	if err != nil {
		return Contents{}, explain(err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, MaxSize+1))
	defer clear(text)
	if err != nil {
		return Contents{}, explain(err)
	}
	if len(text) > MaxSize {
		return Contents{}, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxSize)
	}
	return Decode(text)
}

// isAge reports whether a file begins like one of age, and whether it has armor.
func isAge(head []byte) (is, armored bool) {
	armored = bytes.HasPrefix(bytes.TrimSpace(head), []byte(armor.Header))
	return armored || bytes.HasPrefix(head, []byte("age-encryption.org/")), armored
}

// intro returns an age file without its armor, if it has one. As in the program
// age, white space may precede that.
func intro(r io.Reader) (io.Reader, error) {
	src := bufio.NewReader(r)
	head, err := src.Peek(1024) // most are longer
	is, armored := isAge(head)
	switch {
	case armored:
		return armor.NewReader(src), nil
	case is:
		return src, nil
	case err != nil && err != io.EOF:
		return nil, err
	}
	return nil, ErrNotBackup
}

// explain makes an error of age one of this package.
func explain(err error) error {
	if failed, ok := errors.AsType[*identityError](err); ok {
		return failed.err
	}
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		if len(none.StanzaTypes) == 1 && none.StanzaTypes[0] == "scrypt" {
			return fmt.Errorf("%w: %w", ErrNoMatch, ErrPassphrase)
		}
		return ErrNoMatch
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// An identityError is an error of an identity that asks somebody, or runs a
// program: of all that age reports only these say nothing about the file.
type identityError struct{ err error }

func (e *identityError) Error() string { return e.err.Error() }

type marked struct{ age.Identity }

func (m marked) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := m.Identity.Unwrap(stanzas)
	if err == nil || errors.Is(err, age.ErrIncorrectIdentity) {
		return key, err
	}
	return nil, &identityError{err}
}

// mark makes the errors of identities recognisable. Those of age's own need it
// not: they ask nobody, and age wants to know them, to try them first.
func mark(identities []age.Identity) []age.Identity {
	var list []age.Identity
	for _, id := range identities {
		switch id.(type) {
		case *age.X25519Identity, *age.HybridIdentity:
		default:
			id = marked{id}
		}
		list = append(list, id)
	}
	return list
}

// check returns an error if items can't be in one backup.
func check(items []Item) error {
	seen := map[string]bool{}
	for _, item := range items {
		if err := (store.Key{Kind: store.AccessKey, Name: item.Name}).Check(); err != nil {
			return err
		}
		if seen[item.Name] {
			return fmt.Errorf("two items have the name %q", item.Name)
		}
		seen[item.Name] = true
	}
	return nil
}
