package file_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/file"
	"kura/internal/store/storetest"
	"kura/internal/unlocked"
)

const pass = "correct horse battery staple"

// TestMain lets the test run itself as another process of the user, and as an
// age plugin.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "age-plugin-") {
		os.Exit(agePlugin())
	}
	if dir := os.Getenv("TEST_DIR"); dir != "" {
		if err := otherProcess(dir, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// otherProcess does what storetest asks for, or puts or gets the item that the
// arguments name.
func otherProcess(dir string, args []string) error {
	s := file.Open(options(dir, os.Getenv("TEST_NAMESPACE")))
	ctx := context.Background()
	switch args[0] {
	case "put":
		return s.Put(ctx, key(args[1]), []byte("by another"))
	case "get":
		data, err := s.Get(ctx, key(args[1]))
		fmt.Printf("%s", data)
		return err
	}
	return storetest.Work(ctx, s, args, os.Stdout)
}

// process returns a command that runs otherProcess.
func process(dir, namespace string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_DIR="+dir, "TEST_NAMESPACE="+namespace)
	return cmd
}

// options are those of a store whose user knows the passphrase, and who is
// counted being asked. With no namespace nothing is kept.
func options(dir, namespace string) file.Options {
	o := file.Options{
		Dir:           dir,
		WorkFactor:    1,
		Passphrase:    func(context.Context, int) (string, error) { return pass, count(dir) },
		NewPassphrase: func(context.Context) (string, error) { return pass, count(dir) },
	}
	if namespace != "" {
		o.Keep, o.TTL = unlocked.Open(namespace), time.Minute
	}
	return o
}

// count notes, beside a store, that its user was asked.
func count(dir string) error {
	f, err := os.OpenFile(dir+".asked", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.WriteString("x")
	return f.Close()
}

func asked(dir string) int {
	data, _ := os.ReadFile(dir + ".asked")
	return len(data)
}

func wantAsked(t *testing.T, dir string, want int) {
	t.Helper()
	if got := asked(dir); got != want {
		t.Errorf("the user was asked %d times, want %d", got, want)
	}
}

// newDir returns the path of a store that does not exist yet.
func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "store") }

// newNamespace returns the name of a keep of the test's own.
func newNamespace(t testing.TB) string {
	t.Helper()
	name := "test-" + rand.Text()
	if err := unlocked.Open(name).Works(); err != nil {
		t.Skip("nothing can be kept between processes here: ", err)
	}
	t.Cleanup(func() { unlocked.Open(name).Forget() })
	return name
}

func open(dir string) *file.Store { return file.Open(options(dir, "")) }

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

func mustWrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// glob returns the only file of a pattern in a store.
func glob(t testing.TB, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %q, %v, want one file", pattern, files, err)
	}
	return files[0]
}

func TestContract(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept=%t", kept), func(t *testing.T) {
			storetest.Test(t, func(t *testing.T) storetest.Place {
				dir, namespace := newDir(t), ""
				if kept {
					namespace = newNamespace(t)
				}
				return storetest.Place{
					Open:  func() store.Opened { return file.Open(options(dir, namespace)) },
					Asked: func() int { return asked(dir) },
					Vanish: func() {
						if err := os.RemoveAll(dir); err != nil {
							t.Error(err)
						}
					},
					Process: func(args ...string) *exec.Cmd { return process(dir, namespace, args...) },
				}
			})
		})
	}
}

func TestFaulty(t *testing.T) {
	lost := errors.New("reply lost")
	s := storetest.Faulty{Store: open(newDir(t)), Fail: func(method string, key store.Key) (bool, error) {
		switch key.Name {
		case "before":
			return false, lost
		case "after":
			return true, lost
		}
		return true, nil
	}}
	for _, name := range []string{"before", "after"} {
		if err := s.Put(t.Context(), key(name), nil); !errors.Is(err, lost) {
			t.Errorf("Put(%q): %v, want %v", name, err, lost)
		}
	}
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 || names[0] != "after" {
		t.Errorf("List = %q, %v, want what was carried out", names, err)
	}
}

