package cli

import (
	"context"

	"kura/internal/linklocal"
)

// A helperError says that imds-helper was not started as it is to be.
type helperError struct{ err error }

func (e *helperError) Error() string { return linklocal.Command + ": " + e.err.Error() }

// Unwrap returns what was wrong.
func (e *helperError) Unwrap() error { return e.err }

// imdsHelper is what sudo runs for somebody who is to listen at the address of
// the metadata service. It is no command as the others are: no flag, no setting
// and no file has a say in what is done as root.
func (a *app) imdsHelper(ctx context.Context) error {
	if err := linklocal.Help(ctx, a.Stdin, a.Getenv("SUDO_UID")); err != nil {
		return &helperError{err}
	}
	return nil
}
