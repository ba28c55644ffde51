package onepassword_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kura/internal/cred"
	op "kura/internal/onepassword"
	"kura/internal/opemu"
	"kura/internal/store"
	"kura/internal/store/onepassword"
)

// The tests have the spirit of package storetest, whose values are any bytes and
// of any kind, while these must be access keys.

// TestMain lets the test be op, and another process of the user.
func TestMain(m *testing.M) {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "op" {
		opemu.Main()
	}
	if locks := os.Getenv("TEST_LOCKS"); locks != "" {
		c := op.New(op.Options{Environ: os.Environ(), LockDir: locks})
		var err error
		if len(os.Args) > 2 {
			err = changeNamed(os.Args[1]).do(context.Background(), c, os.Args[2], os.Args[3])
		} else {
			err = work(onepassword.Open(onepassword.Options{Client: c}), os.Args[1])
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work is what another process does.
func work(s *onepassword.Store, what string) error {
	n := 3
	if what == "write-forever" {
		n = math.MaxInt
	}
	for i := range n {
		if what == "read" {
			if err := readWhole(s); err != nil {
				return err
			}
			continue
		}
		if err := s.Put(context.Background(), contended, encode(key(i))); err != nil {
			return err
		}
		fmt.Println(i)
	}
	return nil
}

// contended is the item that many write and read at once.
var contended = named("contended")

func readWhole(s *onepassword.Store) error {
	data, err := s.Get(context.Background(), contended)
	if err != nil {
		return err
	}
	k, err := cred.Decode(data)
	if err != nil {
		return err
	}
	for i := range 30 {
		if k == key(i) {
			return nil
		}
	}
	return errors.New("the item is not what any one Put wrote")
}

func named(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }

// key makes an access key, each n another one.
func key(n int) cred.Credentials {
	n %= 26
	return cred.Credentials{
		AccessKeyID:     "AKIAIOSFODNN7EXAMPL" + string(rune('A'+n)),
		SecretAccessKey: cred.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKE" + string(rune('a'+n))),
	}
}

func encode(c cred.Credentials) []byte {
	data, err := cred.Encode(c)
	if err != nil {
		panic(err)
	}
	return data
}

func newWorld(t *testing.T) *opemu.World {
	t.Helper()
	w, err := opemu.New(opemu.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.LeakCheck(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// open returns a new handle on the store in the vault Private, as another process
// would have; set, which may be nil, changes its options.
func open(t *testing.T, w *opemu.World, set func(*onepassword.Options)) *onepassword.Store {
	t.Helper()
	o := onepassword.Options{Client: op.New(op.Options{Environ: w.Environ(), LockDir: t.TempDir()}), Vault: w.Vault("Private")}
	if set != nil {
		set(&o)
	}
	return onepassword.Open(o)
}

func put(t *testing.T, s store.Store, k store.Key, c cred.Credentials) {
	t.Helper()
	if err := s.Put(t.Context(), k, encode(c)); err != nil {
		t.Fatalf("Put(%q): %v", k.Name, err)
	}
}

func want(t *testing.T, s store.Store, k store.Key, c cred.Credentials) {
	t.Helper()
	if got, err := s.Get(t.Context(), k); err != nil || string(got) != string(encode(c)) {
		t.Errorf("Get(%q) = another key, %v, want %s", k.Name, err, c.AccessKeyID)
	}
}

func wantList(t *testing.T, s store.Store, names ...string) {
	t.Helper()
	names = slices.Sorted(slices.Values(names))
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, names) {
		t.Errorf("List = %q, %v, want %q", got, err, names)
	}
}

func wantHas(t *testing.T, s store.Opened, k store.Key, want bool) {
	t.Helper()
	if got, err := s.Has(t.Context(), k); err != nil || got != want {
		t.Errorf("Has(%s %q) = %v, %v, want %v", k.Kind, k.Name, got, err, want)
	}
}

func wantErr(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, target := range want {
		if !errors.Is(err, target) {
			t.Errorf("%s: %v, want %v", what, err, target)
		}
	}
}

// approve makes the app approve what this process does, as List never asks.
func approve(t *testing.T, s store.Opened) {
	t.Helper()
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A key can be put, got, replaced and deleted; a missing one is missing.
func TestStore(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	approve(t, s)
	k := named("prod")
	wantList(t, s)
	for range 2 {
		_, err := s.Get(t.Context(), k)
		wantErr(t, "Get of a missing item", err, store.ErrNotFound)
		wantErr(t, "Delete of a missing item", s.Delete(t.Context(), k), store.ErrNotFound)
		wantHas(t, s, k, false)
		withAccount := key(1)
		withAccount.AccountID = "111122223333"
		for _, c := range []cred.Credentials{key(0), withAccount, key(2)} {
			put(t, s, k, c)
			want(t, s, k, c)
			want(t, open(t, w, nil), k, c)
			wantHas(t, s, k, true)
			wantList(t, s, "prod")
		}
		if err := s.Delete(t.Context(), k); err != nil {
			t.Error(err)
		}
		wantList(t, s)
	}
	items := w.Items()
	if len(items) != 2 || !items[0].Archived || items[0].Deleted || items[0].Title != "kura: prod" || items[0].Category != "API_CREDENTIAL" {
		t.Errorf("there are %d items, want two in the archive", len(items))
	}
	labels := []string{}
	for _, f := range items[0].Fields {
		if f.Value != "" {
			labels = append(labels, f.Label+" "+f.Type)
		}
	}
	if want := []string{"Access Key ID STRING", "Secret Access Key CONCEALED"}; !slices.Equal(labels, want) {
		t.Errorf("an item has the fields %q, want %q", labels, want)
	}
}

// A rotation is any bytes, in an item of its own that no archive keeps. It is
// none of the user's own item.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	own := w.AddItem(opemu.AccessKey{Title: "AWS", ID: key(1).AccessKeyID, Secret: key(1).SecretAccessKey.Reveal()}.Item()).ID
	s := open(t, w, func(o *onepassword.Options) { o.Item, o.Name = own, "prod" })
	approve(t, s)
	put(t, s, named("dev"), key(2))
	k := store.Key{Kind: store.Rotation, Name: "prod"}
	_, err := s.Get(t.Context(), k)
	wantErr(t, "Get of a rotation that is not there", err, store.ErrNotFound)
	wantErr(t, "Delete of it", s.Delete(t.Context(), k), store.ErrNotFound)
	wantHas(t, s, k, false)
	for _, data := range []string{"one\n\x00\xff", "", "two "} {
		if err := s.Put(t.Context(), k, []byte(data)); err != nil {
			t.Fatal(err)
		}
		got, err := open(t, w, nil).Get(t.Context(), k)
		if err != nil || string(got) != data {
			t.Errorf("Get = %q, %v, want %q", got, err, data)
		}
	}
	wantHas(t, s, k, true)
	wantList(t, s, "dev", "prod")
	if names, err := s.List(t.Context(), store.Rotation); err != nil || !slices.Equal(names, []string{"prod"}) {
		t.Errorf("List of rotations = %q, %v", names, err)
	}
	if written, err := s.Written(t.Context(), store.Rotation); err != nil || len(written) != 1 || written["prod"].IsZero() {
		t.Errorf("Written of rotations = %v, %v", written, err)
	}
	if err := s.Delete(t.Context(), k); err != nil {
		t.Error(err)
	}
	wantHas(t, s, k, false)
	want(t, s, named("prod"), key(1))
	deleted := 0
	for _, it := range w.Items() {
		if it.Deleted {
			deleted++
		}
		if it.Archived {
			t.Errorf("item %q is in the archive", it.Title)
		}
	}
	if deleted != 1 {
		t.Errorf("%d items were deleted, want that of the rotation", deleted)
	}
	if it := w.Item(own); it.Version != 1 {
		t.Error("the user's own item was changed")
	}
}

// Getting an item is one call, and one for all within a command.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	put(t, open(t, w, nil), named("prod"), key(0))
	before := len(w.Journal())
	s := open(t, w, nil)
	if _, err := s.ID(t.Context()); err != nil {
		t.Error(err)
	}
	want(t, s, named("prod"), key(0))
	want(t, s, named("prod"), key(0))
	if calls := w.Journal()[before:]; len(calls) != 1 || calls[0].Command != "item get" {
		t.Errorf("op was called %d times, want once", len(calls))
	}
}

// What another process has changed a moment ago is seen by a store that is fresh.
func TestFresh(t *testing.T) {
	w := newWorld(t)
	put(t, open(t, w, nil), named("prod"), key(0))
	s := open(t, w, nil)
	want(t, s, named("prod"), key(0))
	put(t, open(t, w, nil), named("prod"), key(1))
	want(t, s, named("prod"), key(0))
	want(t, s.Fresh(), named("prod"), key(1))
}

// names are each another item's name, however like they look: to a command line,
// to the titles of 1Password, or to a database that ignores case.
var names = []string{
	"prod", "Prod", "PROD", "prod ", " prod", "prod/eu", "-", "--vault", "op://vault/item", "a=b", "a.b[text]=c", `"quoted"`, "kura: prod",
	"new\nline", "\n", "größe", "gro\u0308\u00dfe", "日本語", "🔑", "%41", "A", "\u202eevil", "3oznm6vzf4bs5mfll62isfewca",
	strings.Repeat("x", 255), strings.Repeat("X", 255), strings.Repeat("ü", 127),
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	for i, name := range names {
		put(t, s, named(name), key(i))
	}
	wantList(t, s, names...)
	s = open(t, w, nil)
	for i, name := range names {
		want(t, s, named(name), key(i))
	}
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		if err := s.Put(t.Context(), named(name), encode(key(0))); err == nil {
			t.Errorf("Put of a name of %d bytes succeeded", len(name))
		}
		wantHas(t, s, named(name), false)
	}
	for i, name := range names[:5] {
		if err := s.Delete(t.Context(), named(name)); err != nil {
			t.Errorf("Delete(%q): %v", name, err)
		}
		wantList(t, s, names[i+1:]...)
	}
}

// Only access keys are kept, and only as they are.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	session := key(0)
	session.SessionToken, session.Expires = cred.NewSecret("token"), time.Now().Add(time.Hour)
	for what, data := range map[string][]byte{
		"nothing": {}, "bytes": {0, 1, 2}, "a session": encode(session), "more than is known": append(encode(key(0)), "New=x\n"...),
	} {
		err := s.Put(t.Context(), named("x"), data)
		wantErr(t, "Put of "+what, err, onepassword.ErrAccessKeysOnly, store.ErrUnavailable)
	}
	cache := store.Key{Kind: store.CacheKey, Name: "x"}
	wantErr(t, "Put of a cache key", s.Put(t.Context(), cache, encode(key(0))), onepassword.ErrAccessKeysOnly)
	_, err := s.Get(t.Context(), cache)
	wantErr(t, "Get of a cache key", err, store.ErrNotFound)
	wantErr(t, "Delete of a cache key", s.Delete(t.Context(), cache), store.ErrNotFound)
	if list, err := s.List(t.Context(), store.CacheKey); len(list) != 0 || err != nil {
		t.Errorf("List of cache keys = %q, %v", list, err)
	}
	wantHas(t, s, cache, false)
	if n := len(w.Journal()); n != 0 {
		t.Errorf("op was called %d times", n)
	}
	odd := key(0)
	odd.AccessKeyID = "minio_admin_of_mine"
	err = s.Put(t.Context(), named("x"), encode(odd))
	if e, ok := errors.AsType[*op.FieldError](err); !ok || e.Problem != op.Malformed || len(w.Items()) != 0 {
		t.Errorf("Put of a key that Get would refuse: %v, want a FieldError", err)
	}
}

// What others have in the vault is not touched, whatever it is titled.
func TestForeignItems(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	approve(t, s)
	foreign := opemu.AccessKey{Title: "kura: prod", ID: key(1).AccessKeyID, Secret: key(1).SecretAccessKey.Reveal()}.Item()
	id := w.AddItem(foreign).ID
	tagged := foreign
	tagged.Title, tagged.Tags = "something", []string{"kura"}
	w.AddItem(tagged)
	_, err := s.Get(t.Context(), named("prod"))
	wantErr(t, "Get of an item of that title without the tag", err, store.ErrNotFound)
	wantErr(t, "Delete of it", s.Delete(t.Context(), named("prod")), store.ErrNotFound)
	wantList(t, s)
	if it := w.Item(id); it.Version != 1 || it.Archived {
		t.Error("somebody else's item was changed")
	}

	put(t, s, named("twice"), key(2))
	items := w.Items()
	again := items[len(items)-1].Item
	again.ID = ""
	w.AddItem(again)
	_, err = open(t, w, nil).Get(t.Context(), named("twice"))
	wantErr(t, "Get where there are two", err, store.ErrDamaged)
	err = s.Put(t.Context(), named("twice"), encode(key(3)))
	wantErr(t, "Put where there are two", err, store.ErrDamaged)
	if e, ok := errors.AsType[*op.Error](err); !ok || e.Kind != op.Ambiguous || len(e.Matches) != 2 {
		t.Errorf("Put where there are two: %v, want to know them", err)
	}
	wantList(t, s, "twice")
}

// An item of the user's own holds the key of one name, whatever its fields are
// called; other keys have their own items.
func TestAdopted(t *testing.T) {
	w := newWorld(t)
	item := opemu.AccessKey{ID: key(0).AccessKeyID, Secret: key(0).SecretAccessKey.Reveal(), MFASerial: "arn:aws:iam::111122223333:mfa/ann",
		Seed: "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD"}.Item()
	for i := range item.Fields {
		item.Fields[i].Label = strings.ToLower(item.Fields[i].Label)
	}
	id := w.AddItem(item).ID
	s := open(t, w, func(o *onepassword.Options) { o.Item, o.Name = id, "prod" })
	if has, err := s.Has(t.Context(), named("prod")); !has || err != nil || len(w.Journal()) != 0 {
		t.Errorf("Has = %v, %v, by %d calls of op; want true by none", has, err, len(w.Journal()))
	}
	want(t, s, named("prod"), key(0))
	put(t, s, named("prod"), key(1))
	want(t, s, named("prod"), key(1))
	put(t, s, named("prod.next"), key(2))
	want(t, s, named("prod"), key(1))
	wantList(t, s, "prod", "prod.next")
	if after := w.Item(id); len(after.Fields) != len(item.Fields) || after.Version != 2 || len(after.Tags) != 0 || len(w.Items()) != 2 {
		t.Errorf("the item has %d fields, version %d and the tags %q", len(after.Fields), after.Version, after.Tags)
	}
	wantErr(t, "Delete of the user's own item", s.Delete(t.Context(), named("prod")), onepassword.ErrNotOurs, store.ErrDenied)
	if err := s.Delete(t.Context(), named("prod.next")); err != nil {
		t.Error(err)
	}
	if ref := s.Ref("prod"); ref.Item != id {
		t.Errorf("Ref = %+v, want the item", ref)
	}

	// One that has no key yet has none, and gets one. A wrong one is damaged.
	empty := w.AddItem(opemu.Item{Title: "empty", Category: "API_CREDENTIAL"}).ID
	s = open(t, w, func(o *onepassword.Options) { o.Item, o.Name = empty, "new" })
	_, err := s.Get(t.Context(), named("new"))
	wantErr(t, "Get of an empty item", err, store.ErrNotFound)
	put(t, s, named("new"), key(3))
	want(t, s, named("new"), key(3))
	w.EditElsewhere(empty, func(it *opemu.Stored) { it.Fields[0].Value = "ASIAIOSFODNN7EXAMPLE" })
	s = open(t, w, func(o *onepassword.Options) { o.Item, o.Name = empty, "new" })
	_, err = s.Get(t.Context(), named("new"))
	wantErr(t, "Get of a session's key", err, store.ErrDamaged)
	if e, ok := errors.AsType[*op.FieldError](err); !ok || e.Problem != op.SessionKey {
		t.Errorf("Get of a session's key: %v, want a FieldError", err)
	}

	// One that is not there, or not for this account, is no reason to believe
	// that there is no key.
	gone := w.AddItem(item).ID
	w.EditElsewhere(gone, func(it *opemu.Stored) { it.Archived = true })
	for _, id := range []string{"none", gone} {
		s = open(t, w, func(o *onepassword.Options) { o.Item, o.Name = id, "prod" })
		_, err = s.Get(t.Context(), named("prod"))
		wantErr(t, "Get of a missing item of the user's own", err, store.ErrUnavailable)
		wantErr(t, "Put into it", s.Put(t.Context(), named("prod"), encode(key(1))), store.ErrUnavailable)
		if errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of a missing item of the user's own: %v", err)
		}
	}

	login := item
	login.Category = "LOGIN"
	loginID := w.AddItem(login).ID
	s = open(t, w, func(o *onepassword.Options) { o.Item, o.Name = loginID, "prod" })
	want(t, s, named("prod"), key(0))
	wantErr(t, "Put into a login", s.Put(t.Context(), named("prod"), encode(key(1))), store.ErrDenied)

	s = open(t, w, func(o *onepassword.Options) { o.Item = id })
	_, err = s.Get(t.Context(), named("prod"))
	wantErr(t, "Get with an item without a name", err, onepassword.ErrNoName, store.ErrUnavailable)
}

// When an item was changed last is known without reading it, of kura's and of the
// user's own.
func TestWritten(t *testing.T) {
	w := newWorld(t)
	const long, longer = "2026-01-07T20:31:37Z", "2025-01-07T20:31:37Z"
	item := opemu.Item{Title: "Mine", UpdatedAt: long, Category: "API_CREDENTIAL"}
	id := w.AddItem(item).ID
	item.Title, item.UpdatedAt = "kura: theirs", long
	w.AddItem(item)
	item.Title, item.Tags, item.UpdatedAt = "kura: old", []string{"kura"}, longer
	w.AddItem(item)
	item.Title, item.UpdatedAt = "kura: odd", "yesterday"
	w.AddItem(item)
	for _, own := range []string{"", id, "mine"} {
		s := open(t, w, func(o *onepassword.Options) {
			if o.Item = own; own != "" {
				o.Name = "prod"
			}
		})
		w.Lock()
		_, err := s.Written(t.Context(), store.AccessKey)
		wantErr(t, "Written while the app is locked", err, store.ErrLocked)
		approve(t, s)
		prompts := w.Prompts()
		got, err := s.Written(t.Context(), store.AccessKey)
		want := map[string]string{"old": longer}
		if own != "" {
			want["prod"] = long
		}
		if err != nil || len(got) != len(want) || w.Prompts() != prompts {
			t.Errorf("Written = %v, %v, want %v", got, err, want)
		}
		for name, at := range want {
			if got[name].Format(time.RFC3339) != at {
				t.Errorf("%q was written at %v, want %v", name, got[name], at)
			}
		}
	}
}

// Nobody is asked by List, Has and Check; Unlock does ask.
func TestAsked(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	put(t, s, named("prod"), key(0))
	w.Lock()
	asked := w.Prompts()
	_, err := s.List(t.Context(), store.AccessKey)
	wantErr(t, "List while the app is locked", err, store.ErrLocked)
	_, err = s.Has(t.Context(), named("prod"))
	wantErr(t, "Has while the app is locked", err, store.ErrLocked)
	if note, err := s.Check(t.Context()); note != "op 2.39.0, locked" || err != nil {
		t.Errorf("Check = %q, %v", note, err)
	}
	if n := w.Prompts(); n != asked {
		t.Errorf("the person was asked %d times", n-asked)
	}
	w.SetPrompt(opemu.Dismiss)
	wantErr(t, "Unlock that is dismissed", s.Unlock(t.Context()), store.ErrDenied)
	w.SetPrompt(opemu.Approve)
	if err := s.Unlock(t.Context()); err != nil || w.Prompts() != asked+2 {
		t.Errorf("Unlock = %v, after %d questions, want 2", err, w.Prompts()-asked)
	}
	if note, err := s.Check(t.Context()); note != "op 2.39.0" || err != nil {
		t.Errorf("Check = %q, %v", note, err)
	}
	wantList(t, s, "prod")
	w.Update(func(s *opemu.State) { s.Version = "2.22.0" })
	s = open(t, w, nil)
	if note, err := s.Check(t.Context()); note != "op 2.22.0, which can't change items" || err != nil {
		t.Errorf("Check with an old op = %q, %v", note, err)
	}
	wantErr(t, "Put with an old op", s.Put(t.Context(), named("prod"), encode(key(1))), store.ErrUnavailable)
}

// Whatever keeps op from an answer is an error that a caller can tell.
func TestVanished(t *testing.T) {
	for _, c := range []struct {
		what   string
		vanish func(*opemu.State)
		want   error
	}{
		{"no app", func(s *opemu.State) { s.Auth.AppRunning, s.Auth.Authorized = false, nil }, store.ErrUnavailable},
		{"signed out", func(s *opemu.State) { s.Auth.Mode = opemu.None }, store.ErrLocked},
		{"no vault", func(s *opemu.State) { s.Vaults[0].ID, s.Items[0].Vault.ID = "x", "x" }, store.ErrUnavailable},
		{"dismissed", func(s *opemu.State) { s.Auth.Authorized, s.Auth.Prompt = nil, opemu.Dismiss }, store.ErrDenied},
		{"server", func(s *opemu.State) { s.Faults = []opemu.Fault{{Match: "*"}} }, store.ErrUnavailable},
	} {
		w := newWorld(t)
		put(t, open(t, w, nil), named("prod"), key(0))
		vault := w.Vault("Private")
		w.Update(c.vanish)
		s := open(t, w, func(o *onepassword.Options) { o.Vault = vault })
		_, err := s.Get(t.Context(), named("prod"))
		wantErr(t, "Get, "+c.what, err, c.want)
		wantErr(t, "Put, "+c.what, s.Put(t.Context(), named("prod"), encode(key(1))), c.want)
		wantErr(t, "Delete, "+c.what, s.Delete(t.Context(), named("prod")), c.want)
		if items := w.Items(); len(items) != 1 || items[0].Version != 1 {
			t.Errorf("%s: the item was changed, or there are two", c.what)
		}
	}
}

// A lost reply makes no second item.
func TestCreateFaults(t *testing.T) {
	for what, c := range map[string]struct {
		fault opemu.Fault
		fails bool
	}{
		"a lost reply":           {opemu.Fault{Mode: opemu.AfterCommit, Times: 1}, false},
		"half a reply":           {opemu.Fault{Mode: opemu.TruncateStdout, Times: 1}, false},
		"an error of the server": {opemu.Fault{Times: 1}, true},
		"two conflicts":          {opemu.Fault{Stderr: "(409) Conflict: Internal server conflict", Times: 2}, false},
		"only conflicts":         {opemu.Fault{Stderr: "(409) Conflict: Internal server conflict", Times: 5}, true},
	} {
		w := newWorld(t)
		c.fault.Match = "item create"
		w.Fault(c.fault)
		s := open(t, w, nil)
		err := s.Put(t.Context(), named("prod"), encode(key(0)))
		if c.fails {
			wantErr(t, "Put with "+what, err, store.ErrUnavailable)
			w.Fault()
			put(t, s, named("prod"), key(0))
		} else if err != nil {
			t.Errorf("Put with %s: %v", what, err)
		}
		want(t, s, named("prod"), key(0))
		if n := len(w.Items()); n != 1 {
			t.Errorf("after %s there are %d items, want one", what, n)
		}
	}
}

func process(t *testing.T, w *opemu.World, locks, what string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], what)
	cmd.Env = append(w.Environ(), "TEST_LOCKS="+locks)
	return cmd
}

