package mint_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/mint"
	"kura/internal/store"
)

// A kept is a bench whose credentials are kept by a Keeper, and what that has
// told.
type kept struct {
	*bench
	*mint.Keeper
	mu    sync.Mutex
	told  []mint.NoticeKind
	clock time.Duration
	looks int // at the clock
}

// newKept returns a bench of which programs want credentials that are valid for
// 16 minutes, with a Keeper of the role admin that is not started.
func newKept(t *testing.T) *kept {
	k := &kept{bench: newAheadBench(t)}
	k.CodesTyped = true
	k.bench.Minter.Now = k.now
	k.AWS.Now = k.now
	k.Keeper = &mint.Keeper{
		Minter:   k.bench.Minter,
		Chain:    k.admin("admin"),
		Patience: 10 * time.Second,
		Every:    time.Millisecond,
		Tell: func(n mint.Notice) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told = append(k.told, n.Kind)
		},
	}
	return k
}

func (k *kept) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks++
	return time.Now().Add(k.clock)
}

// at sets all clocks to so long after the start.
func (k *kept) at(d time.Duration) {
	k.mu.Lock()
	k.clock = d
	k.mu.Unlock()
	k.cloud.SetClockOffset(d)
}

func (k *kept) start(t *testing.T, lazy bool) {
	t.Helper()
	if err := k.Start(t.Context(), lazy); err != nil {
		t.Fatal(err)
	}
}

func (k *kept) get(t *testing.T) cred.Credentials {
	t.Helper()
	got, err := k.Keeper.Credentials(t.Context())
	if err != nil {
		t.Fatalf("Credentials: %v", err)
	}
	return got
}

// until waits for something, and fails the test if it does not come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func (k *kept) untilTold(t *testing.T, kind mint.NoticeKind) {
	t.Helper()
	until(t, "a notice", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return slices.Contains(k.told, kind)
	})
}

// idle waits until the Keeper has looked at the clock some times, and so had
// every occasion to do something.
func (k *kept) idle(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	since := k.looks
	k.mu.Unlock()
	until(t, "looks at the clock", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.looks > since+20
	})
}

func (k *kept) wantTold(t *testing.T, want ...mint.NoticeKind) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.told, want) {
		t.Errorf("told %v, want %v", k.told, want)
	}
}

func TestAKeeperRenewsAhead(t *testing.T) {
	k := newKept(t)
	k.start(t, false)
	first := k.get(t)
	k.at(43 * time.Minute)
	if got := k.get(t); got != first {
		t.Error("they were renewed 17 minutes before they expire, want 16")
	}
	k.at(45 * time.Minute)
	until(t, "a renewal", func() bool { return k.get(t) != first })
	k.want(t, "GetSessionToken AssumeRole AssumeRole")
	k.wantAsked(t, 1)
	k.wantTold(t)

	// What was asked for since goes on being renewed; what was not, is let go.
	second := k.get(t)
	k.at(90 * time.Minute)
	until(t, "another renewal", func() bool { return k.get(t) != second })
	k.want(t, "GetSessionToken AssumeRole AssumeRole AssumeRole")
}

func TestAKeeperLetsGoWhatNobodyAsksFor(t *testing.T) {
	k := newKept(t)
	k.Tell = nil
	k.start(t, false)
	k.at(45 * time.Minute)
	until(t, "a renewal", func() bool { return len(k.cloud.Done()) == 3 })
	k.at(90 * time.Minute)
	k.idle(t)
	k.want(t, "GetSessionToken AssumeRole AssumeRole")
	k.at(2 * time.Hour)
	if left := k.get(t).Expires.Sub(k.now()); left < 59*time.Minute {
		t.Errorf("who asks again gets what is good for %v, want an hour", left)
	}
}

// A program that keeps what it gets for some time gets what lasts as long, where
// nobody has asked for the old in time.
func TestAKeeperForThoseWhoKeepCredentials(t *testing.T) {
	for _, least := range []time.Duration{0, 11 * time.Minute} {
		k := newKept(t)
		k.Tell = nil
		k.Least, k.bench.Minter.Least = least, least
		k.start(t, false)
		k.at(45 * time.Minute)
		until(t, "a renewal", func() bool { return len(k.cloud.Done()) == 3 })
		k.idle(t)
		k.at(102 * time.Minute) // nobody has asked since
		if left := k.get(t).Expires.Sub(k.now()); (left > 11*time.Minute) != (least > 0) {
			t.Errorf("where %v are needed what is handed out is good for %v", least, left)
		}
		until(t, "another renewal", func() bool { return len(k.cloud.Done()) == 4 })
	}
}

