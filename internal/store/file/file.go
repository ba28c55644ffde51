// Package file is a store in a directory: one age file for each item, all for
// one age identity, which key slots wrap. It knows nothing of what the items
// mean. The format is described in docs/store-format.md.
package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age/plugin"

	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/unlocked"
)

// Options say where a store is and how it is unlocked. All but Dir may be left
// out.
type Options struct {
	Dir string // made at the first Put

	// Passphrase asks for the passphrase of the store. A recovery key will do
	// as well. It is asked up to three times, attempt being 1, 2 and 3, until
	// one is right; the same wrong answer twice ends it early, as where it
	// comes from a file. An error of Passphrase ends it too. If it is nil
	// there is nobody to ask.
	Passphrase func(ctx context.Context, attempt int) (string, error)

	// NewPassphrase asks for a passphrase to be: of a new store, or instead of
	// an old one. It has to make sure that it is what the user meant.
	NewPassphrase func(ctx context.Context) (string, error)

	// PluginUI lets age plugins talk to the user. If it is nil, plugins that
	// must ask for something fail, and those that wait for a touch work.
	PluginUI *plugin.ClientUI

	// Waiting is called if another process has been asking for the passphrase,
	// or changing key slots, for a second. This one goes on waiting.
	Waiting func()

	// Keep holds the identity of an unlocked store for TTL, so that other
	// processes need not ask.
	Keep *unlocked.Keep
	TTL  time.Duration

	// WorkFactor is the base-2 logarithm of scrypt's cost for new passphrase
	// slots: 1 to 20, or 0 for 18, which takes half a second and 256 MiB. Less
	// is for tests.
	WorkFactor int

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

var (
	// ErrWrongPassphrase says that no key slot opens with the passphrase. The
	// error that wraps it wraps store.ErrLocked too.
	ErrWrongPassphrase = errors.New("wrong passphrase")

	// ErrEmptyPassphrase says that a new passphrase was refused.
	ErrEmptyPassphrase = errors.New("an empty passphrase protects nothing")

	// ErrNoSlots says that the key slots of a store are gone. Without them its
	// items can't be opened, so it takes no new ones either. The error that
	// wraps it wraps store.ErrUnavailable too.
	ErrNoSlots = errors.New("the store has no key slot left")

	// ErrAWSVault says that the directory is one of aws-vault's file backend.
	// The error that wraps it wraps store.ErrUnavailable too.
	ErrAWSVault = errors.New("the directory holds items of aws-vault")
)

// A ModeError says that others than the owner may look into a directory or
// write to it. It wraps store.ErrUnavailable.
type ModeError struct {
	Path string
	Mode fs.FileMode // permission bits
}

func (e *ModeError) Error() string {
	return fmt.Sprintf("%s is open to other users: its mode is %04o", e.Path, e.Mode)
}

// Unwrap returns store.ErrUnavailable.
func (e *ModeError) Unwrap() error { return store.ErrUnavailable }

// A VersionError says that a store has a format that only a newer program
// knows. It wraps store.ErrUnavailable.
type VersionError struct {
	Path    string // of the file that says so
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: format %d is newer than this program, which knows format %d", e.Path, e.Version, version)
}

// Unwrap returns store.ErrUnavailable.
func (e *VersionError) Unwrap() error { return store.ErrUnavailable }

// A FileError says that the file of an item or a slot can't be trusted. It wraps
// store.ErrDamaged.
type FileError struct {
	Path string

	// Foreign says that this store did not write the file: it was planted,
	// renamed or swapped. Otherwise it is cut short or corrupt.
	Foreign bool

	Err error // what is wrong with it
}

func (e *FileError) Error() string {
	if e.Foreign {
		return fmt.Sprintf("%s is not what this store wrote: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s is cut short or corrupt: %v", e.Path, e.Err)
}

// Unwrap returns store.ErrDamaged and Err.
func (e *FileError) Unwrap() []error { return []error{store.ErrDamaged, e.Err} }

// version is that of the format which this package reads and writes.
const version = 1

// maxData is the greatest size of an item in bytes. It keeps a planted file
// from filling the memory.
const maxData = 16 << 20

// A Store is a directory of items.
type Store struct {
	o Options

	// turn is held by the goroutine that unlocks, and guards opened.
	turn   chan struct{}
	opened *identity // nil while locked
}

var (
	_ store.Opened = (*Store)(nil)
	_ store.Dated  = (*Store)(nil)
)

// Open returns the store in a directory. It does not look at the directory yet
// and asks nothing.
func Open(o Options) *Store {
	if o.PluginUI == nil {
		o.PluginUI = new(plugin.ClientUI)
	}
	if o.Waiting == nil {
		o.Waiting = func() {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.WorkFactor == 0 {
		o.WorkFactor = defaultWorkFactor
	}
	return &Store{o: o, turn: make(chan struct{}, 1)}
}

// Get implements store.Store. An item that can't be trusted is a *FileError.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	path, err := s.itemPath(key)
	if err != nil {
		return nil, err
	}
	sealed, err := readFile(path, maxData+64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		// Nobody is asked for the passphrase because of what is not there.
		if _, err := s.look(ctx); err != nil {
			return nil, err
		}
		return nil, key.NotFound()
	}
	if err != nil {
		return nil, unusable(err)
	}
	id, err := s.unlock(ctx)
	if err != nil {
		return nil, err
	}
	got, data, err := id.openItem(path, sealed)
	if err != nil {
		return nil, err
	}
	if got != key {
		return nil, &FileError{path, true, fmt.Errorf("it holds the item %q of kind %s", got.Name, got.Kind)}
	}
	return data, nil
}

// Has implements store.Opened.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	path, err := s.itemPath(key)
	if err != nil {
		return false, err
	}
	if used, err := s.look(ctx); !used || err != nil {
		return false, err
	}
	_, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unusable(err)
	}
	return true, nil
}

// Check implements store.Opened.
func (s *Store) Check(ctx context.Context) (string, error) {
	recipient, err := s.recipient(ctx)
	switch {
	case err != nil:
		return "", err
	case recipient == "":
		return "not made yet", nil
	case s.isKept(recipient):
		return "unlocked", nil
	}
	return "locked", nil
}

// Unlock implements store.Opened.
func (s *Store) Unlock(ctx context.Context) error {
	if used, err := s.look(ctx); !used || err != nil {
		return err
	}
	_, err := s.unlock(ctx)
	return err
}

// Put implements store.Store. The first Put makes the store and asks for its
// new passphrase. Errors wrap durable.ErrDiskFull and durable.ErrReadOnly where
// these apply.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	path, err := s.itemPath(key)
	if err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	id, err := s.unlock(ctx)
	if err != nil {
		return err
	}
	// An unlocked store whose slots are gone could write what nobody can read.
	if slots, err := s.slots(); err != nil {
		return err
	} else if len(slots) == 0 {
		return s.noSlots()
	}
	sealed, err := id.sealItem(key, data)
	if err != nil {
		return err
	}
	return s.write(path, sealed)
}

