package pass_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/live"
	"kura/internal/store/pass"
	"kura/internal/store/program"
	"kura/internal/store/storetest"
)

const passphrase = "correct horse"

// TestMain lets the test run itself as another process of the user.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TEST_DIR"); dir != "" {
		if err := otherProcess(dir, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// otherProcess does what storetest asks for, or gets the item that the arguments
// name.
func otherProcess(dir string, args []string) error {
	s := pass.Open(pass.Options{Dir: dir, Environ: os.Environ(), Terminal: true})
	if args[0] == "get" {
		_, err := s.Get(context.Background(), key(args[1]))
		return err
	}
	return storetest.Work(context.Background(), s, args, os.Stdout)
}

func key(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }

// wantPrograms skips the test, or fails where all must run, without pass.
func wantPrograms(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name)
		}
	}
}

func missing(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("KURA_TEST_STORES") == "all" {
		t.Fatal(name + " is not installed")
	}
	t.Skip(name + " is not installed")
}

func startGPG(t testing.TB, passphrase string) *live.GPG {
	t.Helper()
	wantPrograms(t, "pass", "git")
	dir, err := os.MkdirTemp("", "kura") // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g, err := live.StartGPG(t.Context(), dir, passphrase)
	if e, ok := errors.AsType[*live.MissingError](err); ok {
		missing(t, e.Program)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// options are those of a new password store for a key.
func options(t testing.TB, g *live.GPG) pass.Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	write(t, filepath.Join(dir, ".gpg-id"), g.User+"\n")
	return pass.Options{
		Dir:      dir,
		Terminal: true, // gpg-agent has a pinentry that answers
		Environ:  append(os.Environ(), g.Environ...),
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

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

// run runs a program as the user would and returns what it prints.
func run(t testing.TB, o pass.Options, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(slices.Clip(o.Environ), "PASSWORD_STORE_DIR="+o.Dir)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

func TestContract(t *testing.T) {
	g := startGPG(t, passphrase)
	storetest.Test(t, func(t *testing.T) storetest.Place {
		o := options(t, g)
		return storetest.Place{
			Open:   func() store.Opened { return pass.Open(o) },
			Asked:  g.Asked,
			Vanish: func() { os.RemoveAll(o.Dir) },
			Process: func(args ...string) *exec.Cmd {
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(slices.Clip(o.Environ), "TEST_DIR="+o.Dir)
				return cmd
			},
			Slow: true,
		}
	})
}

// What the user sees in his password store, which may be a git repository, and
// in a subfolder with a key of its own.
func TestBesidePass(t *testing.T) {
	g := startGPG(t, "")
	o := options(t, g)
	if _, err := g.Run(t.Context(), "", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "work@example.invalid", "future-default"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(o.Dir, "work/.gpg-id"), "work@example.invalid\n")
	gitInit(t, o)
	o.Prefix = "work"
	s := pass.Open(o)
	put(t, s, "prod", "one")
	put(t, s, "prod", "{\"a\":1}\n")
	put(t, s, strings.Repeat("x", 255), "long")
	wantCommitted := func() {
		t.Helper()
		if status := run(t, o, "", "pass", "git", "status", "--porcelain"); status != "" {
			t.Errorf("git status of the password store: %s", status)
		}
	}
	wantCommitted()
	if got := run(t, o, "", "pass", "show", "work/kura/access-key/prod"); got != "{\"a\":1}\n" {
		t.Errorf("pass show prints %q", got)
	}
	run(t, o, "of pass", "pass", "insert", "-m", "-f", "work/kura/access-key/dev")
	want(t, s, "dev", "of pass")
	run(t, o, "", "pass", "init", "-p", "work", g.User) // encrypts for another key
	want(t, s, "prod", "{\"a\":1}\n")
	if err := s.Delete(t.Context(), key("dev")); err != nil {
		t.Error(err)
	}
	wantCommitted()
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, []string{"prod", strings.Repeat("x", 255)}) {
		t.Errorf("List = %q, %v", got, err)
	}
	if id, _ := s.ID(t.Context()); id != "dir:"+o.Dir+"/work" {
		t.Errorf("ID = %q", id)
	}
}

// Ten processes at once ask once.
func TestOneUnlock(t *testing.T) {
	g := startGPG(t, passphrase)
	o := options(t, g)
	put(t, pass.Open(o), "a", "data")
	if n := g.Asked(); n != 0 {
		t.Errorf("Put asked %d times", n)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "get", "a")
			cmd.Env = append(slices.Clip(o.Environ), "TEST_DIR="+o.Dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("get in another process: %v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if n := g.Asked(); n != 1 {
		t.Errorf("the user was asked %d times, want 1", n)
	}
}

func TestLocked(t *testing.T) {
	g := startGPG(t, passphrase)
	o := options(t, g)
	s := pass.Open(o)
	if err := s.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock of an empty store: %v", err)
	}
	put(t, s, "a", "data")
	wantNote := func(want string) {
		t.Helper()
		if note, err := s.Check(t.Context()); err != nil || note != want {
			t.Errorf("Check = %q, %v, want %q", note, err, want)
		}
	}
	wantNote("locked")

	nobody := o
	nobody.Terminal = false
	start := time.Now()
	_, err := pass.Open(nobody).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, pass.ErrNobody)
	wantError(t, pass.Open(nobody).Unlock(t.Context()), store.ErrLocked, pass.ErrNobody)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("with nobody to ask it took %v", took)
	}
	if n := g.Asked(); n != 0 {
		t.Errorf("the user was asked %d times", n)
	}

	check(t, g.AnswerPassphrase("wrong"))
	_, err = s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, pass.ErrNotUnlocked)
	check(t, g.AnswerCancel())
	wantError(t, s.Unlock(t.Context()), store.ErrLocked, pass.ErrNotUnlocked)

	check(t, g.AnswerNever())
	late := o
	late.PromptTimeout = 1500 * time.Millisecond // the first try takes some of it
	_, err = pass.Open(late).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, pass.ErrNotUnlocked)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = s.Get(ctx, key("a"))
	wantError(t, err, context.DeadlineExceeded)

	check(t, g.AnswerPassphrase(passphrase))
	check(t, s.Unlock(t.Context()))
	wantNote("unlocked")
	want(t, pass.Open(nobody), "a", "data")

	check(t, g.Lock(t.Context()))
	check(t, os.Remove(filepath.Join(g.Home, "pinentry")))
	_, err = s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, pass.ErrNoPinentry)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestUnusable(t *testing.T) {
	g := startGPG(t, "")
	other := startGPG(t, "")
	for _, c := range []struct {
		name string
		bad  func(o *pass.Options)
		get  []any // of an item that is there
		put  []any
	}{
		{"no pass", func(o *pass.Options) { o.Command = "/nonexistent/pass" },
			[]any{store.ErrUnavailable, "no program /nonexistent/pass"}, []any{store.ErrUnavailable}},
		{"no PATH", func(o *pass.Options) { o.Environ = append(o.Environ, "PATH=.:") },
			[]any{store.ErrUnavailable, "no program pass"}, []any{store.ErrUnavailable}},
		{"no gpg", func(o *pass.Options) { o.Environ = append(o.Environ, "PATH="+withoutGPG(t)) },
			[]any{store.ErrUnavailable, "no program gpg"}, []any{store.ErrUnavailable, "no program gpg"}},
		{"not initialized", func(o *pass.Options) { os.Remove(filepath.Join(o.Dir, ".gpg-id")) },
			nil, []any{store.ErrUnavailable, ".gpg-id"}},
		{"no public key", func(o *pass.Options) {
			write(t, filepath.Join(o.Dir, ".gpg-id"), "nobody@example.invalid\n")
		}, nil, []any{store.ErrUnavailable, "can't encrypt to nobody@example.invalid"}},
		{"no secret key", func(o *pass.Options) { o.Environ = append(o.Environ, other.Environ...) },
			[]any{store.ErrUnavailable, "no secret key"}, nil},
		{"cut in the header", func(o *pass.Options) { cut(t, o, 30) },
			[]any{store.ErrDamaged, "access-key/a.gpg"}, nil},
		{"cut in the data", func(o *pass.Options) { cut(t, o, -5) }, []any{store.ErrDamaged}, nil},
		{"empty", func(o *pass.Options) { cut(t, o, 0) }, []any{store.ErrDamaged}, nil},
		{"not of gpg", func(o *pass.Options) {
			write(t, filepath.Join(o.Dir, "kura/access-key/a.gpg"), "AKIA in the clear\n")
		}, []any{store.ErrDamaged}, nil},
		{"denied", func(o *pass.Options) {
			check(t, os.RemoveAll(filepath.Join(o.Dir, "kura")))
			write(t, filepath.Join(o.Dir, "kura"), "")
		}, []any{store.ErrUnavailable}, []any{store.ErrUnavailable}},
		{"hangs", func(o *pass.Options) {
			o.Command, o.CallTimeout, o.PromptTimeout = script(t, "sleep 60"), 200*time.Millisecond, 200*time.Millisecond
		}, []any{store.ErrUnavailable, "was not done after 200ms"}, []any{store.ErrUnavailable, "200ms"}},
		{"endless", func(o *pass.Options) { o.Command = script(t, "yes") },
			[]any{store.ErrUnavailable, program.ErrTooMuch}, []any{program.ErrTooMuch}},
		{"does nothing", func(o *pass.Options) { o.Command = script(t, "exit 0") },
			nil, []any{store.ErrUnavailable, "pass insert did nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, g)
			put(t, pass.Open(o), "a", "data")
			c.bad(&o)
			s := pass.Open(o)
			if c.get != nil {
				_, err := s.Get(t.Context(), key("a"))
				wantError(t, err, c.get...)
				_, err = s.Check(t.Context())
				if c.name != "hangs" || err != nil {
					wantError(t, err, c.get...)
				}
			}
			if c.put != nil {
				err := s.Put(t.Context(), key("a"), []byte("new"))
				wantError(t, err, c.put...)
				if strings.Contains(fmt.Sprint(err), "new") {
					t.Errorf("Put quotes the data: %v", err)
				}
			}
			if temps, _ := filepath.Glob(filepath.Join(o.Dir, "kura/*/.tmp*")); len(temps) > 0 {
				t.Errorf("Put has left %q", temps)
			}
		})
	}
}

