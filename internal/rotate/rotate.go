// Package rotate replaces an access key by a new one, in an order in which no
// crash, lost reply or refusal loses the only key that works: the new one is
// made, kept, proved and stored before the old one is made inactive, and that is
// proved before it is deleted. Each step first looks whether it is done, so that
// the same call, made again, goes on where the last one was interrupted.
//
// What it has to know for that is an item of the store, of the kind
// store.Rotation. It asks nobody anything and does not know profiles.
package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kura/internal/awsapi"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/store"
)

// An AWS is what a rotation calls. It is an *awsapi.Client, or one that a test
// interrupts.
type AWS interface {
	GetCallerIdentity(ctx context.Context, from cred.Credentials, to chain.Call) (awsapi.Identity, error)
	ListAccessKeys(ctx context.Context, from cred.Credentials, user string, to chain.Call) ([]awsapi.AccessKeyInfo, error)
	CreateAccessKey(ctx context.Context, from cred.Credentials, user string, to chain.Call) (cred.Credentials, error)
	SetAccessKeyActive(ctx context.Context, from cred.Credentials, user, id string, active bool, to chain.Call) error
	DeleteAccessKey(ctx context.Context, from cred.Credentials, user, id string, to chain.Call) error
	GetAccessKeyLastUsed(ctx context.Context, from cred.Credentials, id string, to chain.Call) (time.Time, string, error)
}

// A Rotation is what there is to know about one access key that is to be
// replaced.
type Rotation struct {
	// Name is that of the access key in Store. What Store returns must be what
	// is there now, and nothing that was read a while ago.
	Name  string
	Store store.Store

	// Copies are the other access keys there are. Those that are the same key
	// are replaced as well, before the old one is made inactive.
	Copies []Place

	AWS         AWS
	STS         chain.Call // where keys are proved
	IAMEndpoint string     // "" for AWS's own

	// Session returns the credentials that calls of IAM are signed with. With
	// again set AWS has refused those that it returned before. If it is nil
	// they are signed with the access key itself.
	Session func(ctx context.Context, again bool) (cred.Credentials, error)

	// Forget removes the sessions that were minted from what was stored in these
	// places before.
	Forget func(ctx context.Context, replaced []Place)

	// LockFile is held meanwhile: there is one rotation at a time. Waiting is
	// called when another process has held it for a second. "" is for a test
	// that has one process.
	LockFile string
	Waiting  func()

	// Patience is how long AWS may take until it knows a new key everywhere.
	Patience time.Duration

	Now    func() time.Time // by AWS's clock, as far as it is known
	Sleep  func(ctx context.Context, d time.Duration) error
	Report func(Event)
}

// A Place is where an access key is stored.
type Place struct {
	Store store.Store
	Name  string
	Where string // of the store, for people
}

// Options say what is to be done.
type Options struct {
	// Keep is how long the old key is kept, inactive, before it is deleted.
	Keep time.Duration

	// OlderThan leaves a key alone that is not as old.
	OlderThan time.Duration
}

// DefaultPatience is longer than AWS has been seen to take.
const DefaultPatience = 90 * time.Second

const (
	proofs     = 3                      // AWS has many doors, and not all learn of a key at once
	proofPause = 250 * time.Millisecond // between them
	firstPause = 500 * time.Millisecond // after a door that does not know the key; then twice as long
	maxPause   = 4 * time.Second

	// made is how far the time at which AWS has made a key may be from that of
	// the record before it: AWS accepts requests whose time is wrong by so much.
	made = 15 * time.Minute
)

// A run is one call of a Rotation's methods: what it has found out.
type run struct {
	*Rotation
	stored cred.Credentials
	rec    *record // nil: no rotation is under way
	who    awsapi.Identity
	user   string
	iam    chain.Call
	keys   []awsapi.AccessKeyInfo // at AWS

	stale    bool    // rec is of other keys, which are gone
	lost     bool    // a key may have been made that nobody knows
	finish   bool    // the old key is not kept
	strict   bool    // calls are signed with the key that is stored, and no other
	looked   bool    // at the copies
	copies   []Place // that are the same key
	replaced []Place
}

// Run replaces the access key. If an earlier rotation is under way it goes on
// with that. One whose old key is still kept is a *KeptError; if the time is
// over, that key is deleted first.
//
// Errors after the first change are *PartialError.
func (r *Rotation) Run(ctx context.Context, o Options) error {
	release, meanwhile, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if meanwhile {
		return nil
	}
	for {
		s, err := r.look(ctx)
		if err != nil {
			return err
		}
		if err := s.discard(ctx); err != nil {
			return err
		}
		if s.rec == nil {
			return s.begin(ctx, o)
		}
		kept := s.rec.isKept()
		if kept && r.Now().Before(s.rec.keptUntil()) {
			return s.isKept()
		}
		if !kept && !s.rec.Undo && o.Keep > 0 {
			s.rec.Keep = o.Keep
		}
		if err := s.resume(ctx); err != nil || !kept {
			return err
		}
	}
}

