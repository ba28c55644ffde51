// Package store defines where secrets are kept. The backends are its
// subpackages; storetest is the test that each of them must pass. A backend
// moves bytes and does not know what they mean.
package store

import (
	"context"
	"errors"
	"fmt"
)

// A Store keeps items. Its methods may be called concurrently, and by several
// processes at once, and return promptly once ctx is done.
type Store interface {
	// Get returns the data of an item, or an error wrapping ErrNotFound,
	// ErrLocked, ErrDenied, ErrUnavailable or ErrDamaged.
	Get(ctx context.Context, key Key) ([]byte, error)

	// Put creates or replaces an item. Once it returns nil the item survives
	// a crash; if it returns an error the former item is untouched.
	Put(ctx context.Context, key Key, data []byte) error

	// Delete removes an item, or returns an error wrapping ErrNotFound.
	Delete(ctx context.Context, key Key) error

	// List returns the names of the items of a kind, sorted. It must not
	// unlock the store or prompt. A store that was never used is empty.
	List(ctx context.Context, kind Kind) ([]string, error)
}

// A Key names an item.
type Key struct {
	Kind Kind
	Name string // any text of 1 to 255 bytes
}

// Check returns an error if no item can have the key.
func (k Key) Check() error {
	if n := len(k.Name); n < 1 || n > 255 {
		return fmt.Errorf("an item name of %d bytes, want 1 to 255", n)
	}
	return nil
}

// IsValid reports whether an item can have the key.
func (k Key) IsValid() bool { return k.Check() == nil }

// NotFound returns an error that wraps ErrNotFound and says which item it is.
func (k Key) NotFound() error { return fmt.Errorf("%s %q: %w", k.Kind, k.Name, ErrNotFound) }

// A Kind is a class of items. Its value is part of the format of every
// backend and never changes.
type Kind string

const (
	AccessKey Kind = "access-key" // long-term; losing one hurts
	CacheKey  Kind = "cache-key"  // seals the session cache; losing it costs a cache
	Rotation  Kind = "rotation"   // of the access key of that name; losing it may cost a key
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{AccessKey, CacheKey, Rotation} }

var (
	// ErrNotFound says that a store has no such item.
	ErrNotFound = errors.New("not in the store")

	// ErrLocked says that a store is locked and could not be unlocked: a wrong
	// passphrase, or nobody to ask for it.
	ErrLocked = errors.New("the store is locked")

	// ErrDenied says that the user or the system refused access to an item.
	ErrDenied = errors.New("access to the store was refused")

	// ErrUnavailable says that a store can't be reached or used at all.
	ErrUnavailable = errors.New("the store is not available")

	// ErrDamaged says that an item is there but can't be trusted: it is cut
	// short, corrupt, or not what the store wrote.
	ErrDamaged = errors.New("the item is damaged")
)