// cut shortens the file of the item, to so many bytes or by so many.
func cut(t *testing.T, o *pass.Options, n int) {
	t.Helper()
	file := filepath.Join(o.Dir, "kura/access-key/a.gpg")
	info, err := os.Stat(file)
	if err == nil && n < 0 {
		n += int(info.Size())
	}
	if err == nil {
		err = os.Truncate(file, int64(n))
	}
	check(t, err)
}

// script returns the path of a program that does what a command line says.
func script(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pass")
	write(t, path, "#!/bin/sh\n"+line+"\n")
	check(t, os.Chmod(path, 0o700))
	return path
}

// withoutGPG returns a PATH that has what pass needs but gpg.
func withoutGPG(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pass", "bash", "env", "getopt", "dirname", "mkdir", "mv", "rm", "rmdir", "base64", "which", "sed", "cat", "tty", "git", "find"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		check(t, err)
	}
	return dir
}

// A writer that was killed before it moved its entry leaves one that nobody
// sees, and that the next writer removes.
func TestLeftOvers(t *testing.T) {
	g := startGPG(t, "")
	o := options(t, g)
	run(t, o, "half", "pass", "insert", "-m", "-f", "kura/access-key/.tmp-X")
	s := pass.Open(o)
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 0 {
		t.Errorf("List = %q, %v, want none", names, err)
	}
	put(t, s, "a", "data")
	want(t, s, "a", "data")
	if temps, _ := filepath.Glob(filepath.Join(o.Dir, "kura/*/.tmp*")); len(temps) > 0 {
		t.Errorf("there is still %q", temps)
	}
}

