package helper_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/helper"
	"kura/internal/store/live"
	"kura/internal/store/program"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user, and as a
// credential helper.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "docker-credential-") {
		os.Exit(credentialHelper(os.Getenv("TEST_HELPER"), os.Args[1]))
	}
	if program := os.Getenv("TEST_PROGRAM"); program != "" {
		s := helper.Open(helper.Options{Program: program, Environ: os.Environ()})
		if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// credentialHelper is a helper that keeps entries in a directory, as badly as
// helpers may: it writes in place and in two halves. What else is bad about it
// is its mode.
func credentialHelper(mode, action string) int {
	stdin, _ := io.ReadAll(os.Stdin)
	if mode, ok := strings.CutSuffix(mode, " get"); ok && action == "get" {
		os.CreateTemp(os.Getenv("TEST_HELPER_DIR"), "asked")
		return credentialHelper(mode, action)
	}
	switch mode {
	case "text":
		fmt.Println("Usage: something else", "hunter2")
		return 0
	case "html":
		fmt.Println(`{"ServerURL": 1, "Username": "hunter2"`)
		return 0
	case "endless":
		for {
			fmt.Println(`{"ServerURL": "x"}`)
		}
	case "hang":
		time.Sleep(time.Minute)
	case "refuse":
		fmt.Println("hunter2")
		fmt.Fprintln(os.Stderr, "first line\nno\tway "+strings.Repeat("x", 500))
		return 3
	case "locked":
		fmt.Println("Cannot get secret of a locked object hunter2")
		return 1
	}
	var c struct{ ServerURL, Username, Secret string }
	c.ServerURL = string(stdin)
	if action == "store" {
		if err := json.Unmarshal(stdin, &c); err != nil {
			return 1
		}
	}
	dir := os.Getenv("TEST_HELPER_DIR")
	file := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(c.ServerURL))))
	switch action {
	case "store":
		if mode == "no parts" && strings.Contains(strings.TrimPrefix(c.ServerURL, "https://kura.invalid/"), ".") {
			return 1
		}
		if mode == "windows" && len(c.Secret) > 1280 {
			fmt.Println("The stub received bad data.")
			return 1
		}
		stdin, _ := json.Marshal(c)
		half := len(stdin) / 2
		f, err := os.Create(file)
		if err != nil {
			return 1
		}
		f.Write(stdin[:half])
		f.Write(stdin[half:])
	case "get":
		data, err := os.ReadFile(file)
		if err != nil {
			fmt.Println("credentials not found in native keychain")
			return 1
		}
		if json.Unmarshal(data, &c) != nil {
			return 2
		}
		os.Stdout.Write(data)
	case "erase":
		if mode == "no parts" {
			return 1
		}
		if os.Remove(file) != nil {
			return 1
		}
	case "list":
		users := map[string]string{"https://index.docker.io/v1/": "me", "https://kura.invalid/access-key/x": "kura"}
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			data, _ := os.ReadFile(filepath.Join(dir, f.Name()))
			if json.Unmarshal(data, &c) != nil {
				continue
			}
			if mode == "normalise" {
				c.ServerURL = strings.TrimPrefix(c.ServerURL, "https://") + "/"
			}
			users[c.ServerURL] = c.Username
		}
		json.NewEncoder(os.Stdout).Encode(users)
	}
	return 0
}

// quick returns the path of this test, or of one like it without -race, with
// which a process takes five times as long to start.
var quick = sync.OnceValues(func() (string, error) {
	exe, err := os.Executable()
	info, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return exe, err
	}
	plain := exe + ".plain" // in a directory that ends with the test
	out, err := exec.Command("go", "test", "-c", "-o", plain).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go test -c: %w: %s", err, out)
	}
	return plain, err
})