// Sessions of a quarter of an hour are renewed when they have as much left as is
// needed, and half of their time otherwise.
func TestAKeeperOfShortSessions(t *testing.T) {
	for _, test := range []struct{ least, due time.Duration }{{0, 450 * time.Second}, {11 * time.Minute, 4 * time.Minute}} {
		k := newKept(t)
		k.Tell = nil
		k.Chain.Steps[1].AssumeRole.Duration = 15 * time.Minute
		k.Least = test.least
		k.start(t, false)
		first := k.get(t)
		k.at(test.due - 30*time.Second)
		k.idle(t)
		if got := k.get(t); got != first {
			t.Errorf("where %v are needed they are renewed before %v", test.least, test.due)
		}
		k.at(test.due + 30*time.Second)
		until(t, "a renewal", func() bool { return k.get(t) != first })

		// What another has left in the cache is taken if it lasts as long.
		k.at(test.due + 7*time.Minute)
		m := *k.bench.Minter
		m.Least = test.least
		other := &mint.Keeper{Minter: &m, Chain: k.Chain, Least: test.least}
		if err := other.Start(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Credentials(t.Context()); err != nil || got.Expires.Sub(k.now()) < test.least {
			t.Errorf("where %v are needed there are credentials until %v, %v", test.least, got.Expires, err)
		}
	}
}

// A storm of requests at the moment when there is nothing left makes one call.
func TestAStormMakesOneCall(t *testing.T) {
	k := newKept(t)
	k.start(t, false)
	k.at(2 * time.Hour)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if got, err := k.Keeper.Credentials(t.Context()); err != nil || !got.Expires.After(k.now()) {
				t.Errorf("Credentials = %v until %v, %v", got, got.Expires, err)
			}
		})
	}
	wg.Wait()
	k.want(t, "GetSessionToken AssumeRole AssumeRole")
}

func TestALazyKeeperWaitsForTheFirstRequest(t *testing.T) {
	k := newKept(t)
	k.start(t, true)
	k.want(t, "")
	k.get(t)
	k.want(t, "GetSessionToken AssumeRole")
}

// short is the chain of the role admin from a session of an hour.
func (b *bench) short() chain.Chain {
	c := b.admin("admin")
	c.Steps[0].SessionToken.Duration = time.Hour
	return c
}

// While a question is open there are the old credentials, then an error; when it
// is answered there are new ones.
func TestAKeeperAsksForACodeOnce(t *testing.T) {
	k := newKept(t)
	k.Chain = k.short()
	k.Patience = 0
	k.start(t, false)
	first := k.get(t)
	answer := make(chan struct{})
	k.TokenCode = func(ctx context.Context, serial string) (string, error) {
		k.asked.Add(1)
		<-answer
		return k.cloud.Code(serial)
	}
	k.at(57 * time.Minute)
	k.untilTold(t, mint.CodeNow)
	if got := k.get(t); got != first {
		t.Error("while the question is open there are other credentials")
	}
	k.at(61 * time.Minute)
	_, err := k.Keeper.Credentials(t.Context())
	if e, ok := errors.AsType[*mint.EndedError](err); !ok || !e.Expired.Equal(first.Expires) || e.Err != nil {
		t.Errorf("after they have expired: %v, want an EndedError", err)
	}
	close(answer)
	until(t, "new credentials", func() bool { _, err := k.Keeper.Credentials(t.Context()); return err == nil })
	k.wantAsked(t, 2) // the first was before the Keeper began
	k.want(t, "GetSessionToken AssumeRole GetSessionToken AssumeRole")
}

// A question that was dismissed is not asked again. A code that is given to
// another process serves here, too.
func TestAKeeperThatGotNoCode(t *testing.T) {
	k := newKept(t)
	k.Chain = k.short()
	k.Patience = 0
	k.start(t, false)
	dismissed := errors.New("dismissed")
	k.TokenCode = func(context.Context, string) (string, error) {
		k.asked.Add(1)
		return "", dismissed
	}
	k.at(57 * time.Minute)
	k.untilTold(t, mint.NotRenewed)
	k.at(61 * time.Minute)
	k.untilTold(t, mint.Ended)
	for range 100 {
		if _, err := k.Keeper.Credentials(t.Context()); !errors.Is(err, dismissed) {
			t.Fatalf("Credentials: %v, want the reason", err)
		}
	}
	k.idle(t)
	k.wantAsked(t, 2)
	k.wantTold(t, mint.CodeNow, mint.NotRenewed, mint.Ended)

	other := k.process()
	other.Now, other.AWS.Now = k.now, k.now
	want, err := other.Credentials(t.Context(), k.short())
	if err != nil {
		t.Fatal(err)
	}
	k.untilTold(t, mint.Renewed)
	if got := k.get(t); got != want {
		t.Error("what another process has minted is not used")
	}
	k.wantAsked(t, 3)
}

