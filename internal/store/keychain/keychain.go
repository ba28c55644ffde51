//go:build darwin || linux

package keychain

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"kura/internal/store"
)

// Options say which items are a store. All may be left out.
type Options struct {
	// Keychain is the name of a keychain file, as of aws-vault's --keychain:
	// "work" is ~/Library/Keychains/work.keychain-db. A name with a slash is a
	// path. It is made at the first Put. "" means the user's default keychain
	// for new items, and all in his search list for others: the login
	// keychain, where he has changed nothing.
	Keychain string

	// Service is that of each item, and tells the store from other programs'
	// items and other stores. "" means "kura".
	Service string

	// Timeout is how long a call may take that asks nothing; 0 means 10
	// seconds. AskTimeout is that of one where macOS may ask the user; 0 means
	// 2 minutes.
	Timeout, AskTimeout time.Duration

	// CoreFoundation and Security are the paths of the libraries. "" means
	// macOS's own; others are for tests.
	CoreFoundation, Security string
}

// A Store is the items of a service in a keychain.
type Store struct {
	o    Options
	load func() (*library, error)
}

var _ store.Opened = (*Store)(nil)

// Open returns a store. It touches nothing yet, and asks nothing.
func Open(o Options) *Store {
	if o.Service == "" {
		o.Service = "kura"
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.AskTimeout == 0 {
		o.AskTimeout = 2 * time.Minute
	}
	if o.CoreFoundation == "" {
		o.CoreFoundation = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"
	}
	if o.Security == "" {
		o.Security = "/System/Library/Frameworks/Security.framework/Security"
	}
	return &Store{o, sync.OnceValues(func() (*library, error) { return loadLibrary(o.CoreFoundation, o.Security) })}
}

// fileName returns what SecKeychainOpen wants for the name of a keychain. It
// looks in ~/Library/Keychains, and adds "-db" to the name of the file itself.
func fileName(name string) string {
	if name == "" || strings.Contains(name, "/") || strings.HasSuffix(name, ".keychain") {
		return name
	}
	return strings.TrimSuffix(name, ".keychain-db") + ".keychain"
}

// account returns the account of an item. Names are exact, and in clear. One
// that is not UTF-8 is not ok: CoreFoundation has no such strings.
func account(key store.Key) (string, bool) {
	return string(key.Kind) + ":" + key.Name, utf8.ValidString(key.Name)
}

// Get implements store.Store. macOS may ask the user to unlock the keychain, or
// whether this program may read the item.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	account, ok := account(key)
	if !ok {
		return nil, key.NotFound()
	}
	return asking(ctx, s, func(k keychain) ([]byte, error) {
		data, err := k.get(account)
		return data, named(err, key)
	})
}

// named says which item was not found.
func named(err error, key store.Key) error {
	if isMissing(err) {
		return key.NotFound()
	}
	return err
}

// Put implements store.Store. macOS may ask as for Get, and for the password of
// a keychain to be made. A call that ends early may still be carried out once
// the user answers: macOS has no way to withdraw it.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := key.Check(); err != nil {
		return err
	}
	account, ok := account(key)
	if !ok {
		return fmt.Errorf("the item name %q is not UTF-8", key.Name)
	}
	data = bytes.Clone(data) // the caller may zero his when the call ends early
	_, err := asking(ctx, s, func(k keychain) (struct{}, error) {
		return struct{}{}, k.put(account, s.o.Service+" "+string(key.Kind)+" "+key.Name, data)
	})
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	account, ok := account(key)
	if !ok {
		return key.NotFound()
	}
	_, err := asking(ctx, s, func(k keychain) (struct{}, error) {
		return struct{}{}, named(k.delete(account), key)
	})
	return err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	accounts, err := quick(ctx, s, keychain.accounts)
	var names []string
	for _, account := range accounts {
		if name, ok := strings.CutPrefix(account, string(kind)+":"); ok {
			names = append(names, name)
		}
	}
	return names, err
}

// Has implements store.Opened.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	account, ok := account(key)
	if !ok {
		return false, nil
	}
	return quick(ctx, s, func(k keychain) (bool, error) { return k.has(account) })
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) {
	return "service:" + store.Escape(s.o.Service) + ":" + store.Escape(fileName(s.o.Keychain)), nil
}

// Check implements store.Opened. A keychain that is unlocked on the screen may
// be locked for a session without one, whichever is noted.
func (s *Store) Check(ctx context.Context) (note string, err error) {
	return quick(ctx, s, func(k keychain) (string, error) {
		unlocked, err := k.isUnlocked()
		switch {
		case k.isNew(err):
			return "not made yet", nil
		case err != nil:
			return "", err
		case unlocked:
			return "unlocked", nil
		}
		return "locked", nil
	})
}

// Unlock implements store.Opened. macOS asks for the password of the keychain.
func (s *Store) Unlock(ctx context.Context) error {
	_, err := asking(ctx, s, func(k keychain) (struct{}, error) {
		unlocked, err := k.isUnlocked()
		if err == nil && !unlocked {
			err = k.unlock()
		}
		if k.isNew(err) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// quick runs what asks the user nothing.
func quick[T any](ctx context.Context, s *Store, do func(keychain) (T, error)) (T, error) {
	slow := fmt.Errorf("%w: macOS has not answered for %v", store.ErrUnavailable, s.o.Timeout)
	return call(ctx, s, s.o.Timeout, slow, do)
}

// asking runs what the user may be asked for.
func asking[T any](ctx context.Context, s *Store, do func(keychain) (T, error)) (T, error) {
	slow := fmt.Errorf("%w: %w for %v", store.ErrLocked, ErrNoAnswer, s.o.AskTimeout)
	return call(ctx, s, s.o.AskTimeout, slow, do)
}

// call runs do, which can't be interrupted, and returns what it does, or an
// error once ctx is done or the time is up. Then do goes on, with its thread,
// until macOS or its user answers.
func call[T any](ctx context.Context, s *Store, timeout time.Duration, slow error, do func(keychain) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	if ctx.Err() != nil {
		return result{}.value, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, slow)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		var r result
		lib, err := s.load()
		if err != nil {
			r.err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		} else {
			r.value, r.err = do(keychain{lib, fileName(s.o.Keychain), s.o.Service})
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return result{}.value, context.Cause(ctx)
	}
}

// Entries are what another program has left in a keychain: the generic passwords
// of its service, by their accounts. They are only read.
type Entries struct{ s *Store }

// OpenEntries returns the entries of Service in Keychain. It touches nothing
// yet.
func OpenEntries(o Options) *Entries { return &Entries{Open(o)} }

// List returns the names of the entries, sorted.
func (e *Entries) List(ctx context.Context) ([]string, error) {
	return quick(ctx, e.s, keychain.accounts)
}

// Get returns an entry as it is stored, or an error that wraps
// store.ErrNotFound. macOS asks the user for each: aws-vault makes its access
// keys so that no program is trusted with them.
func (e *Entries) Get(ctx context.Context, name string) ([]byte, error) {
	return asking(ctx, e.s, func(k keychain) ([]byte, error) {
		data, err := k.get(name)
		if isMissing(err) {
			err = fmt.Errorf("entry %q: %w", name, store.ErrNotFound)
		}
		return data, err
	})
}
