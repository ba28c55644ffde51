package mint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/mint"
)

// newAheadBench is a bench of which the callers want 16 minutes of validity, and
// where a person types token codes.
func newAheadBench(t *testing.T) *bench {
	b := newBench(t)
	b.Ahead, b.CodesTyped = 16*time.Minute, true
	return b
}

// another is process, with the same clock and wishes.
func (b *bench) another() *mint.Minter {
	m := b.process()
	m.Ahead, m.CodesTyped, m.TokenCode = b.Ahead, b.CodesTyped, b.TokenCode
	m.Now, m.AWS.Now = b.Now, b.AWS.Now
	return m
}

// at sets all clocks to so long after the start.
func (b *bench) at(d time.Duration) {
	b.cloud.SetClockOffset(d)
	b.Now = func() time.Time { return time.Now().Add(d) }
	b.AWS.Now = b.Now
}

func (b *bench) wantAsked(t *testing.T, want int32) {
	t.Helper()
	if got := b.asked.Load(); got != want {
		t.Errorf("%d token codes were asked for, want %d", got, want)
	}
}

func TestARoleSessionIsRenewedEarly(t *testing.T) {
	b := newAheadBench(t)
	first := b.mint(t, b.admin("admin"))
	b.at(43 * time.Minute)
	if got := b.mint(t, b.admin("admin")); got != first {
		t.Error("it was renewed with 17 minutes left, want 16")
	}
	b.at(45 * time.Minute)
	got := b.mint(t, b.admin("admin"))
	if left := got.Expires.Sub(b.Now()); left < 59*time.Minute {
		t.Errorf("with 15 minutes left there is one that is good for %v, want an hour", left)
	}
	if again := b.mint(t, b.admin("admin")); again != got {
		t.Error("it was not cached")
	}
	b.want(t, "GetSessionToken AssumeRole AssumeRole")
	b.wantAsked(t, 1)
}

// What expires is the role's session. The one that it is assumed with is good
// for that until MinTTL.
func TestARoleIsRenewedFromASessionThatIsAboutToEnd(t *testing.T) {
	b := newAheadBench(t)
	c := b.admin("admin")
	c.Steps[0].SessionToken.Duration = time.Hour
	b.mint(t, c)
	b.at(54 * time.Minute)
	b.mint(t, c)
	b.want(t, "GetSessionToken AssumeRole AssumeRole")

	// Once it has ended, a code is needed, which nobody is asked for early.
	b.at((54 + 50) * time.Minute)
	b.mint(t, c)
	b.wantAsked(t, 1)
	b.at((54 + 56) * time.Minute)
	b.mint(t, c)
	b.wantAsked(t, 2)
	b.want(t, "GetSessionToken AssumeRole AssumeRole GetSessionToken AssumeRole")
}

func TestShortSessionsAreCached(t *testing.T) {
	b := newAheadBench(t)
	c := b.admin("admin")
	c.Steps[1].AssumeRole.Duration = 15 * time.Minute
	b.mint(t, c)
	b.at(7 * time.Minute)
	b.mint(t, c)
	b.want(t, "GetSessionToken AssumeRole")
	b.at(8 * time.Minute)
	b.mint(t, c)
	b.want(t, "GetSessionToken AssumeRole AssumeRole")
}

func TestWhoTypesCodesIsNotAskedEarly(t *testing.T) {
	for _, typed := range []bool{true, false} {
		b := newAheadBench(t)
		b.CodesTyped = typed
		c := b.admin("base")
		c.Steps = c.Steps[:1]
		b.mint(t, c)
		clear(b.store.gets)
		b.at(8*time.Hour - 10*time.Minute)
		b.mint(t, c)
		want := int32(2)
		if typed {
			want = 1
			if len(b.store.gets) > 1 { // the cache key
				t.Errorf("the store was asked for %v, want nothing but the cache key", b.store.gets)
			}
		}
		b.wantAsked(t, want)
		b.at(8*time.Hour - 4*time.Minute)
		b.mint(t, c)
		b.wantAsked(t, 2)
	}
}