// An open question is taken back when another process has got the code.
func TestAKeeperTakesItsQuestionBack(t *testing.T) {
	k := newKept(t)
	k.Chain = k.short()
	k.start(t, false)
	back := make(chan struct{})
	k.TokenCode = func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		close(back)
		return "", context.Cause(ctx)
	}
	k.at(57 * time.Minute)
	k.untilTold(t, mint.CodeNow)
	other := k.process()
	other.Now, other.AWS.Now = k.now, k.now
	want, err := other.Credentials(t.Context(), k.short())
	if err != nil {
		t.Fatal(err)
	}
	<-back
	until(t, "what the other process has minted", func() bool { return k.get(t) == want })
	k.wantTold(t, mint.CodeNow)
}

// A code that AWS does not take may be a slip of the finger.
func TestAKeeperAsksAgainAfterASlip(t *testing.T) {
	for _, test := range []struct {
		bad, asked int32
		want       mint.NoticeKind
	}{
		{2, 4, 0},
		{3, 4, mint.NotRenewed},
	} {
		k := newKept(t)
		k.Chain = k.short()
		k.start(t, false)
		first := k.get(t)
		k.TokenCode = func(_ context.Context, serial string) (string, error) {
			if k.asked.Add(1) <= 1+test.bad {
				return "000000", nil
			}
			return k.cloud.Code(serial)
		}
		k.at(57 * time.Minute)
		if test.want != 0 {
			k.untilTold(t, test.want)
		} else {
			until(t, "a renewal", func() bool { return k.get(t) != first })
		}
		k.wantAsked(t, test.asked)
	}
}

// It is said that a code will be needed before it is asked for, and only then.
func TestAKeeperWarns(t *testing.T) {
	k := newKept(t)
	k.Chain = k.short()
	k.start(t, false)
	k.at(38 * time.Minute)
	k.get(t)
	k.wantTold(t)
	// The role is renewed from the session that there is; after that the session
	// does not last.
	k.at(45 * time.Minute)
	first := k.get(t)
	until(t, "a renewal", func() bool { return k.get(t) != first })
	k.wantTold(t)
	k.at((45 + 40) * time.Minute)
	k.untilTold(t, mint.CodeSoon)
	k.wantTold(t, mint.CodeSoon)
	k.wantAsked(t, 1)
}

// What AWS can't do now is tried again, after a while. What is at hand is good
// until it expires.
func TestAKeeperTriesAgain(t *testing.T) {
	k := newKept(t)
	k.start(t, false)
	first := k.get(t)
	k.cloud.SetFault("AssumeRole", awstest.Fault{Kind: awstest.HTML200})
	k.at(45 * time.Minute)
	k.untilTold(t, mint.NotRenewed)
	tries := k.cloud.Count("AssumeRole")
	k.idle(t)
	if n := k.cloud.Count("AssumeRole"); n != tries {
		t.Errorf("it was tried again at once: %d calls, want %d", n, tries)
	}
	if got := k.get(t); got != first {
		t.Error("what is at hand is not handed out")
	}
	k.at(46 * time.Minute)
	until(t, "another try", func() bool { return k.cloud.Count("AssumeRole") > tries })
	k.cloud.SetFault("AssumeRole")
	after := 46 * time.Minute
	until(t, "new credentials", func() bool {
		after += time.Second // a try may be under way yet
		k.at(after)
		return k.get(t) != first
	})
	k.untilTold(t, mint.Renewed)
	k.wantTold(t, mint.NotRenewed, mint.Renewed)
}

// roles returns chains of two roles that begin with one session of an hour.
func (b *bench) roles() [2]chain.Chain {
	chains := [2]chain.Chain{b.short(), b.short()}
	role := *chains[1].Steps[1].AssumeRole
	role.RoleARN = "arn:aws:iam::" + awstest.Account + ":role/audit"
	chains[1].Steps[1].AssumeRole = &role
	return chains
}

