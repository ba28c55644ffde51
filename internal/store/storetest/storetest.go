// Package storetest tests implementations of store.Opened: Test is the contract
// that each backend must pass, on the real thing. Faulty is a store that fails
// on purpose, for the tests of those who use stores.
package storetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/store"
)

// A Place is where a backend under test keeps one store, empty at first.
type Place struct {
	// Open returns a new handle on the store, as another process would have.
	Open func() store.Opened

	// Asked returns how often the user was asked to unlock the store so far;
	// nil where a backend never asks.
	Asked func() int

	// Vanish makes the store unreachable; nil where nothing can.
	Vanish func()

	// Process returns a command that runs Work with a handle on the store and
	// these arguments in another process; nil where that can't be done.
	Process func(args ...string) *exec.Cmd

	// Slow says that each call takes long, as where it runs programs. Then
	// what is done again and again is done fewer times, and with less data.
	Slow bool
}

// load is that of the tests with many writers and readers.
func (p Place) load() load {
	if p.Slow {
		return load{rounds: 3, size: 16 << 10}
	}
	return load{rounds: 10, size: 64 << 10}
}

// process returns a command that does the work of a load.
func (p Place) process(l load, what string) *exec.Cmd {
	cmd := p.Process(l.args(what)...)
	// With -race it would sleep for a second before it ends.
	cmd.Env = append(cmd.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Test checks that a backend keeps the contract of store.Store. It calls place
// for each subtest anew.
func Test(t *testing.T, place func(*testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Place)
	}{
		{"Missing", testMissing},
		{"Values", testValues},
		{"Aliasing", testAliasing},
		{"Kinds", testKinds},
		{"Names", testNames},
		{"BadNames", testBadNames},
		{"List", testList},
		{"Written", testWritten},
		{"Concurrent", testConcurrent},
		{"Processes", testProcesses},
		{"Killed", testKilled},
		{"Canceled", testCanceled},
		{"Vanished", testVanished},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, place(t)) })
	}
}

// testMissing checks what an unused store and one without the item say.
func testMissing(t *testing.T, p Place) {
	ctx, s := t.Context(), p.Open()
	key := store.Key{Kind: store.AccessKey, Name: "missing"}
	for _, state := range []string{"unused", "used"} {
		if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of a missing item of an %s store: %v, want ErrNotFound", state, err)
		}
		if err := s.Delete(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Delete of a missing item of an %s store: %v, want ErrNotFound", state, err)
		}
		wantHas(t, s, key, false)
		wantList(t, s, store.AccessKey)
		put(t, s, store.Key{Kind: store.CacheKey, Name: key.Name}, []byte("another kind"))
	}
}

// testValues checks that values come back whole, and replace each other.
func testValues(t *testing.T, p Place) {
	s := p.Open()
	key := store.Key{Kind: store.AccessKey, Name: "value"}
	for _, data := range [][]byte{
		[]byte("one"),
		{},
		[]byte("two\x00\xff\r\n\n"),
		random(64 << 10),
		[]byte(" \t three \n"),
	} {
		put(t, s, key, data)
		want(t, s, key, data)
		want(t, p.Open(), key, data)
	}
	wantList(t, s, store.AccessKey, key.Name)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := p.Open().Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get after Delete: %v, want ErrNotFound", err)
	}
	put(t, s, key, []byte("again"))
	want(t, s, key, []byte("again"))
}

// testAliasing checks that a store shares no memory with its caller, who may
// zero what it has put and got.
func testAliasing(t *testing.T, p Place) {
	s := p.Open()
	key := store.Key{Kind: store.AccessKey, Name: "alias"}
	data := []byte("secret")
	put(t, s, key, data)
	clear(data)
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	want(t, s, key, []byte("secret"))
}