// ours returns the options of a store in the test's own helper.
func ours(t testing.TB, mode string) helper.Options {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	exe, err := quick()
	if err == nil {
		err = os.Symlink(exe, filepath.Join(bin, "docker-credential-ours"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return helper.Options{
		Program: "ours",
		Environ: append(os.Environ(), "PATH="+bin, "TEST_HELPER="+mode, "TEST_HELPER_DIR="+dir),
	}
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

// contract runs the contract test on stores whose options make returns.
func contract(t *testing.T, make func(*testing.T) helper.Options) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		o := make(t)
		return storetest.Place{
			Open: func() store.Opened { return helper.Open(o) },
			Vanish: func() {
				if o.Program == "ours" {
					os.Remove(filepath.Join(program.Getenv(o.Environ, "PATH"), "docker-credential-ours"))
				}
			},
			Process: func(args ...string) *exec.Cmd {
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(slices.Clip(o.Environ), "TEST_PROGRAM="+o.Program)
				return cmd
			},
			Slow: true,
		}
	})
}

func TestContract(t *testing.T) {
	contract(t, func(t *testing.T) helper.Options { return ours(t, "normalise") })
}

// missing skips the test, or fails where all must run.
func missing(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("KURA_TEST_STORES") == "all" {
		t.Fatal(name + " is not installed")
	}
	t.Skip(name + " is not installed")
}

func wantStarted(t testing.TB, err error) {
	t.Helper()
	if e, ok := errors.AsType[*live.MissingError](err); ok {
		missing(t, e.Program)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name)
	}
}

// shortDir returns a directory whose path is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kura")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSecretService(t *testing.T) {
	wantProgram(t, "docker-credential-secretservice")
	k, err := live.StartGnomeKeyring(t.Context(), shortDir(t), true)
	wantStarted(t, err)
	t.Cleanup(k.Stop)
	o := helper.Options{Program: "secretservice", Environ: append(os.Environ(), k.Environ...)}
	testReal(t, o)
	if os.Getenv("KURA_TEST_STORES") == "all" {
		contract(t, func(t *testing.T) helper.Options {
			s := helper.Open(o)
			for _, kind := range []store.Kind{store.AccessKey, store.CacheKey} {
				names, err := s.List(t.Context(), kind)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					if err := s.Delete(t.Context(), store.Key{Kind: kind, Name: name}); err != nil {
						t.Fatal(err)
					}
				}
			}
			return o
		})
	}
}

const passphrase = "correct horse"

func TestPass(t *testing.T) {
	wantProgram(t, "docker-credential-pass")
	wantProgram(t, "pass")
	g, err := live.StartGPG(t.Context(), shortDir(t), passphrase)
	wantStarted(t, err)
	t.Cleanup(g.Stop)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".gpg-id"), []byte(g.User+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := helper.Options{
		Program:  "pass",
		Terminal: true,
		Environ:  append(append(os.Environ(), g.Environ...), "PASSWORD_STORE_DIR="+dir),
	}
	s := helper.Open(o)
	put(t, s, "a", "data")
	if n := g.Asked(); n != 0 {
		t.Errorf("the user was asked %d times to write", n)
	}

	nobody := o
	nobody.Terminal = false
	start := time.Now()
	_, err = helper.Open(nobody).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("with nobody to ask it took %v", took)
	}
	if err := s.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	want(t, helper.Open(nobody), "a", "data")
	if err := s.Delete(t.Context(), key("a")); err != nil {
		t.Error(err)
	}
	testReal(t, o)
	if n := g.Asked(); n != 1 {
		t.Errorf("the user was asked %d times, want 1", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "docker-credential-helpers/*")); err != nil || len(left) > 0 {
		t.Errorf("there is still %q, %v", left, err)
	}
}