// Delete implements store.Store. It does not need to unlock.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	path, err := s.itemPath(key)
	if err != nil {
		return err
	}
	if _, err := s.look(ctx); err != nil {
		return err
	}
	err = durable.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return key.NotFound()
	}
	return err
}

// List implements store.Store. Files in the directory of items that are none
// are left out.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	if _, err := s.look(ctx); err != nil {
		return nil, err
	}
	files, err := readDir(s.path("items"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		key, long, ok := parseFileName(file)
		if !ok || key.Kind != kind {
			continue
		}
		if long {
			key.Name, err = readLongName(s.path("items", file), key.Kind)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since
			}
			if err != nil {
				return nil, err
			}
		}
		names = append(names, key.Name)
	}
	slices.Sort(names)
	return names, nil
}

// Written implements store.Dated.
func (s *Store) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	names, err := s.List(ctx, kind)
	if err != nil {
		return nil, err
	}
	written := map[string]time.Time{}
	for _, name := range names {
		file, err := fileName(store.Key{Kind: kind, Name: name})
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(s.path("items", file)); err == nil { // or it was deleted since
			written[name] = info.ModTime()
		}
	}
	return written, nil
}

// unusable makes an error of the file system one of package store.
func unusable(err error) error {
	switch {
	case errors.Is(err, store.ErrDamaged):
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// path returns the path of a file of the store.
func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.o.Dir}, elem...)...)
}

