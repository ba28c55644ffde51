package rotate

import (
	"context"
	"errors"
	"time"

	"kura/internal/awsapi"
	"kura/internal/cred"
)

func (s *run) list(ctx context.Context) (keys []awsapi.AccessKeyInfo, err error) {
	err = s.call(ctx, func(from cred.Credentials) error {
		keys, err = s.AWS.ListAccessKeys(ctx, from, s.user, s.iam)
		return err
	})
	return keys, err
}

func (s *run) setActive(ctx context.Context, id string, active bool) error {
	return s.call(ctx, func(from cred.Credentials) error {
		return s.AWS.SetAccessKeyActive(ctx, from, s.user, id, active, s.iam)
	})
}

func (s *run) lastUse(ctx context.Context, id string) (at time.Time, service string, err error) {
	err = s.call(ctx, func(from cred.Credentials) error {
		at, service, err = s.AWS.GetAccessKeyLastUsed(ctx, from, id, s.iam)
		return err
	})
	return at, service, err
}

// delete deletes a key. One that is gone, as after a lost reply, is no error.
func (s *run) delete(ctx context.Context, id string) error {
	err := s.call(ctx, func(from cred.Credentials) error {
		return s.AWS.DeleteAccessKey(ctx, from, s.user, id, s.iam)
	})
	if isGone(err) {
		return nil
	}
	return err
}

// call signs a call of IAM: with the session, which is made once and lasts for
// all calls, or with the access key that is stored at the time or, if AWS does not
// know that everywhere yet, with the other one of the two.
func (s *run) call(ctx context.Context, do func(from cred.Credentials) error) error {
	if s.Session != nil {
		from, err := s.Session(ctx, false)
		if err != nil {
			return err
		}
		if err = do(from); !isRefused(err) {
			return err
		}
		if from, err = s.Session(ctx, true); err != nil {
			return err
		}
		return do(from)
	}
	for began, pause := s.Now(), firstPause; ; pause = min(2*pause, maxPause) {
		err := do(s.stored)
		if !isRefused(err) || s.rec == nil || s.rec.New.AccessKeyID == "" {
			return err
		}
		other := s.rec.Old
		if other.AccessKeyID == s.stored.AccessKeyID {
			other = s.rec.New
		}
		if !s.strict {
			if otherErr := do(other); !isRefused(otherErr) {
				return otherErr
			}
		}
		if s.Now().Sub(began) >= s.Patience {
			return err
		}
		if err := s.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// isRefused reports whether AWS has refused what a call was signed with.
func isRefused(err error) bool {
	e, ok := errors.AsType[*awsapi.Error](err)
	return ok && (e.Kind == awsapi.InvalidKey || e.Kind == awsapi.Expired)
}