func (s *run) isKept() error {
	return &KeptError{Name: s.Name, Old: s.rec.Old.AccessKeyID, Until: s.rec.keptUntil()}
}

// Finish ends a rotation that is under way, and deletes the old key if it is
// kept. Of one that has not come as far as a new key nothing is left. It reports
// NothingLeft if none is under way.
func (r *Rotation) Finish(ctx context.Context) error {
	return r.left(ctx, func(s *run) error {
		if s.rec == nil {
			r.Report(Event{What: NothingLeft})
			return nil
		}
		s.finish = true
		if s.rec.New.AccessKeyID == "" {
			return s.abandon(ctx)
		}
		if s.rec.isKept() && s.rec.Keep > 0 {
			over := *s.rec
			over.Keep = 0 // so that nobody waits for what may be gone by then
			if err := s.keep(ctx, &over); err != nil {
				return s.failed("noting that the old access key is kept no longer", err)
			}
		}
		return s.resume(ctx)
	})
}

// Undo brings the old key back, as long as it is there, and deletes the new one
// in its place. The error is ErrNothingToUndo if no rotation is under way and no
// old key kept.
func (r *Rotation) Undo(ctx context.Context) error {
	return r.left(ctx, func(s *run) error {
		switch {
		case s.rec == nil:
			return ErrNothingToUndo
		case s.rec.New.AccessKeyID == "":
			return s.abandon(ctx)
		case s.rec.Undo:
			return s.resume(ctx)
		case !s.exists(s.rec.Old.AccessKeyID):
			return ErrNothingToUndo
		}
		if err := s.turn(ctx); err != nil {
			return err
		}
		return s.resume(ctx)
	})
}

// turn makes a rotation one in the other direction, which is the same way.
func (s *run) turn(ctx context.Context) error {
	back := *s.rec
	back.Old, back.New = s.rec.New, s.rec.Old
	back.Undo, back.Keep, back.Retired = !back.Undo, 0, time.Time{}
	if err := s.keep(ctx, &back); err != nil {
		return s.failed("noting that the rotation turns back", err)
	}
	return nil
}

func (r *Rotation) left(ctx context.Context, do func(*run) error) error {
	release, _, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	s, err := r.look(ctx)
	if err == nil {
		err = s.discard(ctx)
	}
	if err != nil {
		return err
	}
	return do(s)
}

// lock waits until this process alone rotates, and reports whether another one
// has replaced the key in the meantime.
func (r *Rotation) lock(ctx context.Context) (release func(), meanwhile bool, err error) {
	if r.LockFile == "" {
		return func() {}, false, nil
	}
	release, err = durable.TryLock(r.LockFile)
	if release != nil || err != nil {
		return release, false, err
	}
	before, err := r.get(ctx)
	if err != nil {
		return nil, false, err
	}
	waiting := time.AfterFunc(time.Second, r.Waiting)
	defer waiting.Stop()
	if release, err = durable.Lock(ctx, r.LockFile); err != nil {
		return nil, false, fmt.Errorf("waiting for another rotation: %w", err)
	}
	after, err := r.get(ctx)
	switch {
	case err != nil:
		release()
		return nil, false, err
	case after.AccessKeyID != before.AccessKeyID:
		r.Report(Event{What: Meanwhile, KeyID: after.AccessKeyID})
		return release, true, nil
	}
	return release, false, nil
}

// get reads the access key.
func (r *Rotation) get(ctx context.Context) (cred.Credentials, error) {
	key, err := read(ctx, r.Store, r.Name)
	if err != nil {
		return cred.Credentials{}, fmt.Errorf("reading the access key of %q: %w", r.Name, err)
	}
	if !key.LongTerm() {
		return cred.Credentials{}, &NotUserError{Name: r.Name}
	}
	return key, nil
}

