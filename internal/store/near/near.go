// Package near keeps near at hand what a slow store has said: a service on
// D-Bus, or a program that asks for a passphrase. It wraps such a store, and
// knows nothing of how that keeps its items. What it has at hand may be gone at
// any time, and is then asked for again.
package near

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/unlocked"
)

// Options say what is kept near at hand, and where.
type Options struct {
	Store store.Opened // which to ask

	// Backend is the name of its backend. With the store's ID, which is that
	// of one store of its backend only, it tells the store from all others.
	Backend string

	// NamesFile holds the names of the access keys, so that Has is answered by
	// reading a small file. Its directory is made when needed. "" is none.
	NamesFile string

	// Version returns a text that is another one whenever the names of the
	// store's items are, or "". It is for stores that tell that more quickly
	// than the names, and may be nil.
	Version func(ctx context.Context) (string, error)

	// Keep holds what Get returned of access keys for TTL, so that a store is
	// unlocked once in that time, however soon its service or gpg-agent locks
	// itself again. A TTL of zero or less keeps nothing, and Get then always
	// asks the store.
	//
	// A cache key is not kept here: package mint does that itself, and a copy
	// of a copy would outlive TTL.
	Keep *unlocked.Keep
	TTL  time.Duration

	// LockDir is a directory for a lock file, made when needed. Processes that
	// share it ask the store one at a time, and change it one at a time.
	// Where there is no lock ("", or a directory that can't be written to),
	// nothing is kept or noted, for it might be outdated.
	LockDir string

	// Waiting is called if another process has been asking the store for a
	// second. This one goes on waiting.
	Waiting func()
}

// A Store is a store of which something is near at hand.
//
// What another process of this program changes is seen at once, by way of
// LockDir. What others change, such as a program of the desktop, or another
// machine that shares the store, is not: Has goes by the names until List or
// Forget is called, and Get returns an item as it was for TTL at the most.
type Store struct {
	o Options

	// mistrust is set if the names were to be forgotten and the file could be
	// neither removed nor emptied.
	mistrust atomic.Bool
}

var _ store.Opened = (*Store)(nil)

// Open returns the store of o.Store with what is near at hand. It looks at
// nothing yet and asks nothing.
func Open(o Options) *Store {
	if o.Waiting == nil {
		o.Waiting = func() {}
	}
	return &Store{o: o}
}

// Unwrap returns Options.Store, for what only that backend can do. Items must be
// changed by way of s, however.
func (s *Store) Unwrap() store.Opened { return s.o.Store }

// Direct returns s with no item kept, neither here nor by the backend, which may
// have a method Fresh for that: its Get proves what the store holds, as
// package transfer must know.
func (s *Store) Direct() store.Opened {
	o := s.o
	o.TTL = 0
	if f, ok := o.Store.(interface{ Fresh() store.Opened }); ok {
		o.Store = f.Fresh()
	}
	return Open(o)
}

// ID implements store.Opened.
func (s *Store) ID(ctx context.Context) (string, error) { return s.o.Store.ID(ctx) }

// Check implements store.Opened.
func (s *Store) Check(ctx context.Context) (string, error) { return s.o.Store.Check(ctx) }

// id returns what tells the store from all others, or "" for one that was never
// used.
func (s *Store) id(ctx context.Context) (string, error) {
	id, err := s.o.Store.ID(ctx)
	if err != nil || id == "" {
		return "", err
	}
	return s.o.Backend + ":" + id, nil
}

// Unlock implements store.Opened. It asks the store however much is kept, as
// that would not do for a Put. Processes do so one after another, and those that
// come later find it unlocked.
func (s *Store) Unlock(ctx context.Context) error {
	id, err := s.id(ctx)
	if err != nil {
		return err
	}
	release, _, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	return s.o.Store.Unlock(ctx)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	id, err := s.id(ctx)
	if err != nil || id == "" || s.o.TTL <= 0 {
		return s.o.Store.Get(ctx, key)
	}
	if data, ok := s.kept(id, key); ok {
		return data, nil
	}
	if s.o.Keep.Works() != nil {
		return s.o.Store.Get(ctx, key) // there is nothing that waiting would find
	}
	release, held, err := s.lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer release()
	if data, ok := s.kept(id, key); ok { // since, by another process
		return data, nil
	}
	data, err := s.o.Store.Get(ctx, key)
	if err == nil && held && key.Kind == store.AccessKey {
		// Where it can't be kept, as it is too long, the store is asked again.
		_ = s.o.Keep.Put(keepName(id, key), data, s.o.TTL)
	}
	return data, err
}

// Has implements store.Opened. Where no names are noted it asks for the list of
// them, or for the one item if the store can't list what is locked.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	if key.Kind != store.AccessKey || s.o.NamesFile == "" {
		return s.o.Store.Has(ctx, key)
	}
	id, err := s.id(ctx)
	if err != nil {
		return false, err
	}
	if has, known := s.noted(id, key.Name); known {
		return has, nil
	}
	names, err := s.List(ctx, key.Kind)
	if errors.Is(err, store.ErrLocked) {
		return s.o.Store.Has(ctx, key)
	}
	return slices.Contains(names, key.Name), err
}

