package awsvault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kura/internal/cred"
	"kura/internal/store"
)

// entries are a store in memory. A value that is an error is what Get returns.
type entries map[string]any

func (e entries) List(context.Context) ([]string, error) {
	var names []string
	for name := range e {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (e entries) Get(_ context.Context, name string) ([]byte, error) {
	if err, ok := e[name].(error); ok {
		return nil, err
	}
	return []byte(e[name].(string)), nil
}

// What the two programs write for a key; see "Item kinds" of their vault
// packages. ByteNess's has the account too.
const (
	of99designs = `{"AccessKeyID":"AKIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","SessionToken":"","Source":"","CanExpire":false,"Expires":"0001-01-01T00:00:00Z"}`
	ofByteNess  = `{"AccessKeyID":"AKIAI44QH8DHBEXAMPLE","SecretAccessKey":"je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY","SessionToken":"","Source":"","CanExpire":false,"Expires":"0001-01-01T00:00:00Z","AccountID":""}`
	temporary   = `{"AccessKeyID":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","SessionToken":"hunter2","Source":"","CanExpire":true,"Expires":"2027-01-01T00:00:00Z"}`
)

var (
	key99designs = cred.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: cred.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	keyByteNess  = cred.Credentials{AccessKeyID: "AKIAI44QH8DHBEXAMPLE", SecretAccessKey: cred.NewSecret("je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY")}
)

// envelope returns an item as the keyring library writes it.
func envelope(key, data string) string {
	return fmt.Sprintf(`{"Key":%q,"Data":"%s","Label":"aws-vault (%s)","Description":"","KeychainNotTrustApplication":true,"KeychainNotSynchronizable":false}`,
		key, base64.StdEncoding.EncodeToString([]byte(data)), key)
}

func TestRaw(t *testing.T) {
	v := Open(entries{"dev": of99designs, "team/prod": ofByteNess}, Raw)
	want := []Item{{"dev", key99designs, nil}, {"team/prod", keyByteNess, nil}}
	got, err := v.Items(t.Context(), nil)
	if err != nil || !slices.Equal(got.Items, want) || got.Skipped != 0 {
		t.Errorf("Items = %v, %v, want %v", got, err, want)
	}
}

func TestEnveloped(t *testing.T) {
	v := Open(entries{
		"dev":   envelope("dev", of99designs),
		"moved": envelope("before", ofByteNess) + "\n", // as after "pass mv", and an editor
	}, Enveloped)
	want := []Item{{"dev", key99designs, nil}, {"moved", keyByteNess, nil}}
	got, err := v.Items(t.Context(), nil)
	if err != nil || !slices.Equal(got.Items, want) || got.Skipped != 0 {
		t.Errorf("Items = %v, %v, want %v", got, err, want)
	}
}

// Credentials that expire are told from those to be kept.
func TestTemporary(t *testing.T) {
	got, err := Open(entries{"dev": temporary}, Raw).Items(t.Context(), nil)
	if err != nil || len(got.Items) != 1 || got.Items[0].Err != nil {
		t.Fatalf("Items = %v, %v, want one", got, err)
	}
	if key := got.Items[0].Key; key.LongTerm() || key.Expires.Year() != 2027 {
		t.Errorf("Key = %v, want temporary credentials until 2027", key)
	}
}

// unopened are entries that must not be opened.
type unopened struct {
	t *testing.T
	entries
}

func (e unopened) Get(ctx context.Context, name string) ([]byte, error) {
	if name != "dev" {
		e.t.Errorf("%q was opened", name)
	}
	return e.entries.Get(ctx, name)
}

// Neither sessions and tokens nor what is not wanted is opened: each may cost
// the user a question, and an entry of pass may be anything.
func TestLeftAlone(t *testing.T) {
	v := Open(unopened{t, entries{
		"dev":         of99designs,
		"mail/secret": "hunter2",
		"sts.GetSessionToken,c3Jj,YXJuOmF3czppYW06OjE6bWZhL2JvYg,1795242592": "",
		"sts.AssumeRole,c3Jj,,1795242592":                                    "",
		"session,c3Jj,bWZh,1795242592":                                       "",
		"session:dev:arn:aws:iam::1:mfa/bob:1795242592":                      "",
		"dev session (1795242592)":                                           "",
		"oidc:https://d-1.awsapps.com/start#/":                               "",
	}}, Raw)
	got, err := v.Items(t.Context(), func(name string) bool { return name == "dev" })
	if err != nil || len(got.Items) != 1 || got.Skipped != 6 {
		t.Errorf("Items = %v, %v, want dev and 6 skipped", got, err)
	}
}

// What is wrong with one item does not keep the others from being read.
func TestFaultyItems(t *testing.T) {
	other := errors.New("a disk error")
	for name, tt := range map[string]struct {
		layout Layout
		data   any
		want   error
	}{
		"another secret":        {Enveloped, "hunter2", ErrForeign},
		"empty":                 {Raw, "", ErrForeign},
		"no envelope":           {Enveloped, of99designs, ErrForeign},
		"an empty envelope":     {Enveloped, envelope("x", ""), ErrForeign},
		"other JSON":            {Raw, `{"user":"hunter2"}`, ErrForeign},
		"other types":           {Raw, `{"AccessKeyID":["hunter2"]}`, ErrForeign},
		"a list":                {Raw, `["hunter2"]`, ErrForeign},
		"no secret":             {Raw, `{"AccessKeyID":"hunter2","SecretAccessKey":""}`, ErrForeign},
		"a line break":          {Raw, `{"AccessKeyID":"AKIA","SecretAccessKey":"hunter2\nx"}`, ErrForeign},
		"cut short":             {Raw, of99designs[:100], store.ErrDamaged},
		"a cut envelope":        {Enveloped, envelope("x", of99designs)[:100], store.ErrDamaged},
		"not base64":            {Enveloped, `{"Key":"x","Data":"hunter2!"}`, store.ErrDamaged},
		"vanished":              {Raw, fmt.Errorf("%w", store.ErrNotFound), store.ErrNotFound},
		"refused":               {Raw, fmt.Errorf("%w", store.ErrDenied), store.ErrDenied},
		"damaged in its store":  {Raw, fmt.Errorf("%w", store.ErrDamaged), store.ErrDamaged},
		"with other passphrase": {Raw, fmt.Errorf("%w", ErrWrongPassphrase), ErrWrongPassphrase},
	} {
		good := of99designs
		if tt.layout == Enveloped {
			good = envelope("z", good)
		}
		got, err := Open(entries{"x": tt.data, "z": good}, tt.layout).Items(t.Context(), nil)
		if err != nil || len(got.Items) != 2 || got.Items[1].Key != key99designs {
			t.Errorf("%s: Items = %v, %v, want both", name, got, err)
			continue
		}
		if x := got.Items[0]; !errors.Is(x.Err, tt.want) || x.Key != (cred.Credentials{}) {
			t.Errorf("%s: Item = %v, want an error that wraps %q", name, x, tt.want)
		}
	}
	dismissed := errors.Join(store.ErrLocked, store.ErrDenied)
	for _, end := range []error{store.ErrLocked, store.ErrUnavailable, dismissed, other} {
		v := Open(entries{"a": of99designs, "b": fmt.Errorf("%w", end), "c": of99designs}, Raw)
		got, err := v.Items(t.Context(), nil)
		if !errors.Is(err, end) || len(got.Items) != 1 {
			t.Errorf("with %q: Items = %v, %v, want the first and the error", end, got, err)
		}
	}
}

func TestCanceled(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if got, err := Open(entries{"a": of99designs}, Raw).Items(ctx, nil); !errors.Is(err, cause) {
		t.Errorf("Items = %v, %v, want %v", got, err, cause)
	}
	dir := t.TempDir()
	write(t, dir, "a", "x")
	if got, err := OpenFile(dir, nil).Items(ctx, nil); !errors.Is(err, cause) {
		t.Errorf("Items of files = %v, %v, want %v", got, err, cause)
	}
}

func write(t *testing.T, dir, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answers returns a passphrase function that gives these answers in turn, and
// where it counts the questions.
func answers(texts ...string) (func(context.Context, int) (string, error), *int) {
	asked := new(int)
	return func(_ context.Context, attempt int) (string, error) {
		*asked++
		if attempt != *asked || attempt > len(texts) {
			return "", fmt.Errorf("attempt %d at question %d of %d", attempt, *asked, len(texts))
		}
		return texts[attempt-1], nil
	}, asked
}

// Files that the keyring libraries of both programs wrote: testdata/99designs-*
// are by github.com/99designs/keyring v1.2.2, testdata/byteness-dev by
// github.com/byteness/keyring v1.9.0.
func TestFilesOfAWSVault(t *testing.T) {
	dir := t.TempDir()
	for file, name := range map[string]string{
		"99designs-dev.jwe":  "dev",
		"99designs-team.jwe": "team%2Fa b%25c",
		"byteness-dev.jwe":   "ours",
	} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, string(text))
	}
	ask, asked := answers("wrong", "correct horse")
	got, err := OpenFile(dir, ask).Items(t.Context(), nil)
	want := []Item{{"dev", key99designs, nil}, {"ours", keyByteNess, nil}, {"team/a b%c", key99designs, nil}}
	if err != nil || !slices.Equal(got.Items, want) || *asked != 2 {
		t.Errorf("Items = %v, %v after %d questions, want %v after 2", got, err, *asked, want)
	}
}

func TestFaultyFiles(t *testing.T) {
	dir := t.TempDir()
	item := envelope("x", of99designs)
	good := seal(t, item, "right", nil)
	changed := []byte(good)
	changed[len(changed)-30] ^= 1 // in what is encrypted, base64 all the same
	write(t, dir, "a", good+"\n")
	write(t, dir, "b", string(changed))
	write(t, dir, "c", good[:len(good)/2])
	write(t, dir, "d", "")
	write(t, dir, "e", "notes of my own")
	write(t, dir, "f", seal(t, item, "another", nil))
	write(t, dir, "g", seal(t, item, "right", map[string]any{"p2c": 1_300_001}))
	write(t, dir, "h", seal(t, item, "right", map[string]any{"enc": "A128CBC-HS256"}))
	write(t, dir, "i", seal(t, item, "right", map[string]any{"crit": []string{"exp"}}))
	write(t, dir, "j", seal(t, `{"Key":"x"}`, "right", nil))
	write(t, dir, "l", seal(t, item, "right", map[string]any{"zip": "DEF"}))
	short := strings.Split(good, ".")
	short[1] = "AAAA" // the wrapped key
	write(t, dir, "m", strings.Join(short, "."))
	write(t, dir, "%6b", good) // whose entry is called as the directory k
	write(t, dir, "oidc:https:%2F%2Fx", "")
	if err := os.Mkdir(filepath.Join(dir, "k"), 0o700); err != nil {
		t.Fatal(err)
	}
	ask, asked := answers("right")
	got, err := OpenFile(dir, ask).Items(t.Context(), nil)
	if err != nil || *asked != 1 || got.Skipped != 1 {
		t.Fatalf("Items = %v, %v after %d questions, want 1", got, err, *asked)
	}
	want := []struct {
		name string
		err  error
	}{
		{"a", nil}, {"b", store.ErrDamaged}, {"c", store.ErrDamaged}, {"d", store.ErrDamaged}, {"e", ErrForeign},
		{"f", ErrWrongPassphrase}, {"g", ErrForeign}, {"h", ErrForeign}, {"i", ErrForeign}, {"j", ErrForeign},
		{"k", ErrForeign}, {"l", ErrForeign}, {"m", store.ErrDamaged},
	}
	if len(got.Items) != len(want) {
		t.Fatalf("Items = %v, want %d", got.Items, len(want))
	}
	for i, item := range got.Items {
		if item.Name != want[i].name || !errors.Is(item.Err, want[i].err) || (item.Err == nil) != (item.Key == key99designs) {
			t.Errorf("Item = %v, want %q and %v", item, want[i].name, want[i].err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", seal(t, envelope("a", of99designs), "", nil)) // aws-vault takes an empty one
	write(t, dir, "b", seal(t, envelope("b", of99designs), "of b", nil))
	dismissed := errors.New("dismissed")
	for _, tt := range []struct {
		what    string
		answers []string
		only    string // all if empty
		asked   int
		err     error
	}{
		{"right at once", []string{"of b"}, "", 1, nil},
		{"right at last", []string{"x", "y", ""}, "", 3, nil},
		{"the one of a single item", []string{"", "of b"}, "b", 2, nil},
		{"wrong three times", []string{"x", "y", "z", ""}, "", 3, ErrWrongPassphrase},
		{"the same twice", []string{"x", "x", ""}, "", 2, ErrWrongPassphrase},
	} {
		ask, asked := answers(tt.answers...)
		_, err := OpenFile(dir, ask).Items(t.Context(), func(name string) bool { return tt.only == "" || name == tt.only })
		if *asked != tt.asked || !errors.Is(err, tt.err) || errors.Is(err, store.ErrLocked) != (tt.err != nil) {
			t.Errorf("%s: %v after %d questions, want %v after %d", tt.what, err, *asked, tt.err, tt.asked)
		}
	}
	ask := func(context.Context, int) (string, error) { return "", dismissed }
	if _, err := OpenFile(dir, ask).Items(t.Context(), nil); !errors.Is(err, dismissed) {
		t.Errorf("with a dismissed question: %v, want that", err)
	}
	if _, err := OpenFile(dir, nil).Items(t.Context(), nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("with nobody to ask: %v, want one that wraps %q", err, store.ErrLocked)
	}
}

// Nobody is asked about what is not there.
func TestNoFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "note", "not an item")
	for _, dir := range []string{dir, filepath.Join(dir, "missing")} {
		ask, asked := answers()
		if got, err := OpenFile(dir, ask).Items(t.Context(), nil); err != nil || *asked != 0 {
			t.Errorf("Items = %v, %v after %d questions, want none", got, err, *asked)
		}
	}
	if _, err := OpenFile(filepath.Join(dir, "note"), nil).Items(t.Context(), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("of a file: %v, want one that wraps %q", err, store.ErrUnavailable)
	}
}