// Goroutines and processes may write and read one item at once, and make one.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	w.Update(func(s *opemu.State) { s.Auth.SessionKey = opemu.PerMachine })
	locks := t.TempDir()
	c := op.New(op.Options{Environ: w.Environ(), LockDir: locks})
	s := onepassword.Open(onepassword.Options{Client: c})
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			if out, err := process(t, w, locks, "write").CombinedOutput(); err != nil {
				t.Errorf("another process: %v, %s", err, out)
			}
		})
		group.Go(func() {
			if err := s.Put(t.Context(), contended, encode(key(i))); err != nil {
				t.Error(err)
			}
			if err := readWhole(s); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(w.Items()); n != 1 {
		t.Errorf("there are %d items, want one", n)
	}
	if out, err := process(t, w, locks, "read").CombinedOutput(); err != nil {
		t.Errorf("another process: %v, %s", err, out)
	}
	if n := w.Prompts(); n != 1 {
		t.Errorf("the person was asked %d times, want once", n)
	}
}

// A writer that is killed leaves an item whole, and nothing to wait for.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.Update(func(s *opemu.State) { s.Auth.SessionKey = opemu.PerMachine })
	put(t, open(t, w, nil), contended, key(25))
	locks := t.TempDir()
	for round := range 4 {
		cmd := process(t, w, locks, "write-forever")
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
		s := open(t, w, nil)
		if err := readWhole(s); err != nil {
			t.Error(err)
		}
		put(t, s, contended, key(round))
		wantList(t, s, contended.Name)
	}
}

// For a caller who has gone nothing is done.
func TestCanceled(t *testing.T) {
	w := newWorld(t)
	s := open(t, w, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := s.Get(ctx, named("a"))
	_, listErr := s.List(ctx, store.AccessKey)
	for what, err := range map[string]error{
		"Get": getErr, "List": listErr, "Put": s.Put(ctx, named("a"), encode(key(0))), "Delete": s.Delete(ctx, named("a")),
	} {
		wantErr(t, what+" with a canceled context", err, context.Canceled)
	}
	if n := len(w.Journal()); n != 0 {
		t.Errorf("op was called %d times", n)
	}
}
