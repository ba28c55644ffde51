package awsvault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"kura/internal/cred"
	"kura/internal/store"
)

// seal returns a token as aws-vault's library makes one, but for the fields of
// the header that are given, which it lies about.
func seal(t *testing.T, text, passphrase string, lies map[string]any) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	salt, key, nonce := make([]byte, 12), make([]byte, 32), make([]byte, 12)
	for _, b := range [][]byte{salt, key, nonce} {
		rand.Read(b)
	}
	header := map[string]any{
		"alg": "PBES2-HS256+A128KW", "created": "2026-01-02 03:04:05 +0000 UTC", "enc": "A256GCM", "p2c": 8, "p2s": b64(salt),
	}
	maps.Copy(header, lies)
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	kek, err := pbkdf2.Key(sha256.New, passphrase, append([]byte("PBES2-HS256+A128KW\x00"), salt...), 8, 16)
	if err != nil {
		t.Fatal(err)
	}
	wrapper, _ := aes.NewCipher(kek)
	block, _ := aes.NewCipher(key)
	gcm, _ := cipher.NewGCM(block)
	sealed := gcm.Seal(nil, nonce, []byte(text), []byte(b64(head)))
	body, tag := sealed[:len(text)], sealed[len(text):]
	return strings.Join([]string{b64(head), b64(wrapKey(wrapper, key)), b64(nonce), b64(body), b64(tag)}, ".")
}

// wrapKey is AES key wrap, RFC 3394 section 2.2.1.
func wrapKey(block cipher.Block, key []byte) []byte {
	b, r := bytes.Repeat([]byte{0xa6}, 16), bytes.Clone(key)
	n := len(r) / 8
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[8:], r[(i-1)*8:])
			block.Encrypt(b, b)
			copy(r[(i-1)*8:], b[8:])
			binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^uint64(n*j+i))
		}
	}
	return append(b[:8:8], r...)
}

// Test vectors of RFC 3394: section 4.1, whose key-encrypting key is as long as
// that of a token, and 4.6, whose key is.
func TestUnwrapKey(t *testing.T) {
	for _, tt := range []struct{ kek, wrapped, want string }{
		{"000102030405060708090A0B0C0D0E0F", "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5", "00112233445566778899AABBCCDDEEFF"},
		{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
			"00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"},
	} {
		kek, _ := hex.DecodeString(tt.kek)
		wrapped, _ := hex.DecodeString(tt.wrapped)
		block, err := aes.NewCipher(kek)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unwrapKey(block, wrapped)
		if err != nil || !strings.EqualFold(hex.EncodeToString(got), tt.want) {
			t.Errorf("unwrapKey = %x, %v, want %s", got, err, tt.want)
		}
		wrapped[3] ^= 1
		if got, err := unwrapKey(block, wrapped); !errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("of a changed one: unwrapKey = %x, %v, want an error", got, err)
		}
	}
}

// What is sealed with a passphrase opens with it alone.
func FuzzSeal(f *testing.F) {
	f.Add("text", "passphrase", "wrong")
	f.Add("", "", "\x00")
	f.Fuzz(func(t *testing.T, text, right, wrong string) {
		tok, err := parseToken(seal(t, text, right, nil))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tok.open(right); err != nil || string(got) != text {
			t.Errorf("open(%q) = %q, %v, want %q", right, got, err, text)
		}
		// HMAC pads keys with zeros, so two may be one.
		if strings.TrimRight(right, "\x00") == strings.TrimRight(wrong, "\x00") || len(wrong) > 64 || len(right) > 64 {
			return
		}
		if _, err := tok.open(wrong); !errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("open(%q) of what is sealed with %q: %v, want %v", wrong, right, err, ErrWrongPassphrase)
		}
	})
}