// testReal tests a store that is empty, and empty again afterwards, with what
// real helpers differ in. The whole contract takes them minutes, as each call is
// a process or more and a list reads all there is.
func testReal(t *testing.T, o helper.Options) {
	s := helper.Open(o)
	put(t, s, "short", "old")
	put(t, s, "short", "{\"a\":1}\n")
	want(t, s, "short", "{\"a\":1}\n")
	names := []string{"..", "A b", "a b", "big", "short",
		strings.Repeat("x", 254) + "/", strings.Repeat("x", 255), strings.Repeat("ü", 127)}
	big := strings.Repeat("\x00\xff", 32<<10)
	put(t, s, "big", big)
	want(t, s, "big", big)
	for _, name := range names {
		put(t, s, name, name)
	}
	for _, name := range names {
		want(t, s, name, name)
	}
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, names) {
		t.Errorf("List = %q, %v, want %q", got, err, names)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, own := helper.Open(o), strings.Repeat("o", i+1)
			put(t, s, "short", own)
			if got, err := s.Get(t.Context(), key("short")); err != nil || strings.Trim(string(got), "o") != "" {
				t.Errorf("Get = %q, %v", got, err)
			}
			put(t, s, own, own)
			if err := s.Delete(t.Context(), key(own)); err != nil {
				t.Errorf("Delete(%q): %v", own, err)
			}
		})
	}
	wg.Wait()
	for _, name := range names {
		if err := s.Delete(t.Context(), key(name)); err != nil {
			t.Errorf("Delete(%q): %v", name, err)
		}
	}
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || len(got) != 0 {
		t.Errorf("List = %q, %v, want none", got, err)
	}
}

// Where an entry takes no more than the Windows Credential Manager does, long
// values are split.
func TestSplit(t *testing.T) {
	o := ours(t, "windows")
	s := helper.Open(o)
	for _, n := range []int{0, 100, 880, 900, 1300, 10000, 64 << 10} {
		data := strings.Repeat("x", n)
		put(t, s, "a", data)
		want(t, s, "a", data)
	}
	put(t, s, "a", "")
	if err := s.Put(t.Context(), key("a"), make([]byte, 64<<10+1)); err == nil {
		t.Error("Put of more than 64 KiB succeeded")
	}
	if n := len(files(t, o)); n != 1 {
		t.Errorf("there are %d entries, want 1", n)
	}
	if err := s.Delete(t.Context(), key("a")); err != nil {
		t.Error(err)
	}
	if n := len(files(t, o)); n != 0 {
		t.Errorf("there are %d entries, want none", n)
	}
}

// An item is not there until all of its parts are.
func TestNotWhole(t *testing.T) {
	s := helper.Open(ours(t, "no parts"))
	wantError(t, s.Put(t.Context(), key("a"), make([]byte, 64<<10)), store.ErrUnavailable)
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) > 0 {
		t.Errorf("List = %q, %v, want none", names, err)
	}
	put(t, s, "a", "short")
	want(t, s, "a", "short")
}

// files returns the paths of the entries of the test's own helper.
func files(t testing.TB, o helper.Options) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(program.Getenv(o.Environ, "TEST_HELPER_DIR"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// An item whose entries were changed or lost is damaged.
func TestDamaged(t *testing.T) {
	for name, bad := range map[string]func(secret string) string{
		"cut":      func(s string) string { return s[:len(s)-4] },
		"changed":  func(s string) string { return s[:len(s)-4] + "AAAA" },
		"foreign":  func(string) string { return "hunter2" },
		"part":     func(s string) string { return strings.Replace(s, "kura1.1.", "kura1.2.", 1) },
		"negative": func(s string) string { return strings.Replace(s, "kura1.1.", "kura1.-1.", 1) },
	} {
		o := ours(t, "")
		s := helper.Open(o)
		put(t, s, "a", "some data of some length")
		file := files(t, o)[0]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ ServerURL, Username, Secret string }
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		c.Secret = bad(c.Secret)
		data, _ = json.Marshal(c)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(t.Context(), key("a"))
		wantError(t, err, store.ErrDamaged, "https://kura.invalid/access-key/a/")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes a secret: %v", name, err)
		}
		put(t, s, "a", "mended")
		want(t, s, "a", "mended")
	}
}

