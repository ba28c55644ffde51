package passage_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"kura/internal/store"
	"kura/internal/store/passage"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user, and as an
// age plugin.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "age-plugin-") {
		os.Exit(agePlugin())
	}
	if home := os.Getenv("TEST_HOME"); home != "" {
		s := passage.Open(passage.Options{Home: home})
		if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// agePlugin wraps keys by a cipher that is good enough for a test, and asks for
// a PIN to unwrap them.
func agePlugin() int {
	p, err := plugin.New("kuratest")
	if err != nil {
		panic(err)
	}
	p.RegisterFlags(flag.CommandLine)
	p.HandleRecipient(func([]byte) (age.Recipient, error) { return inverse{}, nil })
	p.HandleIdentityAsRecipient(func([]byte) (age.Recipient, error) { return inverse{}, nil })
	p.HandleIdentity(func([]byte) (age.Identity, error) {
		return inverse{func() (string, error) { return p.RequestValue("PIN?", true) }}, nil
	})
	flag.Parse()
	return p.Main()
}

type inverse struct{ pin func() (string, error) }

func (x inverse) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	body := bytes.Clone(fileKey)
	for i := range body {
		body[i] ^= 0xff
	}
	return []*age.Stanza{{Type: "kuratest", Body: body}}, nil
}

func (x inverse) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if stanzas[0].Type != "kuratest" {
		return nil, age.ErrIncorrectIdentity
	}
	if pin, err := x.pin(); err != nil || pin != "1234" {
		return nil, errors.New("wrong PIN")
	}
	s, err := x.Wrap(stanzas[0].Body)
	return s[0].Body, err
}

func key(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newHome returns the home of a user with an identity, and its recipient.
func newHome(t testing.TB) (home, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	home = t.TempDir()
	write(t, identities(home), "# created: today\n"+id.String()+"\n")
	return home, id.Recipient().String()
}

func identities(home string) string { return filepath.Join(home, ".passage/identities") }

// file returns the path of the file of an entry.
func file(home, entry string) string { return filepath.Join(home, ".passage/store", entry+".age") }

func open(home string) *passage.Store { return passage.Open(passage.Options{Home: home}) }

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

func TestContract(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		home, _ := newHome(t)
		return storetest.Place{
			Open:   func() store.Opened { return open(home) },
			Vanish: func() { os.RemoveAll(filepath.Join(home, ".passage/store")) },
			Process: func(args ...string) *exec.Cmd {
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(os.Environ(), "TEST_HOME="+home)
				return cmd
			},
		}
	})
}

// The program age opens what kura wrote, with the arguments that passage gives
// it, and kura what age wrote.
func TestAge(t *testing.T) {
	path, err := exec.LookPath("age")
	if err != nil {
		if os.Getenv("KURA_TEST_STORES") == "all" {
			t.Fatal("age is not installed")
		}
		t.Skip("age is not installed")
	}
	home, recipient := newHome(t)
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("age %q: %v", args, err)
		}
		return string(out)
	}
	s := open(home)
	prod := file(home, "kura/access-key/prod")
	put(t, s, "prod", "{\"a\":1}\n")
	if got := run("", "-d", "-i", identities(home), prod); got != "{\"a\":1}\n" {
		t.Errorf("age -d prints %q", got)
	}
	run("of age", "-e", "-i", identities(home), "-o", prod)
	want(t, s, "prod", "of age")
	recipients := filepath.Join(home, ".passage/store/.age-recipients")
	write(t, recipients, "# me\n"+recipient+"\n")
	run("armored", "-e", "-a", "-R", recipients, "-o", prod)
	want(t, s, "prod", "armored")
}

