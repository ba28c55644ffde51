// Package wincred is a store in the Windows Credential Manager: generic
// credentials of the user, which Windows encrypts with a key that it unlocks at
// log-on. It never asks for anything. It knows nothing of what the items mean.
//
// Windows takes no more than 2560 bytes in a credential, so a larger item is
// several of them: see format.go.
package wincred

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"kura/internal/store"
)

// Options say which credentials are a store. All may be left out.
type Options struct {
	// Prefix is how the names of the store's credentials begin, and tells it
	// from other stores of the user. "" means "kura".
	Prefix string

	// Timeout is how long a call may take. 0 means 10 seconds.
	Timeout time.Duration
}

var (
	// ErrNoCredentialSet says that Windows keeps no credentials for this logon
	// session: one over the network, as of SSH, a service's, or any where the
	// policy "Do not allow storage of passwords and credentials" is set. The
	// error that wraps it wraps store.ErrUnavailable too.
	ErrNoCredentialSet = errors.New("this logon session has no credential set")

	// ErrFull says that Windows takes no more credentials. All programs of the
	// user share the space, whose size is not documented. The error that wraps
	// it wraps store.ErrUnavailable too.
	ErrFull = errors.New("there is no room for more credentials")

	// errMissing says that there is no credential of a name. It never leaves
	// the package.
	errMissing = errors.New("no such credential")
)

// credentials are the generic credentials of a user, by target name. They are
// those of Windows, or of a test that breaks them. Each call is atomic.
type credentials interface {
	read(target string) ([]byte, error) // errMissing
	write(target string, blob []byte) error
	remove(target string) error // errMissing
	list(prefix string) (map[string][]byte, error)

	// lock keeps other writers out until unlock is called by the goroutine
	// that has locked, or the process ends.
	lock(ctx context.Context, name string) (unlock func(), err error)
}

// A Store is the credentials whose names begin alike.
type Store struct {
	creds   credentials
	prefix  string // escaped
	timeout time.Duration
}

var _ store.Opened = (*Store)(nil)

func open(creds credentials, o Options) *Store {
	if o.Prefix == "" {
		o.Prefix = "kura"
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return &Store{creds, store.Escape(o.Prefix), o.Timeout}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	target := s.target(key)
	return call(ctx, s.timeout, func(ctx context.Context) ([]byte, error) {
		for before := ""; ctx.Err() == nil; {
			h, data, err := s.readHead(key, target)
			if err != nil {
				return nil, err
			}
			for i := 1; len(data) < h.size && err == nil; i++ {
				var part []byte
				part, err = s.creds.read(h.part(target, i))
				data = append(data, part...)
			}
			switch {
			case err == nil && len(data) == h.size:
				return data, nil
			case err != nil && !errors.Is(err, errMissing):
				return nil, explain(err)
			case err == nil || h.generation == before:
				return nil, damaged(target, "its parts are not all there")
			}
			// A writer has put another head, or removed it, and then the parts.
			before = h.generation
		}
		return nil, context.Cause(ctx)
	})
}

// readHead returns the head of an item, and the data that stands in it.
func (s *Store) readHead(key store.Key, target string) (head, []byte, error) {
	blob, err := s.creds.read(target)
	if errors.Is(err, errMissing) {
		return head{}, nil, key.NotFound()
	}
	if err != nil {
		return head{}, nil, explain(err)
	}
	h, data, ok := parseHead(blob)
	if !ok || h.name != key.Name {
		return head{}, nil, damaged(target, "it does not begin like the item")
	}
	return h, data, nil
}

// damaged returns an error that wraps store.ErrDamaged.
func damaged(target, what string) error {
	return fmt.Errorf("%w: credential %q: %s", store.ErrDamaged, target, what)
}

// Put implements store.Store. Its error wraps ErrFull if Windows takes no more.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := key.Check(); err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	target := s.target(key)
	h, blobs := split(key.Name, data)
	return s.change(ctx, func(ctx context.Context) error {
		// The head comes last: until it is there, readers see the former item.
		for i := len(blobs) - 1; i >= 0; i-- {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			name := target
			if i > 0 {
				name = h.part(target, i)
			}
			if err := s.creds.write(name, blobs[i]); err != nil {
				return explain(err)
			}
		}
		return nil
	})
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	return s.change(ctx, func(ctx context.Context) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := s.creds.remove(s.target(key))
		if errors.Is(err, errMissing) {
			return key.NotFound()
		}
		return explain(err)
	})
}

