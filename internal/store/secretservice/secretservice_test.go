//go:build unix

package secretservice_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
	"kura/internal/store/live"
	"kura/internal/store/secretservice"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user.
func TestMain(m *testing.M) {
	if address := os.Getenv("TEST_ADDRESS"); address != "" {
		s := secretservice.Open(secretservice.Options{Address: address, Collection: os.Getenv("TEST_COLLECTION"),
			Display: os.Getenv("TEST_DISPLAY") != ""})
		if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process returns a command that runs TestMain's work.
func process(o secretservice.Options, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_ADDRESS="+o.Address, "TEST_COLLECTION="+o.Collection)
	if o.Display {
		cmd.Env = append(cmd.Env, "TEST_DISPLAY=1")
	}
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

// startGnome starts gnome-keyring.
func startGnome(t testing.TB, login bool) *live.GnomeKeyring {
	t.Helper()
	g := must[*live.GnomeKeyring](t)(live.StartGnomeKeyring(t.Context(), t.TempDir(), login))
	t.Cleanup(g.Stop)
	return g
}

func TestGnomeKeyring(t *testing.T) {
	t.Parallel() // the services are slow
	storetest.Test(t, func(t *testing.T) storetest.Place {
		g := startGnome(t, true)
		o := secretservice.Options{Address: g.Address}
		return storetest.Place{
			Open:    func() store.Opened { return secretservice.Open(o) },
			Vanish:  g.Stop,
			Process: func(args ...string) *exec.Cmd { return process(o, args...) },
			Slow:    true,
		}
	})
}

// inMemory is gnome-keyring's collection that never reaches the disk, so that
// tests with many items are quick.
func inMemory(g *live.GnomeKeyring) secretservice.Options {
	return secretservice.Options{Address: g.Address, Collection: "session"}
}

const sessionPath = dbus.ObjectPath("/org/freedesktop/secrets/collection/session")

// plant makes an item as another program would, in the clear, and even if there
// is one with the same attributes.
func plant(t testing.TB, g *live.GnomeKeyring, attributes map[string]string, data string) dbus.ObjectPath {
	t.Helper()
	conn, err := sessionbus.Connect(t.Context(), g.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	service := sessionbus.Service{Conn: conn, Name: "org.freedesktop.secrets"}
	var output dbus.Variant
	var session, item, prompt dbus.ObjectPath
	err = service.Call(t.Context(), "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.OpenSession",
		[]any{"plain", dbus.MakeVariant("")}, &output, &session)
	if err != nil {
		t.Fatal(err)
	}
	type secret struct {
		Session           dbus.ObjectPath
		Parameters, Value []byte
		ContentType       string
	}
	err = service.Call(t.Context(), sessionPath, "org.freedesktop.Secret.Collection.CreateItem", []any{
		map[string]dbus.Variant{
			"org.freedesktop.Secret.Item.Label":      dbus.MakeVariant("planted"),
			"org.freedesktop.Secret.Item.Attributes": dbus.MakeVariant(attributes),
		},
		secret{session, []byte{}, []byte(data), "text/plain"}, false,
	}, &item, &prompt)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// touch changes an item, in its label, until it is newer than another.
func touch(t testing.TB, g *live.GnomeKeyring, item, other dbus.ObjectPath) {
	t.Helper()
	conn, err := sessionbus.Connect(t.Context(), g.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	modified := func(item dbus.ObjectPath) (seconds uint64) {
		err := conn.Object("org.freedesktop.secrets", item).StoreProperty("org.freedesktop.Secret.Item.Modified", &seconds)
		if err != nil {
			t.Fatal(err)
		}
		return seconds
	}
	for modified(item) <= modified(other) {
		label := dbus.MakeVariant(rand.Text())
		if err := conn.Object("org.freedesktop.secrets", item).SetProperty("org.freedesktop.Secret.Item.Label", label); err != nil {
			t.Fatal(err)
		}
	}
}

func keyAttributes(name string) map[string]string {
	return map[string]string{"application": "kura", "kind": "access-key", "name": name, "kura-name:" + name: ""}
}

// Two items of one key, as two programs can make at once, are one: the newest.
func TestDuplicates(t *testing.T) {
	g := startGnome(t, true)
	s := secretservice.Open(inMemory(g))
	var planted []dbus.ObjectPath
	for _, data := range []string{"one", "two", "three"} {
		planted = append(planted, plant(t, g, keyAttributes("a"), data))
	}
	wantList(t, s, "a")
	// Of the same second, the last path counts.
	want(t, s, "a", "three")
	touch(t, g, planted[0], planted[2])
	want(t, s, "a", "one")
	put(t, s, "a", "new")
	want(t, s, "a", "new")
	conn, err := sessionbus.Connect(t.Context(), g.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var items []dbus.ObjectPath
	service := sessionbus.Service{Conn: conn, Name: "org.freedesktop.secrets"}
	err = service.Call(t.Context(), sessionPath, "org.freedesktop.Secret.Collection.SearchItems", []any{keyAttributes("a")}, &items)
	if err != nil || len(items) != 1 {
		t.Errorf("items left after Put = %q, %v, want one", items, err)
	}
	plant(t, g, keyAttributes("a"), "one more")
	if err := s.Delete(t.Context(), key("a")); err != nil {
		t.Fatal(err)
	}
	wantList(t, s)
	_, err = s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrNotFound)
}

// What other programs keep in the same collection is neither seen nor touched.
func TestOthersItems(t *testing.T) {
	g := startGnome(t, true)
	s := secretservice.Open(inMemory(g))
	plant(t, g, map[string]string{"application": "other", "kind": "access-key", "name": "a"}, "other")
	plant(t, g, map[string]string{"profile": "a"}, "other")
	plant(t, g, map[string]string{"application": "kura", "kind": "access-key"}, "other")
	plant(t, g, map[string]string{"application": "kura", "kind": "access-key", "kura-name:%4": ""}, "other")
	wantList(t, s)
	_, err := s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrNotFound)
	put(t, s, "a", "data")
	wantList(t, s, "a")
	if err := s.Delete(t.Context(), key("a")); err != nil {
		t.Fatal(err)
	}
	entries := openEntries(inMemory(g))
	if data, err := entries.Get(t.Context(), "a"); err != nil || string(data) != "other" {
		t.Errorf("another program's item = %q, %v, want %q", data, err, "other")
	}
}

// What aws-vault left is read, and nothing else.
func TestEntries(t *testing.T) {
	g := startGnome(t, true)
	none := openEntries(secretservice.Options{Address: g.Address})
	if names, err := none.List(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("List without a collection = %q, %v, want none", names, err)
	}
	_, err := none.Get(t.Context(), "dev")
	wantError(t, err, store.ErrNotFound)

	put(t, secretservice.Open(inMemory(g)), "dev", "not an entry")
	const item = `{"Key":"dev","Data":"eyJBY2Nlc3NLZXlJRCI6IiJ9"}`
	plant(t, g, map[string]string{"profile": "dev"}, item)
	plant(t, g, map[string]string{"profile": "Größe/eu"}, "{}")
	entries := openEntries(inMemory(g))
	if names, err := entries.List(t.Context()); err != nil || !slices.Equal(names, []string{"Größe/eu", "dev"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	if data, err := entries.Get(t.Context(), "dev"); err != nil || string(data) != item {
		t.Errorf("Get = %q, %v, want %q", data, err, item)
	}
	_, err = entries.Get(t.Context(), "prod")
	wantError(t, err, store.ErrNotFound, `entry "prod"`)

	// Others have more than one attribute.
	plant(t, g, map[string]string{"account": "acme", "service": "tool"}, "theirs")
	plant(t, g, map[string]string{"account": "acme", "service": "other"}, "not theirs")
	entries = secretservice.OpenEntries(inMemory(g), "account", map[string]string{"service": "tool"})
	if names, err := entries.List(t.Context()); err != nil || !slices.Equal(names, []string{"acme"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	if data, err := entries.Get(t.Context(), "acme"); err != nil || string(data) != "theirs" {
		t.Errorf("Get = %q, %v, want %q", data, err, "theirs")
	}
}

// The collection of aws-vault's own, locked, is unlocked by the usual question.
func TestLockedEntries(t *testing.T) {
	g := startGnome(t, true)
	path, err := g.Make(t.Context(), "awsvault", "")
	if err != nil || path != "/org/freedesktop/secrets/collection/awsvault" {
		t.Fatalf("Make = %q, %v", path, err)
	}
	if err := g.Lock(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	o := secretservice.Options{Address: g.Address}
	_, err = openEntries(o).List(t.Context())
	wantError(t, err, store.ErrLocked, secretservice.ErrNobody, `the collection "awsvault"`)
	var asked atomic.Int32
	o.Ask = answers(&asked, live.Password)
	if names, err := openEntries(o).List(t.Context()); err != nil || len(names) > 0 || asked.Load() != 1 {
		t.Errorf("List = %q, %v, asked %d times", names, err, asked.Load())
	}
}

// Whoever listens on the bus sees neither what is put nor what is got, nor a
// password.
func TestNothingInTheClear(t *testing.T) {
	g := startLocked(t)
	monitor, err := sessionbus.Connect(t.Context(), g.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { monitor.Close() })
	if err := monitor.BusObject().Call("org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, []string{}, uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
	messages := make(chan *dbus.Message, 1000)
	monitor.Eavesdrop(messages)
	var asked atomic.Int32
	s := secretservice.Open(secretservice.Options{Address: g.Address, Ask: answers(&asked, live.Password)})
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	put(t, s, "a", secret)
	want(t, s, "a", secret)
	seen := 0
	for got := false; !got; {
		m := <-messages
		seen++
		for _, clear := range []string{secret, live.Password} {
			if text := fmt.Sprintf("%s", m.Body); strings.Contains(text, clear) {
				t.Error("a secret went over the bus in the clear")
			}
		}
		_, got = m.Headers[dbus.FieldReplySerial]
		got = got && strings.Contains(fmt.Sprint(m.Headers[dbus.FieldSignature]), "(oayays)")
	}
	if seen < 10 {
		t.Errorf("only %d messages were seen", seen)
	}
}

// A service that knows no encryption, or cheats at it, gets no secret.
func TestBadService(t *testing.T) {
	for _, c := range []struct {
		name    string
		service *badService
		want    []any
	}{
		{"plain only", &badService{refuse: true}, []any{secretservice.ErrNoEncryption}},
		{"no number", &badService{output: ""}, []any{"it sent no public number"}},
		{"bad number", &badService{output: []byte{1}}, []any{"its public number is not one of the group"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := must[*live.Bus](t)(live.StartBus(t.Context(), t.TempDir()))
			t.Cleanup(b.Stop)
			conn, err := sessionbus.Connect(t.Context(), b.Address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if err := conn.Export(c.service, "/org/freedesktop/secrets", "org.freedesktop.Secret.Service"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.RequestName("org.freedesktop.secrets", 0); err != nil {
				t.Fatal(err)
			}
			_, err = secretservice.Open(secretservice.Options{Address: b.Address}).Check(t.Context())
			wantError(t, err, append(c.want, store.ErrUnavailable)...)
		})
	}
}

// A badService is a Secret Service that makes sessions, or refuses to.
type badService struct {
	refuse bool
	output any
}

// OpenSession is the method of the specification.
func (s *badService) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	if s.refuse {
		return dbus.MakeVariant(""), "/", dbus.NewError("org.freedesktop.DBus.Error.NotSupported", nil)
	}
	return dbus.MakeVariant(s.output), "/org/freedesktop/secrets/session/1", nil
}

// The version is another one after each change of names, and the same while
// there is none.
func TestVersion(t *testing.T) {
	g := startGnome(t, true)
	s := secretservice.Open(inMemory(g))
	seen := map[string]bool{}
	look := func(what string) {
		t.Helper()
		version, err := s.Version(t.Context())
		if again, err := secretservice.Open(inMemory(g)).Version(t.Context()); again != version || err != nil {
			t.Errorf("the version is %q and then %q, %v", version, again, err)
		}
		if err != nil || version == "" || seen[version] {
			t.Errorf("%s: version %q, %v, want a new one", what, version, err)
		}
		seen[version] = true
	}
	look("at first")
	put(t, s, "a", "data")
	look("with an item")
	put(t, s, "b", "data")
	look("with another")
	if err := s.Delete(t.Context(), store.Key{Kind: store.AccessKey, Name: "b"}); err != nil {
		t.Fatal(err)
	}
	if version, err := s.Version(t.Context()); err != nil || version == "" {
		t.Errorf("Version = %q, %v", version, err)
	}
}

func BenchmarkList102(b *testing.B) {
	g := startGnome(b, true)
	for i := range 102 {
		put(b, secretservice.Open(inMemory(g)), fmt.Sprint("item ", i), "data")
	}
	for b.Loop() {
		if names, err := secretservice.Open(inMemory(g)).List(b.Context(), store.AccessKey); err != nil || len(names) != 102 {
			b.Fatalf("List = %d names, %v", len(names), err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	g := startGnome(b, true)
	put(b, secretservice.Open(inMemory(g)), "a", "data")
	for b.Loop() {
		want(b, secretservice.Open(inMemory(g)), "a", "data")
	}
}

func startKeePassXC(t testing.TB) *live.KeePassXC {
	t.Helper()
	k := must[*live.KeePassXC](t)(live.StartKeePassXC(t.Context(), t.TempDir()))
	t.Cleanup(k.Stop)
	return k
}

func TestKeePassXC(t *testing.T) {
	t.Parallel()           // the services are slow
	k := startKeePassXC(t) // here, where the test can be skipped
	storetest.Test(t, func(t2 *testing.T) storetest.Place {
		if k == nil {
			k = startKeePassXC(t)
		}
		o := secretservice.Options{Address: k.Address, Display: true}
		deleteAll(t2, secretservice.Open(o))
		return storetest.Place{
			Open:    func() store.Opened { return secretservice.Open(o) },
			Vanish:  func() { k.Stop(); k = nil },
			Process: func(args ...string) *exec.Cmd { return process(o, args...) },
			Slow:    true,
		}
	})
}

func deleteAll(t *testing.T, s *secretservice.Store) {
	t.Helper()
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
}

// A locked database of KeePassXC tells nothing of what is in it, so it is never
// taken for an empty one.
func TestLockedKeePassXC(t *testing.T) {
	t.Parallel() // the services are slow
	k := startKeePassXC(t)
	said := make(chan string, 10)
	o := secretservice.Options{Address: k.Address, Display: true, Say: func(text string) { said <- text }}
	s := secretservice.Open(o)
	put(t, s, "a", "data")
	// It asks to be allowed each change.
	hidden := secretservice.Open(secretservice.Options{Address: k.Address})
	want(t, hidden, "a", "data")
	wantError(t, hidden.Put(t.Context(), key("b"), nil), store.ErrLocked, secretservice.ErrNoDisplay)
	wantError(t, hidden.Delete(t.Context(), key("a")), store.ErrLocked, secretservice.ErrNoDisplay)
	wantList(t, s, "a")
	if err := k.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNote(t, s, "locked")
	_, err := s.List(t.Context(), store.AccessKey)
	wantError(t, err, store.ErrLocked, "it does not tell what it holds")
	_, err = s.Has(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked)
	o.Display, o.Ask = false, func(context.Context, string) (string, error) { t.Error("asked"); return "", nil }
	_, err = secretservice.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, secretservice.ErrNobody)

	// Nobody answers in its window.
	o.Display, o.PromptTimeout = true, 2500*time.Millisecond
	_, err = secretservice.Open(o).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, secretservice.ErrUnanswered)
	<-said
	// Somebody unlocks it while we wait.
	o.PromptTimeout = 0
	var wg sync.WaitGroup
	wg.Go(func() { want(t, secretservice.Open(o), "a", "data") })
	<-said
	if err := k.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// openEntries returns what aws-vault left.
func openEntries(o secretservice.Options) *secretservice.Entries {
	if o.Collection == "" {
		o.Collection = "awsvault"
	}
	return secretservice.OpenEntries(o, "profile", nil)
}
