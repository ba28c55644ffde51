//go:build unix

package secretservice_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
	"kura/internal/store/live"
	"kura/internal/store/secretservice"
)

func key(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }

func put(t testing.TB, s store.Store, name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), key(name), []byte(data)); err != nil {
		t.Fatalf("Put(%q): %v", name, err)
	}
}

func want(t testing.TB, s store.Store, name, want string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key(name)); err != nil || string(got) != want {
		t.Errorf("Get(%q) = %q, %v, want %q", name, got, err, want)
	}
}

func wantList(t testing.TB, s store.Store, want ...string) {
	t.Helper()
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %q, %v, want %q", got, err, want)
	}
}

// wantError checks that an error is each of some, and says each of some texts.
func wantError(t testing.TB, err error, all ...any) {
	t.Helper()
	for _, want := range all {
		switch want := want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("error = %v, want %v", err, want)
			}
		case string:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, want %q in it", err, want)
			}
		}
	}
}

func wantNote(t testing.TB, s *secretservice.Store, want string) {
	t.Helper()
	if got, err := s.Check(t.Context()); err != nil || got != want {
		t.Errorf("Check = %q, %v, want %q", got, err, want)
	}
}

// answers returns a function for Options.Ask that gives them one after the
// other: texts, or errors. The last one goes on for ever. It counts in asked.
func answers(asked *atomic.Int32, all ...any) func(context.Context, string) (string, error) {
	return func(ctx context.Context, question string) (string, error) {
		n := int(asked.Add(1))
		if err, ok := all[min(n, len(all))-1].(error); ok {
			return "", err
		}
		return all[min(n, len(all))-1].(string), nil
	}
}

// startLocked starts gnome-keyring and locks its default collection, in which
// there is the item "a", as it is after a login without a password.
func startLocked(t testing.TB) *live.GnomeKeyring {
	t.Helper()
	g := startGnome(t, true)
	put(t, secretservice.Open(secretservice.Options{Address: g.Address}), "a", "data")
	if err := g.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestLockedAndNobodyToAsk(t *testing.T) {
	g := startLocked(t)
	s := secretservice.Open(secretservice.Options{Address: g.Address})
	start := time.Now()
	wantList(t, s, "a")
	for name, want := range map[string]bool{"a": true, "b": false} {
		if got, err := s.Has(t.Context(), key(name)); err != nil || got != want {
			t.Errorf("Has(%q) of a locked store = %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := s.Get(t.Context(), key("b"))
	wantError(t, err, store.ErrNotFound)
	_, getErr := s.Get(t.Context(), key("a"))
	_, checkErr := s.Check(t.Context())
	for _, err := range []error{
		getErr, checkErr, s.Unlock(t.Context()),
		s.Put(t.Context(), key("a"), nil), s.Put(t.Context(), key("b"), nil), s.Delete(t.Context(), key("a")),
	} {
		wantError(t, err, store.ErrLocked, secretservice.ErrNobody,
			"the default collection of the Secret Service is locked: there is nobody to ask")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if err := g.Unlock(t.Context(), "/org/freedesktop/secrets/collection/login"); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "data")
	wantNote(t, s, "unlocked")
}

func TestPasswords(t *testing.T) {
	g := startLocked(t)
	canceled := errors.New("canceled by the user")
	for _, c := range []struct {
		name    string
		answers []any
		asked   int32
		want    []any
	}{
		{"right", []any{live.Password}, 1, nil},
		{"third time", []any{"x", "y", live.Password}, 3, nil},
		{"never", []any{"x", "y", "z", live.Password}, 3, []any{store.ErrLocked, secretservice.ErrWrongPassword, "is locked: wrong password"}},
		{"the same again", []any{"x", "x", live.Password}, 2, []any{store.ErrLocked, secretservice.ErrWrongPassword}},
		{"not answered", []any{"x", canceled}, 2, []any{store.ErrLocked, canceled}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := g.Lock(t.Context(), "/org/freedesktop/secrets/collection/login"); err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int32
			s := secretservice.Open(secretservice.Options{Address: g.Address, Ask: answers(&asked, c.answers...)})
			wantNote(t, s, "locked")
			data, err := s.Get(t.Context(), key("a"))
			if c.want == nil && (err != nil || string(data) != "data") {
				t.Errorf("Get = %q, %v", data, err)
			}
			wantError(t, err, c.want...)
			if asked.Load() != c.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), c.asked)
			}
		})
	}
}

