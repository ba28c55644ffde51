package mint

import (
	"context"
	"errors"
	"sync"
	"time"

	"kura/internal/awsapi"
	"kura/internal/chain"
	"kura/internal/cred"
)

// A Keeper keeps the credentials of a chain at hand for a server, which hands
// them out to programs for as long as it runs. It renews them beside the
// requests, and before those programs would ask for new ones: Minter.Ahead before
// they expire, at the latest when half of their time is over. What nobody has
// asked for is let go.
//
// A person is asked for a token code once, and without a lock: whoever gives one
// to another command for the same profile meanwhile has answered here, too.
type Keeper struct {
	Minter *Minter
	Chain  chain.Chain

	// Patience is how long a request waits where there is nothing at hand. SDKs
	// wait a second or two.
	Patience time.Duration

	// Least is how long credentials should be valid for programs that keep them
	// for some time, whenever they end. They are renewed when they have that left,
	// even where it is more than half of their time. What nobody has asked for
	// until then is renewed before it is handed out, within Patience.
	Least time.Duration

	// Tell is told what the person should know, one notice after another. It
	// may be nil.
	Tell func(Notice)

	// Refused reports whether an error is a person's no, as a window that was
	// closed: the same is not asked again. The want of a token code is one in any
	// case. It may be nil.
	Refused func(error) bool

	// Turn is shared by Keepers that ask the same person, who has one question
	// before them at a time, and none that the answer to another has settled. It
	// has room for one value. It may be nil.
	Turn chan struct{}

	// Every is how often the clock is looked at, which may be set, or the machine
	// may sleep; and the cache, while another process may help. 0 is 2 seconds.
	Every time.Duration

	ended chan struct{} // closed when nothing goes on in the background any more

	kick chan struct{} // has a value when there is something to do before the time

	mu      sync.Mutex
	have    cred.Credentials
	due     time.Time     // when to renew them
	warn    time.Time     // when to say that a token code will be needed; zero: it is said, or is not to be
	used    bool          // somebody has asked for them since they are there
	failed  error         // why there are no new ones, if the last try has failed
	refused bool          // that was a person's no: nobody is asked again
	blind   time.Time     // before that the cache is not looked at: it can't be opened
	late    time.Time     // until then requests wait for those that are to have Least
	next    time.Time     // before that there is no other try
	pause   time.Duration // between the last try and that
	trying  bool
	changed chan struct{} // closed at the end of each try
	bad     bool          // NotRenewed or Ended was told
	over    bool          // Ended was
}

// A Notice is something that a person should know of a Keeper.
type Notice struct {
	Kind    NoticeKind
	Profile string
	Serial  string    // of the MFA device: CodeSoon, CodeNow
	Expires time.Time // when the credentials do or, if Ended, did
	Err     error     // NotRenewed: why
}

// A NoticeKind is what a Notice is about.
type NoticeKind int

const (
	CodeSoon   NoticeKind = iota + 1 // a token code will be asked for in a few minutes
	CodeNow                          // it is being asked for
	NotRenewed                       // it is tried again, unless it is a code that is missing
	Ended                            // the credentials have expired, and there are no others
	Renewed                          // after all: it was NotRenewed or Ended
)

// ErrPending says that there are no credentials yet: they are being minted.
var ErrPending = errors.New("the credentials are not there yet")

// An EndedError says that there are no credentials any more, or none at all.
type EndedError struct {
	Expired time.Time // when the last ones did; zero: there were none
	Err     error     // why there are no new ones; nil: they are being minted
}

