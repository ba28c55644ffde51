package near_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
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

	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/store/file"
	"kura/internal/store/near"
	"kura/internal/store/storetest"
	"kura/internal/unlocked"
)

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

// otherProcess does what storetest asks for, or puts, gets or lists items.
func otherProcess(dir string, args []string) error {
	p := &place{dir: dir, namespace: os.Getenv("TEST_NAMESPACE")}
	ctx, s := context.Background(), p.open()
	switch args[0] {
	case "put":
		return s.Put(ctx, key(args[1]), []byte(args[2]))
	case "put and die":
		p.faulty = func(_ string, k store.Key) (bool, error) {
			if err := p.inner().Put(ctx, k, []byte(args[2])); err != nil {
				return false, err
			}
			os.Exit(0)
			return false, nil
		}
		return p.open().Put(ctx, key(args[1]), nil)
	case "get":
		data, err := s.Get(ctx, key(args[1]))
		fmt.Printf("%s", data)
		return err
	case "note-forever":
		for {
			s.Forget()
			if _, err := s.List(ctx, store.AccessKey); err != nil {
				return err
			}
			fmt.Println("noted")
		}
	}
	return storetest.Work(ctx, s, args, os.Stdout)
}

// A place is where a test has a store and what is near at hand. The calls that
// reach the store are written down, so that those of other processes count.
type place struct {
	version   func(context.Context) (string, error)
	dir       string
	namespace string // of the keep, or "" to keep nothing
	faulty    func(method string, key store.Key) (apply bool, err error)
	ttl       time.Duration // 0 is a minute
	waiting   func()
}

func newPlace(t testing.TB) *place { return &place{dir: t.TempDir()} }

// keeping returns a place with a keep of the test's own.
func keeping(t testing.TB) *place {
	t.Helper()
	p := newPlace(t)
	p.namespace = "test-" + rand.Text()
	if err := unlocked.Open(p.namespace).Works(); err != nil {
		t.Skip("nothing can be kept between processes here: ", err)
	}
	t.Cleanup(func() { unlocked.Open(p.namespace).Forget() })
	return p
}

func (p *place) path(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

// inner returns the store itself: a file store, whose identity is kept by no
// one, so that each new handle has to ask.
func (p *place) inner() store.Opened {
	ask := func() (string, error) { return "pass", appendTo(p.path("asked"), "x") }
	return file.Open(file.Options{
		Dir:           p.path("store"),
		WorkFactor:    1,
		Passphrase:    func(context.Context, int) (string, error) { return ask() },
		NewPassphrase: func(context.Context) (string, error) { return ask() },
	})
}

func (p *place) open() *near.Store {
	o := near.Options{
		Store:     &counted{p.inner(), p},
		NamesFile: p.path("cache", "names"),
		LockDir:   p.path("locks"),
		Waiting:   p.waiting,
		Version:   p.version,
	}
	if p.namespace != "" {
		o.Keep, o.TTL = unlocked.Open(p.namespace), time.Minute
	}
	if p.ttl != 0 {
		o.TTL = p.ttl
	}
	return near.Open(o)
}

func (p *place) process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_DIR="+p.dir, "TEST_NAMESPACE="+p.namespace)
	return cmd
}

// calls returns the calls that have reached the store since the last time.
func (p *place) calls() string {
	data, _ := os.ReadFile(p.path("calls"))
	os.Remove(p.path("calls"))
	return strings.TrimSpace(string(data))
}

func (p *place) asked() int {
	data, _ := os.ReadFile(p.path("asked"))
	return len(data)
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.WriteString(text)
	return f.Close()
}

// counted writes down the calls of a store, and lets them fail.
type counted struct {
	store.Opened
	p *place
}

func (c *counted) call(method string, key store.Key) storetest.Faulty {
	appendTo(c.p.path("calls"), method+" ")
	fail := c.p.faulty
	if fail == nil {
		fail = func(string, store.Key) (bool, error) { return true, nil }
	}
	return storetest.Faulty{Store: c.Opened, Fail: fail}
}

func (c *counted) Get(ctx context.Context, key store.Key) ([]byte, error) {
	return c.call("Get", key).Get(ctx, key)
}

func (c *counted) Put(ctx context.Context, key store.Key, data []byte) error {
	return c.call("Put", key).Put(ctx, key, data)
}

func (c *counted) Delete(ctx context.Context, key store.Key) error {
	return c.call("Delete", key).Delete(ctx, key)
}