// However many goroutines need the collection at once, the person is asked once.
func TestOneQuestion(t *testing.T) {
	g := startLocked(t)
	var asked atomic.Int32
	s := secretservice.Open(secretservice.Options{Address: g.Address, Ask: answers(&asked, live.Password)})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { want(t, s, "a", "data") })
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
}

// A terminal where nobody types, and a caller who has gone, end the waiting.
func TestNoAnswerOnTheTerminal(t *testing.T) {
	g := startLocked(t)
	s := secretservice.Open(secretservice.Options{Address: g.Address, PromptTimeout: 20 * time.Millisecond,
		Ask: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }})
	_, err := s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, secretservice.ErrUnanswered)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	s = secretservice.Open(secretservice.Options{Address: g.Address,
		Ask: func(ctx context.Context, _ string) (string, error) { cancel(gone); <-ctx.Done(); return "", ctx.Err() }})
	_, err = s.Get(ctx, key("a"))
	wantError(t, err, gone)
	if errors.Is(err, store.ErrLocked) {
		t.Errorf("error = %v, want one that does not wrap ErrLocked", err)
	}
}

func TestNoDefaultCollection(t *testing.T) {
	g := startGnome(t, false)
	nobody := secretservice.Open(secretservice.Options{Address: g.Address})
	wantList(t, nobody)
	_, err := nobody.Check(t.Context())
	for _, err := range []error{err, nobody.Put(t.Context(), key("a"), nil)} {
		wantError(t, err, store.ErrLocked, secretservice.ErrNobody, "the default collection of the Secret Service is not there yet")
	}
	if err := nobody.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock of a collection that is not there: %v", err)
	}
	var asked atomic.Int32
	o := secretservice.Options{Address: g.Address, Ask: answers(&asked, "")}
	wantError(t, secretservice.Open(o).Put(t.Context(), key("a"), nil), store.ErrLocked, secretservice.ErrEmptyPassword)
	asked.Store(0)
	o.Ask = answers(&asked, "one", "two", "three", live.Password, live.Password, live.Password, "again")
	s := secretservice.Open(o)
	wantNote(t, s, "not made yet")
	put(t, s, "a", "data")
	if asked.Load() != 6 {
		t.Errorf("asked %d times for a new password, want 6", asked.Load())
	}
	want(t, nobody, "a", "data")
	if err := g.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNote(t, s, "locked")
	asked.Store(3)
	want(t, s, "a", "data")
}

func TestOwnCollection(t *testing.T) {
	g := startGnome(t, true)
	var asked atomic.Int32
	const label = "kura, tëst/1"
	o := secretservice.Options{Address: g.Address, Collection: label, Ask: answers(&asked, live.Password)}
	s := secretservice.Open(o)
	wantNote(t, s, "not made yet")
	if err := s.Lock(t.Context()); err != nil {
		t.Errorf("Lock of a collection that is not there: %v", err)
	}
	put(t, s, "a", "data")
	if id, err := s.ID(t.Context()); id != "collection:"+label || err != nil {
		t.Errorf("ID = %q, %v", id, err)
	}
	standard := secretservice.Open(secretservice.Options{Address: g.Address})
	wantList(t, standard)
	wantError(t, standard.Lock(t.Context()), secretservice.ErrShared)
	login := secretservice.Open(secretservice.Options{Address: g.Address, Collection: "login"})
	wantNote(t, login, "unlocked")
	wantError(t, login.Lock(t.Context()), secretservice.ErrShared)

	asked.Store(0)
	want(t, s, "a", "data")
	if err := s.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNote(t, s, "locked")
	wantList(t, s, "a")
	want(t, s, "a", "data")
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
	// After a restart it has another path, and the label still.
	if err := g.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "data")
	o.Collection = "/org/freedesktop/secrets/collection/nowhere"
	wantError(t, secretservice.Open(o).Put(t.Context(), key("a"), nil), store.ErrUnavailable, "has no collection /org")
}

// withDisplay starts gnome-keyring, locked, with a display for its windows.
func withDisplay(t testing.TB) (*live.GnomeKeyring, *live.Display) {
	t.Helper()
	d := must[*live.Display](t)(live.StartDisplay(t.Context(), t.TempDir()))
	t.Cleanup(d.Stop)
	g := startLocked(t)
	if err := g.ShowOn(t.Context(), d.Name); err != nil {
		t.Fatal(err)
	}
	return g, d
}