// The layout is part of what docs/store-format.md promises.
func TestLayout(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "Dev/eu", "data")
	put(t, open(dir), strings.Repeat("ü", 100), "data")
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		want := os.FileMode(0o600)
		if err == nil && info.IsDir() {
			want = 0o700 | os.ModeDir
		}
		if err == nil && info.Mode() != want && runtime.GOOS != "windows" {
			t.Errorf("%s has the mode %v, want %v", path, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"format", "recipient", "lock", "tmp",
		"items/access-key.%44ev%2feu.age",
		"items/access-key." + strings.Repeat("%c3%bc", 100)[:64] + "~*.age",
		"slots/passphrase.*.passphrase.age",
	} {
		glob(t, dir, path)
	}
	if got := string(mustRead(t, filepath.Join(dir, "format"))); got != "kura-store 1\n" {
		t.Errorf("format = %q", got)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(files) > 0 {
		t.Errorf("temporary files are left: %v, %v", files, err)
	}
}

// What format 1 was when it was new must be readable for ever.
func TestFormat1(t *testing.T) {
	dir := newDir(t)
	if err := os.CopyFS(dir, os.DirFS("testdata/format-1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { // git keeps no modes
		t.Fatal(err)
	}
	s := open(dir)
	long := strings.Repeat("ü", 100)
	want(t, s, "Dev/eu", "the data\n")
	want(t, s, long, "")
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(names, []string{"Dev/eu", long}) {
		t.Errorf("List = %q, %v", names, err)
	}
	wantSlots(t, s, "passphrase passphrase")
}

// Old temporary files are what killed writers left; young ones may be in use.
func TestSweep(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "a", "data")
	oldFile, youngFile := filepath.Join(dir, "tmp", ".tmp-1"), filepath.Join(dir, "tmp", ".tmp-2")
	mustWrite(t, oldFile, nil)
	mustWrite(t, youngFile, nil)
	if err := os.Chtimes(oldFile, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	put(t, open(dir), "a", "data")
	if got := glob(t, dir, "tmp/.tmp-*"); got != youngFile {
		t.Errorf("%s is left, want %s", got, youngFile)
	}
}

func TestStrayFilesAreNoItems(t *testing.T) {
	dir := newDir(t)
	s := open(dir)
	put(t, s, "a", "data")
	for _, name := range []string{
		".DS_Store", "access-key.a.age~", "access-key.B.age", "access-key.%61.age", "access-key.%2F.age",
		"access-key.%2.age", "access-key.b~1.age", "access-key..age", "access-key.age", "a.age", "x.y.z",
	} {
		mustWrite(t, filepath.Join(dir, "items", name), []byte("stray"))
	}
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
		t.Errorf("List = %q, %v, want just one name", names, err)
	}
}

// However many goroutines need a store at once, its user is asked once.
func TestOneQuestionInAProcess(t *testing.T) {
	dir := newDir(t)
	s := open(dir)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { put(t, s, fmt.Sprint(i), "data") })
	}
	wg.Wait()
	wantAsked(t, dir, 1)
	s = open(dir)
	for i := range 20 {
		wg.Go(func() { want(t, s, fmt.Sprint(i), "data") })
	}
	wg.Wait()
	wantAsked(t, dir, 2)
}

// The same holds for processes, of which one makes the store.
func TestOneQuestionAmongProcesses(t *testing.T) {
	dir, namespace := newDir(t), newNamespace(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if out, err := process(dir, namespace, "put", fmt.Sprint(i)).CombinedOutput(); err != nil {
				t.Errorf("put: %v: %s", err, out)
			}
		})
	}
	wg.Wait()
	wantAsked(t, dir, 1)
	if err := unlocked.Open(namespace).Forget(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		wg.Go(func() {
			out, err := process(dir, namespace, "get", fmt.Sprint(i)).CombinedOutput()
			if err != nil || string(out) != "by another" {
				t.Errorf("get: %v: %s", err, out)
			}
		})
	}
	wg.Wait()
	wantAsked(t, dir, 2)
}

// Without a keep each process asks, but they make one store.
func TestParallelFirstUse(t *testing.T) {
	dir := newDir(t)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			if out, err := process(dir, "", "put", fmt.Sprint(i)).CombinedOutput(); err != nil {
				t.Errorf("put: %v: %s", err, out)
			}
		})
	}
	wg.Wait()
	s := open(dir)
	for i := range 5 {
		want(t, s, fmt.Sprint(i), "by another")
	}
	glob(t, dir, "slots/*")
}

