//go:build linux

package keychain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebitengine/purego"

	"kura/internal/store"
	"kura/internal/store/keychain"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TEST_DIR"); dir != "" {
		lib = os.Getenv("TEST_LIBRARY")
		setDir(dir)
		s := keychain.Open(keychain.Options{CoreFoundation: lib, Security: lib})
		if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

// lib is the path of the stand-in for Security and CoreFoundation, or "" if
// there is no C compiler to make it.
var lib string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kura-keychain-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if cc, err := exec.LookPath("cc"); err == nil {
		lib = filepath.Join(dir, "security.so")
		if out, err := exec.Command(cc, "-shared", "-fPIC", "-O1", "-o", lib, "testdata/security.c").CombinedOutput(); err != nil {
			fmt.Printf("cc: %v: %s", err, out)
			return 1
		}
	}
	return m.Run()
}

// A system is a stand-in for macOS, and its user: see testdata/security.c.
type system struct {
	t   *testing.T
	dir string
}

// newSystem returns one with a login keychain. It checks in the end that every
// object of CoreFoundation was released, once.
func newSystem(t *testing.T) *system {
	switch {
	case lib == "" && os.Getenv("KURA_TEST_STORES") == "all":
		t.Fatal("there is no C compiler cc")
	case lib == "":
		t.Skip("there is no C compiler cc")
	}
	s := &system{t, t.TempDir()}
	s.write("login.keychain", "")
	live := setDir(s.dir)
	before := live()
	t.Cleanup(func() {
		if n := live() - before; n != 0 && !t.Failed() {
			t.Errorf("%d objects were not released", n)
		}
	})
	return s
}

// setDir says where the system is that the library works on, and returns the
// function that counts the library's objects.
func setDir(dir string) (live func() int) {
	handle, err := purego.Dlopen(lib, purego.RTLD_NOW)
	if err != nil {
		panic(err)
	}
	var set func(string)
	purego.RegisterLibFunc(&set, handle, "fake_dir")
	set(dir)
	purego.RegisterLibFunc(&live, handle, "fake_live")
	return live
}

func (s *system) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// asked returns how many questions there were.
func (s *system) asked() int {
	text, _ := os.ReadFile(filepath.Join(s.dir, "asked"))
	return len(text)
}

func (s *system) options(name string) keychain.Options {
	return keychain.Options{Keychain: name, CoreFoundation: lib, Security: lib}
}

func (s *system) open() *keychain.Store { return keychain.Open(s.options("")) }

func TestContract(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		s := newSystem(t)
		return storetest.Place{
			Open:  func() store.Opened { return s.open() },
			Asked: s.asked,
			Process: func(args ...string) *exec.Cmd {
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(os.Environ(), "TEST_DIR="+s.dir, "TEST_LIBRARY="+lib)
				return cmd
			},
		}
	})
}

// A keychain file of our own is made at the first Put, with one question.
func TestContractFile(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		s := newSystem(t)
		return storetest.Place{
			Open:   func() store.Opened { return keychain.Open(s.options("work")) },
			Asked:  s.asked,
			Vanish: func() { os.Remove(filepath.Join(s.dir, "work.keychain")) },
		}
	})
}

var prod = store.Key{Kind: store.AccessKey, Name: "prod"}

// methods are the calls of a store. Those that ask are the ones that need what
// is secret.
func methods(t *testing.T, s *keychain.Store) map[string]error {
	_, getErr := s.Get(t.Context(), prod)
	_, listErr := s.List(t.Context(), prod.Kind)
	_, hasErr := s.Has(t.Context(), prod)
	_, checkErr := s.Check(t.Context())
	return map[string]error{
		"Get": getErr, "Put": s.Put(t.Context(), prod, nil), "Unlock": s.Unlock(t.Context()),
		"List": listErr, "Has": hasErr, "Check": checkErr,
	}
}

func TestLocked(t *testing.T) {
	for _, c := range []struct {
		name, ui string
		want     []error
		text     string
	}{
		{"canceled", "c", []error{store.ErrDenied, keychain.ErrDismissed}, "User canceled the operation (OSStatus -128)"},
		{"wrong password", "w", []error{store.ErrDenied}, "is not correct (OSStatus -25293)"},
		{"no screen", "n", []error{store.ErrLocked, keychain.ErrNoInteraction}, "User interaction is not allowed (OSStatus -25308)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys := newSystem(t)
			s := sys.open()
			check(t, s.Put(t.Context(), prod, []byte("data")))
			sys.write("login.keychain.locked", "")
			sys.write("ui", c.ui)
			for method, err := range methods(t, s) {
				switch method {
				case "List", "Has", "Check":
					check(t, err)
					continue
				}
				for _, want := range c.want {
					if !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", method, err, want)
					}
				}
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v, want %q", method, err, c.text)
				}
			}
			if asked := sys.asked(); asked != 3 {
				t.Errorf("the user was asked %d times, want 3", asked)
			}
			wantNote(t, s, "locked")
		})
	}
}