// testKinds checks that items of one name and several kinds are several items.
func testKinds(t *testing.T, p Place) {
	s := p.Open()
	key := func(kind store.Kind) store.Key { return store.Key{Kind: kind, Name: "Prod/eu"} }
	for _, kind := range store.Kinds() {
		put(t, s, key(kind), []byte("old "+kind))
		put(t, s, key(kind), []byte(kind))
	}
	s = p.Open()
	for _, kind := range store.Kinds() {
		want(t, s, key(kind), []byte(kind))
		wantHas(t, s, key(kind), true)
		wantList(t, s, kind, "Prod/eu")
	}
	for i, kind := range store.Kinds() {
		if err := s.Delete(t.Context(), key(kind)); err != nil {
			t.Errorf("Delete of the %s: %v", kind, err)
		}
		wantList(t, s, kind)
		for _, left := range store.Kinds()[i+1:] {
			want(t, s, key(left), []byte(left))
		}
	}
}

// names are each another item's name, however like they look: to a file
// system, a shell, Windows, or a database that ignores case.
var names = []string{
	"prod", "Prod", "PROD", "prod ", " prod", "prod.", "prod/", "prod/eu",
	".", "..", "../../etc/passwd", ".hidden", "/absolute", `C:\windows`,
	"con", "NUL", "com1.txt", "aux.age",
	"it's", `"quoted"`, "`tick`", "$HOME", "a;b", "a|b", "a*b?", "<a>", "a:b",
	"-rf", "--help", "%41", "A", "a%2fb", "a%2Fb", "a/b", "a_b", "a=b", "a@b+c",
	"~", "a~b", "tab\there", "new\nline", "\n", "op://vault/item",
	"größe", "gro\u0308\u00dfe", "日本語", "蔵", "🔑", "👩‍💻", "\u202eevil",
	"arn:aws:iam::123456789012:mfa/user", "sso-session corp", "session,abc,,1700000000",
	strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("X", 255),
	strings.Repeat("ü", 127), strings.Repeat("ü", 126) + "ö", strings.Repeat("🔑", 63),
}

func testNames(t *testing.T, p Place) {
	s := p.Open()
	key := func(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }
	for _, name := range names {
		put(t, s, key(name), []byte("of "+name))
	}
	wantList(t, p.Open(), store.AccessKey, names...)
	s = p.Open()
	for i, name := range names {
		wantHas(t, s, key(name), true)
		if !p.Slow || i%3 == 0 {
			want(t, s, key(name), []byte("of "+name))
		}
	}
	left := slices.Clone(names)
	for i, name := range names {
		if p.Slow && i%3 != 1 {
			continue
		}
		if err := s.Delete(t.Context(), key(name)); err != nil {
			t.Errorf("Delete(%q): %v", name, err)
		}
		left = slices.DeleteFunc(left, func(s string) bool { return s == name })
		if i == len(names)/2 {
			wantList(t, s, store.AccessKey, left...)
		}
	}
	wantList(t, s, store.AccessKey, left...)
}

// testBadNames checks that a name that is none is an error and does no harm.
func testBadNames(t *testing.T, p Place) {
	s := p.Open()
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		if err := s.Put(t.Context(), store.Key{Kind: store.AccessKey, Name: name}, nil); err == nil {
			t.Errorf("Put of a name of %d bytes succeeded", len(name))
		}
		wantHas(t, s, store.Key{Kind: store.AccessKey, Name: name}, false)
	}
	wantList(t, s, store.AccessKey)
}

// testList checks that names are sorted, by kind, and told without unlocking.
func testList(t *testing.T, p Place) {
	s := p.Open()
	for _, name := range []string{"b", "a", "B", "c", "a/1"} {
		put(t, s, store.Key{Kind: store.AccessKey, Name: name}, []byte(name))
	}
	put(t, s, store.Key{Kind: store.CacheKey, Name: "a"}, []byte("cache"))
	put(t, s, store.Key{Kind: store.CacheKey, Name: strings.Repeat("ü", 100)}, []byte("cache"))

	s = p.Open()
	asked := 0
	if p.Asked != nil {
		asked = p.Asked()
	}
	wantList(t, s, store.AccessKey, "B", "a", "a/1", "b", "c")
	wantList(t, s, store.CacheKey, "a", strings.Repeat("ü", 100))
	wantList(t, s, "access")
	wantHas(t, s, store.Key{Kind: store.AccessKey, Name: "a/1"}, true)
	wantHas(t, s, store.Key{Kind: store.CacheKey, Name: "a/1"}, false)
	if _, err := s.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if p.Asked != nil && p.Asked() != asked {
		t.Error("the user was asked by List, Has or Check")
	}
}