// Tools for dotfiles put links in a password store.
func TestLinkedID(t *testing.T) {
	g := startGPG(t, passphrase)
	o := options(t, g)
	id, real := filepath.Join(o.Dir, ".gpg-id"), filepath.Join(t.TempDir(), "id")
	check(t, os.Rename(id, real))
	check(t, os.Symlink(real, id))
	s := pass.Open(o)
	put(t, s, "a", "data")
	want(t, s, "a", "data")
	check(t, s.Delete(t.Context(), key("a")))
}

// What git does for pass, such as a hook that pushes, may take its time.
func TestSlowHook(t *testing.T) {
	g := startGPG(t, "")
	o := options(t, g)
	gitInit(t, o)
	hook := filepath.Join(o.Dir, ".git/hooks/post-commit")
	write(t, hook, "#!/bin/sh\nsleep 1.5\n")
	check(t, os.Chmod(hook, 0o700))
	o.CallTimeout = time.Second
	put(t, pass.Open(o), "a", "data")
	check(t, pass.Open(o).Delete(t.Context(), key("a")))
	if status := run(t, o, "", "pass", "git", "status", "--porcelain"); status != "" {
		t.Errorf("git status of the password store: %s", status)
	}
}

// gitInit makes a git repository of a password store.
func gitInit(t testing.TB, o pass.Options) {
	t.Helper()
	for _, args := range [][]string{
		{"git", "init"}, {"git", "config", "user.email", "a@example.invalid"}, {"git", "config", "user.name", "a"},
		{"git", "add", "."}, {"git", "commit", "-m", "start"},
	} {
		run(t, o, "", append([]string{"pass"}, args...)...)
	}
}