func (e *EndedError) Error() string {
	text := "there are no credentials"
	if !e.Expired.IsZero() {
		text = "the credentials have expired"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}
func (e *EndedError) Unwrap() error { return e.Err }

const (
	keeperEvery = 2 * time.Second

	// quiet is so many times as long, for when there is nothing to wait for.
	quiet = 15

	// warnBefore is how long before a token code is asked for that is said.
	warnBefore = 5 * time.Minute

	// A try that has failed is followed by another after minPause, then after
	// twice as long each time, up to maxPause.
	minPause = 5 * time.Second
	maxPause = 5 * time.Minute

	// maxCodes is how many token codes a person may type that AWS does not take.
	maxCodes = 3
)

// Start fetches the first credentials, as Minter.Credentials does, unless lazy
// is set: then the first request has them fetched. From then on the Keeper works
// in the background until ctx is done.
func (k *Keeper) Start(ctx context.Context, lazy bool) error {
	if k.Every == 0 {
		k.Every = keeperEvery
	}
	if k.Turn == nil {
		k.Turn = make(chan struct{}, 1)
	}
	k.kick, k.changed = make(chan struct{}, 1), make(chan struct{})
	if !lazy {
		got, err := k.Minter.Credentials(ctx, k.Chain)
		if err != nil {
			return err
		}
		k.set(got)
		k.used = true // it is for that that we were started
	}
	k.ended = make(chan struct{})
	go func() {
		defer close(k.ended)
		k.run(ctx)
	}()
	return nil
}

// For returns a Keeper, not started, of another chain. It tells nobody anything.
func (k *Keeper) For(c chain.Chain) *Keeper {
	return &Keeper{Minter: k.Minter, Chain: c, Patience: k.Patience, Refused: k.Refused, Turn: k.Turn, Every: k.Every}
}

// Wait waits, once the ctx of Start is done, for what goes on in the background
// to end: a question that is open is taken back and the terminal set right.
func (k *Keeper) Wait() { <-k.ended }

// Credentials returns what is at hand and has not expired. It asks nobody and
// calls no service. Where there is nothing, it waits for what is being minted,
// but not longer than Patience. The error is ErrPending or an *EndedError.
func (k *Keeper) Credentials(ctx context.Context) (cred.Credentials, error) {
	have, changed, err := k.atHand()
	if changed == nil {
		return have, err
	}
	patience := time.NewTimer(k.Patience)
	defer patience.Stop()
	select {
	case <-changed:
		have, _, err = k.atHand()
		return have, err
	case <-patience.C:
	case <-ctx.Done():
	}
	return have, err
}

// atHand returns the credentials at hand. Where there are none it returns why.
// If there may be others in a moment it returns what is closed then, too.
func (k *Keeper) atHand() (cred.Credentials, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.Minter.Now()
	if k.isGood(now) {
		if !k.used && !now.Before(k.due) {
			k.late = now.Add(k.Patience)
			k.wake()
		}
		k.used = true
		if k.Least > 0 && !now.Before(k.due) && now.Before(k.late) {
			return k.have, k.changed, nil
		}
		return k.have, nil, nil
	}
	k.used = true
	err := ErrPending
	if !k.have.Expires.IsZero() || k.failed != nil {
		err = &EndedError{k.have.Expires, k.failed}
	}
	if !k.trying && !k.mayTry(now) {
		return cred.Credentials{}, nil, err
	}
	k.wake()
	return cred.Credentials{}, k.changed, err
}

// wake has run look at what there is to do.
func (k *Keeper) wake() {
	select {
	case k.kick <- struct{}{}:
	default: // it will
	}
}

func (k *Keeper) isGood(now time.Time) bool {
	return k.have.AccessKeyID != "" && (k.have.Expires.IsZero() || now.Before(k.have.Expires))
}

func (k *Keeper) mayTry(now time.Time) bool { return !k.refused && !now.Before(k.next) }

// set takes new credentials.
func (k *Keeper) set(got cred.Credentials) {
	now := k.Minter.Now()
	k.have, k.used, k.failed, k.refused, k.next, k.pause, k.over = got, false, nil, false, time.Time{}, 0, false
	left := got.Expires.Sub(now)
	ahead := left / 2
	if left > k.Least {
		ahead = max(ahead, k.Least)
	}
	k.due = got.Expires.Add(-min(k.Minter.Ahead, ahead))
	k.warn = k.due.Add(-warnBefore)
	if got.Expires.IsZero() || k.warn.Before(now) || !k.Minter.CodesTyped {
		k.warn = time.Time{}
	}
}

// run does what there is to do until ctx is done.
func (k *Keeper) run(ctx context.Context) {
	for {
		wait := time.NewTimer(k.work(ctx))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-k.kick:
			wait.Stop()
		case <-wait.C:
		}
	}
}

// work does what is due, and returns when to look again.
func (k *Keeper) work(ctx context.Context) time.Duration {
	k.mu.Lock()
	now := k.Minter.Now()
	have, due, warn, failed := k.have, k.due, k.warn, k.failed
	good, mayTry, wanted := k.isGood(now), k.mayTry(now), k.used
	ended := !good && wanted && !have.Expires.IsZero() && !k.over
	k.mu.Unlock()

	if ended {
		k.locked(func() { k.over, k.bad = true, true })
		k.tell(Notice{Kind: Ended, Expires: have.Expires})
	}
	switch {
	case good && have.Expires.IsZero(), !wanted:
		return quiet * k.Every
	case good && now.Before(due):
		if !warn.IsZero() && !now.Before(warn) {
			k.locked(func() { k.warn = time.Time{} })
			if serial := k.Minter.NeedsCode(ctx, k.Chain, due); serial != "" {
				k.tell(Notice{Kind: CodeSoon, Serial: serial, Expires: have.Expires})
			}
		}
		if now.Before(warn) {
			due = warn
		}
		return min(max(due.Sub(now), k.Every/4), quiet*k.Every)
	case mayTry:
		k.try(ctx, have)
		return k.Every
	}
	if got, ok := k.elsewhere(ctx, have); ok {
		k.took(got)
	} else if IsCodeError(failed) && !k.needsCode(ctx) {
		k.try(ctx, have) // what it begins with was minted for another profile
	}
	return k.Every
}

// needsCode reports whether a token code is needed to renew the credentials now.
func (k *Keeper) needsCode(ctx context.Context) bool {
	return k.Minter.NeedsCode(ctx, k.Chain, k.Minter.Now()) != ""
}

func (k *Keeper) locked(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *Keeper) tell(n Notice) {
	if k.Tell != nil {
		n.Profile = k.Chain.Profile
		k.Tell(n)
	}
}

