//go:build unix

package kwallet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/kwallet"
	"kura/internal/store/live"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user.
func TestMain(m *testing.M) {
	address := os.Getenv("TEST_ADDRESS")
	if address == "" {
		os.Exit(m.Run())
	}
	s := kwallet.Open(kwallet.Options{Address: address})
	if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// process returns a command that runs TestMain's work.
func process(o kwallet.Options, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_ADDRESS="+o.Address)
	return cmd
}

// must skips a test for which a program is missing, unless it has to run.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		missing, ok := errors.AsType[*live.MissingError](err)
		switch {
		case ok && os.Getenv("KURA_TEST_STORES") != "all":
			t.Skip(missing)
		case err != nil:
			t.Fatal(err)
		}
		return v
	}
}

// start starts KWallet with an open wallet "kdewallet".
func start(t testing.TB) *live.KWallet {
	t.Helper()
	k := must[*live.KWallet](t)(live.StartKWallet(t.Context(), t.TempDir()))
	t.Cleanup(k.Stop)
	return k
}

func TestContract(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		k := start(t)
		o := kwallet.Options{Address: k.Address}
		return storetest.Place{
			Open:    func() store.Opened { return kwallet.Open(o) },
			Vanish:  k.Stop,
			Process: func(args ...string) *exec.Cmd { return process(o, args...) },
			Slow:    true,
		}
	})
}

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
		t.Errorf("Get(%q) = %.40q, %v, want %.40q", name, got, err, want)
	}
}

func wantNote(t testing.TB, s store.Opened, want string) {
	t.Helper()
	if got, err := s.Check(t.Context()); err != nil || got != want {
		t.Errorf("Check = %q, %v, want %q", got, err, want)
	}
}

// wantError checks that an error is each of some, and says each of some texts.
func wantError(t testing.TB, err error, all ...any) {
	t.Helper()
	for _, want := range all {
		switch want := want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("error = %v, want one that is %q", err, want)
			}
		case string:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, want one that says %q", err, want)
			}
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A locked wallet is not opened where nobody would see the window, and tells
// what it can. What Put has returned nil for is there after a crash.
func TestLocked(t *testing.T) {
	k := start(t)
	o := kwallet.Options{Address: k.Address}
	put(t, kwallet.Open(o), "a", "data")
	check(t, k.Restart(t.Context())) // by SIGKILL
	s := kwallet.Open(o)
	wantNote(t, s, "locked")
	for name, want := range map[string]bool{"a": true, "b": false} {
		if has, err := s.Has(t.Context(), key(name)); err != nil || has != want {
			t.Errorf("Has(%q) of a locked wallet = %v, %v, want %v", name, has, err, want)
		}
	}
	_, err := s.Get(t.Context(), key("b"))
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.Delete(t.Context(), key("b")), store.ErrNotFound)
	_, err = s.Get(t.Context(), key("a"))
	for _, err := range []error{err, s.Put(t.Context(), key("a"), nil), s.Delete(t.Context(), key("a")), s.Unlock(t.Context())} {
		wantError(t, err, store.ErrLocked, kwallet.ErrNobody, `the wallet "kdewallet" is locked: there is no display to ask for the password on`)
	}
	names, err := s.List(t.Context(), store.AccessKey)
	wantError(t, err, store.ErrLocked, kwallet.ErrSilent, `the wallet "kdewallet" is locked: it tells no names until it is unlocked`)
	if names != nil {
		t.Errorf("List of a locked wallet = %q", names)
	}
	check(t, k.OpenWallet(t.Context(), "kdewallet"))
	want(t, s, "a", "data")
	wantNote(t, s, "unlocked")
}

// A wallet that is not there is empty, and is not made by asking for it.
func TestMissingWallet(t *testing.T) {
	k := start(t)
	s := kwallet.Open(kwallet.Options{Address: k.Address, Wallet: "work"})
	wantNote(t, s, "not made yet")
	check(t, s.Unlock(t.Context()))
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) > 0 {
		t.Errorf("List = %q, %v, want none", names, err)
	}
	_, err := s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.Put(t.Context(), key("a"), nil), store.ErrLocked, kwallet.ErrNobody, `the wallet "work" is not there yet`)
	wantNote(t, s, "not made yet")
}

