package rotate

import (
	"errors"
	"fmt"
	"time"

	"kura/internal/awsapi"
)

// A Stage is how far a rotation has come.
type Stage int

// The stages. In each of them the key that is stored works.
const (
	Unchanged Stage = iota // nothing has changed
	Begun                  // a key may have been made; the old one is stored
	Made                   // the new key is kept; the old one is stored
	Replaced               // the new key is stored; the old one is active
	Off                    // the new key is stored; the old one is inactive
	Cleared                // the old key is deleted; a record is left
)

// A PartialError says that a rotation has stopped before its end. It is called
// again to go on, unless the stage is Unchanged.
type PartialError struct {
	Name     string
	Stage    Stage
	Undo     bool   // it is New that comes back
	Old, New string // IDs of the keys; New is "" if none is known
	Doing    string // what it was that failed
	Err      error
}

func (e *PartialError) Error() string { return e.Doing + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PartialError) Unwrap() error { return e.Err }

// failed returns an error with how far the rotation has come.
func (s *run) failed(doing string, err error) error {
	e := &PartialError{Name: s.Name, Old: s.stored.AccessKeyID, Doing: doing, Err: err}
	if s.rec == nil {
		return e
	}
	e.Old, e.New, e.Undo = s.rec.Old.AccessKeyID, s.rec.New.AccessKeyID, s.rec.Undo
	listed := s.info(e.Old)
	switch {
	case e.New == "":
		e.Stage = Begun
	case s.stored.AccessKeyID != e.New:
		e.Stage = Made
	case s.rec.gone:
		e.Stage = Cleared
	case s.rec.inactive, listed.ID != "" && !listed.Active:
		e.Stage = Off
	default:
		e.Stage = Replaced
	}
	return e
}

// A SecondKeyError says that a user has a second access key, which no rotation
// has made: there can be no third.
type SecondKeyError struct {
	Name string
	ARN  string // of the user
	Key  awsapi.AccessKeyInfo
	Age  time.Duration

	UseKnown bool      // AWS has said when it was used last
	Used     time.Time // zero: never
	Service  string
}

func (e *SecondKeyError) Error() string {
	state := "inactive"
	if e.Key.Active {
		state = "active"
	}
	use := ""
	switch {
	case e.UseKnown && e.Used.IsZero():
		use = ", never used"
	case e.UseKnown:
		use = fmt.Sprintf(", last used on %s for %s", e.Used.UTC().Format(time.DateOnly), e.Service)
	}
	return fmt.Sprintf("%s has a second access key, %s, which is %s, %s old%s", e.ARN, e.Key.ID, state, days(e.Age), use)
}

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); {
	case n == 1:
		return "1 day"
	case n > 1:
		return fmt.Sprintf("%d days", n)
	}
	return max(d, 0).Truncate(time.Minute).String()
}

// An OrphanError says that a new access key could be neither stored nor deleted.
// Nobody knows its secret any more.
type OrphanError struct {
	Name, KeyID string
	ARN         string // of the user
	Err         error  // why it was not stored
	DeleteErr   error
}

func (e *OrphanError) Error() string {
	return fmt.Sprintf("storing the new access key: %v; and %s, which nobody can use, could not be deleted again: %v", e.Err, e.KeyID, e.DeleteErr)
}

// Unwrap returns both errors.
func (e *OrphanError) Unwrap() []error { return []error{e.Err, e.DeleteErr} }

// A KeptError says that there is nothing to do until the old key has been kept
// for the time that it was to be.
type KeptError struct {
	Name, Old string
	Until     time.Time
}

func (e *KeptError) Error() string {
	return fmt.Sprintf("the access key of %q was rotated, and the old one, %s, is kept until %s", e.Name, e.Old, e.Until.Local().Format(time.DateTime))
}

// A StaleError says that another key was stored while a rotation was under way.
type StaleError struct{ Name, Stored, Old, New string }

func (e *StaleError) Error() string {
	text := fmt.Sprintf("a rotation of %q is under way that concerns %s", e.Name, e.Old)
	if e.New != "" {
		text += " and " + e.New
	}
	return text + ", and " + e.Stored + " is stored now"
}

// A NotUserError says that an access key is not that of a user.
type NotUserError struct{ Name, ARN string }

func (e *NotUserError) Error() string {
	if e.ARN == "" {
		return fmt.Sprintf("what is stored as %q are session credentials, and no access key of a user", e.Name)
	}
	return fmt.Sprintf("the access key of %q is that of %s, which is no user", e.Name, e.ARN)
}

// An OtherUserError says that a new access key is not of the user it was to be
// of.
type OtherUserError struct{ Name, KeyID, Want, Got string }

func (e *OtherUserError) Error() string {
	return fmt.Sprintf("the new access key %s belongs to %s instead of %s", e.KeyID, e.Got, e.Want)
}

// An OtherAccountError says that the credentials that IAM is called with see
// other access keys than those of the user.
type OtherAccountError struct{ Name, ARN, KeyID string }

func (e *OtherAccountError) Error() string {
	return fmt.Sprintf("the access keys that IAM lists are not those of %s: %s is not among them", e.ARN, e.KeyID)
}

// ErrNothingToUndo says that no rotation is under way and no old key is left.
var ErrNothingToUndo = errors.New("there is no old access key to go back to")

var errNotListed = errors.New("AWS says that there is one, and does not list it yet")
