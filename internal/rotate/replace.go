package rotate

import (
	"context"
	"errors"
	"fmt"

	"kura/internal/awsapi"
	"kura/internal/cred"
	"kura/internal/store"
)

// advance replaces the old key of the record, which both are in, by the new one.
func (s *run) advance(ctx context.Context) error {
	if err := s.establish(ctx); err != nil {
		return err
	}
	from, to := s.rec.Old, s.rec.New
	if err := s.replace(ctx); err != nil {
		return err
	}
	if err := s.retire(ctx); err != nil {
		return err
	}
	kept := s.rec.isKept()
	if s.rec.Keep > 0 && !s.finish && !kept {
		s.Forget(ctx, s.replaced)
		rec := *s.rec
		rec.Retired = s.Now()
		if err := s.keep(ctx, &rec); err != nil {
			return s.failed("noting until when the old access key is kept", err)
		}
		s.Report(Event{What: Kept, KeyID: from.AccessKeyID, Until: s.rec.keptUntil()})
		return nil
	}
	s.Report(Event{What: Deleting, KeyID: from.AccessKeyID})
	if err := s.delete(ctx, from.AccessKeyID); err != nil {
		return s.failed("deleting the old access key", err)
	}
	s.rec.gone = true
	s.Report(Event{What: Deleted, KeyID: from.AccessKeyID})
	if !kept { // else they have been forgotten, and those there are are new
		s.Forget(ctx, s.replaced)
	}
	undo := s.rec.Undo
	if err := s.drop(ctx); err != nil {
		return s.failed("removing the record of the rotation", err)
	}
	what := Finished
	if undo {
		what = Undone
	}
	s.Report(Event{What: what, KeyID: to.AccessKeyID})
	return nil
}