// Whom entries are encrypted to is said where passage looks.
func TestRecipients(t *testing.T) {
	home, mine := newHome(t)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	team := mine + "\n" + other.Recipient().String() + "\n"
	list := filepath.Join(home, "list")
	write(t, list, team)
	for _, c := range []struct {
		name string
		o    passage.Options
		file string
		want bool // the other can decrypt
	}{
		{"identities", passage.Options{}, "", false},
		{"root", passage.Options{}, ".age-recipients", true},
		{"near", passage.Options{}, "kura/access-key/.age-recipients", true},
		{"elsewhere", passage.Options{}, "work/.age-recipients", false},
		{"subfolder", passage.Options{Prefix: "work"}, "work/.age-recipients", true},
		{"outside", passage.Options{}, "../.age-recipients", false},
		{"file", passage.Options{RecipientsFile: list}, "", true},
		{"list", passage.Options{Recipients: strings.TrimSpace(team)}, "", true},
		{"both", passage.Options{RecipientsFile: list, Recipients: mine}, "", true},
		{"list before directory", passage.Options{Recipients: mine}, ".age-recipients", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			c.o.Home, c.o.Dir = home, dir
			if c.file != "" {
				write(t, filepath.Join(dir, c.file), team)
			}
			put(t, passage.Open(c.o), "a", "data")
			want(t, passage.Open(c.o), "a", "data")
			sealed, err := os.ReadFile(filepath.Join(dir, c.o.Prefix, "kura/access-key/a.age"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = age.Decrypt(bytes.NewReader(sealed), other)
			if got := err == nil; got != c.want {
				t.Errorf("the other can decrypt: %t, want %t", got, c.want)
			}
		})
	}
}

// lock gives an identities file a passphrase.
func lock(t *testing.T, path, passphrase string, armored bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(4)
	var sealed, ascii bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	w.Close()
	if armored {
		w := armor.NewWriter(&ascii)
		w.Write(sealed.Bytes())
		w.Close()
		sealed = ascii
	}
	write(t, path, sealed.String())
}

func TestPassphrase(t *testing.T) {
	for _, armored := range []bool{false, true} {
		home, recipient := newHome(t)
		put(t, open(home), "a", "data")
		lock(t, identities(home), "right", armored)
		asked := 0
		with := func(answers ...string) *passage.Store {
			asked = 0
			return passage.Open(passage.Options{Home: home, Passphrase: func(_ context.Context, question string) (string, error) {
				if !strings.Contains(question, identities(home)) {
					t.Errorf("question = %q", question)
				}
				asked++
				return answers[min(asked, len(answers))-1], nil
			}})
		}
		_, err := open(home).Get(t.Context(), key("a"))
		wantError(t, err, store.ErrLocked, passage.ErrNobody)
		_, err = with("wrong").Get(t.Context(), key("a"))
		wantError(t, err, store.ErrLocked, passage.ErrWrongPassphrase)
		if asked != 2 {
			t.Errorf("the same wrong answer was taken %d times, want 2", asked)
		}
		s := with("wrong", "", "right")
		if note, err := s.Check(t.Context()); err != nil || note != "locked" {
			t.Errorf("Check = %q, %v", note, err)
		}
		if has, err := s.Has(t.Context(), key("a")); !has || err != nil {
			t.Errorf("Has = %t, %v", has, err)
		}
		if asked != 0 {
			t.Error("the user was asked by Check or Has")
		}
		want(t, s, "a", "data")
		want(t, s, "a", "data")
		put(t, s, "a", "new")
		if asked != 3 {
			t.Errorf("the user was asked %d times, want 3", asked)
		}
		// Whoever can encrypt without the identities does not need them.
		write(t, filepath.Join(home, ".passage/store/.age-recipients"), recipient)
		s = with("right")
		put(t, s, "a", "newer")
		if asked != 0 {
			t.Error("Put asked for identities that it does not need")
		}
		if err := s.Unlock(t.Context()); err != nil || asked != 1 {
			t.Errorf("Unlock: %v, asked %d times", err, asked)
		}

		never := passage.Open(passage.Options{Home: home, PromptTimeout: 50 * time.Millisecond,
			Passphrase: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", context.Cause(ctx) }})
		wantError(t, never.Unlock(t.Context()), store.ErrLocked, "no passphrase after 50ms")

		info, err := os.Stat(identities(home))
		if err == nil {
			err = os.Truncate(identities(home), info.Size()-40)
		}
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, with("right").Unlock(t.Context()), store.ErrUnavailable, identities(home))
	}
}

func TestPlugin(t *testing.T) {
	bin := t.TempDir()
	exe, err := os.Executable()
	if err == nil {
		err = os.Symlink(exe, filepath.Join(bin, "age-plugin-kuratest"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	home := t.TempDir()
	write(t, identities(home), plugin.EncodeIdentity("kuratest", []byte("k"))+"\n")
	with := func(pin func() (string, error)) *passage.Store {
		return passage.Open(passage.Options{Home: home, PromptTimeout: 2 * time.Second, PluginUI: &plugin.ClientUI{
			RequestValue: func(_, _ string, _ bool) (string, error) { return pin() },
			WaitTimer:    func(string) {},
		}})
	}
	s := with(func() (string, error) { return "1234", nil })
	put(t, s, "a", "data")
	want(t, s, "a", "data")
	_, err = with(func() (string, error) { return "0000", nil }).Get(t.Context(), key("a"))
	wantError(t, err, store.ErrLocked, "age-plugin-kuratest", "wrong PIN")

	answer := make(chan struct{})
	defer close(answer)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = with(func() (string, error) { <-answer; return "", nil }).Get(ctx, key("a"))
	wantError(t, err, context.DeadlineExceeded)

	t.Setenv("PATH", t.TempDir())
	_, err = s.Get(t.Context(), key("a"))
	wantError(t, err, store.ErrUnavailable, "age-plugin-kuratest")
	if _, ok := errors.AsType[*plugin.NotFoundError](err); !ok {
		t.Errorf("error = %v, want a plugin.NotFoundError", err)
	}
}

func TestUnusable(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(home string)
		get  []any
		put  []any
	}{
		{"no identities", func(home string) { os.Remove(identities(home)) },
			[]any{store.ErrUnavailable, ".passage/identities"}, []any{store.ErrUnavailable}},
		{"empty identities", func(home string) { write(t, identities(home), "# none\n") },
			[]any{store.ErrUnavailable, "no keys in the file"}, []any{store.ErrUnavailable}},
		{"bad identity", func(home string) { write(t, identities(home), "#\nAGE-SECRET-KEY-1QQQQ\n") },
			[]any{store.ErrUnavailable, "identities:2: not an age identity"}, []any{store.ErrUnavailable}},
		{"ssh key", func(home string) { write(t, identities(home), "-----BEGIN OPENSSH PRIVATE KEY-----\n") },
			[]any{store.ErrUnavailable, "keys of ssh"}, []any{store.ErrUnavailable}},
		{"bad recipient", func(home string) { write(t, filepath.Join(home, ".passage/store/.age-recipients"), "age1x\n") },
			nil, []any{store.ErrUnavailable, ".age-recipients:1"}},
		{"for others", func(home string) {
			other, _ := newHome(t)
			put(t, open(other), "a", "data")
			os.Rename(file(other, "kura/access-key/a"), file(home, "kura/access-key/a"))
		}, []any{store.ErrDenied, passage.ErrNotForUs}, nil},
		{"empty", func(home string) { os.Truncate(file(home, "kura/access-key/a"), 0) },
			[]any{store.ErrDamaged, "access-key/a.age"}, nil},
		{"cut", func(home string) { os.Truncate(file(home, "kura/access-key/a"), 205) }, []any{store.ErrDamaged}, nil},
		{"a directory", func(home string) {
			os.Remove(file(home, "kura/access-key/a"))
			os.Mkdir(file(home, "kura/access-key/a"), 0o700)
		}, []any{store.ErrUnavailable}, []any{"a.age"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home, _ := newHome(t)
			put(t, open(home), "a", "secret data")
			c.bad(home)
			s := open(home)
			_, err := s.Get(t.Context(), key("a"))
			wantError(t, err, c.get...)
			_, err = s.Get(t.Context(), key("a"))
			wantError(t, err, c.get...) // again
			if err := open(home).Put(t.Context(), key("a"), []byte("new")); c.put != nil {
				wantError(t, err, c.put...)
			} else if err != nil {
				t.Errorf("Put: %v", err)
			}
			if text := fmt.Sprint(err); strings.Contains(text, "QQQQ") || strings.Contains(text, "secret") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

func TestNeverUsed(t *testing.T) {
	s := open(t.TempDir())
	if err := s.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	_, err := s.Check(t.Context())
	wantError(t, err, store.ErrUnavailable, "identities")
}

// What a killed writer has left is swept up, but not what one is writing now.
func TestLeftOvers(t *testing.T) {
	home, _ := newHome(t)
	old, young := filepath.Join(home, ".passage/store/kura/.tmp-1"), filepath.Join(home, ".passage/store/kura/.tmp-2")
	write(t, old, "")
	write(t, young, "")
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	put(t, open(home), "a", "data")
	if _, err := os.Stat(old); err == nil {
		t.Error("the old one is still there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young one is gone")
	}
}

func TestEntries(t *testing.T) {
	home, _ := newHome(t)
	put(t, open(home), "prod", `{"Key":"prod"}`)
	for _, entry := range []string{"prod", "work/prod"} {
		write(t, file(home, entry), "")
		if err := os.Link(file(home, "kura/access-key/prod"), file(home, entry)+"x"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file(home, entry)+"x", file(home, entry)); err != nil {
			t.Fatal(err)
		}
	}
	e := passage.OpenEntries(passage.Options{Home: home})
	if got, err := e.List(t.Context()); err != nil || !slices.Equal(got, []string{"prod", "work/prod"}) {
		t.Errorf("List = %q, %v", got, err)
	}
	if got, err := e.Get(t.Context(), "work/prod"); err != nil || string(got) != `{"Key":"prod"}` {
		t.Errorf("Get = %q, %v", got, err)
	}
	_, err := e.Get(t.Context(), "missing")
	wantError(t, err, store.ErrNotFound)
}
