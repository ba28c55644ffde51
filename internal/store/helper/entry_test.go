package helper

import (
	"strings"
	"testing"
	"time"

	"kura/internal/store"
)

func TestURL(t *testing.T) {
	for name, want := range map[string]string{
		"prod":  "https://kura.invalid/access-key/prod/0123456789abcd",
		"a/B_c": "https://kura.invalid/access-key/a_2f_42_5fc/0123456789abcd",
		"..":    "https://kura.invalid/access-key/_2e_2e/0123456789abcd",
		strings.Repeat("x", 200): "https://kura.invalid/access-key/~a63d4f68a0b0de6fdaef29b3fa4cb6ff~" +
			strings.Repeat("eHh4", 25) + "/0123456789abcd",
	} {
		e := entry{key: store.Key{Kind: store.AccessKey, Name: name}, version: "0123456789abcd"}
		if got := e.url(); strings.Contains(want, "~") {
			if i := strings.LastIndex(want, "~"); !strings.HasSuffix(got, want[i:]) {
				t.Errorf("url of %q = %s, want %s", name, got, want)
			}
		} else if got != want {
			t.Errorf("url of %q = %s, want %s", name, got, want)
		}
	}
}

// FuzzEntry: what is listed of an entry tells which it is, and it fits into what
// helpers take.
func FuzzEntry(f *testing.F) {
	f.Add("prod", 0)
	f.Add(strings.Repeat("ü", 127), 99)
	f.Add(strings.Repeat("x", 134), 2)
	f.Fuzz(func(t *testing.T, name string, part int) {
		e := entry{key: store.Key{Kind: store.AccessKey, Name: name}, version: newVersion(nil, time.Now()), part: part}
		if check(e.key) != nil || part != 0 && part < 2 || part > 99 {
			return
		}
		url, user := e.url(), e.user()
		if len(url) > 191 || len(user) > 251 {
			t.Errorf("%q has a URL of %d bytes and a user of %d", name, len(url), len(user))
		}
		for _, url := range []string{url, url + "/", strings.TrimPrefix(url, scheme)} {
			if got, ok := parseEntry(url, user); !ok || got != e {
				t.Errorf("parseEntry(%q, %q) = %v, %t, want %v", url, user, got, ok, e)
			}
		}
	})
}

// FuzzParseEntry: no two entries of a helper are the same entry of kura.
func FuzzParseEntry(f *testing.F) {
	f.Add("https://kura.invalid/access-key/_70rod/0123456789abcd", "kura")
	f.Fuzz(func(t *testing.T, url, user string) {
		e, ok := parseEntry(url, user)
		if ok && (strings.TrimPrefix(strings.TrimSuffix(url, "/"), scheme) != strings.TrimPrefix(e.url(), scheme) || user != e.user()) {
			t.Errorf("parseEntry(%q, %q) = %v, which is %q, %q", url, user, e, e.url(), e.user())
		}
	})
}

func TestNewVersion(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	var others []entry
	for i := range 100 {
		v := newVersion(others, now.Add(-time.Duration(i)*time.Hour)) // the clock goes back
		if len(v) != versionLen {
			t.Fatalf("version %q has %d characters, want %d", v, len(v), versionLen)
		}
		for _, e := range others {
			if v <= e.version {
				t.Errorf("version %q is not newer than %q", v, e.version)
			}
		}
		others = append(others, entry{version: v})
	}
}

// FuzzEncode: what is stored comes back whole, and nothing else does.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("data"), 40)
	f.Add([]byte{}, 1200)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 40 || size > longPart || len(data) > 90*size/2 {
			return
		}
		parts := encode(data, size)
		for i, p := range parts {
			if len(p) > size {
				t.Errorf("part %d has %d characters, want at most %d", i, len(p), size)
			}
		}
		h, ok := parseHead(parts[0])
		if !ok || h.parts != len(parts) {
			t.Fatalf("parseHead(%q) = %v, %t", parts[0], h, ok)
		}
		text := h.text + strings.Join(parts[1:], "")
		if got, ok := h.decode(text); !ok || string(got) != string(data) {
			t.Errorf("decode = %q, %t, want %q", got, ok, data)
		}
		if len(text) > 0 {
			if _, ok := h.decode(text[:len(text)-1]); ok {
				t.Error("what was cut is accepted")
			}
		}
	})
}