func (c *counted) List(ctx context.Context, kind store.Kind) ([]string, error) {
	return c.call("List", store.Key{Kind: kind}).List(ctx, kind)
}

func (c *counted) Has(ctx context.Context, key store.Key) (bool, error) {
	c.call("Has", key)
	return c.Opened.Has(ctx, key)
}

func (c *counted) Unlock(ctx context.Context) error {
	c.call("Unlock", store.Key{})
	return c.Opened.Unlock(ctx)
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
		t.Errorf("Get(%q) = %q, %v, want %q", name, got, err, want)
	}
}

func wantHas(t testing.TB, s store.Opened, name string, want bool) {
	t.Helper()
	if got, err := s.Has(t.Context(), key(name)); err != nil || got != want {
		t.Errorf("Has(%q) = %v, %v, want %v", name, got, err, want)
	}
}

// wantCalls checks which calls have reached the store since the last time.
func wantCalls(t testing.TB, p *place, want string) {
	t.Helper()
	if got := p.calls(); got != want {
		t.Errorf("calls of the store: %q, want %q", got, want)
	}
}

func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("another process: %v: %s", err, out)
	}
	return string(out)
}

func TestContract(t *testing.T) {
	for what, place := range map[string]func(testing.TB) *place{"names": newPlace, "names and items": keeping} {
		t.Run(what, func(t *testing.T) {
			storetest.Test(t, func(t *testing.T) storetest.Place {
				p := place(t)
				return storetest.Place{
					Open:    func() store.Opened { return p.open() },
					Asked:   p.asked,
					Process: p.process,
					Vanish:  func() { os.RemoveAll(p.path("store")) },
				}
			})
		})
	}
}

func TestHasAsksNobody(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	put(t, s, "dev", "1")
	put(t, s, "größe\n", "2")
	p.calls()
	wantHas(t, s, "dev", true)
	wantCalls(t, p, "List") // the names were dropped by Put
	for _, s := range []*near.Store{s, p.open()} {
		wantHas(t, s, "dev", true)
		wantHas(t, s, "größe\n", true)
		wantHas(t, s, "de", false)
		wantHas(t, s, "ev", false)
		wantHas(t, s, "", false)
		wantHas(t, s, "dev\ngr%c3", false)
		wantHas(t, s, "kura names 1", false)
	}
	wantCalls(t, p, "")
	info, err := os.Stat(p.path("cache", "names"))
	if err != nil {
		t.Fatal(err)
	}
	if os.PathSeparator == '/' && info.Mode().Perm() != 0o600 {
		t.Errorf("the file of names has the mode %v, want 0600", info.Mode())
	}
}

