package keychain

import (
	"errors"
	"fmt"

	"kura/internal/store"
)

var (
	// ErrDismissed says that the user was asked, and has canceled. The error
	// that wraps it wraps store.ErrDenied too.
	ErrDismissed = errors.New("the question was dismissed")

	// ErrNoInteraction says that macOS had to ask the user, and may not: the
	// session has no screen, as over SSH. The keychain may be unlocked on the
	// screen all the same, and locked for this session. The error that wraps
	// it wraps store.ErrLocked too.
	ErrNoInteraction = errors.New("this session may not ask the user")

	// ErrNoAnswer says that a call has not returned in time, most likely
	// because a question of the system was not answered; it may still be on
	// the screen. The error that wraps it wraps store.ErrLocked too.
	ErrNoAnswer = errors.New("no answer from the keychain or its user")
)

// OSStatus values of SecBase.h that are told apart.
const (
	statusUserCanceled          = -128
	statusNoAccessForItem       = -25243
	statusAuthFailed            = -25293
	statusNoSuchKeychain        = -25294
	statusDuplicateKeychain     = -25296
	statusDuplicateItem         = -25299
	statusItemNotFound          = -25300
	statusInteractionNotAllowed = -25308
	statusInteractionRequired   = -25315
)

// A StatusError says that Security has refused a call. It wraps an error of
// package store, and ErrDismissed or ErrNoInteraction where these apply.
type StatusError struct {
	Call   string // the function of Security
	Status int32  // an OSStatus
	Text   string // what Security says of it, in the language of the user; may be ""
}

func (e *StatusError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s: OSStatus %d", e.Call, e.Status)
	}
	return fmt.Sprintf("%s: %s (OSStatus %d)", e.Call, e.Text, e.Status)
}

// Unwrap returns what the status means for the caller of a store.
func (e *StatusError) Unwrap() []error {
	switch e.Status {
	case statusUserCanceled:
		return []error{store.ErrDenied, ErrDismissed}
	case statusAuthFailed, statusNoAccessForItem:
		return []error{store.ErrDenied}
	case statusInteractionNotAllowed, statusInteractionRequired:
		return []error{store.ErrLocked, ErrNoInteraction}
	case statusItemNotFound:
		return []error{store.ErrNotFound}
	}
	return []error{store.ErrUnavailable}
}

// is reports whether an error is one of Security with this status.
func is(err error, status int32) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Status == status
}

// isMissing reports whether an error says that there is no item, or not even a
// keychain for it.
func isMissing(err error) bool {
	return is(err, statusItemNotFound) || is(err, statusNoSuchKeychain)
}