func TestUnlock(t *testing.T) {
	sys := newSystem(t)
	s := sys.open()
	check(t, s.Put(t.Context(), prod, []byte("data")))
	wantNote(t, s, "unlocked")
	check(t, s.Unlock(t.Context()))
	if asked := sys.asked(); asked != 0 {
		t.Errorf("the user was asked %d times about what is not locked", asked)
	}
	sys.write("login.keychain.locked", "")
	wantNote(t, s, "locked")
	check(t, s.Unlock(t.Context()))
	wantNote(t, s, "unlocked")
	wantData(t, s, prod, "data")
	if asked := sys.asked(); asked != 1 {
		t.Errorf("the user was asked %d times, want once", asked)
	}

	s = keychain.Open(sys.options("new"))
	wantNote(t, s, "not made yet")
	check(t, s.Unlock(t.Context()))
	if _, err := s.Get(t.Context(), prod); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a keychain that is not made yet: %v, want ErrNotFound", err)
	}
}

// A question that nobody answers keeps nobody waiting.
func TestNoAnswer(t *testing.T) {
	sys := newSystem(t)
	check(t, sys.open().Put(t.Context(), prod, []byte("data")))
	sys.write("login.keychain.locked", "")
	sys.write("ui", "h")
	o := sys.options("")
	o.AskTimeout = 20 * time.Millisecond
	s := keychain.Open(o)
	for i := range 2 {
		if _, err := s.Get(t.Context(), prod); !errors.Is(err, store.ErrLocked) || !errors.Is(err, keychain.ErrNoAnswer) {
			t.Errorf("Get: %v, want ErrLocked and ErrNoAnswer", err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
		if err := sys.open().Unlock(ctx); !errors.Is(err, gone) {
			t.Errorf("Unlock: %v, want the cause of the end", err)
		}
		// Others go on meanwhile.
		if names, err := s.List(t.Context(), prod.Kind); err != nil || !slices.Equal(names, []string{"prod"}) {
			t.Errorf("List %d = %q, %v, want prod", i, names, err)
		}
	}
	sys.write("ui", "y")
	wantData(t, sys.open(), prod, "data")
	live := setDir(sys.dir)
	for deadline := time.Now().Add(5 * time.Second); live() != 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the calls that were given up end in their own time
	}
}

func TestFails(t *testing.T) {
	for _, c := range []struct {
		function, status string
		methods          []string
		want             error
	}{
		{"SecItemCopyMatching", "-25291", []string{"Get", "List", "Has"}, store.ErrUnavailable},
		{"SecItemCopyMatching", "-25293", []string{"Get", "List", "Has"}, store.ErrDenied},
		{"SecItemUpdate", "-25308", []string{"Put"}, store.ErrLocked},
		{"SecKeychainGetStatus", "-25307", []string{"Check", "Unlock"}, store.ErrUnavailable},
	} {
		sys := newSystem(t)
		s := sys.open()
		check(t, s.Put(t.Context(), prod, []byte("secret data")))
		sys.write("fail-"+c.function, c.status)
		for method, err := range methods(t, s) {
			if !slices.Contains(c.methods, method) {
				check(t, err)
				continue
			}
			e, ok := errors.AsType[*keychain.StatusError](err)
			if !ok || e.Call != c.function || fmt.Sprint(e.Status) != c.status || !errors.Is(err, c.want) {
				t.Errorf("%s fails with %s: %s: %v, want a StatusError that is %v", c.function, c.status, method, err, c.want)
			}
		}
	}
	sys := newSystem(t)
	sys.write("fail-SecItemAdd", "-25243")
	if err := sys.open().Put(t.Context(), prod, nil); !errors.Is(err, store.ErrDenied) {
		t.Errorf("Put of a new item that is refused: %v, want ErrDenied", err)
	}
	s := keychain.Open(sys.options("work"))
	sys.write("fail-SecKeychainGetStatus", "-25291")
	for method, err := range methods(t, s) {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("no keychain is available: %s: %v, want ErrUnavailable", method, err)
		}
	}
}

// Another process may add an item between updating one, which is not there, and
// adding it.
func TestAddedBetween(t *testing.T) {
	sys := newSystem(t)
	s := sys.open()
	check(t, s.Put(t.Context(), prod, []byte("old")))
	sys.write("fail-SecItemUpdate", "-25300 once")
	check(t, s.Put(t.Context(), prod, []byte("new")))
	wantData(t, s, prod, "new")
	sys.write("fail-SecItemUpdate", "-25300") // as of a keychain that is not searched
	if err := s.Put(t.Context(), prod, nil); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Put of an item that is neither there nor not: %v, want ErrUnavailable", err)
	}
}

// An item that is in a keychain other than the default one is replaced there, or
// the old one would be found before the new.
func TestOtherKeychain(t *testing.T) {
	sys := newSystem(t)
	sys.write("first.keychain", "")
	s, first := sys.open(), keychain.Open(sys.options("first"))
	check(t, first.Put(t.Context(), prod, []byte("old")))
	wantData(t, s, prod, "old")
	check(t, s.Put(t.Context(), prod, []byte("new")))
	wantData(t, s, prod, "new")
	check(t, s.Delete(t.Context(), prod))
	if _, err := s.Get(t.Context(), prod); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get after Delete: %v, want ErrNotFound", err)
	}
}