// testWritten checks that a store which knows when its items were written says so.
func testWritten(t *testing.T, p Place) {
	s := p.Open()
	dated, ok := s.(store.Dated)
	if !ok {
		t.Skip("the store does not know")
	}
	check := func(since time.Time, names ...string) {
		t.Helper()
		written, err := dated.Written(t.Context(), store.AccessKey)
		if err != nil || len(written) != len(names) {
			t.Fatalf("Written = %v, %v, want times of %q", written, err, names)
		}
		for _, name := range names {
			// Some know it to the second.
			if at := written[name]; at.Before(since.Add(-2*time.Second)) || at.After(time.Now().Add(2*time.Second)) {
				t.Errorf("%q was written at %v, want %v or a little later", name, at, since)
			}
		}
	}
	check(time.Time{})
	began := time.Now()
	put(t, s, store.Key{Kind: store.CacheKey, Name: "other"}, []byte("another kind"))
	put(t, s, store.Key{Kind: store.AccessKey, Name: "Prod/eu"}, []byte("one"))
	put(t, s, store.Key{Kind: store.AccessKey, Name: strings.Repeat("ü", 127)}, []byte("one"))
	check(began, "Prod/eu", strings.Repeat("ü", 127))
	began = time.Now()
	put(t, s, store.Key{Kind: store.AccessKey, Name: "Prod/eu"}, []byte("two"))
	if err := s.Delete(t.Context(), store.Key{Kind: store.AccessKey, Name: strings.Repeat("ü", 127)}); err != nil {
		t.Fatal(err)
	}
	check(began, "Prod/eu")
}

// testConcurrent checks that a Get returns one Put's data, whole, and that
// writers of different items don't get in each other's way.
func testConcurrent(t *testing.T, p Place) {
	s, l := p.Open(), p.load()
	put(t, s, contended, l.value(0))
	var wg sync.WaitGroup
	for i := range 4 {
		s := s
		if i%2 == 1 {
			s = p.Open()
		}
		wg.Go(func() { check(t, l.write(t.Context(), s, io.Discard)) })
		wg.Go(func() { check(t, l.read(t.Context(), s)) })
		own := store.Key{Kind: store.AccessKey, Name: strings.Repeat("o", i+1)}
		wg.Go(func() {
			for range l.rounds / 2 {
				check(t, s.Put(t.Context(), own, []byte(own.Name)))
				check(t, s.Delete(t.Context(), own))
				check(t, s.Put(t.Context(), own, []byte(own.Name)))
			}
		})
	}
	wg.Wait()
	wantList(t, s, store.AccessKey, contended.Name, "o", "oo", "ooo", "oooo")
}

// testProcesses does the same with processes.
func testProcesses(t *testing.T, p Place) {
	if p.Process == nil {
		t.Skip("the backend gives no way to run another process")
	}
	s, l := p.Open(), p.load()
	put(t, s, contended, l.value(0))
	var wg sync.WaitGroup
	for _, work := range []string{"write", "read", "write", "read"} {
		wg.Go(func() {
			if out, err := p.process(l, work).CombinedOutput(); err != nil {
				t.Errorf("%s in another process: %v: %s", work, err, out)
			}
		})
	}
	check(t, l.read(t.Context(), s))
	wg.Wait()
	l.rounds = 1
	check(t, l.read(t.Context(), p.Open()))
}

