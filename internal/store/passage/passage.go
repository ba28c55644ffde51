// Package passage is a store in the entries of passage, a fork of pass that
// encrypts with age: https://github.com/FiloSottile/passage. It reads and writes
// them itself, and needs neither passage nor age. Where the directory is a git
// repository, it commits nothing. It is not for Windows, where passage does not
// run and some names of items are not names of files.
//
// The entry of an item is kura/<kind>/<name>, as package tree says, and holds the
// data of the item as it is: "passage show kura/access-key/prod" prints it.
package passage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/store/tree"
)

// Options say where a password store is and what opens it. All but Home may be
// left out.
type Options struct {
	Home string // the user's home directory

	// Dir is the password store, as in PASSAGE_DIR; "" means .passage/store
	// below Home. Prefix is the subfolder of it below which all of this is.
	Dir, Prefix string

	// IdentitiesFile is as in PASSAGE_IDENTITIES_FILE; "" means
	// .passage/identities below Home.
	IdentitiesFile string

	// RecipientsFile and Recipients are as in PASSAGE_RECIPIENTS_FILE and
	// PASSAGE_RECIPIENTS: a file, and recipients with spaces between them. The
	// first that is not "" says whom entries are encrypted to. If both are "", a
	// file .age-recipients does that is in the directory of the entry or nearest
	// above it, or else the identities themselves.
	RecipientsFile, Recipients string

	// PluginUI lets age plugins talk to the user. If it is nil, plugins that
	// must ask for something fail, and those that wait for a touch work.
	PluginUI *plugin.ClientUI

	// Passphrase asks for the passphrase of an identities file that has one. If
	// it is nil there is nobody to ask.
	Passphrase func(ctx context.Context, question string) (string, error)

	// PromptTimeout limits what plugins and the user may take; 0 means 2
	// minutes. The rest reads and writes files.
	PromptTimeout time.Duration
}

var (
	// ErrWrongPassphrase says that an identities file was not opened by the
	// passphrases that were typed. The error that wraps it wraps store.ErrLocked
	// too.
	ErrWrongPassphrase = errors.New("wrong passphrase")

	// ErrNobody says that an identities file has a passphrase, and that there is
	// nobody to ask for it. The error that wraps it wraps store.ErrLocked too.
	ErrNobody = errors.New("the identities file has a passphrase, and there is nobody to ask for it")

	// ErrNotForUs says that an entry is encrypted to others. The error that
	// wraps it wraps store.ErrDenied too.
	ErrNotForUs = errors.New("none of the identities can decrypt the entry")
)

// A KeyError says that a file of identities or recipients is missing, or that a
// line of it is of no use. It wraps store.ErrUnavailable and Err.
type KeyError struct {
	Path string // or "PASSAGE_RECIPIENTS"
	Line int    // from 1; 0 is the whole file
	Err  error
}

func (e *KeyError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns store.ErrUnavailable and Err.
func (e *KeyError) Unwrap() []error { return []error{store.ErrUnavailable, e.Err} }

// A PluginError says that a plugin did not open an entry, such as where a token
// is not plugged in or the PIN was wrong. It wraps Err and store.ErrLocked; or
// store.ErrUnavailable if the plugin is not installed, where Err is a
// *plugin.NotFoundError.
type PluginError struct {
	Plugin string // as in age-plugin-NAME
	Err    error
}

func (e *PluginError) Error() string { return fmt.Sprintf("age-plugin-%s: %v", e.Plugin, e.Err) }

// Unwrap returns store.ErrLocked or store.ErrUnavailable, and Err.
func (e *PluginError) Unwrap() []error {
	if _, ok := errors.AsType[*plugin.NotFoundError](e.Err); ok {
		return []error{store.ErrUnavailable, e.Err}
	}
	return []error{store.ErrLocked, e.Err}
}

const (
	// maxData is the greatest size of an item in bytes.
	maxData = 16 << 20

	// maxWorkFactor is the greatest cost of a passphrase that is accepted, so
	// that a planted identities file can't take minutes and all the memory: 2
	// seconds and a gigabyte. age itself writes 18.
	maxWorkFactor = 20

	// tries is how often a passphrase is asked for.
	tries = 3
)

// A Store is the part of a password store that is kura's.
type Store struct {
	o    Options
	tree tree.Tree

	// turn is held by the goroutine that opens the identities file, and guards
	// identities.
	turn       chan struct{}
	identities []age.Identity // nil until then
}

var (
	_ store.Opened = (*Store)(nil)
	_ store.Dated  = (*Store)(nil)
)

// Open returns the store that the options say. It looks at nothing yet.
func Open(o Options) *Store {
	if o.Dir == "" {
		o.Dir = filepath.Join(o.Home, ".passage", "store")
	}
	if o.IdentitiesFile == "" {
		o.IdentitiesFile = filepath.Join(o.Home, ".passage", "identities")
	}
	if o.PluginUI == nil {
		o.PluginUI = new(plugin.ClientUI)
	}
	if o.PromptTimeout == 0 {
		o.PromptTimeout = 2 * time.Minute
	}
	dir := filepath.Join(o.Dir, filepath.Clean("/"+o.Prefix))
	return &Store{o: o, tree: tree.Tree{Dir: dir, Ext: ".age"}, turn: make(chan struct{}, 1)}
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) { return "dir:" + s.tree.Dir, nil }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return nil, err
	}
	data, err := s.read(ctx, s.tree.File(entry))
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrUnavailable) {
		return nil, key.NotFound()
	}
	return data, err
}

