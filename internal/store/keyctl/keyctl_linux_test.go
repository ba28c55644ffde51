package keyctl_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kura/internal/store"
	"kura/internal/store/keyctl"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process, perhaps in another
// session, or where keyrings are forbidden.
func TestMain(m *testing.M) {
	name := os.Getenv("TEST_NAME")
	if name == "" {
		os.Exit(m.Run())
	}
	if err := otherProcess(name, os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func otherProcess(name string, args []string) error {
	ctx := context.Background()
	o := keyctl.Options{Ring: keyctl.Ring(os.Getenv("TEST_RING")), Name: name}
	s := keyctl.Open(o)
	switch args[0] {
	case "in another session":
		return again(args[1:], func() error {
			_, err := unix.KeyctlJoinSessionKeyring("kura-test")
			return err
		})
	case "forbidden":
		return again(args[1:], forbid)
	case "put":
		return s.Put(ctx, key(args[1]), []byte("by another"))
	case "get":
		data, err := s.Get(ctx, key(args[1]))
		fmt.Printf("%s", data)
		return err
	case "check":
		return everyError(ctx, s)
	case "replace":
		for i := range 500 { // which is far more than the quota
			if err := s.Put(ctx, key("a"), make([]byte, 300)); err != nil {
				return fmt.Errorf("Put %d: %w", i, err)
			}
		}
		return vanish(o)
	case "fill":
		return errors.Join(fill(ctx, s), vanish(o))
	}
	return storetest.Work(ctx, s, args, os.Stdout)
}

// again runs the program again with the rest of its arguments and something
// changed, which holds for this thread and what is executed in it.
func again(args []string, change func() error) error {
	runtime.LockOSThread()
	if err := change(); err != nil {
		return fmt.Errorf("helper: %w", err)
	}
	return syscall.Exec(os.Args[0], append(os.Args[:1], args...), os.Environ())
}

// forbid makes the calls of keyrings fail, as Docker does by default.
func forbid() error {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jump = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: jump, K: unix.SYS_KEYCTL, Jt: 2},
		{Code: jump, K: unix.SYS_ADD_KEY, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// everyError reports what the methods say, if that is not the same.
func everyError(ctx context.Context, s *keyctl.Store) error {
	_, err := s.Check(ctx)
	_, getErr := s.Get(ctx, key("a"))
	_, listErr := s.List(ctx, store.AccessKey)
	_, hasErr := s.Has(ctx, key("a"))
	for _, other := range []error{getErr, listErr, hasErr, s.Put(ctx, key("a"), nil), s.Delete(ctx, key("a"))} {
		if !errors.Is(other, store.ErrUnavailable) || err == nil || other.Error() != err.Error() {
			return fmt.Errorf("Check says %w, but another method %w", err, other)
		}
	}
	return err
}

// fill puts items, smaller ones at last, until the quota is full to the brim,
// and checks that the store can be used all the same, and even be emptied.
func fill(ctx context.Context, s *keyctl.Store) error {
	var full *keyctl.QuotaError
	var values [][]byte
	for size := 300; size > 0; {
		value := bytes.Repeat([]byte{byte(len(values))}, size)
		err := s.Put(ctx, key(fmt.Sprint(len(values))), value)
		switch {
		case err == nil:
			values = append(values, value)
		case errors.As(err, &full):
			size -= 285
		default:
			return err
		}
	}
	n := len(values)
	if !errors.Is(full, store.ErrUnavailable) || full.MaxBytes == 0 || full.Keys > full.MaxKeys || full.Bytes > full.MaxBytes {
		return fmt.Errorf("full: %#v", *full)
	}
	names, err := s.List(ctx, store.AccessKey)
	if err != nil || len(names) != n || n < 20 {
		return fmt.Errorf("a full store lists %d items, want %d: %w", len(names), n, err)
	}
	if err := s.Put(ctx, key("0"), make([]byte, 20000)); !errors.As(err, &full) {
		return fmt.Errorf("replacing by what doesn't fit, want a QuotaError: %w", err)
	}
	// Many read at once, each with a thread of his own.
	var wg sync.WaitGroup
	errs := make([]error, 8)
	wg.Add(len(errs))
	for i := range errs {
		go func() {
			runtime.LockOSThread()
			if got, err := s.Get(ctx, key(fmt.Sprint(i))); err != nil || !bytes.Equal(got, values[i]) {
				errs[i] = fmt.Errorf("Get(%d) of a full store: %d bytes, %w", i, len(got), err)
			}
			wg.Done()
			wg.Wait()
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := range n {
		if err := s.Delete(ctx, key(fmt.Sprint(i))); err != nil {
			return fmt.Errorf("Delete(%d) of a full store: %w", i, err)
		}
	}
	fmt.Print(full)
	return nil
}

func key(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }

// options are those of a store of the test's own. It skips the test where the
// kernel has none.
func options(t testing.TB, ring keyctl.Ring) keyctl.Options {
	t.Helper()
	o := keyctl.Options{Ring: ring, Name: "kura-test-" + rand.Text()}
	if _, err := keyctl.Open(o).Check(t.Context()); err != nil {
		if os.Getenv("KURA_TEST_STORES") == "all" {
			t.Fatal(err)
		}
		t.Skip("kernel keyrings can't be used here: ", err)
	}
	t.Cleanup(func() { check(t, vanish(o)) })
	return o
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// vanish removes the keyring of a store.
func vanish(o keyctl.Options) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	base, id, err := find(o)
	if id != 0 {
		_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, base, 0, 0)
	}
	return err
}

// find returns the keyring of a store, or 0, and the ring that it is in. It
// does by itself what the package does, so as to see what that has left.
func find(o keyctl.Options) (base, id int, err error) {
	switch o.Ring {
	case keyctl.Persistent:
		base, err = unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, -1, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	case keyctl.User:
		base = unix.KEY_SPEC_USER_KEYRING
	case keyctl.Session:
		base, err = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	}
	if err != nil {
		return 0, 0, err
	}
	id, err = unix.KeyctlSearch(base, "keyring", o.Name+":"+string(o.Ring), 0)
	if errors.Is(err, unix.ENOKEY) {
		return base, 0, nil
	}
	return base, max(id, 0), err
}

// ring returns the keyring of a store that was used.
func ring(t *testing.T, o keyctl.Options) int {
	t.Helper()
	_, id, err := find(o)
	if id == 0 {
		t.Fatal("no keyring of the store: ", err)
	}
	return id
}

func process(o keyctl.Options, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_NAME="+o.Name, "TEST_RING="+string(o.Ring))
	return cmd
}

// asUser returns a command like process that runs as another user.
func asUser(t *testing.T, uid uint32, o keyctl.Options, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	exe, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "") // t.TempDir's parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "helper")
	if err := os.WriteFile(path, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := process(o, args...)
	cmd.Path, cmd.Args[0], cmd.Dir = path, path, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
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
		t.Errorf("Get(%q) = %.40q, %v, want %.40q", name, got, err, want)
	}
}

var rings = []keyctl.Ring{keyctl.Persistent, keyctl.User, keyctl.Session}

func TestContract(t *testing.T) {
	for _, ring := range rings {
		t.Run(string(ring), func(t *testing.T) {
			storetest.Test(t, func(t *testing.T) storetest.Place {
				o := options(t, ring)
				return storetest.Place{
					Open:    func() store.Opened { return keyctl.Open(o) },
					Vanish:  func() { check(t, vanish(o)) },
					Process: func(args ...string) *exec.Cmd { return process(o, args...) },
				}
			})
		})
	}
}

// Another session of the user, as ssh and systemd make them, finds the items
// in the persistent and the user keyring. This is where those fail who read
// keys that they do not possess.
func TestOtherSession(t *testing.T) {
	for _, ring := range rings {
		t.Run(string(ring), func(t *testing.T) {
			o := options(t, ring)
			s := keyctl.Open(o)
			put(t, s, "ping", "by test")
			out, err := process(o, "in another session", "get", "ping").CombinedOutput()
			if ring == keyctl.Session {
				if want := "not in the store"; err == nil || !strings.Contains(string(out), want) {
					t.Errorf("another session's get = %s, %v, want %q", out, err, want)
				}
				return
			}
			if want := "by test"; err != nil || string(out) != want {
				t.Errorf("another session's get = %s, %v, want %s", out, err, want)
			}
			if out, err := process(o, "in another session", "put", "pong").CombinedOutput(); err != nil {
				t.Errorf("another session's put: %v: %s", err, out)
			}
			want(t, s, "pong", "by another")
		})
	}
}

// Another user has a store of his own.
func TestOtherUser(t *testing.T) {
	for _, ring := range []keyctl.Ring{keyctl.Persistent, keyctl.User} {
		t.Run(string(ring), func(t *testing.T) {
			o := options(t, ring)
			put(t, keyctl.Open(o), "a", "secret")
			out, err := asUser(t, 65534, o, "get", "a").CombinedOutput()
			if want := "not in the store"; err == nil || !strings.Contains(string(out), want) {
				t.Errorf("another user's get = %s, %v, want %q", out, err, want)
			}
		})
	}
}

// Those who do not possess a key don't even see it.
func TestPermissions(t *testing.T) {
	o := options(t, keyctl.Persistent)
	put(t, keyctl.Open(o), "a", strings.Repeat("secret", 10000))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	seen := 0
	var visit func(id int)
	visit = func(id int) {
		seen++
		desc, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
		fields := strings.Split(desc, ";")
		if err != nil || len(fields) != 5 || fields[3] != "3f000000" {
			t.Errorf("%q, %v, want the permissions 3f000000", desc, err)
			return
		}
		if fields[0] != "keyring" {
			return
		}
		buf := make([]byte, 400)
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		for ids := buf[:n]; len(ids) >= 4; ids = ids[4:] {
			visit(int(int32(binary.NativeEndian.Uint32(ids))))
		}
	}
	visit(ring(t, o))
	if want := 4; seen != want { // the store, the item and two parts
		t.Errorf("%d keys, want %d", seen, want)
	}
}

// Root's quota is too large to be filled: a user is needed who has nothing yet.
func TestQuota(t *testing.T) {
	for _, ring := range []keyctl.Ring{keyctl.Persistent, keyctl.User} {
		o := options(t, ring)
		uid := 100_000 + mathrand.Uint32N(1000)
		out, err := asUser(t, uid, o, "in another session", "fill").CombinedOutput()
		got := string(out)
		if err != nil || !strings.HasPrefix(got, "the user's quota of kernel keys is full: ") || strings.Contains(got, " 0 keys") {
			t.Errorf("%s: %s, %v", ring, got, err)
		}
	}
}

// The kernel frees what is replaced with some delay, which must not count.
func TestReplacing(t *testing.T) {
	o := options(t, keyctl.Persistent)
	uid := 100_000 + mathrand.Uint32N(1000)
	if out, err := asUser(t, uid, o, "replace").CombinedOutput(); err != nil {
		t.Errorf("%s, %v", out, err)
	}
}

func TestForbidden(t *testing.T) {
	for ring, call := range map[keyctl.Ring]string{
		keyctl.Persistent: "KEYCTL_GET_PERSISTENT",
		keyctl.User:       "KEYCTL_SEARCH",
		keyctl.Session:    "KEYCTL_GET_KEYRING_ID",
	} {
		o := options(t, ring)
		out, _ := process(o, "forbidden", "check").CombinedOutput()
		want := "the store is not available: the kernel's call " + call + ": operation not permitted\n"
		if got := string(out); got != want {
			t.Errorf("%s: %q, want %q", ring, got, want)
		}
	}
}

func TestUnknownRing(t *testing.T) {
	err := everyError(t.Context(), keyctl.Open(keyctl.Options{Ring: "nibelung"}))
	if want := `the store is not available: there is no keyring "nibelung"`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
}

// The rings are nested here and there, but their stores are not the same.
func TestRingsAreApart(t *testing.T) {
	o := options(t, keyctl.Persistent)
	for _, o.Ring = range rings {
		defer func(o keyctl.Options) { check(t, vanish(o)) }(o)
		put(t, keyctl.Open(o), "a", string(o.Ring))
		put(t, keyctl.Open(o), string(o.Ring), "own")
	}
	for _, o.Ring = range rings {
		s := keyctl.Open(o)
		want(t, s, "a", string(o.Ring))
		if names, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(names, []string{"a", string(o.Ring)}) {
			t.Errorf("%s: List = %q, %v", o.Ring, names, err)
		}
		if got, err := s.ID(t.Context()); err != nil || got != o.Name+":"+string(o.Ring) {
			t.Errorf("%s: ID = %q, %v", o.Ring, got, err)
		}
	}
}

// However many begin to use a store at once, nothing that was put is lost.
func TestParallelFirstUse(t *testing.T) {
	for range 100 {
		o := options(t, keyctl.Persistent)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				check(t, keyctl.Open(o).Put(t.Context(), key(fmt.Sprint(i)), nil))
			})
		}
		wg.Wait()
		if names, err := keyctl.Open(o).List(t.Context(), store.AccessKey); err != nil || len(names) != 8 {
			t.Fatalf("List = %q, %v, want 8 names", names, err)
		}
	}
}