func TestAnEarlyRenewalMayFail(t *testing.T) {
	b := newAheadBench(t)
	first := b.mint(t, b.admin("admin"))
	b.cloud.SetFault("AssumeRole", awstest.Fault{Kind: awstest.Throttle})
	b.cloud.ResetCalls()
	b.at(45 * time.Minute)
	if got := b.mint(t, b.admin("admin")); got != first {
		t.Errorf("got %v, want those that are cached", got)
	}
	if log := b.log.String(); !strings.Contains(log, "could not be renewed yet") {
		t.Errorf("no word of it: %s", log)
	}
	tries := b.cloud.Count("AssumeRole")
	b.at(49 * time.Minute)
	if got := b.mint(t, b.admin("admin")); got != first {
		t.Errorf("got %v, want those that are cached", got)
	}
	if n := b.cloud.Count("AssumeRole"); n != tries || n == 0 {
		t.Errorf("AWS was asked %d times, then %d times, want no more for five minutes", tries, n)
	}

	// Afterwards it is tried again.
	b.cloud.SetFault("AssumeRole")
	b.at(51 * time.Minute)
	if got := b.mint(t, b.admin("admin")); got == first {
		t.Error("it is not tried again")
	}

	// It is no longer early when MinTTL wants others, and an error then is one.
	b.cloud.SetFault("AssumeRole", awstest.Fault{Kind: awstest.Throttle})
	b.at((51 + 50) * time.Minute)
	b.mint(t, b.admin("admin"))
	b.at((51 + 56) * time.Minute)
	if _, err := b.Credentials(t.Context(), b.admin("admin")); err == nil {
		t.Error("no error with 4 minutes left, want that of AWS")
	}
}

// Of many that ask early, one renews what they ask for, and none waits for it.
func TestNobodyWaitsForAnEarlyRenewal(t *testing.T) {
	b := newAheadBench(t)
	b.CodesTyped = false
	c := b.admin("base")
	c.Steps = c.Steps[:1]
	first := b.mint(t, c)
	b.at(8*time.Hour - 10*time.Minute)

	entered, leave := make(chan struct{}), make(chan struct{})
	b.TokenCode = func(_ context.Context, serial string) (string, error) {
		close(entered) // which can be done once
		<-leave
		return b.cloud.Code(serial)
	}
	done := make(chan cred.Credentials)
	go func() {
		got, err := b.Credentials(t.Context(), c)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	<-entered
	var wg sync.WaitGroup
	for range 20 {
		m := b.another()
		wg.Go(func() {
			if got, err := m.Credentials(t.Context(), c); got != first || err != nil {
				t.Errorf("another process gets %v, %v, want what is cached", got, err)
			}
		})
	}
	wg.Wait()
	close(leave)
	renewed := <-done
	if got, err := b.another().Credentials(t.Context(), c); got != renewed || err != nil {
		t.Errorf("later another process gets %v, %v, want what was renewed", got, err)
	}
	b.want(t, "GetSessionToken GetSessionToken")
}

func TestWhatAnotherProcessHasRenewedIsTaken(t *testing.T) {
	b := newAheadBench(t)
	b.mint(t, b.admin("admin"))
	b.at(45 * time.Minute)
	second := b.another()
	// The clock is looked at for the cache first, then to see what is due.
	var renewed cred.Credentials
	looks := 0
	second.Now = func() time.Time {
		if looks++; looks == 2 {
			renewed = b.mint(t, b.admin("admin"))
		}
		return b.Now()
	}
	if got, err := second.Credentials(t.Context(), b.admin("admin")); got != renewed || err != nil {
		t.Errorf("got %v, %v, want what the first has renewed", got, err)
	}
	b.want(t, "GetSessionToken AssumeRole AssumeRole")
}

// A process may well return the same credentials until they expire.
func TestAProcessIsNotRunAtEachCall(t *testing.T) {
	b := newAheadBench(t)
	ran := 0
	expires := time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339)
	b.Run = func(context.Context, string, string) ([]byte, error) {
		ran++
		return fmt.Appendf(nil, `{"Version":1,"AccessKeyId":"ASIAEXAMPLEEXAMPLE12","SecretAccessKey":"s","Expiration":%q}`, expires), nil
	}
	c := chain.Chain{Profile: "p", Source: chain.Source{Process: &chain.Process{Command: "x", Profile: "p"}}}
	for range 5 {
		b.mint(t, c)
	}
	if ran != 2 {
		t.Errorf("the process ran %d times, want twice: for the first call, and once in five minutes", ran)
	}
	b.at(6 * time.Minute)
	b.Run = func(context.Context, string, string) ([]byte, error) { return nil, errors.New("out of order") }
	b.mint(t, c)
}