// read decrypts a file. One that is missing is fs.ErrNotExist and no error of
// package store.
func (s *Store) read(ctx context.Context, path string) ([]byte, error) {
	sealed, err := durable.ReadFile(path, 2*maxData)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, tree.Unusable(err)
	}
	identities, err := s.unlock(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := age.ExtractHeader(unarmored(sealed)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", store.ErrDamaged, path, err)
	}
	var data []byte
	err = s.wait(ctx, func() error {
		r, err := age.Decrypt(unarmored(sealed), identities...)
		if err == nil {
			data, err = io.ReadAll(r)
		}
		return err
	})
	switch _, noMatch := errors.AsType[*age.NoIdentityMatchError](err); {
	case err == nil:
		return data, nil
	case noMatch:
		return nil, fmt.Errorf("%w: %s: %w", store.ErrDenied, path, ErrNotForUs)
	case ctx.Err() != nil, errors.Is(err, store.ErrLocked), errors.Is(err, store.ErrUnavailable):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s: %w", store.ErrDamaged, path, err)
}

// unarmored reads an age file in either of its forms.
func unarmored(sealed []byte) io.Reader {
	if bytes.HasPrefix(bytes.TrimSpace(sealed), []byte(armor.Header)) {
		return armor.NewReader(bytes.NewReader(sealed))
	}
	return bytes.NewReader(sealed)
}

// wait runs what may ask plugins, which know no ctx. If ctx is done or it takes
// too long, it goes on by itself, and nobody looks at what it does.
func (s *Store) wait(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(s.o.PromptTimeout):
		return fmt.Errorf("%w: no answer of an age plugin after %v", store.ErrLocked, s.o.PromptTimeout)
	}
}

// Put implements store.Store. Errors wrap durable.ErrDiskFull and
// durable.ErrReadOnly where these apply.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	recipients, err := s.recipients(ctx, filepath.Dir(s.tree.File(entry)))
	if err != nil {
		return err
	}
	data = bytes.Clone(data) // which the caller may change if ctx is done
	var sealed bytes.Buffer
	err = s.wait(ctx, func() error {
		defer clear(data)
		w, err := age.Encrypt(&sealed, recipients...)
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		return w.Close()
	})
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, store.ErrLocked)):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return s.write(s.tree.File(entry), sealed.Bytes())
}

// write replaces a file. The temporary one is beside the directories of the
// items, where a crash may leave it, and is swept up an hour later.
func (s *Store) write(path string, sealed []byte) error {
	temp := filepath.Join(s.tree.Dir, tree.Root)
	found, _ := os.ReadDir(temp) // what can't be swept up is in nobody's way
	for _, e := range found {
		if info, err := e.Info(); err == nil && durable.IsTemp(e.Name()) && time.Since(info.ModTime()) > time.Hour {
			os.Remove(filepath.Join(temp, e.Name()))
		}
	}
	for try := 1; ; try++ {
		if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err := durable.WriteFileVia(temp, path, sealed, 0o600)
		if errors.Is(err, fs.ErrNotExist) && try < 5 {
			continue // Delete has removed the directory, which was empty
		}
		return err
	}
}

// Delete implements store.Store. It does not need to unlock.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return err
	}
	path := s.tree.File(entry)
	if err := durable.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return key.NotFound()
	} else if err != nil {
		return err
	}
	// The directories of a long name, as far as they are empty now.
	for dir := filepath.Dir(path); strings.HasSuffix(dir, "~"); dir = filepath.Dir(dir) {
		if notEmpty := os.Remove(dir); notEmpty != nil {
			return nil //nolint:nilerr // the directory is in use
		}
	}
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	return s.tree.List(ctx, kind)
}

// Written implements store.Dated. A checkout of git writes all entries.
func (s *Store) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	return s.tree.Written(ctx, kind)
}

// Has implements store.Opened.
func (s *Store) Has(_ context.Context, key store.Key) (bool, error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return false, err
	}
	return s.tree.Has(entry)
}

// Check implements store.Opened.
func (s *Store) Check(ctx context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	text, err := s.readKeys(s.o.IdentitiesFile)
	if err != nil {
		return "", err
	}
	defer clear(text)
	if isSealed(text) {
		return "locked", nil
	}
	if _, err := s.parseIdentities(text); err != nil {
		return "", err
	}
	if file := s.recipientsFile(filepath.Join(s.tree.Dir, tree.Root)); file != "" {
		_, err = s.readRecipients(file)
	}
	return "", err
}

// Unlock implements store.Opened.
func (s *Store) Unlock(ctx context.Context) error {
	_, err := s.unlock(ctx)
	if first, firstErr := s.tree.First(ctx); err != nil && firstErr == nil && first == "" &&
		errors.Is(err, fs.ErrNotExist) {
		return nil // it was never used
	}
	return err
}

// An Entries reads what aws-vault has left in a password store: one entry for
// each of its items, and, as it takes whatever there is for its own, all others.
// Those of kura are left out.
type Entries struct{ s *Store }

// OpenEntries returns the entries below Dir and Prefix. It looks at nothing yet.
func OpenEntries(o Options) *Entries { return &Entries{Open(o)} }

// List returns the names of the entries, sorted. It does not decrypt any.
func (e *Entries) List(ctx context.Context) ([]string, error) { return e.s.tree.Others(ctx) }

// Get decrypts an entry that List has returned. Its errors are those of
// Store.Get.
func (e *Entries) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := e.s.read(ctx, e.s.tree.File(name))
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrUnavailable) {
		return nil, fmt.Errorf("entry %q: %w", name, store.ErrNotFound)
	}
	return data, err
}