// testKilled checks that a writer that is killed leaves an item whole, and
// nothing that others must wait for.
func testKilled(t *testing.T, p Place) {
	if p.Process == nil {
		t.Skip("the backend gives no way to run another process")
	}
	l := p.load()
	put(t, p.Open(), contended, l.value(0))
	once, forever := load{1, l.size}, load{math.MaxInt, l.size}
	for round := range l.rounds {
		cmd := p.process(forever, "write")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; i <= round && lines.Scan(); i++ {
		}
		cmd.Process.Kill()
		cmd.Wait()
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		s := p.Open()
		check(t, once.read(t.Context(), s))
		wantList(t, s, store.AccessKey, contended.Name)
		put(t, s, contended, l.value(byte(round)))
	}
}

// testCanceled checks that nothing is done, and nobody asked, for a caller who
// has gone.
func testCanceled(t *testing.T, p Place) {
	key := store.Key{Kind: store.AccessKey, Name: "a"}
	put(t, p.Open(), key, []byte("old"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := p.Open()
	asked := 0
	if p.Asked != nil {
		asked = p.Asked()
	}
	start := time.Now()
	_, getErr := s.Get(ctx, key)
	_, listErr := s.List(ctx, key.Kind)
	for what, err := range map[string]error{
		"Get":    getErr,
		"Put":    s.Put(ctx, key, []byte("new")),
		"Delete": s.Delete(ctx, key),
		"List":   listErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a canceled context: %v, want context.Canceled", what, err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("four calls with a canceled context took %v", took)
	}
	if p.Asked != nil && p.Asked() != asked {
		t.Error("the user was asked for a canceled call")
	}
	want(t, s, key, []byte("old"))
}

// testVanished checks that a store that goes away between two calls is an error
// that the caller can tell.
func testVanished(t *testing.T, p Place) {
	if p.Vanish == nil {
		t.Skip("the backend gives no way to make its store vanish")
	}
	s := p.Open()
	key := store.Key{Kind: store.AccessKey, Name: "a"}
	put(t, s, key, []byte("data"))
	p.Vanish()
	for _, s := range []store.Opened{s, p.Open()} {
		_, err := s.Get(t.Context(), key)
		wantTyped(t, "Get", err)
		wantTyped(t, "Delete", s.Delete(t.Context(), key))
		if names, err := s.List(t.Context(), key.Kind); err != nil {
			wantTyped(t, "List", err)
		} else if len(names) != 0 {
			t.Errorf("List of a store that has vanished = %q", names)
		}
	}
}

func wantTyped(t *testing.T, what string, err error) {
	t.Helper()
	for _, known := range []error{store.ErrNotFound, store.ErrLocked, store.ErrDenied, store.ErrUnavailable} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Errorf("%s of a store that has vanished: %v, want an error of package store", what, err)
}

func put(t *testing.T, s store.Store, key store.Key, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, data); err != nil {
		t.Fatalf("Put(%q) of %d bytes: %v", key.Name, len(data), err)
	}
}

func want(t *testing.T, s store.Store, key store.Key, data []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("Get(%q) = %d bytes %.40q, %v, want %d bytes %.40q", key.Name, len(got), got, err, len(data), data)
	}
}

func wantList(t *testing.T, s store.Store, kind store.Kind, names ...string) {
	t.Helper()
	names = slices.Sorted(slices.Values(names))
	if got, err := s.List(t.Context(), kind); err != nil || !slices.Equal(got, names) {
		t.Errorf("List(%q) = %q, %v, want %q", kind, got, err, names)
	}
}

func wantHas(t *testing.T, s store.Opened, key store.Key, want bool) {
	t.Helper()
	if got, err := s.Has(t.Context(), key); err != nil || got != want {
		t.Errorf("Has(%s %q) = %v, %v, want %v", key.Kind, key.Name, got, err, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func random(n int) []byte {
	data := make([]byte, n)
	rand.Read(data)
	return data
}