// Whoever is killed while the store is made leaves one that can be made.
func TestKilledWhileMakingTheStore(t *testing.T) {
	other := newDir(t)
	put(t, open(other), "a", "data")
	for _, upTo := range [][]string{
		{},
		{"slots"},
		{"slots", "recipient"},
	} {
		t.Run(fmt.Sprint(upTo), func(t *testing.T) {
			dir := newDir(t)
			if err := os.CopyFS(dir, os.DirFS(other)); err != nil {
				t.Fatal(err)
			}
			// CopyFS adds the rights of the umask to directories.
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"slots", "recipient", "format", "items"} {
				if !strings.Contains(fmt.Sprint(upTo), name) {
					if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if names, err := open(dir).List(t.Context(), store.AccessKey); err != nil || len(names) > 0 {
				t.Errorf("List = %q, %v", names, err)
			}
			put(t, open(dir), "b", "data")
			want(t, open(dir), "b", "data")
			slot := glob(t, dir, "slots/*")
			if len(upTo) > 0 && !bytes.Equal(mustRead(t, slot), mustRead(t, glob(t, other, "slots/*"))) {
				t.Error("the slot that was there is not there any more")
			}
		})
	}
}

func TestKeep(t *testing.T) {
	dir, namespace := newDir(t), newNamespace(t)
	o := options(dir, namespace)
	put(t, file.Open(o), "a", "data")
	wantAsked(t, dir, 1)
	want(t, file.Open(o), "a", "data")
	put(t, file.Open(o), "a", "more")
	wantAsked(t, dir, 1)

	s := file.Open(o)
	want(t, s, "a", "more")
	if err := s.Lock(); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "more")
	wantAsked(t, dir, 2)

	if err := s.Lock(); err != nil {
		t.Fatal(err)
	}
	o.TTL = 0
	want(t, file.Open(o), "a", "more")
	want(t, file.Open(o), "a", "more")
	wantAsked(t, dir, 4)

	// Another store of the same user is not opened by this one's identity.
	want(t, s, "a", "more")
	other := newDir(t)
	o = options(other, namespace)
	put(t, file.Open(o), "a", "other")
	wantAsked(t, other, 1)
	want(t, file.Open(o), "a", "other")
	wantAsked(t, other, 1)
}

// What a keep holds is used only if it is the identity of the store.
func TestKeepHoldsSomethingElse(t *testing.T) {
	dir, otherDir, namespace := newDir(t), newDir(t), newNamespace(t)
	o := options(dir, namespace)
	put(t, file.Open(o), "a", "data")
	put(t, file.Open(options(otherDir, "")), "a", "data")
	// The other store's directory claims to be this one's.
	mustWrite(t, filepath.Join(otherDir, "recipient"), mustRead(t, filepath.Join(dir, "recipient")))
	o.Dir = otherDir
	_, err := file.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrDamaged, "is not what this store wrote: it is not encrypted for this store")
	if err := o.Keep.Forget(); err != nil {
		t.Fatal(err)
	}
	_, err = file.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrDamaged, "slots", "it opens another store")
}

// A caller who has gone does not wait for the passphrase that another is asked.
func TestWaitingEndsWithTheContext(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "a", "data")
	asking, answer := make(chan bool), make(chan string)
	o := options(dir, "")
	o.Passphrase = func(context.Context, int) (string, error) { asking <- true; return <-answer, nil }
	s := file.Open(o)
	var wg sync.WaitGroup
	wg.Go(func() { want(t, s, "a", "data") })
	<-asking
	waiting := make(chan bool, 1)
	o.Waiting = func() { waiting <- true }
	for _, s := range []*file.Store{s, file.Open(o)} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := s.Get(ctx, key("a"))
		wantError(t, err, context.DeadlineExceeded)
		cancel()
	}
	wg.Go(func() { file.Open(o).Get(t.Context(), key("a")) })
	<-waiting // is said after a second
	answer <- pass
	<-asking
	answer <- pass
	wg.Wait()
}

