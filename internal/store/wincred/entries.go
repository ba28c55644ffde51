package wincred

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kura/internal/store"
)

// Entries are what another program has left: the credentials whose names begin
// with a prefix, by the rest of their names. They are only read.
type Entries struct {
	creds   credentials
	prefix  string
	timeout time.Duration
}

func openEntries(creds credentials, o Options) *Entries {
	return &Entries{creds, o.Prefix, open(creds, o).timeout}
}

// List returns the names of the entries, sorted.
func (e *Entries) List(ctx context.Context) ([]string, error) {
	return call(ctx, e.timeout, func(context.Context) ([]string, error) {
		creds, err := e.creds.list(e.prefix)
		if err != nil {
			return nil, explain(err)
		}
		var names []string
		for target := range creds {
			if name, ok := strings.CutPrefix(target, e.prefix); ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names, nil
	})
}

// Get returns an entry as it is stored, or an error that wraps
// store.ErrNotFound.
func (e *Entries) Get(ctx context.Context, name string) ([]byte, error) {
	return call(ctx, e.timeout, func(context.Context) ([]byte, error) {
		data, err := e.creds.read(e.prefix + name)
		if errors.Is(err, errMissing) {
			return nil, fmt.Errorf("entry %q: %w", name, store.ErrNotFound)
		}
		return data, explain(err)
	})
}
