package kwallet

import (
	"context"
	"fmt"
	"slices"
)

// Entries are what aws-vault has left in KWallet
// (https://github.com/99designs/keyring/blob/v1.2.2/kwallet.go). It reads them
// in place and changes nothing.
type Entries struct{ s *Store }

// OpenEntries returns the entries in a folder of a wallet, each "" being
// "aws-vault", which is aws-vault's own. It connects to nothing yet.
func OpenEntries(o Options) *Entries {
	if o.Wallet == "" {
		o.Wallet = "aws-vault"
	}
	if o.Folder == "" {
		o.Folder = "aws-vault"
	}
	return &Entries{open(o, "aws-vault")}
}

// List returns the names of the entries, sorted. As a locked wallet does not
// tell names, it may ask the person to unlock it.
func (e *Entries) List(ctx context.Context) ([]string, error) {
	names, err := e.s.list(ctx, true, func(c *client) (bool, error) { return c.isMade(ctx) })
	slices.Sort(names)
	return names, err
}

// Get returns the bytes of an entry as they are stored, or an error wrapping
// store.ErrNotFound. It may ask the person to unlock the wallet.
func (e *Entries) Get(ctx context.Context, name string) ([]byte, error) {
	// A locked wallet does not tell whether it is there: aws-vault does not make
	// its folder first, and KWallet keeps no hashes without.
	data, err := e.s.get(ctx, name, func(c *client) (bool, error) { return c.isMade(ctx) })
	if err != nil {
		return nil, fmt.Errorf("entry %q of aws-vault: %w", name, err)
	}
	return data, nil
}