// establish sees to it that the key that is to be stored works. One that is gone
// is made anew, or there is no way back to it. If it is stored already and does
// not work, the old one comes back.
func (s *run) establish(ctx context.Context) error {
	to := s.rec.New
	// What AWS lists may be what was a moment ago, and an inactive key may work
	// for a moment still.
	if k := s.info(to.AccessKeyID); s.rec.Undo || k.ID != "" && !k.Active {
		if err := s.setActive(ctx, to.AccessKeyID, true); err != nil && !isGone(err) {
			return s.failed("making the access key active that is to be stored", err)
		}
	}
	gone := !s.exists(to.AccessKeyID) && s.stored.AccessKeyID != to.AccessKeyID && s.Now().Sub(s.rec.Started) > s.Patience
	if !gone {
		err := s.prove(ctx, to)
		if err == nil {
			return nil
		}
		if _, other := errors.AsType[*OtherUserError](err); other && s.stored.AccessKeyID != to.AccessKeyID {
			if deleteErr := s.delete(ctx, to.AccessKeyID); deleteErr != nil {
				return s.failed("deleting the new access key, which is another user's", deleteErr)
			}
			return s.nothingDone(ctx, "proving the new access key", err)
		}
		if e, ok := errors.AsType[*awsapi.Error](err); !ok || e.Kind != awsapi.InvalidKey {
			return s.failed("proving the new access key", err)
		}
		if s.stored.AccessKeyID == to.AccessKeyID {
			return s.backTo(ctx, err)
		}
		again, listErr := s.list(ctx)
		if listErr != nil {
			return s.failed("proving the new access key", listErr)
		}
		if s.keys = again; s.exists(to.AccessKeyID) {
			return s.failed("proving the new access key", err)
		}
	}
	s.Report(Event{What: Gone, KeyID: to.AccessKeyID})
	if s.rec.Undo {
		if err := s.turn(ctx); err != nil {
			return err
		}
		return s.establish(ctx)
	}
	if err := s.refuseOthers(ctx); err != nil {
		return err
	}
	if err := s.intend(ctx, s.rec.Keep); err != nil {
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	if err := s.prove(ctx, s.rec.New); err != nil {
		return s.failed("proving the new access key", err)
	}
	return nil
}

// prove returns nil once AWS has accepted a key several times in a row, and it
// is one of the same user.
func (s *run) prove(ctx context.Context, key cred.Credentials) error {
	began, told := s.Now(), false
	for pause, row := firstPause, 0; ; {
		who, err := s.AWS.GetCallerIdentity(ctx, key, s.STS)
		wait := proofPause
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && (who.Account != s.who.Account || who.UserID != s.who.UserID):
			return &OtherUserError{Name: s.Name, KeyID: key.AccessKeyID, Want: s.who.ARN, Got: who.ARN}
		case err == nil:
			if row++; row == proofs {
				s.Report(Event{What: Proved, KeyID: key.AccessKeyID})
				return nil
			}
		case s.Now().Sub(began) >= s.Patience, isSetting(err):
			return err
		default:
			if !told {
				told = true
				s.Report(Event{What: Waiting, KeyID: key.AccessKeyID})
			}
			wait, pause, row = pause, min(2*pause, maxPause), 0
		}
		if err := s.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// isSetting reports whether a call could not even be made: it is no use to wait.
func isSetting(err error) bool {
	e, ok := errors.AsType[*awsapi.Error](err)
	return ok && e.Kind == awsapi.Invalid && e.Code == ""
}

// replace puts the new key wherever the old one is stored.
func (s *run) replace(ctx context.Context) error {
	from, to := s.rec.Old, s.rec.New
	if s.stored.AccessKeyID != to.AccessKeyID {
		if err := put(ctx, s.Store, s.Name, to); err != nil {
			return s.failed("storing the new access key", err)
		}
		s.stored = to
		s.Report(Event{What: Stored, KeyID: to.AccessKeyID, Name: s.Name})
	}
	s.replaced = append(s.replaced, Place{Store: s.Store, Name: s.Name})
	if err := s.findCopies(ctx); err != nil {
		return err
	}
	s.replaced = append(s.replaced, s.copies...)
	return s.replaceCopies(ctx, from, to)
}

// findCopies finds the other places where the key is stored, once. What can't be
// read might be one: only what is damaged is of no use to anybody.
func (s *run) findCopies(ctx context.Context) error {
	if s.looked {
		return nil
	}
	for _, p := range s.Copies {
		key, err := read(ctx, p.Store, p.Name)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case errors.Is(err, store.ErrDamaged):
			s.Report(Event{What: Unread, Name: p.Name, Where: p.Where, Err: err})
		case err != nil:
			return s.failed(fmt.Sprintf("finding out whether %q is the same access key", p.Name), err)
		case key.AccessKeyID == s.stored.AccessKeyID, s.rec != nil && s.rec.concerns(key.AccessKeyID):
			s.copies = append(s.copies, p)
		}
	}
	s.looked = true
	return nil
}

func (s *run) replaceCopies(ctx context.Context, from, to cred.Credentials) error {
	for _, p := range s.copies {
		key, err := read(ctx, p.Store, p.Name)
		if err == nil && key.AccessKeyID == from.AccessKeyID {
			copied := to
			copied.AccountID = key.AccountID
			if err = put(ctx, p.Store, p.Name, copied); err == nil {
				s.Report(Event{What: Stored, KeyID: to.AccessKeyID, Name: p.Name, Where: p.Where})
			}
		}
		if err != nil {
			return s.failed(fmt.Sprintf("storing the new access key as %q, too", p.Name), err)
		}
	}
	return nil
}

func put(ctx context.Context, s store.Store, name string, key cred.Credentials) error {
	data, err := cred.Encode(key)
	if err != nil {
		return err
	}
	defer clear(data)
	return s.Put(ctx, store.Key{Kind: store.AccessKey, Name: name}, data)
}

// retire makes the old key inactive, which can be taken back, and proves that
// the new one works without it. If it does not, all is as it was.
func (s *run) retire(ctx context.Context) error {
	from, to := s.rec.Old, s.rec.New
	if s.rec.isKept() {
		return nil // it has been for long
	}
	// Signed with the new key alone, if it is a key: that proves it to IAM.
	s.strict = true
	err := s.setActive(ctx, from.AccessKeyID, false)
	s.strict = false
	if isGone(err) {
		return nil
	}
	if err != nil {
		return s.failed("making the old access key inactive", err)
	}
	s.rec.inactive = true
	s.Report(Event{What: Inactive, KeyID: from.AccessKeyID})
	err = s.prove(ctx, to)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*awsapi.Error](err)
	if _, other := errors.AsType[*OtherUserError](err); !other && (!ok || e.Kind != awsapi.InvalidKey) {
		return s.failed("proving the new access key once more", err) // AWS can't be asked
	}
	return s.backTo(ctx, err)
}

// backTo brings the old key back, and returns the error that is the reason.
func (s *run) backTo(ctx context.Context, reason error) error {
	if err := s.takeBack(ctx); err != nil {
		return s.failed("bringing the old access key back", fmt.Errorf("%w, when it had to for: %w", err, reason))
	}
	return s.failed("proving the new access key", reason)
}

// takeBack makes the old key active again and stores it.
func (s *run) takeBack(ctx context.Context) error {
	from, to := s.rec.Old, s.rec.New
	if err := s.setActive(ctx, from.AccessKeyID, true); err != nil {
		return err
	}
	s.rec.inactive = false
	if err := put(ctx, s.Store, s.Name, from); err != nil {
		return err
	}
	s.stored = from
	if err := s.replaceCopies(ctx, to, from); err != nil {
		return err
	}
	s.Report(Event{What: TakenBack, KeyID: from.AccessKeyID})
	return nil
}