// beside starts a Keeper of another chain of the same person.
func (k *kept) beside(t *testing.T, c chain.Chain) *mint.Keeper {
	t.Helper()
	other := k.For(c)
	other.Patience = 0
	if err := other.Start(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return other
}

// Two roles that begin with the same session take one code.
func TestKeepersOfOneSessionAskOnce(t *testing.T) {
	k := newKept(t)
	chains := k.roles()
	k.Chain, k.Patience, k.Turn = chains[0], 0, make(chan struct{}, 1)
	k.start(t, false)
	other := k.beside(t, chains[1])
	first := [2]cred.Credentials{k.get(t), {}}
	var err error
	if first[1], err = other.Credentials(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.wantAsked(t, 1)
	answer := make(chan struct{})
	k.TokenCode = func(ctx context.Context, serial string) (string, error) {
		k.asked.Add(1)
		<-answer
		return k.cloud.Code(serial)
	}
	k.at(57 * time.Minute)
	until(t, "a question", func() bool { return k.asked.Load() == 2 })
	for range 10 {
		k.idle(t) // both have looked
	}
	close(answer)
	until(t, "new credentials of both", func() bool {
		got, err := other.Credentials(t.Context())
		return err == nil && got != first[1] && k.get(t) != first[0]
	})
	k.wantAsked(t, 2)
	k.want(t, "GetSessionToken AssumeRole AssumeRole GetSessionToken AssumeRole AssumeRole")
}

// Who has dismissed a question gets credentials all the same once the session
// that they begin with is there, for whatever profile.
func TestAKeeperFindsTheSessionOfAnotherProfile(t *testing.T) {
	k := newKept(t)
	chains := k.roles()
	k.Chain = chains[0]
	k.start(t, false)
	first := k.get(t)
	k.TokenCode = func(context.Context, string) (string, error) {
		k.asked.Add(1)
		return "", errors.New("dismissed")
	}
	k.at(57 * time.Minute)
	k.untilTold(t, mint.NotRenewed)
	other := k.process()
	other.Now, other.AWS.Now = k.now, k.now
	if _, err := other.Credentials(t.Context(), chains[1]); err != nil {
		t.Fatal(err)
	}
	k.untilTold(t, mint.Renewed)
	if k.get(t) == first {
		t.Error("they are the old ones")
	}
	k.wantAsked(t, 3)
}

// A person's no is no, whatever was asked.
func TestAKeeperTakesNoForAnAnswer(t *testing.T) {
	for _, refused := range []bool{true, false} {
		k := newKept(t)
		k.Chain = k.short()
		k.Refused = func(err error) bool { return refused && errors.Is(err, store.ErrDenied) }
		k.start(t, false)
		k.bench.Minter.Store = denied{k.bench.store}
		k.at(57 * time.Minute)
		k.untilTold(t, mint.NotRenewed)
		k.at(58 * time.Minute)
		if refused {
			k.idle(t)
			k.wantAsked(t, 2)
		} else {
			until(t, "another try", func() bool { return k.asked.Load() == 3 })
		}
	}
}

// denied is a store of which the person lets nobody have the access keys.
type denied struct{ store.Store }

func (d denied) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if key.Kind == store.AccessKey {
		return nil, store.ErrDenied
	}
	return d.Store.Get(ctx, key)
}

// A code is not lost to the failure of another process.
func TestAKeeperKeepsACodeThatWasNotSent(t *testing.T) {
	k := newKept(t)
	k.Chain = k.short()
	waits, typed, failed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	k.Waiting = func(mint.Holder) { close(waits) }
	k.start(t, false)
	first := k.get(t)
	k.TokenCode = func(ctx context.Context, serial string) (string, error) {
		k.asked.Add(1)
		<-typed
		return k.cloud.Code(serial)
	}
	other := k.process()
	other.Now, other.AWS.Now = k.now, k.now
	other.TokenCode = func(context.Context, string) (string, error) {
		close(typed)
		<-failed
		return "", errors.New("dismissed")
	}
	k.at(57 * time.Minute)
	k.untilTold(t, mint.CodeNow)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := other.Credentials(t.Context(), k.short()); err == nil {
			t.Error("the other process has got credentials")
		}
	})
	<-typed
	<-waits
	close(failed)
	wg.Wait()
	until(t, "a renewal", func() bool { return k.get(t) != first })
	k.wantAsked(t, 2)
}