func TestPassphrases(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "a", "data")
	canceled := errors.New("canceled by the user")
	for _, c := range []struct {
		name    string
		answers []any
		asked   int
		want    []any
	}{
		{"right", []any{pass}, 1, nil},
		{"third time", []any{"x", "y", pass}, 3, nil},
		{"never", []any{"x", "y", "z", pass}, 3, []any{store.ErrLocked, file.ErrWrongPassphrase, "the store is locked: wrong passphrase"}},
		{"the same again", []any{"x", "x", pass}, 2, []any{store.ErrLocked, file.ErrWrongPassphrase}},
		{"empty", []any{"", ""}, 2, []any{store.ErrLocked, file.ErrWrongPassphrase}},
		{"not answered", []any{"x", canceled}, 2, []any{store.ErrLocked, canceled}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			o := options(dir, "")
			o.Passphrase = func(_ context.Context, attempt int) (string, error) {
				if n++; attempt != n {
					t.Errorf("attempt = %d, want %d", attempt, n)
				}
				if err, ok := c.answers[n-1].(error); ok {
					return "", err
				}
				return c.answers[n-1].(string), nil
			}
			_, err := file.Open(o).Get(t.Context(), key("a"))
			if c.want == nil && err != nil {
				t.Error(err)
			}
			wantError(t, err, c.want...)
			if n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

func TestNobodyToAsk(t *testing.T) {
	dir := newDir(t)
	s := file.Open(file.Options{Dir: dir})
	wantError(t, s.Put(t.Context(), key("a"), nil), store.ErrLocked, "there is nobody to ask for a new passphrase")
	put(t, open(dir), "a", "data")
	_, err := s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, "there is nobody to ask for the passphrase")
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
		t.Errorf("List of a locked store = %q, %v, want one name", names, err)
	}
}

func TestNewPassphraseRefused(t *testing.T) {
	o := options(newDir(t), "")
	o.NewPassphrase = func(context.Context) (string, error) { return "", nil }
	wantError(t, file.Open(o).Put(t.Context(), key("a"), nil), file.ErrEmptyPassphrase)
	canceled := errors.New("canceled by the user")
	o.NewPassphrase = func(context.Context) (string, error) { return "", canceled }
	wantError(t, file.Open(o).Put(t.Context(), key("a"), nil), canceled)
	put(t, open(o.Dir), "a", "data")
	want(t, open(o.Dir), "a", "data")
}

func TestBadItems(t *testing.T) {
	const foreign, corrupt = "is not what this store wrote", "is cut short or corrupt"
	otherDir := newDir(t)
	put(t, open(otherDir), "a", "other")
	other := mustRead(t, filepath.Join(otherDir, "items/access-key.a.age"))
	for _, c := range []struct {
		name string
		bad  func(dir string, item []byte) []byte
		want []any
	}{
		{"of another store", func(string, []byte) []byte { return other }, []any{foreign, "not encrypted for this store"}},
		{"swapped", func(dir string, _ []byte) []byte {
			return mustRead(t, filepath.Join(dir, "items/access-key.b.age"))
		}, []any{foreign, `it holds the item "b" of kind access-key`}},
		{"of another kind", func(dir string, _ []byte) []byte {
			return mustRead(t, filepath.Join(dir, "items/cache-key.a.age"))
		}, []any{foreign, `it holds the item "a" of kind cache-key`}},
		{"planted", func(dir string, _ []byte) []byte {
			return plant(t, dir, "kura-item 1\nkind: access-key\nname: \"a\"\nmac: "+strings.Repeat("0", 64)+"\n\nevil")
		}, []any{foreign, "its MAC is wrong"}},
		{"planted without a head", func(dir string, _ []byte) []byte { return plant(t, dir, `{"AccessKeyID":"evil"}`) },
			[]any{foreign, "it does not begin like an item"}},
		{"empty", func(string, []byte) []byte { return nil }, []any{corrupt}},
		{"cut in the header", func(_ string, item []byte) []byte { return item[:100] }, []any{corrupt}},
		{"cut before the data", func(_ string, item []byte) []byte { return item[:len(item)-180] }, []any{corrupt}},
		{"cut in the data", func(_ string, item []byte) []byte { return item[:len(item)-1] }, []any{corrupt}},
		{"longer", func(_ string, item []byte) []byte { return append(item, 0) }, []any{corrupt}},
		{"a bit flipped", func(_ string, item []byte) []byte { item[len(item)-1] ^= 1; return item }, []any{corrupt}},
		{"huge", func(string, []byte) []byte { return make([]byte, 17<<20) }, []any{foreign, "at most"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newDir(t)
			s := open(dir)
			put(t, s, "a", "data")
			put(t, s, "b", "data")
			if err := s.Put(t.Context(), store.Key{Kind: store.CacheKey, Name: "a"}, nil); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "items/access-key.a.age")
			mustWrite(t, path, c.bad(dir, mustRead(t, path)))
			_, err := s.Get(t.Context(), key("a"))
			if _, ok := errors.AsType[*file.FileError](err); !ok {
				t.Errorf("error = %v, want a FileError", err)
			}
			wantError(t, err, append(c.want, store.ErrDamaged, path)...)
			want(t, s, "b", "data")
			put(t, s, "a", "mended")
			want(t, s, "a", "mended")
		})
	}
}