// A token that is accepted is what its fields say, and has no second form. An
// error is one of the two kinds and does not quote the text.
func FuzzParseToken(f *testing.F) {
	golden, err := os.ReadFile("testdata/99designs-dev.jwe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(golden))
	parts := strings.Split(string(golden), ".")
	f.Add(strings.Replace(string(golden), ".", ".\n", 1))
	f.Add(strings.Join([]string{parts[0], parts[1], parts[2][:4], parts[3], parts[4]}, "."))
	f.Add("eyJ")
	f.Add("hunter2.hunter2.hunter2.hunter2.hunter2hunter2hunter2a")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := parseToken(text)
		if err != nil {
			if !errors.Is(err, ErrForeign) && !errors.Is(err, store.ErrDamaged) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("parseToken(%q): %v", text, err)
			}
			return
		}
		b64 := base64.RawURLEncoding.EncodeToString
		again := strings.Join([]string{tok.header, b64(tok.wrapped), b64(tok.nonce), b64(tok.sealed), b64(tok.tag)}, ".")
		if again != strings.TrimSpace(text) {
			t.Errorf("parseToken(%q) is %q", text, again)
		}
		if tok.iterations > 10_000 {
			return
		}
		if len(tok.nonce) != 12 || len(tok.tag) != 16 || len(tok.wrapped) != tok.keySize+8 {
			t.Errorf("%q is cut short", text) // and could not even be tried
		}
		if _, err := tok.open("hunter2"); err == nil {
			t.Errorf("%q opens with a passphrase that nobody chose", text)
		}
	})
}

// What is accepted is a key that can be stored as it is, and an error does not
// quote the entry.
func FuzzEnvelope(f *testing.F) {
	f.Add("", envelope("dev", of99designs))
	f.Add(`{"Key":"`, `"}`)
	f.Add("", temporary)
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2hunter2"
		for _, text := range []string{after, before + secret + after} {
			for _, layout := range []Layout{Raw, Enveloped} {
				got, err := Open(entries{"x": text}, layout).Items(t.Context(), nil)
				if err != nil || len(got.Items) != 1 {
					t.Fatalf("Items = %v, %v", got, err)
				}
				item := got.Items[0]
				if item.Err != nil {
					if strings.Contains(item.Err.Error(), secret) {
						t.Errorf("of %q: %v", text, item.Err)
					}
					continue
				}
				data, err := cred.Encode(item.Key)
				if err != nil {
					t.Fatalf("of %q: %v", text, err)
				}
				again, err := cred.Decode(data)
				again.Expires = item.Key.Expires // the zone may be another
				if err != nil || again != item.Key {
					t.Errorf("%q is %v, which is stored as %v, %v", text, item.Key, again, err)
				}
			}
		}
	})
}

// isSession agrees with the expressions of aws-vault.
func FuzzIsSession(f *testing.F) {
	current := regexp.MustCompile(`^([^,]+),([^,]+),([^,]*),([0-9]+)$`)
	old := []*regexp.Regexp{
		regexp.MustCompile(`^session,[^,]+,[^,]*,[0-9]{2,}$`),
		regexp.MustCompile(`^session:[^ ]+:[^ ]*:[^:]+$`),
		regexp.MustCompile(`^(.+?) session \(\d+\)$`),
	}
	for _, name := range []string{
		"dev", "a,b,c", "session:a:b:c", "session:a:1", "session:a::1", "session::a:1", "session:a b:c:1", "session:a:b:c d",
		"session,a b,,12", "session,a b,,1", "x,YQ,,1", "x,Y,,1", "x,YQ,Y,1", ",YQ,,1", "x,,,1", "x,YQ,,", "a session (1)",
		" session (1)", "a session ()", "a session (1", "a session (b) session (2)", "sts.AssumeRole,c3Jj,YXJu,1795242592",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.Contains(name, "\n") {
			return // "." does not match it
		}
		want := false
		if m := current.FindStringSubmatch(name); m != nil {
			_, err1 := base64.RawURLEncoding.DecodeString(m[2])
			_, err2 := base64.RawURLEncoding.DecodeString(m[3])
			want = err1 == nil && err2 == nil
		}
		for _, p := range old {
			want = want || p.MatchString(name)
		}
		if got := isSession(name); got != want {
			t.Errorf("isSession(%q) = %v, want %v", name, got, want)
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, name := range []string{"dev", "a/b", "100%", "%2F", "ü é", "a,b,,1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		file := fileName(name)
		if got := entryName(file); got != name || strings.Contains(file, "/") {
			t.Errorf("fileName(%q) = %q, which is that of %q", name, file, got)
		}
	})
}