// Whatever becomes of the file of names, the answer is right.
func TestSpoiledNames(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	put(t, s, "dev", "1")
	wantHas(t, s, "dev", true)
	name := p.path("cache", "names")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func() error{
		"empty":      func() error { return os.WriteFile(name, nil, 0o600) },
		"cut short":  func() error { return os.WriteFile(name, good[:len(good)-4], 0o600) },
		"changed":    func() error { return os.WriteFile(name, append(good, "other\n"...), 0o600) },
		"too large":  func() error { return os.WriteFile(name, make([]byte, 2<<20), 0o600) },
		"no newline": func() error { return os.WriteFile(name, []byte("dev"), 0o600) },
		"a directory": func() error {
			os.Remove(name)
			return os.Mkdir(name, 0o700)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		wantHas(t, s, "dev", true)
		wantHas(t, p.open(), "other", false)
		if got := p.calls(); !strings.Contains(got, "List") {
			t.Errorf("%s: calls of the store: %q, want List", what, got)
		}
		os.Remove(name)
	}
	// The names of another store are not this one's.
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	other := &place{dir: p.path("other")}
	if err := os.MkdirAll(other.path("cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, other.open(), "prod", "2")
	if err := os.WriteFile(other.path("cache", "names"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	wantHas(t, other.open(), "dev", false)
	wantHas(t, other.open(), "prod", true)
}

// What is changed behind the back of this program is seen by List and after
// Forget.
func TestForget(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	if s.Forget() {
		t.Error("Forget says that there were names before there was a store")
	}
	put(t, s, "dev", "1")
	wantHas(t, s, "dev", true)
	put(t, p.inner(), "prod", "2")
	wantHas(t, s, "prod", false) // documented
	if !s.Forget() {
		t.Error("Forget says that there were no names")
	}
	if s.Forget() {
		t.Error("Forget says that there were names twice")
	}
	wantHas(t, s, "prod", true)

	put(t, p.inner(), "test", "3")
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(names, []string{"dev", "prod", "test"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	wantHas(t, s, "test", true)
}

// A directory in the place of the file is no obstacle.
func TestForgetWhereItCant(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	put(t, s, "dev", "1")
	wantHas(t, s, "dev", true)
	full := p.path("cache", "names", "full")
	if err := os.Remove(p.path("cache", "names")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if !s.Forget() || s.Forget() {
		t.Error("Forget does not say once that there were names")
	}
	wantHas(t, s, "dev", true)
	put(t, s, "prod", "2")
	wantHas(t, s, "prod", true)
}

// A store that can't list while it is locked is asked for the item.
func TestHasOfALockedStore(t *testing.T) {
	p := newPlace(t)
	put(t, p.inner(), "dev", "1")
	p.faulty = func(method string, _ store.Key) (bool, error) {
		return method != "List", map[bool]error{true: store.ErrLocked}[method == "List"]
	}
	wantHas(t, p.open(), "dev", true)
	wantHas(t, p.open(), "prod", false)
	wantCalls(t, p, "List Has List Has")
	if _, err := os.Lstat(p.path("cache", "names")); err == nil {
		t.Error("names were noted that the store did not tell")
	}
	p.faulty = func(method string, _ store.Key) (bool, error) { return true, store.ErrUnavailable }
	if _, err := p.open().Has(t.Context(), key("dev")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Has of a store that is not there: %v, want ErrUnavailable", err)
	}
}

// Where a store tells that its names are the same as before, it need not tell
// them again.
func TestVersion(t *testing.T) {
	p := newPlace(t)
	version, versionErr := "1", error(nil)
	p.version = func(context.Context) (string, error) { return version, versionErr }
	put(t, p.inner(), "b", "1")
	put(t, p.inner(), "a\n", "1")
	list := func(calls string, names ...string) {
		t.Helper()
		got, err := p.open().List(t.Context(), store.AccessKey)
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("List = %q, %v, want %q", got, err, names)
		}
		wantCalls(t, p, calls)
	}
	p.calls()
	list("List", "a\n", "b")
	list("", "a\n", "b")
	put(t, p.inner(), "c", "by another program")
	p.calls()
	version = "2"
	list("List", "a\n", "b", "c")
	list("", "a\n", "b", "c")
	put(t, p.open(), "d", "by another kura, which forgets the names")
	p.calls()
	list("List", "a\n", "b", "c", "d")
	versionErr = store.ErrLocked
	list("List", "a\n", "b", "c", "d")
	version, versionErr = "", nil
	list("List", "a\n", "b", "c", "d")
	list("List", "a\n", "b", "c", "d")
}

// A store that tells no names while it is locked has those that were noted.
func TestListOfALockedStore(t *testing.T) {
	p := newPlace(t)
	put(t, p.inner(), "dev", "1")
	if names, err := p.open().List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
		t.Fatalf("List = %q, %v", names, err)
	}
	for failure, want := range map[error][]string{store.ErrLocked: {"dev"}, store.ErrUnavailable: nil} {
		p.faulty = func(string, store.Key) (bool, error) { return false, failure }
		names, err := p.open().List(t.Context(), store.AccessKey)
		if !slices.Equal(names, want) || (err == nil) != (want != nil) {
			t.Errorf("List = %q, %v where the store says %q, want %q", names, err, failure, want)
		}
	}

	// Nor does it matter that another process is just asking the user.
	files, err := filepath.Glob(p.path("locks", "*.lock"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		release, err := durable.TryLock(name)
		if err != nil || release == nil {
			t.Fatal(err)
		}
		defer release()
	}
	p.faulty = func(string, store.Key) (bool, error) { return false, store.ErrLocked }
	if names, err := p.open().List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
		t.Errorf("List = %q, %v while another process asks, want dev", names, err)
	}
}

// Stores of two backends may have the same ID, such as a directory that both
// pass and passage have used.
func TestStoresOfTwoBackends(t *testing.T) {
	p := keeping(t)
	open := func(backend, data string) *near.Store {
		return near.Open(near.Options{
			Store:   item{data: data},
			Backend: backend,
			LockDir: p.path("locks"),
			Keep:    unlocked.Open(p.namespace),
			TTL:     time.Minute,
		})
	}
	want(t, open("pass", "1"), "dev", "1")
	want(t, open("passage", "2"), "dev", "2")
	want(t, open("pass", "3"), "dev", "1") // it is kept
}

// item is a store that holds an item of every name.
type item struct {
	store.Opened
	data string
}

func (i item) ID(context.Context) (string, error)             { return "dir:/store", nil }
func (i item) Get(context.Context, store.Key) ([]byte, error) { return []byte(i.data), nil }

func TestGetAsksOnce(t *testing.T) {
	p := keeping(t)
	put(t, p.inner(), "dev", "1")
	for range 3 {
		want(t, p.open(), "dev", "1")
	}
	wantCalls(t, p, "Get")
	if got := run(t, p.process("get", "dev")); got != "1" {
		t.Errorf("another process gets %q, want 1", got)
	}
	wantCalls(t, p, "")

	for range 2 { // this is for package mint to keep
		p.open().Get(t.Context(), store.Key{Kind: store.CacheKey, Name: "dev"})
	}
	wantCalls(t, p, "Get Get")

	want(t, p.open().Direct(), "dev", "1")
	wantCalls(t, p, "Get")
	p.ttl = -1
	want(t, p.open(), "dev", "1")
	wantCalls(t, p, "Get")

	// What is changed directly is seen all the same.
	p.ttl = 0
	put(t, p.open().Direct(), "dev", "2")
	want(t, p.open(), "dev", "2")
}

func TestChangesAreSeen(t *testing.T) {
	p := keeping(t)
	s := p.open()
	put(t, s, "dev", "1")
	put(t, s, "prod", "2")
	see := func() {
		want(t, s, "dev", "1")
		want(t, s, "prod", "2")
		wantHas(t, s, "test", false)
	}
	see()
	run(t, p.process("put", "dev", "3"))
	run(t, p.process("put", "test", "4"))
	want(t, s, "dev", "3")
	want(t, s, "prod", "2")
	wantHas(t, s, "test", true)

	// Who keeps nothing himself drops what others have kept all the same.
	p.ttl = -1
	put(t, p.open(), "dev", "5")
	if err := p.open().Delete(t.Context(), key("prod")); err != nil {
		t.Fatal(err)
	}
	want(t, s, "dev", "5")
	wantHas(t, s, "prod", false)
	if _, err := s.Get(t.Context(), key("prod")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get after Delete: %v, want ErrNotFound", err)
	}
}

// An item that another machine has removed is not handed out once the names
// are known to be without it.
func TestKeptItemThatIsGone(t *testing.T) {
	p := keeping(t)
	s := p.open()
	put(t, s, "dev", "1")
	want(t, s, "dev", "1")
	if err := p.inner().Delete(t.Context(), key("dev")); err != nil {
		t.Fatal(err)
	}
	want(t, s, "dev", "1") // documented
	if _, err := s.List(t.Context(), store.AccessKey); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), key("dev")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

// However many need an item at once, one of them asks.
func TestOneQuestion(t *testing.T) {
	p := keeping(t)
	put(t, p.inner(), "dev", "secret")
	asked := p.asked()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { want(t, p.open(), "dev", "secret") })
		wg.Go(func() {
			if got := run(t, p.process("get", "dev")); got != "secret" {
				t.Errorf("another process gets %q", got)
			}
		})
	}
	wg.Wait()
	wantCalls(t, p, "Get")
	if got := p.asked() - asked; got != 1 {
		t.Errorf("the user was asked %d times, want 1", got)
	}
}

// While another process asks, Has and List don't wait, Get and Put do: they say
// so after a second, and end with ctx.
func TestWaiting(t *testing.T) {
	p := keeping(t)
	put(t, p.inner(), "dev", "1")
	asking, answer := make(chan bool), make(chan bool)
	slow := *p
	slow.faulty = func(string, store.Key) (bool, error) {
		close(asking)
		<-answer
		return true, nil
	}
	done := make(chan bool)
	go func() {
		want(t, slow.open(), "dev", "1")
		close(done)
	}()
	<-asking
	wantHas(t, p.open(), "dev", true)
	if _, err := p.open().List(t.Context(), store.AccessKey); err != nil {
		t.Error(err)
	}
	why := errors.New("why")
	var wg sync.WaitGroup
	for what, call := range map[string]func(context.Context, *near.Store) error{
		"Get":    func(ctx context.Context, s *near.Store) error { _, err := s.Get(ctx, key("dev")); return err },
		"Put":    func(ctx context.Context, s *near.Store) error { return s.Put(ctx, key("dev"), nil) },
		"Unlock": func(ctx context.Context, s *near.Store) error { return s.Unlock(ctx) },
	} {
		wg.Go(func() {
			ctx, cancel := context.WithCancelCause(t.Context())
			waits := *p
			waits.waiting = func() { cancel(why) }
			if err := call(ctx, waits.open()); !errors.Is(err, why) {
				t.Errorf("%s while another asks: %v, want the cause of the cancellation", what, err)
			}
		})
	}
	wg.Wait()
	close(answer)
	<-done
	want(t, p.open(), "dev", "1")
}

// A reader that has read before a change must not keep or note what it read
// after it.
func TestOutdatedIsNotKept(t *testing.T) {
	p := keeping(t)
	put(t, p.inner(), "dev", "old")
	for _, method := range []string{"Get", "List"} {
		read, goOn := make(chan bool), make(chan bool)
		s := near.Open(near.Options{
			Store:     &pausing{p.inner(), method, read, goOn},
			NamesFile: p.path("cache", "names"),
			LockDir:   p.path("locks"),
			Keep:      unlocked.Open(p.namespace),
			TTL:       time.Minute,
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			s.Get(t.Context(), key("dev"))
			s.List(t.Context(), store.AccessKey)
		})
		<-read
		written := make(chan bool)
		wg.Go(func() {
			defer close(written)
			put(t, p.open(), "dev", "of "+method)
			put(t, p.open(), method, "")
		})
		select {
		case <-written: // before the reader is done: then it must keep nothing
		case <-time.After(50 * time.Millisecond):
		}
		close(goOn)
		wg.Wait()
		want(t, p.open(), "dev", "of "+method)
		wantHas(t, p.open(), method, true)
	}
}

// pausing lets a test do something after a method has read and before it
// returns.
type pausing struct {
	store.Opened
	method     string
	read, goOn chan bool
}

func (p *pausing) pause(method string) {
	if method == p.method {
		close(p.read)
		<-p.goOn
	}
}

func (p *pausing) Get(ctx context.Context, key store.Key) ([]byte, error) {
	defer p.pause("Get")
	return p.Opened.Get(ctx, key)
}

func (p *pausing) List(ctx context.Context, kind store.Kind) ([]string, error) {
	defer p.pause("List")
	return p.Opened.List(ctx, kind)
}

// Whether or not a change that fails was made, what is read after it is what
// the store holds.
func TestFaults(t *testing.T) {
	lost := errors.New("reply lost")
	for _, apply := range []bool{false, true} {
		for _, method := range []string{"Put", "Delete"} {
			t.Run(fmt.Sprintf("%s %v", method, apply), func(t *testing.T) {
				p := keeping(t)
				put(t, p.inner(), "dev", "old")
				want(t, p.open(), "dev", "old")
				wantHas(t, p.open(), "dev", true)
				faulty := *p
				faulty.faulty = func(m string, _ store.Key) (bool, error) { return apply, lost }
				var err error
				if method == "Put" {
					err = faulty.open().Put(t.Context(), key("dev"), []byte("new"))
				} else {
					err = faulty.open().Delete(t.Context(), key("dev"))
				}
				if !errors.Is(err, lost) {
					t.Errorf("%s: %v, want %v", method, err, lost)
				}
				data, err := p.inner().Get(t.Context(), key("dev"))
				got, gotErr := p.open().Get(t.Context(), key("dev"))
				if !bytes.Equal(got, data) || errors.Is(gotErr, store.ErrNotFound) != errors.Is(err, store.ErrNotFound) {
					t.Errorf("Get = %q, %v, want %q, %v", got, gotErr, data, err)
				}
				wantHas(t, p.open(), "dev", err == nil)
			})
		}
	}

	p := keeping(t)
	p.faulty = func(string, store.Key) (bool, error) { return true, store.ErrLocked }
	put(t, p.inner(), "dev", "1")
	if _, err := p.open().Get(t.Context(), key("dev")); !errors.Is(err, store.ErrLocked) {
		t.Errorf("Get: %v, want ErrLocked", err)
	}
	p.faulty = nil
	want(t, p.open(), "dev", "1")
}

// Who changes an item without the lock drops what others have kept meanwhile.
func TestChangeWithoutTheLock(t *testing.T) {
	p := keeping(t)
	put(t, p.open(), "dev", "old")
	s := near.Open(near.Options{
		Store: storeWith{p.inner(), func() { want(t, p.open(), "dev", "old") }},
		Keep:  unlocked.Open(p.namespace),
	})
	put(t, s, "dev", "new")
	want(t, p.open(), "dev", "new")
}

// storeWith does something before each Put.
type storeWith struct {
	store.Opened
	before func()
}

func (s storeWith) Put(ctx context.Context, key store.Key, data []byte) error {
	s.before()
	return s.Opened.Put(ctx, key, data)
}

// More names than are noted are asked for, and those before are not taken for
// all.
func TestTooManyNames(t *testing.T) {
	p := newPlace(t)
	open := func(names int) *near.Store {
		return near.Open(near.Options{
			Store:     fixed{names: make([]string, names)},
			NamesFile: p.path("cache", "names"),
			LockDir:   p.path("locks"),
		})
	}
	wantHas(t, open(1), "profile-99999", false)
	if _, err := open(100_000).List(t.Context(), store.AccessKey); err != nil {
		t.Fatal(err)
	}
	wantHas(t, open(100_000), "profile-99999", true)
}

// A process that dies right after it has changed an item leaves nothing outdated.
func TestKilledAfterPut(t *testing.T) {
	p := keeping(t)
	put(t, p.inner(), "dev", "old")
	want(t, p.open(), "dev", "old")
	wantHas(t, p.open(), "prod", false)
	run(t, p.process("put and die", "dev", "new"))
	run(t, p.process("put and die", "prod", "new"))
	want(t, p.open(), "dev", "new")
	wantHas(t, p.open(), "prod", true)
}

// A process that is killed while it notes names leaves no wrong ones.
func TestKilledWhileNoting(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	put(t, s, "dev", "1")
	for round := range 10 {
		cmd := p.process("note-forever")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; i <= round*7 && lines.Scan(); i++ {
		}
		cmd.Process.Kill()
		cmd.Wait()
		wantHas(t, p.open(), "dev", true)
		wantHas(t, p.open(), "prod", false)
	}
	if files, err := os.ReadDir(p.path("cache")); err != nil || len(files) != 1 {
		t.Errorf("the directory of names holds %v, %v, want one file", files, err)
	}
}

// Without locks nothing is noted or kept, and all works.
func TestNoLocks(t *testing.T) {
	p := keeping(t)
	if err := os.WriteFile(p.path("locks"), nil, 0o600); err != nil { // in the way
		t.Fatal(err)
	}
	s := p.open()
	put(t, s, "dev", "1")
	want(t, s, "dev", "1")
	want(t, s, "dev", "1")
	wantHas(t, s, "dev", true)
	wantHas(t, s, "dev", true)
	if err := s.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	wantCalls(t, p, "Put Get Get List List Unlock")
}

// A lock that is somebody's for good keeps nobody who has a deadline.
func TestStoppedProcess(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	put(t, s, "dev", "1")
	wantHas(t, s, "dev", true) // makes the lock of a store that has an ID
	files, err := filepath.Glob(p.path("locks", "*.lock"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		release, err := durable.TryLock(name)
		if err != nil || release == nil {
			t.Fatal(err)
		}
		defer release()
	}
	want(t, s, "dev", "1") // nothing is kept here, so there is nothing to wait for
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, key("dev"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v, want context.DeadlineExceeded", err)
	}
}

func BenchmarkHas(b *testing.B) {
	p := newPlace(b)
	s := near.Open(near.Options{
		Store:     fixed{names: make([]string, 100)},
		NamesFile: p.path("cache", "names"),
		LockDir:   p.path("locks"),
	})
	wantHas(b, s, "profile-50", true)
	for b.Loop() {
		if has, err := s.Has(b.Context(), key("profile-50")); !has || err != nil {
			b.Fatal(has, err)
		}
	}
}

// fixed is a store of which only the names matter.
type fixed struct {
	store.Opened
	names []string
}

func (f fixed) ID(context.Context) (string, error) { return "fixed", nil }

func (f fixed) List(context.Context, store.Kind) ([]string, error) {
	for i := range f.names {
		f.names[i] = fmt.Sprintf("profile-%02d", i)
	}
	return f.names, nil
}
