// Package foreign reads the access keys that other programs left behind, for
// the command import: the AWS CLI in its files, the AWS console in its
// downloads, Granted and Leapp in the secure stores of the system. What
// aws-vault left is read by package store/awsvault. This package changes
// nothing and asks nothing. It doesn't know where the user's files are or how
// a store is reached.
package foreign

import (
	"context"
	"fmt"

	"kura/internal/cred"
)

// An Item is an access key found, or why there is none.
type Item struct {
	// Name is what the key is called where it was found: the name of a profile,
	// of an IAM user or of a session. It may be empty.
	Name string

	// Key is temporary, and not to be kept, if it is not LongTerm.
	Key cred.Credentials

	Note string // for people: where it was found, such as FILE:LINE
	Err  error  // what is wrong with this one item; Key is zero then
}

// A HalfError says that one half of an access key is missing.
type HalfError struct {
	Where string // FILE:LINE of the other half, or a name
	Lacks string // as it is called there
}

func (e *HalfError) Error() string { return fmt.Sprintf("%s: there is no %s", e.Where, e.Lacks) }

// Entries are what a program keeps in one place of a secure store, as it is
// there. Errors wrap those of package store.
type Entries interface {
	// List returns the names of the entries.
	List(ctx context.Context) ([]string, error)

	// Get returns the bytes of an entry.
	Get(ctx context.Context, name string) ([]byte, error)
}