// The user's own options for gpg count.
func TestOwnOptions(t *testing.T) {
	g := startGPG(t, passphrase)
	o := options(t, g)
	put(t, pass.Open(o), "a", "data")
	file := filepath.Join(t.TempDir(), "passphrase")
	write(t, file, passphrase)
	o.Terminal = false
	o.Environ = append(o.Environ, "PASSWORD_STORE_GPG_OPTS=--pinentry-mode loopback --passphrase-file "+file)
	want(t, pass.Open(o), "a", "data")
}

// Without a .gpg-id there is no lock, so nothing of others is swept up.
func TestKeyOfEnvironment(t *testing.T) {
	g := startGPG(t, "")
	o := options(t, g)
	check(t, os.Remove(filepath.Join(o.Dir, ".gpg-id")))
	o.Environ = append(o.Environ, "PASSWORD_STORE_KEY="+g.User)
	other := filepath.Join(o.Dir, "kura/access-key/.tmp-X.gpg")
	write(t, other, "")
	s := pass.Open(o)
	put(t, s, "a", "data")
	want(t, s, "a", "data")
	if _, err := os.Stat(other); err != nil {
		t.Errorf("what another may be writing is gone: %v", err)
	}
	_, err := s.Check(t.Context())
	check(t, err)
}

func TestEntries(t *testing.T) {
	g := startGPG(t, "")
	o := options(t, g)
	run(t, o, `{"Key":"prod"}`, "pass", "insert", "-m", "-f", "work/prod")
	run(t, o, "x", "pass", "insert", "-m", "-f", "mail")
	o.Prefix = "work"
	put(t, pass.Open(o), "ours", "data")
	for prefix, want := range map[string][]string{"work": {"prod"}, "": {"mail", "work/kura/access-key/ours", "work/prod"}, "none": nil} {
		o.Prefix = prefix
		if got, err := pass.OpenEntries(o).List(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("with prefix %q: List = %q, %v, want %q", prefix, got, err, want)
		}
	}
	o.Prefix = "work"
	if got, err := pass.OpenEntries(o).Get(t.Context(), "prod"); err != nil || string(got) != `{"Key":"prod"}` {
		t.Errorf("Get = %q, %v", got, err)
	}
	_, err := pass.OpenEntries(o).Get(t.Context(), "missing")
	wantError(t, err, store.ErrNotFound)
}

func TestDir(t *testing.T) {
	for _, c := range []struct {
		o    pass.Options
		want string
	}{
		{pass.Options{Dir: "/d", Environ: []string{"PASSWORD_STORE_DIR=/e"}, Home: "/h"}, "dir:/d"},
		{pass.Options{Environ: []string{"PASSWORD_STORE_DIR=/e"}, Home: "/h"}, "dir:/e"},
		{pass.Options{Home: "/h"}, "dir:/h/.password-store"},
		{pass.Options{Home: "/h", Prefix: "/a/../../b/"}, "dir:/h/.password-store/b"},
	} {
		if got, err := pass.Open(c.o).ID(t.Context()); err != nil || got != c.want {
			t.Errorf("ID = %q, %v, want %q", got, err, c.want)
		}
	}
}
