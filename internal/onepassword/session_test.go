package onepassword_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
	"kura/internal/onepassword"
	"kura/internal/opemu"
)

// session returns a session that lasts for so long from now.
func session(d time.Duration) onepassword.Session {
	return onepassword.Session{
		Credentials: cred.Credentials{
			AccessKeyID:     "ASIAIOSFODNN7EXAMPLE",
			SecretAccessKey: cred.NewSecret("session secret <&>"),
			SessionToken:    cred.NewSecret("session token"),
			Expires:         time.Now().UTC().Truncate(time.Second).Add(d),
			AccountID:       "111122223333",
		},
		KeyID:     keyID,
		MFASerial: serial,
		Lasts:     time.Hour,
	}
}

// script is what a shell script writes: the answer of STS, as the AWS CLI prints
// it, with these lines and this wrapping.
func script(expires string, wrap int) cred.Secret {
	text := `{
    "Credentials": {
        "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY",
        "SessionToken": "AQoDYXdzEJr",
        "Expiration": "` + expires + `"
    }
}
`
	value := base64.StdEncoding.EncodeToString([]byte(text))
	if wrap == 0 {
		return cred.NewSecret(value)
	}
	var lines []string
	for part := range slices.Chunk([]byte(value), wrap) {
		lines = append(lines, string(part))
	}
	return cred.NewSecret(strings.Join(lines, "\n  ") + "\r\n")
}

func TestDecodeSession(t *testing.T) {
	want := time.Date(2026, 12, 16, 12, 34, 56, 0, time.UTC)
	for text, fraction := range map[string]time.Duration{
		"2026-12-16T12:34:56+00:00":     0,
		"2026-12-16T12:34:56Z":          0,
		"2026-12-16T21:34:56+09:00":     0,
		"2026-12-16T12:34:56.5Z":        500 * time.Millisecond,
		"2026-12-16T12:34:56.250+00:00": 250 * time.Millisecond,
	} {
		for _, wrap := range []int{0, 76} {
			s, err := onepassword.DecodeSession(script(text, wrap))
			if err != nil || !s.Credentials.Expires.Equal(want.Add(fraction)) || s.Credentials.AccessKeyID != "ASIAIOSFODNN7EXAMPLE" ||
				s.Credentials.SessionToken.Reveal() != "AQoDYXdzEJr" || s.KeyID != "" || s.MFASerial != "" {
				t.Errorf("a session until %s, wrapped at %d: %+v, %v", text, wrap, s, err)
			}
		}
	}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, bad := range []string{
		"", "%", "e30", encode("{}"), encode("[]"), encode("garbage"), encode(`{"Credentials":{}}`),
		script("tomorrow", 0).Reveal(), script("", 0).Reveal(),
		encode(`{"Credentials":{"AccessKeyId":"` + keyID + `","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-12-16T12:34:56Z"}}`),
		encode(`{"Credentials":{"AccessKeyId":"ASIAX","SecretAccessKey":"s","Expiration":"2026-12-16T12:34:56Z"}}`),
	} {
		if s, err := onepassword.DecodeSession(cred.NewSecret(bad)); err == nil {
			t.Errorf("DecodeSession of %q = %+v, want an error", bad, s)
		}
	}
}

// What kura writes a script that looks for .Credentials can read, on one line.
func TestEncodeSession(t *testing.T) {
	want := session(time.Hour)
	value, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := onepassword.DecodeSession(value); got != want || err != nil {
		t.Errorf("what was encoded is decoded as %+v, %v, want %+v", got, err, want)
	}
	if strings.ContainsAny(value.Reveal(), " \r\n") {
		t.Error("the value is not one line")
	}
	data, err := base64.StdEncoding.DecodeString(value.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	var j struct{ Credentials map[string]string }
	if err := json.Unmarshal(data, &j); err != nil || j.Credentials["SecretAccessKey"] != "session secret <&>" ||
		j.Credentials["Expiration"] != want.Credentials.Expires.Format("2006-01-02T15:04:05+00:00") || len(j.Credentials) != 4 {
		t.Errorf("a script finds %d entries, %v", len(j.Credentials), err)
	}
	if _, err := (onepassword.Session{Credentials: otherKey}).Encode(); err == nil {
		t.Error("an access key was encoded as a session")
	}
}

func FuzzDecodeSession(f *testing.F) {
	f.Add(script("2026-12-16T12:34:56+00:00", 76).Reveal())
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := onepassword.DecodeSession(cred.NewSecret(text))
		if err != nil {
			return
		}
		s.Credentials.Expires = s.Credentials.Expires.Truncate(time.Second)
		value, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := onepassword.DecodeSession(value); again != s || err != nil {
			t.Errorf("a session comes back as %+v, %v, want %+v", again, err, s)
		}
	})
}