// A service that can't show its window says that it was dismissed.
func TestDismissed(t *testing.T) {
	g := startLocked(t)
	s := secretservice.Open(secretservice.Options{Address: g.Address, Display: true})
	wantNote(t, s, "locked")
	_, err := s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, secretservice.ErrDismissed)
	fresh := startGnome(t, false)
	s = secretservice.Open(secretservice.Options{Address: fresh.Address, Display: true})
	wantError(t, s.Put(t.Context(), key("a"), nil), store.ErrLocked, secretservice.ErrDismissed)
}

func TestWindow(t *testing.T) {
	t.Parallel() // it mostly waits for people
	g, d := withDisplay(t)
	said := make(chan string, 10)
	o := secretservice.Options{Address: g.Address, Display: true, Say: func(text string) { said <- text }}

	// Nobody answers.
	o.PromptTimeout = 1200 * time.Millisecond
	_, err := secretservice.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, secretservice.ErrUnanswered)
	if len(said) != 1 || <-said != "waiting for an answer in the window of the keyring" {
		t.Error("it was not said that a window is waiting")
	}

	// The caller goes.
	o.PromptTimeout = 0
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = secretservice.Open(o).Get(ctx, key("a"))
	wantError(t, err, context.DeadlineExceeded)
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v to end the waiting", took)
	}

	// Some program unlocks the collection while several wait for it.
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { want(t, secretservice.Open(o), "a", "data") })
	}
	for range 3 {
		<-said // after a second
	}
	const login = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	if err := g.Unlock(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	wg.Wait()

	// The person answers.
	if err := g.Lock(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { want(t, secretservice.Open(o), "a", "data") })
	<-said
	must[struct{}](t)(struct{}{}, d.Type(t.Context(), live.Password))
	wg.Wait()

	// Nobody answers what the password of a new collection shall be, and then
	// the service ends.
	o.Collection, o.PromptTimeout = "new", 2500*time.Millisecond
	err = secretservice.Open(o).Put(t.Context(), key("a"), nil)
	wantError(t, err, store.ErrLocked, secretservice.ErrUnanswered, `the collection "new" of the Secret Service is not there yet`)
	<-said
	o.PromptTimeout = 0
	wg.Go(func() {
		err := secretservice.Open(o).Put(t.Context(), key("a"), nil)
		wantError(t, err, store.ErrUnavailable, "it ended before it was answered")
	})
	<-said
	g.Process.Kill()
	wg.Wait()
}

// A service that is not there, that has died, or does not answer.
func TestServiceFails(t *testing.T) {
	b := must[*live.Bus](t)(live.StartBus(t.Context(), t.TempDir()))
	t.Cleanup(b.Stop)
	s := secretservice.Open(secretservice.Options{Address: b.Address})
	_, err := s.Check(t.Context())
	wantError(t, err, store.ErrUnavailable, "no service org.freedesktop.secrets on the session bus")
	if _, ok := errors.AsType[*sessionbus.NoServiceError](err); !ok {
		t.Errorf("error = %v, want a NoServiceError", err)
	}
	_, err = secretservice.Open(secretservice.Options{}).Check(t.Context())
	wantError(t, err, store.ErrUnavailable, "there is no D-Bus session bus here")

	g := startGnome(t, true)
	s = secretservice.Open(secretservice.Options{Address: g.Address, CallTimeout: 50 * time.Millisecond})
	put(t, s, "a", "data")
	if err := g.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*secretservice.Store{s, secretservice.Open(secretservice.Options{Address: g.Address, CallTimeout: 50 * time.Millisecond})} {
		_, err = s.Get(t.Context(), key("a"))
		wantError(t, err, store.ErrUnavailable, "no answer from org.freedesktop.secrets within 50ms")
	}
	if err := g.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "data")

	// One that was started anew knows nothing of the session.
	if err := g.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Unlock(t.Context(), "/org/freedesktop/secrets/collection/login"); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "data")
	g.Process.Kill()
	for {
		if _, err = s.Get(t.Context(), key("a")); err != nil {
			break
		}
	}
	wantError(t, err, store.ErrUnavailable)
}