// A store that was open finds its items after the wallet was locked and
// unlocked again, be it by the user or by a crash of the daemon.
func TestOpenedAgain(t *testing.T) {
	k := start(t)
	o := kwallet.Options{Address: k.Address}
	s := kwallet.Open(o)
	put(t, s, "a", "data")
	for name, lock := range map[string]func() error{
		"locked":  func() error { return k.CloseWallet(t.Context(), "kdewallet") },
		"crashed": func() error { return k.Restart(t.Context()) },
	} {
		again := func() {
			check(t, lock())
			check(t, k.OpenWallet(t.Context(), "kdewallet"))
		}
		again()
		want(t, s, "a", "data")
		again()
		if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
			t.Errorf("List after it was %s = %q, %v, want one name", name, names, err)
		}
		again()
		put(t, s, "b", "more")
		want(t, kwallet.Open(o), "b", "more")
		again()
		check(t, s.Delete(t.Context(), key("b")))
		again()
		_, err := s.Get(t.Context(), key("b"))
		wantError(t, err, store.ErrNotFound)
		check(t, lock())
		_, err = s.Get(t.Context(), key("a"))
		wantError(t, err, store.ErrLocked)
		check(t, k.OpenWallet(t.Context(), "kdewallet"))
	}
}

// KWallet forgets who has left the bus: a wallet that is set to be locked when
// nobody uses it must not stay open because of us.
func TestHandleEndsWithTheProcess(t *testing.T) {
	k := start(t)
	o := kwallet.Options{Address: k.Address}
	check(t, k.Configure(t.Context(), "Leave Open=false"))
	if out, err := process(o, "write", "1", "100").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := kwallet.Open(o)
	timeout := time.After(10 * time.Second)
	for {
		if note, err := s.Check(t.Context()); err != nil || note == "locked" {
			check(t, err)
			return
		}
		select {
		case <-timeout:
			t.Fatal("the wallet is open though nobody uses it")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A window that nobody answers is waited for until the deadline, or until the
// caller has gone.
func TestUnanswered(t *testing.T) {
	k := start(t)
	o := kwallet.Options{Address: k.Address, Display: true}
	put(t, kwallet.Open(o), "a", "data")
	check(t, k.Restart(t.Context()))

	o.PromptTimeout = 1200 * time.Millisecond
	said := make(chan string, 10)
	o.Say = func(text string) { said <- text }
	start := time.Now()
	_, err := kwallet.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, kwallet.ErrUnanswered, `the wallet "kdewallet" is locked: the question was not answered in time`)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if got, want := <-said, "waiting for an answer in the window of KWallet"; got != want {
		t.Errorf("Say(%q), want %q", got, want)
	}

	o.PromptTimeout = 0
	s := kwallet.Open(o)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantError(t, s.Put(ctx, key("a"), nil), context.DeadlineExceeded)
	// Those who need no answer are not held up by those who wait for one.
	ctx, cancel = context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { wantError(t, s.Unlock(ctx), context.Canceled) })
	<-said
	wantNote(t, s, "locked")
	_, err = s.List(t.Context(), store.AccessKey)
	wantError(t, err, kwallet.ErrSilent)
	cancel()
	wg.Wait()

	wg.Go(func() { wantError(t, s.Unlock(t.Context()), store.ErrUnavailable, "it ended before it was answered") })
	<-said
	check(t, k.Process.Kill())
	wg.Wait()
}

// The real windows, on a screen that nobody sees.
func TestWindow(t *testing.T) {
	d := must[*live.Display](t)(live.StartDisplay(t.Context(), t.TempDir()))
	t.Cleanup(d.Stop)
	k := start(t)
	o := kwallet.Options{Address: k.Address, Display: true}
	put(t, kwallet.Open(o), "a", "data")
	check(t, k.ShowOn(t.Context(), d))
	answer := func(password string) chan error {
		answered := make(chan error)
		go func() { answered <- k.Answer(t.Context(), d, password) }()
		return answered
	}
	answered := answer("")
	s := kwallet.Open(o)
	_, err := s.Get(t.Context(), key("a"))
	must[bool](t)(true, <-answered)
	wantError(t, err, store.ErrLocked, kwallet.ErrDismissed, `the wallet "kdewallet" is locked: the question was dismissed`)

	// One answer is enough for all goroutines.
	answered = answer(live.Password)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { want(t, s, "a", "data") })
	}
	wg.Wait()
	must[bool](t)(true, <-answered)

	check(t, k.CloseWallet(t.Context(), "kdewallet"))
	answered = answer(live.Password)
	check(t, s.Unlock(t.Context()))
	must[bool](t)(true, <-answered)
	wantNote(t, s, "unlocked")
}

