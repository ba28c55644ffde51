package file_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"kura/internal/store"
	"kura/internal/store/file"
)

// with returns a handle on a store whose user answers with one passphrase, and
// wants another.
func with(dir, pass, newPass string) *file.Store {
	o := options(dir, "")
	o.Passphrase = func(context.Context, int) (string, error) { return pass, nil }
	o.NewPassphrase = func(context.Context) (string, error) { return newPass, nil }
	return file.Open(o)
}

// wantOpens checks whether a passphrase or recovery key opens a store.
func wantOpens(t *testing.T, dir, pass string, opens bool) {
	t.Helper()
	_, err := with(dir, pass, "").Get(t.Context(), key("a"))
	if opens && err != nil {
		t.Errorf("what should open the store does not: %v", err)
	}
	if !opens && !errors.Is(err, file.ErrWrongPassphrase) {
		t.Errorf("what should not open the store: %v, want ErrWrongPassphrase", err)
	}
}

func wantSlots(t *testing.T, s *file.Store, want ...string) []file.Slot {
	t.Helper()
	slots, err := s.Slots(t.Context())
	var got []string
	for _, slot := range slots {
		got = append(got, slot.Kind+" "+slot.Name)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Slots = %q, %v, want %q", got, err, want)
	}
	return slots
}

func TestSlots(t *testing.T) {
	dir, ctx := newDir(t), t.Context()
	wantSlots(t, open(dir))
	o := options(dir, "")
	now := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	o.Now = func() time.Time { now = now.Add(time.Minute); return now }
	put(t, file.Open(o), "a", "data")
	item := mustRead(t, filepath.Join(dir, "items/access-key.a.age"))

	o.NewPassphrase = func(context.Context) (string, error) { return "second", nil }
	if err := file.Open(o).AddPassphrase(ctx, "Büro / 2"); err != nil {
		t.Fatal(err)
	}
	recovery, err := file.Open(o).AddRecovery(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	slots := wantSlots(t, open(dir), "passphrase passphrase", "passphrase Büro / 2", "recovery recovery")
	if want := now.Add(-time.Minute); len(slots) == 3 && !slots[1].Created.Equal(want) {
		t.Errorf("Created = %v, want %v", slots[1].Created, want)
	}
	wantOpens(t, dir, pass, true)
	wantOpens(t, dir, "second", true)
	wantOpens(t, dir, recovery, true)
	wantOpens(t, dir, "third", false)
	if strings.Trim(recovery, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || len(recovery) > 80 {
		t.Error("the recovery key is not a short line of capital letters, digits and dashes")
	}
	wantOpens(t, dir, " "+strings.ToLower(recovery[:20])+"\n"+recovery[20:]+"\n", true)

	wantError(t, open(dir).AddPassphrase(ctx, "recovery"), file.ErrSlotExists, `slot "recovery"`)
	wantError(t, open(dir).AddPassphrase(ctx, strings.Repeat("ü", 30)), "the name is too long")
	wantError(t, with(dir, "wrong", "new").AddPassphrase(ctx, "third"), file.ErrWrongPassphrase)
	wantError(t, with(dir, pass, "").AddPassphrase(ctx, "third"), file.ErrEmptyPassphrase)

	wantError(t, open(dir).RemoveSlot(ctx, "missing"), store.ErrNotFound, `slot "missing"`)
	for _, name := range []string{"passphrase", "Büro / 2"} {
		if err := open(dir).RemoveSlot(ctx, name); err != nil {
			t.Errorf("RemoveSlot(%q): %v", name, err)
		}
	}
	wantOpens(t, dir, pass, false)
	wantOpens(t, dir, recovery, true)
	wantError(t, open(dir).RemoveSlot(ctx, "recovery"), file.ErrLastSlot)
	wantSlots(t, open(dir), "recovery recovery")
	if !bytes.Equal(item, mustRead(t, filepath.Join(dir, "items/access-key.a.age"))) {
		t.Error("changing the slots has changed an item")
	}
}

func TestSlotsOfAnUnusedStore(t *testing.T) {
	s := open(newDir(t))
	wantError(t, s.RemoveSlot(t.Context(), "passphrase"), store.ErrNotFound)
	wantError(t, s.ChangePassphrase(t.Context()), store.ErrNotFound)
	recovery, err := s.AddRecovery(t.Context(), "paper") // makes the store
	if err != nil || recovery == "" {
		t.Fatalf("AddRecovery: %v", err)
	}
	wantSlots(t, s, "passphrase passphrase", "recovery paper")
}

// Slots that are damaged, or of a kind that only a newer program knows, don't
// count as ways to open the store.
func TestLastSlotThatCanOpen(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "a", "data")
	mustWrite(t, filepath.Join(dir, "slots/recovery.20260131235959.cut.age"), []byte("age-encryption.org/v1\n"))
	future := mustRead(t, glob(t, dir, "slots/passphrase.*"))
	mustWrite(t, filepath.Join(dir, "slots/tpm3.20260131235959.future.age"), future)
	wantError(t, open(dir).RemoveSlot(t.Context(), "passphrase"), file.ErrLastSlot)
	wantOpens(t, dir, pass, true)
	wantOpens(t, dir, "wrong", false)
	if err := open(dir).RemoveSlot(t.Context(), "future"); err != nil {
		t.Error(err)
	}
}

func TestDamagedSlot(t *testing.T) {
	dir := newDir(t)
	put(t, open(dir), "a", "data")
	path := glob(t, dir, "slots/*")
	sealed := mustRead(t, path)
	mustWrite(t, path, sealed[:len(sealed)-1])
	_, err := open(dir).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrDamaged, path, "is cut short or corrupt")

	// A planted slot must not cost hours.
	mustWrite(t, path, bytes.Replace(sealed, []byte(" 1\n"), []byte(" 21\n"), 1))
	_, err = open(dir).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrDamaged, path, "work factor too large")

	o := options(newDir(t), "")
	o.WorkFactor = 21
	wantError(t, file.Open(o).Put(t.Context(), key("a"), nil), "a work factor of 21, want 1 to 20")
}