// A session is used only if it lasts and belongs to the key and the device.
func TestSessionRules(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		what   string
		change func(*onepassword.Session)
		serial string
		ok     bool
	}{
		{"as it was written", func(*onepassword.Session) {}, serial, true},
		{"of a script", func(s *onepassword.Session) { s.KeyID, s.MFASerial, s.Lasts = "", "", 0 }, serial, true},
		{"that lasts longer", func(s *onepassword.Session) { s.Lasts = 8 * time.Hour }, serial, true},
		{"that was to end sooner", func(s *onepassword.Session) { s.Lasts = 30 * time.Minute }, serial, false},
		{"without MFA", func(s *onepassword.Session) { s.MFASerial = "" }, "", true},
		{"without MFA, which is asked for", func(s *onepassword.Session) { s.MFASerial = "" }, serial, false},
		{"another key", func(s *onepassword.Session) { s.KeyID = otherKey.AccessKeyID }, serial, false},
		{"another device", func(*onepassword.Session) {}, serial + "2", false},
		{"within the margin", func(s *onepassword.Session) { s.Credentials.Expires = now.Add(30 * time.Second) }, serial, false},
		{"just outside", func(s *onepassword.Session) { s.Credentials.Expires = now.Add(32 * time.Second) }, serial, true},
		{"expired", func(s *onepassword.Session) { s.Credentials.Expires = now.Add(-time.Hour) }, serial, false},
	} {
		s := session(time.Hour)
		c.change(&s)
		value, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		item := keyItem()
		item.Fields[len(item.Fields)-1].Value = value.Reveal()
		got, err := decode(t, item).Session(now.Add(30*time.Second), c.serial, time.Hour)
		if ok := err == nil; ok != c.ok || ok && got.Credentials.AccessKeyID != s.Credentials.AccessKeyID {
			t.Errorf("%s: %v, want it to be used: %v", c.what, err, c.ok)
		}
	}
	for _, v := range []string{"", "garbage"} {
		item := keyItem()
		item.Fields[len(item.Fields)-1].Value = v
		if _, err := decode(t, item).Session(now, serial, 0); err == nil {
			t.Errorf("the session cache %q was used", v)
		}
	}
}

func TestWriteSession(t *testing.T) {
	w, ref := keyWorld(t)
	before := w.Item(ref.Item)
	c := client(t, w, nil)
	s := session(time.Hour)
	if err := c.WriteSession(t.Context(), ref, s); err != nil {
		t.Fatal(err)
	}
	it, err := c.Item(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := it.Session(time.Now(), serial, 0); got != s || err != nil {
		t.Errorf("Session = %+v, %v", got, err)
	}
	if key, err := it.Key(); err != nil || key.AccessKeyID != keyID || len(it.Fields) != len(before.Fields) {
		t.Errorf("the item has %d fields and the key %v, %v", len(it.Fields), key, err)
	}

	// Not in place of a session that lasts longer, or for a key that is gone.
	edits := func() int {
		return len(slices.DeleteFunc(calls(w, 0), func(s string) bool { return s != "item edit" }))
	}
	n := edits()
	if err := c.WriteSession(t.Context(), ref, session(time.Minute)); err != nil || edits() != n {
		t.Errorf("a session that ends sooner: %v, and %d edits", err, edits()-n)
	}
	old := session(9 * time.Hour)
	old.KeyID = otherKey.AccessKeyID
	if err := c.WriteSession(t.Context(), ref, old); err != nil || edits() != n {
		t.Errorf("a session of another key: %v, and %d edits", err, edits()-n)
	}
	if err := c.WriteSession(t.Context(), ref, session(2*time.Hour)); err != nil || edits() != n+1 {
		t.Errorf("a session that lasts longer: %v, and %d edits", err, edits()-n)
	}

	// An item without the field gets it, concealed, where the key is.
	plain := add(w, opemu.AccessKey{ID: keyID, Secret: secret}.Item())
	for range 2 {
		if err := c.WriteSession(t.Context(), plain, s); err != nil {
			t.Fatal(err)
		}
	}
	fields := w.Item(plain.Item).Fields
	if f := fields[len(fields)-1]; f.Label != "session_cache" || f.Type != "CONCEALED" || f.Section == nil || f.Section.ID != "add more" {
		t.Errorf("the new field is %q, %s", f.Label, f.Type)
	}
}

// Writing takes no longer than it may, whatever op does.
func TestWriteSessionInTime(t *testing.T) {
	w, ref := keyWorld(t)
	w.Fault(opemu.Fault{Match: "item edit", Mode: opemu.HangCall})
	c := client(t, w, func(o *onepassword.Options) { o.SessionTimeout = 500 * time.Millisecond })
	began := time.Now()
	if err := c.WriteSession(t.Context(), ref, session(time.Hour)); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("WriteSession = %v after %v", err, time.Since(began))
	}
	if got := value(t, w, ref.Item, "session_cache"); got != "" {
		t.Error("the item was changed")
	}
}

// A new key makes the session of the old one disappear.
func TestSetKeyDropsSession(t *testing.T) {
	w, ref := keyWorld(t)
	c := client(t, w, nil)
	if err := c.WriteSession(t.Context(), ref, session(time.Hour)); err != nil {
		t.Fatal(err)
	}
	same := cred.Credentials{AccessKeyID: keyID, SecretAccessKey: cred.NewSecret(secret)}
	it, err := c.Edit(t.Context(), ref, func(it *onepassword.Item) error { return it.SetKey(same) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := it.Session(time.Now(), serial, 0); err != nil {
		t.Errorf("with the same key the session is gone: %v", err)
	}
	if it, err = c.Edit(t.Context(), ref, setOther); err != nil {
		t.Fatal(err)
	}
	_, err = it.Session(time.Now(), serial, 0)
	if e, ok := errors.AsType[*onepassword.FieldError](err); !ok || e.Problem != onepassword.Absent {
		t.Errorf("with another key: %v, want no session", err)
	}
}
