package foreign

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kura/internal/store"
)

func TestParseGranted(t *testing.T) {
	dir := filepath.Join("home", ".granted")
	plain := Granted{Keychain: "login", Collection: GrantedName, Dir: filepath.Join(dir, "secure-storage-aws-iam-credentials")}
	for text, want := range map[string]Granted{
		"": plain,
		"DefaultBrowser = \"FIREFOX\"\nOrdering = \"\"\n[SSO]\n": plain,
		"[Keyring]\nBackend = \"file\"\nFileDir = \"/x\"\n":      {"file", "login", GrantedName, "/x", ""},
		"[Keyring]\nBackend = \"pass\"\nPassDir = \"/p\"\nLibSecretCollectionName = \"login\"\nKeychainName = \"k\"\n": {
			"pass", "k", "login", plain.Dir, "/p"},
	} {
		if got, err := ParseGranted(dir, []byte(text)); err != nil || got != want {
			t.Errorf("ParseGranted(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := ParseGranted(dir, []byte("[Keyring")); err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "config")+": ") {
		t.Errorf("ParseGranted of what is no TOML: %v, want an error that names the file", err)
	}
}

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
	switch v := e[name].(type) {
	case string:
		return []byte(v), nil
	case error:
		return nil, v
	}
	return nil, fmt.Errorf("%w", store.ErrNotFound)
}

func TestFromLeapp(t *testing.T) {
	const id, end = "-iam-user-aws-session-access-key-id", "-iam-user-aws-session-secret-access-key"
	unopened := errors.New("what is no access key was opened")
	e := entries{
		"a" + id: keyID, "a" + end: secret, "a-iam-user-aws-session-token": unopened,
		"b" + id: keyID, "b" + end: secret,
		"c" + id: keyID, "d" + end: secret,
		"e" + id: "<EMPTY>", "e" + end: secret,
		"f" + id: keyID, "f" + end: fmt.Errorf("%w", store.ErrDenied),
		"g" + id: "hunter2 hunter2", "g" + end: secret,
		"sso-access-token": unopened,
	}
	sessions := []LeappSession{{ID: "x", Name: "other"}, {ID: "b", Name: "work"}}
	got, err := FromLeapp(t.Context(), e, sessions)
	if err != nil || len(got) != 7 {
		t.Fatalf("FromLeapp = %v, %v, want 7 items", got, err)
	}
	want := []Item{{Name: "a", Key: key, Note: "Leapp session a"}, {Name: "work", Key: key, Note: "Leapp session b"}}
	if !slices.Equal(got[:2], want) {
		t.Errorf("FromLeapp = %v, want %v first", got, want)
	}
	for i, want := range []string{"c: there is no secret access key", "d: there is no access key ID", "e: there is no access key ID"} {
		if err := got[i+2].Err; err == nil || err.Error() != want {
			t.Errorf("item %d: %v, want %q", i+2, err, want)
		}
	}
	if !errors.Is(got[5].Err, store.ErrDenied) {
		t.Errorf("refused: %v, want %v", got[5].Err, store.ErrDenied)
	}
	if err := got[6].Err; !errors.Is(err, store.ErrDamaged) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a space: %v, want %v", err, store.ErrDamaged)
	}
	dismissed := errors.Join(store.ErrLocked, store.ErrDenied)
	for _, end := range []error{store.ErrLocked, store.ErrUnavailable, dismissed, unopened} {
		e["b"+id] = fmt.Errorf("%w", end)
		if got, err := FromLeapp(t.Context(), e, nil); !errors.Is(err, end) || len(got) != 1 {
			t.Errorf("with %q: %v, %v, want the first item and that", end, got, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(unopened)
	if _, err := FromLeapp(ctx, e, nil); !errors.Is(err, unopened) {
		t.Errorf("canceled: %v, want the cause", err)
	}
}

// The file was written by crypto-js 4.2.0, which Leapp uses.
func TestLeappSessions(t *testing.T) {
	lock, err := os.ReadFile("testdata/Leapp-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	const machine = "0123456789abcdef0123456789abcdef"
	want := []LeappSession{
		{"1f0c4f9e-7e0b-4a39-8f57-0a1b2c3d4e5f", "work laptop", "default", "eu-west-1", "arn:aws:iam::123456789012:mfa/alice"},
		{"3b0c4f9e-7e0b-4a39-8f57-0a1b2c3d4e5f", "home", "home", "us-east-1", ""},
	}
	for _, id := range []string{machine, strings.ToUpper(machine) + "\n"} {
		if got, err := LeappSessions(lock, id); err != nil || !slices.Equal(got, want) {
			t.Errorf("LeappSessions with %q = %v, %v, want %v", id, got, err, want)
		}
	}
	for name, lock := range map[string]string{
		"empty": "", "not base64": "{}", "not salted": "aHVudGVyMg==", "cut short": string(lock[:100]), "cut at a block": string(lock[:128]),
		"only a salt": "U2FsdGVkX19zYWx0c2FsdA==", "nothing salted": "U2FsdGVkX18=",
	} {
		if got, err := LeappSessions([]byte(lock), machine); !errors.Is(err, ErrLeappLock) {
			t.Errorf("%s: LeappSessions = %v, %v, want %v", name, got, err, ErrLeappLock)
		}
	}
	if got, err := LeappSessions(lock, "another"); !errors.Is(err, ErrLeappLock) {
		t.Errorf("on another machine: LeappSessions = %v, %v, want %v", got, err, ErrLeappLock)
	}
}

// What CryptoJS encrypts is decrypted, and not with another passphrase.
func FuzzDecryptCryptoJS(f *testing.F) {
	f.Add("{}", "passphrase", "wrong")
	f.Add("a block of 16 by", "", "x")
	f.Fuzz(func(t *testing.T, text, right, wrong string) {
		const salt = "saltsalt"
		d1 := md5.Sum([]byte(right + salt))
		d2 := md5.Sum([]byte(string(d1[:]) + right + salt))
		iv := md5.Sum([]byte(string(d2[:]) + right + salt))
		block, err := aes.NewCipher(append(d1[:], d2[:]...))
		if err != nil {
			t.Fatal(err)
		}
		n := 16 - len(text)%16
		data := []byte(text + strings.Repeat(string(rune(n)), n))
		cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(data, data)
		sealed := base64.StdEncoding.EncodeToString(append([]byte("Salted__"+salt), data...))

		if got, err := decryptCryptoJS(sealed, right); err != nil || string(got) != text {
			t.Errorf("decryptCryptoJS = %q, %v, want %q", got, err, text)
		}
		if got, err := decryptCryptoJS(sealed, wrong); wrong != right && err == nil && string(got) == text {
			t.Errorf("%q opens with %q, want %q alone", text, wrong, right)
		} else if err != nil && !errors.Is(err, ErrLeappLock) {
			t.Errorf("with %q: %v, want %v", wrong, err, ErrLeappLock)
		}
	})
}