// A slot that opens another store is not this store's.
func TestPlantedSlot(t *testing.T) {
	dir, otherDir := newDir(t), newDir(t)
	put(t, open(dir), "a", "data")
	put(t, open(otherDir), "a", "data")
	mustWrite(t, glob(t, dir, "slots/*"), mustRead(t, glob(t, otherDir, "slots/*")))
	_, err := open(dir).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrDamaged, "is not what this store wrote: it opens another store")
}

func TestChangePassphrase(t *testing.T) {
	dir, ctx := newDir(t), t.Context()
	put(t, open(dir), "a", "data")
	slots := wantSlots(t, open(dir), "passphrase passphrase")
	wantError(t, with(dir, "wrong", "new").ChangePassphrase(ctx), file.ErrWrongPassphrase)
	wantError(t, with(dir, pass, "").ChangePassphrase(ctx), file.ErrEmptyPassphrase)
	wantOpens(t, dir, pass, true)
	if err := with(dir, pass, "new").ChangePassphrase(ctx); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, dir, pass, false)
	wantOpens(t, dir, "new", true)
	if got := wantSlots(t, open(dir), "passphrase passphrase"); !slices.Equal(got, slots) {
		t.Errorf("Slots = %v, want %v as before", got, slots)
	}

	// Each passphrase changes its own slot; who has forgotten it uses a
	// recovery key.
	if err := with(dir, "new", "second").AddPassphrase(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if err := with(dir, "second", "2nd").ChangePassphrase(ctx); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, dir, "new", true)
	wantOpens(t, dir, "2nd", true)
	wantOpens(t, dir, "second", false)
	recovery, err := with(dir, "new", "").AddRecovery(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := with(dir, recovery, "newer").ChangePassphrase(ctx); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, dir, "new", false)
	wantOpens(t, dir, "newer", true)
	for _, name := range []string{"passphrase", "second"} {
		if err := open(dir).RemoveSlot(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := with(dir, recovery, "again").ChangePassphrase(ctx); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, dir, "again", true)
}

// agePlugin makes this program the age plugin "kuratest". Its data, in
// recipient and identity, is a key; it asks for the PIN 1234.
func agePlugin() int {
	p, err := plugin.New("kuratest")
	if err != nil {
		panic(err)
	}
	p.RegisterFlags(flag.CommandLine)
	p.HandleRecipient(func(data []byte) (age.Recipient, error) {
		return xor{func() (string, error) { return "1234", nil }, data}, nil
	})
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		return xor{func() (string, error) { return p.RequestValue("PIN?", true) }, data}, nil
	})
	flag.Parse()
	return p.Main()
}

// xor is a cipher that is good enough for a test.
type xor struct {
	pin func() (string, error)
	key []byte
}

func (x xor) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	body := make([]byte, len(fileKey))
	for i := range body {
		body[i] = fileKey[i] ^ x.key[i%len(x.key)]
	}
	return []*age.Stanza{{Type: "kuratest", Body: body}}, nil
}

func (x xor) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if pin, err := x.pin(); err != nil || pin != "1234" {
		return nil, errors.New("wrong PIN")
	}
	if stanzas[0].Type != "kuratest" {
		return nil, age.ErrIncorrectIdentity
	}
	s, err := x.Wrap(stanzas[0].Body)
	return s[0].Body, err
}

