package store

import (
	"context"
	"time"
)

// A Backend is one way to keep items: a service of the system, a program, a
// directory. Package all lists them.
type Backend struct {
	Name string // as in --backend NAME
	Help string // what it is, in a few words

	// Auto says that the backend may be chosen for a user who has not chosen.
	Auto bool

	// Settings are what --backend NAME:key=value can say. The first is meant
	// where there is no key: NAME:value.
	Settings []Setting

	// Open returns the store that the settings choose. It looks at nothing yet
	// and asks nothing; an error is one of the settings.
	Open func(settings map[string]string) (Opened, error)
}

// A Setting is something that can be said of a backend.
type Setting struct{ Name, Help string }

// Opened is a store as a backend opens it. Its methods keep the rules of Store.
type Opened interface {
	Store

	// Has reports whether there is an item, without unlocking or prompting. It
	// is asked by each command, so where Get or List ask another process it
	// may be answered from what was known last.
	Has(ctx context.Context, key Key) (bool, error)

	// ID returns a text that tells the store from the others of its backend,
	// or "" for one that was never used. It is part of the name of each cached
	// session, so it asks neither a program nor a service.
	ID(ctx context.Context) (string, error)

	// Check returns nil if the store can be used here, at once or after the
	// user has unlocked it, and a note on its state for people, such as
	// "locked". The error says what is wrong, and wraps one of this package. It
	// changes nothing and prompts for nothing.
	Check(ctx context.Context) (note string, err error)

	// Unlock makes the store ready to be read and written, and asks the user
	// for what that takes. A store that is not there yet, or that is never
	// locked, needs none of it.
	Unlock(ctx context.Context) error
}

// Dated is what a store implements that knows when its items were written.
type Dated interface {
	// Written returns when each item of a kind was written last, or later: by
	// the items' names, without those of which it is not known. Like List, it
	// must not unlock the store or prompt.
	Written(ctx context.Context, kind Kind) (map[string]time.Time, error)
}