// A version whose writer died before the end is not seen, and neither are those
// that its writer did not come to erase, once it is listed.
func TestDeadWriter(t *testing.T) {
	o := ours(t, "")
	s := helper.Open(o)
	put(t, s, "a", "old")
	old, err := os.ReadFile(files(t, o)[0])
	if err != nil {
		t.Fatal(err)
	}
	name := files(t, o)[0]
	put(t, s, "a", "new")
	if err := os.WriteFile(name, old, 0o600); err != nil { // it was not erased
		t.Fatal(err)
	}
	want(t, s, "a", "new")
	for _, file := range files(t, o) { // the new one is torn
		if file != name {
			data, _ := os.ReadFile(file)
			if err := os.WriteFile(file, []byte(strings.Replace(string(data), "kura1.1.", "kura1.7.", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	want(t, s, "a", "old")
	put(t, s, "a", "newer")
	want(t, s, "a", "newer")
	if n := len(files(t, o)); n != 1 {
		t.Errorf("there are %d entries, want 1", n)
	}
	if err := s.Delete(t.Context(), key("a")); err != nil {
		t.Error(err)
	}
	_, err = s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrNotFound)
}

// A newest version that can't be read for another reason than that it is damaged
// is an error at once: there is nobody to ask again for each older one, and none
// of them is the item.
func TestUnreadable(t *testing.T) {
	for mode, want := range map[string]error{"locked get": store.ErrLocked, "hang get": store.ErrUnavailable} {
		o := ours(t, "")
		s := helper.Open(o)
		put(t, s, "a", "old")
		name := files(t, o)[0]
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "a", "new")
		if err := os.WriteFile(name, old, 0o600); err != nil { // it was not erased
			t.Fatal(err)
		}
		o.Environ = append(o.Environ, "TEST_HELPER="+mode)
		o.CallTimeout = time.Second
		_, err = helper.Open(o).Get(t.Context(), key("a"))
		wantError(t, err, want)
		if asked := files(t, o); len(asked) != 3 {
			t.Errorf("%s: there are %q, want two entries and one question", mode, asked)
		}
	}
}

func TestNasty(t *testing.T) {
	for _, c := range []struct {
		mode string
		want []any
	}{
		{"text", []any{store.ErrUnavailable, helper.ErrNotHelper}},
		{"html", []any{store.ErrUnavailable, helper.ErrNotHelper}},
		{"endless", []any{store.ErrUnavailable, program.ErrTooMuch}},
		{"hang", []any{store.ErrUnavailable, "docker-credential-ours was not done after 300ms"}},
		{"refuse", []any{store.ErrUnavailable, "docker-credential-ours list: exit status 3: no?way xxx"}},
		{"locked", []any{store.ErrLocked, "it could not unlock"}},
	} {
		t.Run(c.mode, func(t *testing.T) {
			o := ours(t, c.mode)
			o.CallTimeout = 300 * time.Millisecond
			if c.mode == "endless" {
				o.CallTimeout = 5 * time.Second
			}
			s := helper.Open(o)
			_, getErr := s.Get(t.Context(), key("a"))
			_, listErr := s.List(t.Context(), store.AccessKey)
			_, hasErr := s.Has(t.Context(), key("a"))
			_, checkErr := s.Check(t.Context())
			for _, err := range []error{getErr, listErr, hasErr, checkErr, s.Unlock(t.Context()),
				s.Put(t.Context(), key("a"), nil), s.Delete(t.Context(), key("a"))} {
				wantError(t, err, c.want...)
				if text := fmt.Sprint(err); strings.Contains(text, "hunter2") || len(text) > 400 {
					t.Errorf("the error quotes what was printed: %v", err)
				}
			}
		})
	}
}

func TestMissing(t *testing.T) {
	for _, name := range []string{"ours", "/nonexistent/docker-credential-x", "./docker-credential-x"} {
		_, err := helper.Open(helper.Options{Program: name}).List(t.Context(), store.AccessKey)
		wantError(t, err, store.ErrUnavailable, name)
		if _, ok := errors.AsType[*program.MissingError](err); !ok {
			t.Errorf("error = %v, want a MissingError", err)
		}
	}
}
