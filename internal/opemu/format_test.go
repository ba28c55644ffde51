package opemu

import (
	"encoding/base32"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestTOTP checks the vectors of RFC 6238, appendix B.
func TestTOTP(t *testing.T) {
	seed := func(n int) string {
		text := strings.Repeat("1234567890", 7)[:n]
		return base32.StdEncoding.EncodeToString([]byte(text))
	}
	for _, test := range []struct {
		algorithm string
		seed      string
		at        int64
		want      string
	}{
		{"SHA1", seed(20), 59, "94287082"},
		{"SHA256", seed(32), 59, "46119246"},
		{"SHA512", seed(64), 59, "90693936"},
		{"SHA1", seed(20), 1111111109, "07081804"},
		{"SHA256", seed(32), 20000000000, "77737706"},
		{"SHA512", seed(64), 20000000000, "47863826"},
	} {
		uri := "otpauth://totp/AWS:ann?digits=8&algorithm=" + test.algorithm + "&secret=" + url.QueryEscape(test.seed)
		if got, err := totp(uri, time.Unix(test.at, 0)); got != test.want {
			t.Errorf("%s at %d = %q, %v, want %q", test.algorithm, test.at, got, err, test.want)
		}
	}
	// A longer period makes fewer steps: at 1234 s it is the 20th of 60 s.
	long, err := totp("otpauth://totp/x?period=60&secret="+seed(20), time.Unix(1234, 0))
	short, _ := totp(seed(20), time.Unix(20*30, 0))
	if long != short || err != nil {
		t.Errorf("a period of 60 s has the code %q, %v, want %q", long, err, short)
	}
	for _, bad := range []string{"", "not a seed!", "otpauth://totp/x", "otpauth://totp/x?secret=MFRGG&digits=9", "otpauth://totp/x?secret=MFRGG&algorithm=MD5"} {
		if got, err := totp(bad, time.Unix(0, 0)); err == nil {
			t.Errorf("totp(%q) = %q, want an error", bad, got)
		}
	}
}

// FuzzTOTP checks that a seed has the same codes in every form that people
// have it in.
func FuzzTOTP(f *testing.F) {
	f.Add([]byte("12345678901234567890"), int64(59))
	f.Fuzz(func(t *testing.T, key []byte, at int64) {
		if len(key) == 0 || at < 0 || at > 1<<40 {
			t.Skip()
		}
		seed := base32.StdEncoding.EncodeToString(key)
		plain := strings.TrimRight(seed, "=")
		want, err := totp(plain, time.Unix(at, 0))
		if err != nil || len(want) != 6 {
			t.Fatalf("totp = %q, %v", want, err)
		}
		for _, form := range []string{
			seed, strings.ToLower(plain), plain[:1] + " " + plain[1:] + "\u0020", "otpauth://totp/x?secret=" + url.QueryEscape(seed),
		} {
			if got, err := totp(form, time.Unix(at, 0)); got != want {
				t.Errorf("totp(%q) = %q, %v, want %q", form, got, err, want)
			}
		}
	})
}

// FuzzAssignment checks that names with escapes, and values without, come out
// as they went in.
func FuzzAssignment(f *testing.F) {
	f.Add("keys", "Secret Access Key", "a=b.c[d]")
	f.Add(`a.b=c\`, `[text]\.`, `\`)
	f.Fuzz(func(t *testing.T, section, field, value string) {
		if section == "" || field == "" {
			t.Skip()
		}
		escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`, `=`, `\=`).Replace
		text := escape(section) + "." + escape(field) + "[otp]=" + value
		got, err := parseAssignment(text)
		if want := (assignment{section: section, field: field, kind: "OTP", value: value}); got != want || err != nil {
			t.Errorf("parseAssignment(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	})
}

// FuzzReplace checks that what a get prints is what an edit may send back
// without changing anything.
func FuzzReplace(f *testing.F) {
	example, err := json.Marshal(AccessKey{ID: "AKIAIOSFODNN7EXAMPLE", Seed: "JBSWY3DPEHPK3PXP", SessionCache: true}.Item())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add(`{"title":"t","fields":[{"type":"STRING","section":{"id":"a"},"value":"v"},{"id":"notesPlain","value":"n"}],"sections":[{"id":"b","label":"B"}]}`)
	s := newState("2.39.0", "")
	f.Fuzz(func(t *testing.T, text string) {
		var tmpl Item
		if json.Unmarshal([]byte(text), &tmpl) != nil {
			t.Skip()
		}
		blank := Stored{Item: Item{ID: newID(), Title: "blank", Vault: VaultRef{ID: s.Vaults[0].ID}, Category: "API_CREDENTIAL", Fields: templateOf("API_CREDENTIAL")}}
		stored, err := replace(blank, tmpl, false)
		if err != nil {
			t.Skip()
		}
		stored.UpdatedAt = "2026-01-07T20:31:37Z"
		printed, err := json.Marshal(s.view(stored))
		if err != nil {
			t.Skip() // a raw member is no JSON
		}
		var back Item
		if err := json.Unmarshal(printed, &back); err != nil {
			t.Fatalf("a get prints %q: %v", printed, err)
		}
		again, err := replace(stored, back, true)
		if err != nil {
			t.Fatalf("the edit of %q is refused: %v", printed, err)
		}
		before, _ := json.Marshal(stored)
		after, _ := json.Marshal(again)
		if string(before) != string(after) {
			t.Errorf("an edit makes %s of %s", after, before)
		}
	})
}