func TestKeychainNotMade(t *testing.T) {
	sys := newSystem(t)
	sys.write("ui", "c")
	s := keychain.Open(sys.options("work"))
	if err := s.Put(t.Context(), prod, nil); !errors.Is(err, keychain.ErrDismissed) {
		t.Errorf("Put: %v, want ErrDismissed", err)
	}
	wantNote(t, s, "not made yet")
}

func TestNoLibrary(t *testing.T) {
	sys := newSystem(t)
	for name, o := range map[string]keychain.Options{
		"missing":  {CoreFoundation: lib, Security: filepath.Join(sys.dir, "missing.so")},
		"no Mac":   {},
		"no names": {CoreFoundation: lib, Security: "libc.so.6"},
	} {
		for method, err := range methods(t, keychain.Open(o)) {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %s: %v, want ErrUnavailable", name, method, err)
			}
		}
	}
}

// Items of other services are neither listed, read nor changed.
func TestOthers(t *testing.T) {
	sys := newSystem(t)
	o := sys.options("")
	o.Service = "other"
	other, s := keychain.Open(o), sys.open()
	check(t, other.Put(t.Context(), prod, []byte("other")))
	if names, err := s.List(t.Context(), prod.Kind); err != nil || len(names) > 0 {
		t.Errorf("List = %q, %v, want none", names, err)
	}
	if err := s.Delete(t.Context(), prod); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Delete of another service's item: %v, want ErrNotFound", err)
	}
	check(t, s.Put(t.Context(), prod, []byte("kura")))
	wantData(t, other, prod, "other")
	wantData(t, s, prod, "kura")
	text, err := os.ReadFile(filepath.Join(sys.dir, "login.keychain"))
	check(t, err)
	for _, want := range []string{"access-key:prod", "kura access-key prod"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the keychain holds no text %q, the account and label of an item", want)
		}
	}
}

func TestBadNames(t *testing.T) {
	s := newSystem(t).open()
	key := store.Key{Kind: store.AccessKey, Name: "\xff"}
	if err := s.Put(t.Context(), key, nil); err == nil {
		t.Error("Put of a name that is not UTF-8 succeeded")
	}
	if has, err := s.Has(t.Context(), key); has || err != nil {
		t.Errorf("Has of a name that is not UTF-8 = %v, %v, want false", has, err)
	}
}

func TestID(t *testing.T) {
	ids := make(map[string]bool)
	for _, o := range []keychain.Options{
		{}, {Service: "kura"}, {Service: "other"}, {Service: "kura:"}, {Keychain: "work"}, {Keychain: "work.keychain-db"}, {Keychain: "/a/work"},
	} {
		id, err := keychain.Open(o).ID(t.Context())
		check(t, err)
		ids[id] = true
	}
	if len(ids) != 5 {
		t.Errorf("the IDs of five stores, two of them named twice, are %v", ids)
	}
}

func TestEntries(t *testing.T) {
	sys := newSystem(t)
	o := sys.options("aws-vault")
	o.Service = "aws-vault"
	e := keychain.OpenEntries(o)
	if names, err := e.List(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("List of a keychain that is not there = %q, %v, want none", names, err)
	}
	item := func(texts ...string) (b []byte) {
		for _, text := range texts {
			b = append(b, byte(len(text)), 0, 0, 0)
		}
		return append(b, strings.Join(texts, "")...)
	}
	sys.write("aws-vault.keychain", string(slices.Concat(
		item("aws-vault", "prod", "aws-vault (prod)", `{"AccessKeyID":"AKIAIOSFODNN7EXAMPLE"}`),
		item("aws-vault", "oidc:https://example.awsapps.com/start#/", "", "{}"),
		item("other", "foreign", "", ""),
	)))
	sys.write("aws-vault.keychain.locked", "")
	names, err := e.List(t.Context())
	if want := []string{"oidc:https://example.awsapps.com/start#/", "prod"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("List = %q, %v, want %q", names, err, want)
	}
	if asked := sys.asked(); asked != 0 {
		t.Errorf("List has asked %d times", asked)
	}
	if data, err := e.Get(t.Context(), "prod"); err != nil || string(data) != `{"AccessKeyID":"AKIAIOSFODNN7EXAMPLE"}` {
		t.Errorf("Get = %q, %v", data, err)
	}
	for _, name := range []string{"missing", "foreign", "", "\xff"} {
		if _, err := e.Get(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q): %v, want ErrNotFound", name, err)
		}
	}
}

func wantNote(t *testing.T, s *keychain.Store, want string) {
	t.Helper()
	if got, err := s.Check(t.Context()); err != nil || got != want {
		t.Errorf("Check = %q, %v, want %q", got, err, want)
	}
}

func wantData(t *testing.T, s *keychain.Store, key store.Key, want string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); err != nil || string(got) != want {
		t.Errorf("Get = %d bytes, %v, want %q", len(got), err, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