// change runs do while no other process changes the store, and then removes
// parts that no head names any more.
func (s *Store) change(ctx context.Context, do func(context.Context) error) error {
	_, err := call(ctx, s.timeout, func(ctx context.Context) (struct{}, error) {
		unlock, err := s.creds.lock(ctx, s.prefix)
		if err != nil {
			return struct{}{}, explain(err)
		}
		defer unlock()
		err = do(ctx)
		s.sweep()
		return struct{}{}, err
	})
	return err
}

// sweep removes the parts of former items, and of writers that were killed or
// have failed. What it can't remove is left to the next change.
func (s *Store) sweep() {
	creds, err := s.creds.list(s.prefix + ":")
	if err != nil {
		return
	}
	for name := range creds {
		target, generation, ok := parsePart(name)
		if !ok {
			continue
		}
		if h, _, ok := parseHead(creds[target]); !ok || h.generation != generation {
			_ = s.creds.remove(name)
		}
	}
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	return call(ctx, s.timeout, func(context.Context) ([]string, error) {
		creds, err := s.creds.list(s.prefix + ":" + string(kind) + ":")
		if err != nil {
			return nil, explain(err)
		}
		var names []string
		for name, blob := range creds {
			h, _, ok := parseHead(blob)
			if ok && s.target(store.Key{Kind: kind, Name: h.name}) == name {
				names = append(names, h.name)
			}
		}
		slices.Sort(names)
		return names, nil
	})
}

// Has implements store.Opened.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	return call(ctx, s.timeout, func(context.Context) (bool, error) {
		_, err := s.creds.read(s.target(key))
		if errors.Is(err, errMissing) {
			return false, nil
		}
		return err == nil, explain(err)
	})
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) { return "prefix:" + s.prefix, nil }

// Check implements store.Opened. There is nothing to note: Windows has unlocked
// the credentials when the user has logged on.
func (s *Store) Check(ctx context.Context) (string, error) {
	return call(ctx, s.timeout, func(context.Context) (string, error) {
		_, err := s.creds.read(s.prefix + ":") // there is none of that name
		if errors.Is(err, errMissing) {
			err = nil
		}
		return "", explain(err)
	})
}

// Unlock implements store.Opened. There is nothing to unlock.
func (s *Store) Unlock(ctx context.Context) error { return context.Cause(ctx) }

// call runs do, which may wait for Windows for ever, and returns what it does,
// or an error once ctx is done or the time is up.
func call[T any](ctx context.Context, timeout time.Duration, do func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	slow := fmt.Errorf("%w: Windows has not answered for %v", store.ErrUnavailable, timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, slow)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	// It sees that, too, between two calls of Windows; then the result is
	// exact: a Put that has been done is no error.
	select {
	case r := <-done:
		return r.value, r.err
	case <-time.After(time.Second):
		return none, context.Cause(ctx)
	}
}

// explain makes an error of Windows one of package store. The numbers are those
// of winerror.h; what CredWrite does when there is no room is not documented,
// and is ERROR_NOT_ENOUGH_MEMORY as others report it.
func explain(err error) error {
	code, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	switch uintptr(code) {
	case 5: // ERROR_ACCESS_DENIED
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	case 1312: // ERROR_NO_SUCH_LOGON_SESSION
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ErrNoCredentialSet)
	case 8, 14, 112, 1816: // ERROR_NOT_ENOUGH_MEMORY, _OUTOFMEMORY, _DISK_FULL, _NOT_ENOUGH_QUOTA
		return fmt.Errorf("%w: %w: %w", store.ErrUnavailable, ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