func TestPluginSlot(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the test makes a program with a symbolic link")
	}
	bin := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(bin, "age-plugin-kuratest")); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+path)
	dir, ctx := newDir(t), t.Context()
	put(t, open(dir), "a", "data")

	pin := "1234"
	o := options(dir, "")
	o.PluginUI = &plugin.ClientUI{RequestValue: func(_, _ string, secret bool) (string, error) {
		if !secret {
			t.Error("the PIN is not asked for as a secret")
		}
		return pin, nil
	}}
	recipient, identity := plugin.EncodeRecipient("kuratest", []byte("key")), plugin.EncodeIdentity("kuratest", []byte("key"))
	for _, c := range []struct {
		recipient, identity string
		want                []any
	}{
		{"age1kuratest", identity, []any{"is not the recipient of an age plugin"}},
		{recipient, "AGE-PLUGIN-OTHER-1", []any{"is not an identity of the age plugin"}},
		{recipient, plugin.EncodeIdentity("kuratest", []byte("yek")), []any{"proving that the age plugin"}},
		{plugin.EncodeRecipient("kuratest2", nil), "", []any{exec.ErrNotFound}},
	} {
		wantError(t, file.Open(o).AddPlugin(ctx, "", c.recipient, c.identity), c.want...)
	}
	wantSlots(t, open(dir), "passphrase passphrase")
	if err := file.Open(o).AddPlugin(ctx, "stick", recipient, identity); err != nil {
		t.Fatal(err)
	}
	wantSlots(t, open(dir), "passphrase passphrase", "plugin stick")
	before := asked(dir)
	want(t, file.Open(o), "a", "data")
	wantAsked(t, dir, before)

	// If it fails the passphrase is asked for; if there is none, it is said why.
	pin = "4321"
	want(t, file.Open(o), "a", "data")
	wantAsked(t, dir, before+1)
	mustWrite(t, filepath.Join(dir, "slots/tpm3.20260131235959.future.age"), nil)
	if err := open(dir).RemoveSlot(ctx, "passphrase"); err != nil {
		t.Fatal(err)
	}
	_, err = file.Open(o).Get(ctx, key("a"))
	wantError(t, err, store.ErrLocked, `the store is locked; slot `, `; slot "stick": kuratest plugin: wrong PIN`,
		`; slot "future": this program does not know its kind, "tpm3"`)
	if err := open(dir).RemoveSlot(ctx, "future"); err != nil {
		t.Fatal(err)
	}

	// A plugin that is not installed does not open the store.
	pin = "1234"
	if err := file.Open(o).AddPassphrase(ctx, "again"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	wantError(t, open(dir).RemoveSlot(ctx, "again"), file.ErrLastSlot)
	want(t, open(dir), "a", "data")
	if err := open(dir).RemoveSlot(ctx, "stick"); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "slots")); err != nil || len(files) != 1 {
		t.Errorf("slots holds %v, %v, want one file", files, err)
	}
}

// A plugin that waits for a touch must not hold up a caller who has gone.
func TestPluginThatHangs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the test makes a program with a symbolic link")
	}
	bin := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(bin, "age-plugin-kuratest")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	o := options(newDir(t), "")
	put(t, file.Open(o), "a", "data")
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan bool)
	defer close(release)
	o.PluginUI = &plugin.ClientUI{RequestValue: func(_, _ string, _ bool) (string, error) {
		cancel()
		<-release
		return "", errors.New("too late")
	}}
	err = file.Open(o).AddPlugin(ctx, "", plugin.EncodeRecipient("kuratest", []byte("key")), plugin.EncodeIdentity("kuratest", []byte("key")))
	wantError(t, err, context.Canceled)
}

// plant encrypts something for a store, as anybody can who has seen its
// recipient.
func plant(t *testing.T, dir, plain string) []byte {
	t.Helper()
	to, err := age.ParseHybridRecipient(strings.TrimSpace(string(mustRead(t, filepath.Join(dir, "recipient")))))
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sealed.Bytes()
}

// A store must open without kura, as docs/store-format.md describes it.
func TestAgeProgram(t *testing.T) {
	ageProgram, err := exec.LookPath("age")
	if err != nil {
		t.Skip("the program age is not installed")
	}
	run := func(env string, args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command(ageProgram, args...)
		cmd.Env = append(os.Environ(), env)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("age %q: %v: %s", args, err, &stderr)
		}
		return out
	}
	dir := newDir(t)
	s := open(dir)
	long := strings.Repeat("long", 63)
	put(t, s, "a", "the data\n")
	put(t, s, long, "the data\n")
	recovery, err := s.AddRecovery(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}

	identities := filepath.Join(t.TempDir(), "identity.txt")
	check := func() {
		t.Helper()
		for _, path := range []string{"items/access-key.a.age", "items/access-key.l*.age"} {
			item := run("", "-d", "-i", identities, glob(t, dir, path))
			if !bytes.HasPrefix(item, []byte("kura-item 1\nkind: access-key\n")) || !bytes.HasSuffix(item, []byte("\n\nthe data\n")) {
				t.Errorf("age -d of %s returns %d bytes that are not the item", path, len(item))
			}
		}
	}
	key := filepath.Join(t.TempDir(), "key.txt")
	mustWrite(t, key, []byte(recovery+"\n"))
	if out, err := exec.Command("age-keygen", "-y", key).CombinedOutput(); err != nil {
		t.Skipf("the program age here is older than 1.3 and has no hybrid keys: %s", out)
	}
	mustWrite(t, identities, run("", "-d", "-i", key, glob(t, dir, "slots/recovery.*.age")))
	check()

	if _, err := exec.LookPath("age-plugin-batchpass"); err != nil {
		t.Skip("the program age-plugin-batchpass, which types a passphrase, is not installed")
	}
	mustWrite(t, identities, run("AGE_PASSPHRASE="+pass, "-d", "-j", "batchpass", glob(t, dir, "slots/passphrase.*.age")))
	check()
}