// An item that is replaced all the while is listed all the while.
func TestListWhileReplacing(t *testing.T) {
	o := options(t, keyctl.Persistent)
	s := keyctl.Open(o)
	put(t, s, "a", "data")
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 2000 {
			check(t, s.Put(t.Context(), key("a"), []byte("data")))
		}
	}()
	for {
		if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
			t.Fatalf("List = %q, %v, want one name", names, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// What others have put into the keyring is no item, and stays.
func TestForeignKeys(t *testing.T) {
	o := options(t, keyctl.Persistent)
	s := keyctl.Open(o)
	put(t, s, "a", "data")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring := ring(t, o)
	for _, c := range [][2]string{
		{"user", "access-key:foreign"}, {"user", "x"}, {"keyring", "other"},
		{"keyring", "access-key:%41%4"}, {"keyring", "access-key:Upper"},
	} {
		data := []byte("foreign")
		if c[0] == "keyring" {
			data = nil
		}
		if _, err := unix.AddKey(c[0], c[1], data, ring); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("List = %q, %v, want just one name", names, err)
	}
	if err := s.Delete(t.Context(), key("foreign")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Delete of a foreign key: %v, want ErrNotFound", err)
	}
	if _, err := unix.KeyctlSearch(ring, "user", "access-key:foreign", 0); err != nil {
		t.Errorf("a foreign key: %v", err)
	}
}

// An item that lacks a part is none.
func TestDamaged(t *testing.T) {
	o := options(t, keyctl.Persistent)
	s := keyctl.Open(o)
	put(t, s, "a", strings.Repeat("x", 64<<10))
	runtime.LockOSThread()
	ring := ring(t, o)
	item, err := unix.KeyctlSearch(ring, "keyring", "access-key:a", 0)
	if err != nil {
		t.Fatal(err)
	}
	part, err := unix.KeyctlSearch(item, "user", "0", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, part, item, 0, 0); err != nil {
		t.Fatal(err)
	}
	runtime.UnlockOSThread()
	if _, err := s.Get(t.Context(), key("a")); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Get = %v, want ErrDamaged", err)
	}
}

// What a store has let go of is not left in the keyrings of the threads.
func TestNothingIsLeft(t *testing.T) {
	o := options(t, keyctl.Persistent)
	s := keyctl.Open(o)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name := strings.ToLower(rand.Text()) // is nowhere else
	for _, get := range []bool{false, true} {
		put(t, s, name, "data")
		if get {
			want(t, s, name, "data")
		}
		check(t, s.Delete(t.Context(), key(name)))
		for _, desc := range []string{"access-key:" + name, "spare"} {
			for _, typ := range []string{"keyring", "user"} {
				if _, err := unix.KeyctlSearch(unix.KEY_SPEC_THREAD_KEYRING, typ, desc, 0); !errors.Is(err, unix.ENOKEY) {
					t.Errorf("the %s %q: %v, want that it is gone", typ, desc, err)
				}
			}
		}
	}
}

func BenchmarkGet(b *testing.B) {
	o := options(b, keyctl.Persistent)
	s := keyctl.Open(o)
	put(b, s, "a", "data")
	for b.Loop() {
		want(b, s, "a", "data")
	}
}
