package rotate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"kura/internal/awsapi"
	"kura/internal/cred"
)

// intend notes that a key is about to be made, and which there are: another one
// that appears is that.
func (s *run) intend(ctx context.Context, keep time.Duration) error {
	rec := &record{Started: s.Now(), Who: s.who, Old: s.stored, Keep: keep}
	for _, k := range s.keys {
		rec.Known = append(rec.Known, k.ID)
	}
	if err := s.keep(ctx, rec); err != nil {
		return s.failed("noting what is about to be done", err)
	}
	return nil
}

// maxTries is how often a key is made of which nobody heard.
const maxTries = 3

// create makes the new key and keeps it. It is not interrupted in between.
func (s *run) create(ctx context.Context) error {
	if ctx.Err() != nil {
		return s.failed("creating a new access key", context.Cause(ctx))
	}
	s.Report(Event{What: Creating, KeyID: s.stored.AccessKeyID})
	whole := context.WithoutCancel(ctx)
	for try := 1; ; try++ {
		var key cred.Credentials
		err := s.call(whole, func(from cred.Credentials) (err error) {
			key, err = s.AWS.CreateAccessKey(whole, from, s.user, s.iam)
			return err
		})
		if err == nil {
			return s.keepNew(whole, key)
		}
		refused, ok := errors.AsType[*awsapi.Error](err)
		limited := ok && refused.Code == "LimitExceeded"
		switch {
		case ok && refused.MayBeDone():
			s.lost = true
		case ok && refused.Kind == awsapi.Throttled:
		case limited && s.lost:
		case limited:
			// One that was not listed yet: another machine is at it.
			again, listErr := s.list(ctx)
			if listErr == nil {
				s.keys = again
				listErr = s.refuseOthers(ctx)
			}
			return s.nothingDone(whole, "creating a new access key", cmp.Or(listErr, err))
		default:
			if s.lost {
				return s.failed("creating a new access key", err)
			}
			return s.nothingDone(whole, "creating a new access key", err)
		}
		if try == maxTries || ctx.Err() != nil {
			return s.failed("creating a new access key", err)
		}
		if err := s.Sleep(ctx, firstPause<<try); err != nil {
			return s.failed("creating a new access key", err)
		}
		if s.lost {
			if err := s.findLost(ctx, limited); err != nil {
				return err
			}
		}
	}
}

// keepNew keeps a key that was made: it can't be had again. If that fails it is
// deleted.
func (s *run) keepNew(ctx context.Context, key cred.Credentials) error {
	key.AccountID = s.stored.AccountID // as it is part of the item, if it is
	rec := *s.rec
	rec.New = key
	err := s.keep(ctx, &rec)
	s.Report(Event{What: Created, KeyID: key.AccessKeyID}) // where nobody reads any more, that may be the end
	if err == nil {
		s.lost = false
		return nil
	}
	s.rec.New = cred.Credentials{} // it may be there all the same, and is of no use
	deleteErr := s.delete(ctx, key.AccessKeyID)
	if deleteErr != nil {
		return &OrphanError{Name: s.Name, KeyID: key.AccessKeyID, ARN: s.who.ARN, Err: err, DeleteErr: deleteErr}
	}
	s.Report(Event{What: LostDeleted, KeyID: key.AccessKeyID})
	return s.nothingDone(ctx, "storing the new access key", err)
}

// nothingDone returns an error after which nothing is as it was not before.
func (s *run) nothingDone(ctx context.Context, doing string, err error) error {
	if s.drop(ctx) == nil {
		s.rec = nil
	}
	return s.failed(doing, err)
}

// findLost deletes the key that an earlier call has made, of which no reply came.
// If certain is set there is one, even if AWS does not list it yet.
func (s *run) findLost(ctx context.Context, certain bool) error {
	var err error
	for began, pause := s.Now(), firstPause; ; pause = min(2*pause, maxPause) {
		if s.keys, err = s.list(ctx); err != nil {
			return s.failed("looking for a key that was made", err)
		}
		found := false
		for _, k := range s.keys {
			if k.ID == s.stored.AccessKeyID {
				continue
			}
			if err := s.deleteLost(ctx, k); err != nil {
				return err
			}
			found = true
		}
		if found || !certain {
			return nil
		}
		if s.Now().Sub(began) >= s.Patience {
			return s.failed("looking for a key that was made", errNotListed)
		}
		if err := s.Sleep(ctx, pause); err != nil {
			return s.failed("looking for a key that was made", err)
		}
	}
}

// deleteLost deletes a key that must be the one that was made after the record
// was written. Otherwise it is an error.
func (s *run) deleteLost(ctx context.Context, k awsapi.AccessKeyInfo) error {
	lost, err := s.isLost(ctx, k)
	if !lost {
		return err
	}
	if err := s.delete(ctx, k.ID); err != nil {
		return s.failed("deleting a key that was made and not stored", err)
	}
	s.keys = slices.DeleteFunc(slices.Clone(s.keys), func(other awsapi.AccessKeyInfo) bool { return other.ID == k.ID })
	s.Report(Event{What: LostDeleted, KeyID: k.ID})
	return nil
}

// isLost reports whether a key was made after the record was written, and nobody
// heard of it: it has appeared then, and was never used. If it is somebody's, that
// is an error; one that was deleted is listed for a moment still.
func (s *run) isLost(ctx context.Context, k awsapi.AccessKeyInfo) (bool, error) {
	if slices.Contains(s.rec.Known, k.ID) || k.Created.Sub(s.rec.Started).Abs() > made {
		return false, s.secondKey(ctx, k)
	}
	at, _, err := s.lastUse(ctx, k.ID)
	switch {
	case isGone(err):
		return false, nil
	case err != nil:
		return false, s.failed("finding out whether a key was ever used", err)
	case !at.IsZero():
		return false, s.secondKey(ctx, k)
	}
	return true, nil
}