func read(ctx context.Context, s store.Store, name string) (cred.Credentials, error) {
	data, err := s.Get(ctx, store.Key{Kind: store.AccessKey, Name: name})
	if err != nil {
		return cred.Credentials{}, err
	}
	defer clear(data)
	key, err := cred.Decode(data)
	if err != nil {
		return cred.Credentials{}, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return key, nil
}

// look finds out how things are. It changes nothing.
func (r *Rotation) look(ctx context.Context) (*run, error) {
	s := &run{Rotation: r}
	var err error
	if s.stored, err = r.get(ctx); err != nil {
		return nil, err
	}
	if s.rec, err = r.record(ctx); err != nil {
		return nil, err
	}
	if s.rec != nil && s.rec.concerns(s.stored.AccessKeyID) {
		s.who = s.rec.Who
	} else if s.who, err = r.AWS.GetCallerIdentity(ctx, s.stored, r.STS); err != nil {
		return nil, fmt.Errorf("finding out whose access key %q is: %w", r.Name, err)
	}
	var ok bool
	if s.user, ok = s.who.UserName(); !ok {
		return nil, &NotUserError{Name: r.Name, ARN: s.who.ARN}
	}
	s.iam = chain.Call{Partition: s.who.Partition(), Endpoint: r.IAMEndpoint}
	if s.keys, err = s.list(ctx); err != nil {
		return nil, s.failed("listing the access keys", err)
	}
	if s.rec != nil && !s.rec.concerns(s.stored.AccessKeyID) {
		// Somebody has stored another key meanwhile.
		if s.rec.New.AccessKeyID != "" && (s.exists(s.rec.Old.AccessKeyID) || s.exists(s.rec.New.AccessKeyID)) || s.rec.Who.UserID != s.who.UserID {
			return nil, &StaleError{Name: r.Name, Stored: s.stored.AccessKeyID, Old: s.rec.Old.AccessKeyID, New: s.rec.New.AccessKeyID}
		}
		s.stale = true
	}
	known := s.exists(s.stored.AccessKeyID)
	if s.rec != nil && !s.stale {
		known = s.exists(s.rec.Old.AccessKeyID) || s.exists(s.rec.New.AccessKeyID)
	}
	if !known {
		// The credentials are of another account, which has a user of that name:
		// there, both keys would seem to be gone.
		return nil, &OtherAccountError{Name: r.Name, ARN: s.who.ARN, KeyID: s.stored.AccessKeyID}
	}
	return s, nil
}

// discard removes a record of keys that are gone.
func (s *run) discard(ctx context.Context) error {
	if !s.stale {
		return nil
	}
	if err := s.drop(ctx); err != nil {
		return fmt.Errorf("removing what is left of an earlier rotation: %w", err)
	}
	s.rec, s.stale = nil, false
	return nil
}

func (s *run) exists(id string) bool {
	return slices.ContainsFunc(s.keys, func(k awsapi.AccessKeyInfo) bool { return k.ID == id })
}

// info returns what AWS has listed of a key.
func (s *run) info(id string) awsapi.AccessKeyInfo {
	for _, k := range s.keys {
		if k.ID == id {
			return k
		}
	}
	return awsapi.AccessKeyInfo{}
}

// begin begins a rotation.
func (s *run) begin(ctx context.Context, o Options) error {
	if o.OlderThan > 0 && s.age() < o.OlderThan {
		s.Report(Event{What: TooYoung, KeyID: s.stored.AccessKeyID, Age: s.age()})
		return nil
	}
	if err := s.refuseOthers(ctx); err != nil {
		return err
	}
	if err := s.findCopies(ctx); err != nil {
		return err
	}
	if err := s.intend(ctx, o.Keep); err != nil {
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	return s.advance(ctx)
}

// age returns how old the key is that is stored.
func (s *run) age() time.Duration { return s.Now().Sub(s.info(s.stored.AccessKeyID).Created) }

// refuseOthers returns an error if the user has another access key than the one
// that is stored: AWS allows two, and only the user knows what it is for.
func (s *run) refuseOthers(ctx context.Context) error {
	for _, k := range s.keys {
		if k.ID == s.stored.AccessKeyID {
			continue
		}
		if err := s.secondKey(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// secondKey returns an error that describes another key, or nil if that was
// deleted a moment ago and is still listed.
func (s *run) secondKey(ctx context.Context, k awsapi.AccessKeyInfo) error {
	e := &SecondKeyError{Name: s.Name, ARN: s.who.ARN, Key: k, Age: s.Now().Sub(k.Created)}
	at, service, err := s.lastUse(ctx, k.ID)
	if isGone(err) {
		return nil
	}
	if err == nil {
		e.UseKnown, e.Used, e.Service = true, at, service
	}
	return e
}

func isGone(err error) bool {
	e, ok := errors.AsType[*awsapi.Error](err)
	return ok && e.NoSuchEntity()
}

// resume goes on with the rotation that is under way.
func (s *run) resume(ctx context.Context) error {
	if s.rec.New.AccessKeyID != "" {
		if !s.rec.isKept() {
			s.Report(Event{What: Resuming, KeyID: s.rec.New.AccessKeyID, Undo: s.rec.Undo})
		}
		return s.advance(ctx)
	}
	s.Report(Event{What: Resuming})
	s.lost = true
	if err := s.findLost(ctx, false); err != nil {
		return err
	}
	if err := s.intend(ctx, s.rec.Keep); err != nil {
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	return s.advance(ctx)
}

// abandon ends a rotation that has not come as far as a new key.
func (s *run) abandon(ctx context.Context) error {
	err := s.findLost(ctx, false)
	if _, foreign := errors.AsType[*SecondKeyError](err); err != nil && !foreign {
		return err
	}
	if err := s.drop(ctx); err != nil {
		return s.failed("removing the record of the rotation", err)
	}
	s.Report(Event{What: Undone, KeyID: s.stored.AccessKeyID})
	return nil
}