func TestUnavailable(t *testing.T) {
	hanging, err := net.Listen("unix", filepath.Join(t.TempDir(), "bus"))
	check(t, err)
	t.Cleanup(func() { hanging.Close() })
	bus := must[*live.Bus](t)(live.StartBus(t.Context(), t.TempDir()))
	t.Cleanup(bus.Stop)
	for name, c := range map[string]struct {
		address string
		want    any
	}{
		"no address": {"", "there is no D-Bus session bus here"},
		"no bus":     {"unix:path=/nonexistent/bus", "no D-Bus session bus at unix:path=/nonexistent/bus"},
		"no KWallet": {bus.Address, "no service org.kde.kwalletd6 or org.kde.kwalletd5 on the session bus: none runs or can be started"},
	} {
		t.Run(name, func(t *testing.T) { wantUnavailable(t, kwallet.Options{Address: c.address}, c.want) })
	}
	t.Run("hanging bus", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := kwallet.Open(kwallet.Options{Address: "unix:path=" + hanging.Addr().String()}).Check(ctx)
		wantError(t, err, context.DeadlineExceeded)
	})
	t.Run("hanging KWallet", func(t *testing.T) {
		k := start(t)
		check(t, k.Process.Signal(syscall.SIGSTOP))
		o := kwallet.Options{Address: k.Address, CallTimeout: 50 * time.Millisecond}
		wantUnavailable(t, o, "no answer from org.kde.kwalletd5 within 50ms")
	})
	t.Run("disabled", func(t *testing.T) {
		// It ends as soon as it is started.
		k := start(t)
		check(t, k.Configure(t.Context(), "Enabled=false"))
		path, err := exec.LookPath("kwalletd5")
		check(t, err)
		check(t, k.Serve("org.kde.kwalletd5", "/usr/bin/env QT_QPA_PLATFORM=offscreen "+path))
		wantUnavailable(t, kwallet.Options{Address: k.Address}, "no service org.kde.kwalletd5 on the session bus: ")
	})
}

// wantUnavailable checks that all methods say the same.
func wantUnavailable(t *testing.T, o kwallet.Options, all ...any) {
	t.Helper()
	s := kwallet.Open(o)
	_, getErr := s.Get(t.Context(), key("a"))
	_, listErr := s.List(t.Context(), store.AccessKey)
	_, hasErr := s.Has(t.Context(), key("a"))
	_, checkErr := s.Check(t.Context())
	for _, err := range []error{getErr, listErr, hasErr, checkErr, s.Put(t.Context(), key("a"), nil), s.Delete(t.Context(), key("a"))} {
		wantError(t, err, append(all, store.ErrUnavailable)...)
	}
}

func TestID(t *testing.T) {
	for want, o := range map[string]kwallet.Options{
		"wallet:/kura":           {},
		"wallet:work/aws%2fkeys": {Wallet: "work", Folder: "aws/keys"},
	} {
		if got, err := kwallet.Open(o).ID(t.Context()); err != nil || got != want {
			t.Errorf("ID = %q, %v, want %q", got, err, want)
		}
	}
}