func (s *Store) itemPath(key store.Key) (string, error) {
	name, err := fileName(key)
	return s.path("items", name), err
}

// look checks that the directory holds a store which this package can use, and
// reports whether it was ever used.
func (s *Store) look(ctx context.Context) (used bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	info, err := os.Stat(s.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unusable(err)
	}
	if !info.IsDir() {
		return false, fmt.Errorf("%w: %s is not a directory", store.ErrUnavailable, s.o.Dir)
	}
	if isOpenToOthers(info) {
		return false, &ModeError{s.o.Dir, info.Mode().Perm()}
	}
	format, err := durable.ReadFile(s.path("format"), 64)
	if errors.Is(err, fs.ErrNotExist) {
		return false, s.lookUnused()
	}
	if err != nil {
		return false, unusable(err)
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(string(format)), "kura-store ")
	v, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || v < 1:
		return false, fmt.Errorf("%w: %s says %.40q, want the format of the store", store.ErrUnavailable, s.path("format"), format)
	case v > version:
		return false, &VersionError{s.path("format"), v}
	}
	return true, nil
}

// recipient is look, and returns the store's recipient, or "" if the store was
// never used.
func (s *Store) recipient(ctx context.Context) (string, error) {
	if used, err := s.look(ctx); !used || err != nil {
		return "", err
	}
	data, err := durable.ReadFile(s.path("recipient"), 64<<10)
	if err != nil {
		return "", unusable(err)
	}
	recipient := strings.TrimSpace(string(data))
	if !strings.HasPrefix(recipient, "age1pq1") {
		return "", fmt.Errorf("%w: %s holds no age recipient", store.ErrUnavailable, s.path("recipient"))
	}
	return recipient, nil
}

// ID implements store.Opened. A copy of a store is another store: it may hold
// other keys.
func (s *Store) ID(ctx context.Context) (string, error) {
	recipient, err := s.recipient(ctx)
	if recipient == "" {
		return "", err
	}
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:16]) + ":" + s.o.Dir, nil
}

// lookUnused checks that a directory without a format file can become a store.
func (s *Store) lookUnused() error {
	items, err := readDir(s.path("items"))
	if err != nil {
		return err
	}
	if len(items) > 0 {
		return fmt.Errorf("%w: there are items in %s, but no file %s", store.ErrUnavailable, s.path("items"), s.path("format"))
	}
	files, err := readDir(s.o.Dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		// Its items are compact JWEs: five parts in base64url, of which the
		// first is a JSON object.
		head, err := readFile(s.path(file), 64<<10)
		if err == nil && bytes.HasPrefix(head, []byte("eyJ")) && bytes.Count(head, []byte(".")) == 4 {
			return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, s.o.Dir, ErrAWSVault)
		}
	}
	return nil
}

// write replaces a file of the store.
func (s *Store) write(path string, data []byte) error {
	for _, dir := range []string{s.path("tmp"), filepath.Dir(path)} {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := durable.PrivateDir(dir); err != nil {
			return err // such as a link to somewhere else
		}
	}
	if err := durable.WriteFileVia(s.path("tmp"), path, data, 0o600); err != nil {
		return err
	}
	s.sweep()
	return nil
}

// sweep removes what writers that were killed have left in the directory of
// temporary files. It is ciphertext, and in nobody's way, so errors don't
// matter.
func (s *Store) sweep() {
	files, _ := readDir(s.path("tmp"))
	for _, file := range files {
		info, err := os.Lstat(s.path("tmp", file))
		if err == nil && info.Mode().IsRegular() && durable.IsTemp(file) && s.o.Now().Sub(info.ModTime()) > time.Hour {
			os.Remove(s.path("tmp", file))
		}
	}
}

// readDir returns the names of the files in a directory. One that is missing
// is empty: tools that copy directories may leave it out.
func readDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unusable(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}