// List implements store.Store. It asks the store and notes what it says. A store
// that can't tell its names while it is locked has those that were noted last.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	if kind != store.AccessKey || s.o.NamesFile == "" {
		return s.o.Store.List(ctx, kind)
	}
	id, err := s.id(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.list(ctx, id, kind)
	if errors.Is(err, store.ErrLocked) {
		// Such as KWallet, which tells nothing until it is unlocked.
		if _, lines, ok := s.read(id); ok {
			if names, ok := parseNames(lines); ok {
				return names, nil
			}
		}
	}
	return names, err
}

// list asks the store for the names of access keys and notes them.
func (s *Store) list(ctx context.Context, id string, kind store.Kind) ([]string, error) {
	// Names that were read while somebody changes them must not be noted. Nor
	// is it worth waiting: who holds the lock may be asking the user.
	release := s.tryLock(id)
	if release == nil {
		return s.o.Store.List(ctx, kind)
	}
	defer release()
	version := ""
	if s.o.Version != nil {
		// Before the names: a change that comes between makes it outdated.
		var err error
		if version, err = s.o.Version(ctx); err != nil {
			version = "" // the list says what is wrong
		}
		if names, ok := s.notedAt(id, version); ok {
			return names, nil
		}
	}
	names, err := s.o.Store.List(ctx, kind)
	if err == nil {
		s.note(id, version, names)
	}
	return names, err
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	return s.change(ctx, key, func() error { return s.o.Store.Put(ctx, key, data) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	return s.change(ctx, key, func() error { return s.o.Store.Delete(ctx, key) })
}

// change calls do, which changes an item. What is near at hand is forgotten
// before, so that a crash leaves nothing outdated; while the lock is held nobody
// can bring it back. Without the lock somebody could, so it is forgotten after
// as well.
func (s *Store) change(ctx context.Context, key store.Key, do func() error) error {
	if err := key.Check(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	id, err := s.id(ctx)
	if err != nil {
		return err
	}
	release, _, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	forget := func() error {
		if key.Kind != store.AccessKey {
			return nil
		}
		s.Forget()
		return s.o.Keep.Drop(keepName(id, key))
	}
	if err := forget(); err != nil {
		return err
	}
	err = do()
	_ = forget() // the first has shown that it can be done
	return err
}

// Forget drops the names that are noted, and reports whether there were any. It
// is for who has found that they are not those of the store's items.
func (s *Store) Forget() bool {
	if s.o.NamesFile == "" {
		return false
	}
	err := durable.Remove(s.o.NamesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil { // as in a directory that can't be written to
		err = durable.Overwrite(s.o.NamesFile, nil, 0o600)
	}
	return err == nil || !s.mistrust.Swap(true)
}

// Drop forgets what is kept of an item. It is for who has found that it is not
// what the store holds any more.
func (s *Store) Drop(ctx context.Context, key store.Key) error {
	id, err := s.o.Store.ID(ctx)
	if err != nil {
		return err
	}
	return s.o.Keep.Drop(keepName(id, key))
}

// kept returns what is kept of an item, unless its name is known to be gone.
func (s *Store) kept(id string, key store.Key) ([]byte, bool) {
	if key.Kind != store.AccessKey {
		return nil, false
	}
	if has, known := s.noted(id, key.Name); known && !has {
		return nil, false
	}
	return s.o.Keep.Get(keepName(id, key))
}

// keepName returns the name by which an item of the store of that ID is kept.
func keepName(id string, key store.Key) string {
	return "item " + hash(id, string(key.Kind), key.Name)
}

// hash returns 32 digits that stand for some texts and no others.
func hash(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+q", texts))
	return hex.EncodeToString(sum[:16])
}

// maxWait is longer than any question to the user may stay open. Who has held
// the lock for that long has been stopped.
const maxWait = 3 * time.Minute

// lock waits for the lock of the store of that ID, and reports whether it is
// held: where it can't be had the store is used without. An error is that of
// ctx. The caller must release it.
func (s *Store) lock(ctx context.Context, id string) (release func(), held bool, err error) {
	none := func() {}
	if s.o.LockDir == "" || durable.PrivateDir(s.o.LockDir) != nil {
		return none, false, nil
	}
	t := time.AfterFunc(time.Second, s.o.Waiting)
	defer t.Stop()
	wait, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	release, err = durable.Lock(wait, s.lockFile(id))
	switch {
	case err == nil:
		return release, true, nil
	case ctx.Err() != nil:
		return nil, false, fmt.Errorf("waiting for another process that uses the store: %w", context.Cause(ctx))
	}
	return none, false, nil
}

// tryLock is lock without waiting. It returns nil if the lock can't be had.
func (s *Store) tryLock(id string) (release func()) {
	if s.o.LockDir == "" || durable.PrivateDir(s.o.LockDir) != nil {
		return nil
	}
	release, err := durable.TryLock(s.lockFile(id))
	if err != nil {
		return nil
	}
	return release
}

func (s *Store) lockFile(id string) string {
	return filepath.Join(s.o.LockDir, "store-"+hash(id)+".lock")
}