// A name that does not fit into the file name stands in the file, where somebody
// could put another.
func TestBadLongNames(t *testing.T) {
	dir := newDir(t)
	s := open(dir)
	put(t, s, strings.Repeat("x", 255), "data")
	path := glob(t, dir, "items/*~*.age")
	item := mustRead(t, path)
	for name, bad := range map[string][]byte{
		"another name": bytes.Replace(item, []byte("-> kura-name eHh4"), []byte("-> kura-name eHh5"), 1),
		"no base64":    bytes.Replace(item, []byte("-> kura-name eHh4"), []byte("-> kura-name !Hh4"), 1),
		"no name":      bytes.Replace(item, []byte("-> kura-name"), []byte("-> kura-nome"), 1),
		"cut":          item[:50],
	} {
		mustWrite(t, path, bad)
		if names, err := s.List(t.Context(), store.AccessKey); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: List = %.20q, %v, want ErrDamaged", name, names, err)
		}
	}
}

func TestUnusableDirectories(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(dir string)
		want []any
	}{
		{"newer format", func(dir string) { mustWrite(t, filepath.Join(dir, "format"), []byte("kura-store 2\n")) },
			[]any{"format 2 is newer than this program, which knows format 1"}},
		{"no format", func(dir string) { mustWrite(t, filepath.Join(dir, "format"), []byte("???")) },
			[]any{`format says "???"`}},
		{"format missing", func(dir string) { remove(t, dir, "format") },
			[]any{"there are items in", "but no file"}},
		{"recipient missing", func(dir string) { remove(t, dir, "recipient") },
			[]any{"recipient"}},
		{"recipient empty", func(dir string) { mustWrite(t, filepath.Join(dir, "recipient"), nil) },
			[]any{"recipient holds no age recipient"}},
		{"slots empty", func(dir string) { remove(t, glob(t, dir, "slots/*")) },
			[]any{file.ErrNoSlots}},
		{"slots missing", func(dir string) { remove(t, dir, "slots") },
			[]any{file.ErrNoSlots}},
		{"a file", func(dir string) { remove(t, dir); mustWrite(t, dir, nil) },
			[]any{"directory"}},
		{"aws-vault", func(dir string) {
			remove(t, dir, "format")
			remove(t, dir, "items")
			mustWrite(t, filepath.Join(dir, "prod"), []byte("eyJhbGciOiJQQkVTMiJ9.AA.BB.CC.DD"))
		}, []any{file.ErrAWSVault, "the directory holds items of aws-vault"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newDir(t)
			opened := open(dir)
			put(t, opened, "a", "data")
			c.bad(dir)
			for _, s := range []*file.Store{open(dir), opened} {
				if !errors.Is(s.Put(t.Context(), key("b"), nil), store.ErrUnavailable) {
					t.Error("Put did not say that the store is not available")
				}
			}
			_, err := open(dir).Get(t.Context(), key("a"))
			wantError(t, err, append(c.want, store.ErrUnavailable, dir)...)
		})
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, mode := range []os.FileMode{0o755, 0o750, 0o701, 0o710, 0o702} {
		dir := newDir(t)
		put(t, open(dir), "a", "data")
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := open(dir).Get(t.Context(), key("a"))
		_, listErr := open(dir).List(t.Context(), store.AccessKey)
		for _, err := range []error{err, listErr, open(dir).Put(t.Context(), key("a"), nil), open(dir).Delete(t.Context(), key("a"))} {
			e, ok := errors.AsType[*file.ModeError](err)
			if !ok || e.Path != dir || e.Mode != mode {
				t.Errorf("with mode %04o: %v, want a ModeError", mode, err)
			}
			wantError(t, err, store.ErrUnavailable, fmt.Sprintf("%s is open to other users: its mode is %04o", dir, mode))
		}
	}
}

func remove(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(elem...)); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) {
	dir, namespace := newDir(b), newNamespace(b)
	o := options(dir, namespace)
	put(b, file.Open(o), "a", "data")
	for b.Loop() {
		want(b, file.Open(o), "a", "data")
	}
}