// took takes new credentials, and tells if that is good news.
func (k *Keeper) took(got cred.Credentials) {
	good := false
	k.locked(func() {
		k.set(got)
		k.bad, good = false, k.bad
	})
	if good {
		k.tell(Notice{Kind: Renewed, Expires: got.Expires})
	}
}

// elsewhere returns what another process has minted that lasts longer than what
// is at hand. A cache that can't be opened for it, as its key is in a store that
// stays locked, is left alone for a while: it may be that somebody was asked.
func (k *Keeper) elsewhere(ctx context.Context, have cred.Credentials) (cred.Credentials, bool) {
	m := k.Minter
	now, blind := m.Now(), false
	k.locked(func() { blind = now.Before(k.blind) })
	if blind {
		return cred.Credentials{}, false
	}
	got, ok, err := m.cached(ctx, m.Cache.key(k.Chain, len(k.Chain.Steps)), k.after(have))
	if err != nil {
		k.locked(func() { k.blind = now.Add(maxPause) })
	}
	return got, ok && err == nil
}

// after is the time that new credentials have to be valid after.
func (k *Keeper) after(have cred.Credentials) time.Time {
	after := have.Expires.Add(time.Second)
	if least := k.Minter.Now().Add(max(k.Minter.MinTTL, k.Least)); after.Before(least) {
		after = least
	}
	return after
}

// try renews the credentials.
func (k *Keeper) try(ctx context.Context, have cred.Credentials) {
	k.locked(func() { k.trying = true })
	got, err := k.renew(ctx, have)
	if err == nil {
		k.took(got)
	}
	first := false
	k.locked(func() {
		k.trying = false
		if err != nil {
			first = k.failed == nil
			k.failed, k.bad = err, true
			k.refused = IsCodeError(err) || k.Refused != nil && k.Refused(err)
			k.pause = min(max(2*k.pause, minPause), maxPause)
			k.next = k.Minter.Now().Add(k.pause)
		}
		close(k.changed)
		k.changed = make(chan struct{})
	})
	if err != nil && ctx.Err() == nil && first {
		k.tell(Notice{Kind: NotRenewed, Expires: have.Expires, Err: err})
	}
}

// renew returns credentials that last longer than what is at hand.
func (k *Keeper) renew(ctx context.Context, have cred.Credentials) (cred.Credentials, error) {
	for n := 1; ; {
		if got, ok := k.elsewhere(ctx, have); ok {
			return got, nil
		}
		if !k.Minter.CodesTyped || !k.needsCode(ctx) {
			return k.Minter.Renew(ctx, k.Chain, k.after(have))
		}
		got, err := k.renewByPerson(ctx, have)
		if errors.Is(err, errSettled) {
			continue
		}
		if e, ok := errors.AsType[*awsapi.Error](err); !ok || e.Kind != awsapi.BadTokenCode {
			return got, err
		}
		if n++; n > maxCodes {
			return cred.Credentials{}, &codeError{err}
		}
	}
}

var errSettled = errors.New("no token code is needed any more")

// renewByPerson asks for a token code and renews the credentials with it. The
// error is errSettled if somebody else has seen to it before there was one.
func (k *Keeper) renewByPerson(ctx context.Context, have cred.Credentials) (cred.Credentials, error) {
	needed, stop := k.whileNeeded(ctx, have)
	defer stop()
	select {
	case k.Turn <- struct{}{}:
		defer func() { <-k.Turn }()
	case <-needed.Done():
		return cred.Credentials{}, context.Cause(needed)
	}
	serial := k.Minter.NeedsCode(ctx, k.Chain, k.Minter.Now())
	if serial == "" {
		return cred.Credentials{}, errSettled // by who had their turn before
	}
	k.tell(Notice{Kind: CodeNow, Serial: serial, Expires: have.Expires})
	code, err := k.Minter.TokenCode(needed, serial)
	if err != nil && errors.Is(context.Cause(needed), errSettled) {
		return cred.Credentials{}, errSettled
	}
	stop()
	if err != nil {
		return cred.Credentials{}, &codeError{err}
	}
	m := *k.Minter
	m.TokenCode = func(ctx context.Context, of string) (string, error) {
		if typed := code; typed != "" && of == serial {
			code = ""
			return typed, nil
		}
		return k.Minter.TokenCode(ctx, of) // of another device
	}
	for n := 1; ; n++ {
		got, err := m.Renew(ctx, k.Chain, k.after(have))
		if _, shared := errors.AsType[*SharedError](err); !shared || code == "" || n == maxCodes {
			return got, err
		}
		// It is another process that has failed, and the code has not been sent.
	}
}

// whileNeeded returns a context that is done when no token code is needed any
// more to renew the credentials: the cause is errSettled.
func (k *Keeper) whileNeeded(ctx context.Context, have cred.Credentials) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		look := time.NewTicker(k.Every)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			if _, ok := k.elsewhere(ctx, have); ok || !k.needsCode(ctx) {
				cancel(errSettled)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
