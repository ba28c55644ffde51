package onepassword_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"kura/internal/mfa"
	"kura/internal/onepassword"
	"kura/internal/opemu"
)

// The vectors of RFC 6238, appendix B: the seeds are "1234567890" repeated to 20,
// 32 and 64 bytes.
func TestVectors(t *testing.T) {
	seeds := map[string]string{
		"SHA1":   "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"SHA256": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA",
		"SHA512": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA",
	}
	for _, c := range []struct {
		at                   int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		for algorithm, want := range map[string]string{"SHA1": c.sha1, "SHA256": c.sha256, "SHA512": c.sha512} {
			uri := "otpauth://totp/AWS:ann?secret=" + seeds[algorithm] + "&digits=8&period=30&algorithm=" + algorithm
			if got, err := onepassword.CodeOf(uri, time.Unix(c.at, 0)); got != want || err != nil {
				t.Errorf("%s at %d: %q, %v, want %q", algorithm, c.at, got, err, want)
			}
		}
		for _, form := range []string{seeds["SHA1"], "gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ======\n"} {
			if got, err := onepassword.CodeOf(form, time.Unix(c.at, 0)); got != c.sha1[2:] || err != nil {
				t.Errorf("%q at %d: %q, %v, want %q", form, c.at, got, err, c.sha1[2:])
			}
		}
	}
	for _, bad := range []string{"", " ", "0189", "otpauth://hotp/x?secret=GEZDGNBV", "otpauth://totp/x", "otpauth://totp/x?secret=GEZDGNBV&digits=9",
		"otpauth://totp/x?secret=GEZDGNBV&period=0", "otpauth://totp/x?secret=GEZDGNBV&algorithm=MD5", "otpauth://%zz"} {
		if code, err := onepassword.CodeOf(bad, time.Now()); err == nil {
			t.Errorf("%q makes the code %q", bad, code)
		}
	}
}

// A used code is followed by the next one, without another call of op.
func TestNextCode(t *testing.T) {
	w, ref := keyWorld(t)
	now := w.Now()
	c := client(t, w, func(o *onepassword.Options) { o.Now = func() time.Time { return now } })
	codes := &mfa.Codes{
		Source: c.Device(ref).Code,
		Again:  mfa.Never,
		Guard:  mfa.Guard{Dir: t.TempDir(), Now: func() time.Time { return now }},
		Log:    slog.New(slog.DiscardHandler),
	}
	first, err := codes.Code(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	_, err = codes.Code(t.Context(), serial)
	used, ok := errors.AsType[*mfa.UsedError](err)
	if !ok {
		t.Fatalf("the same code again: %v, want UsedError", err)
	}
	now = now.Add(used.Wait)
	second, err := codes.Code(t.Context(), serial)
	if want, _ := onepassword.CodeOf(seed, now); second != want || second == first || err != nil {
		t.Errorf("the next code is %q, %v, want %q", second, err, want)
	}
	now = now.Add(time.Hour)
	if third, err := codes.Code(t.Context(), serial); third == second || err != nil {
		t.Errorf("the code an hour later is %q, %v", third, err)
	}
	wantCalls(t, w, "item get")
}

// Where op makes other codes than the seed does here, op's count.
func TestCodeOfOp(t *testing.T) {
	w, ref := keyWorld(t)
	w.Update(func(s *opemu.State) { s.ClockSkew = opemu.Duration(time.Hour) })
	d := client(t, w, nil).Device(ref)
	for i, want := range [][]string{{"item get"}, {"item get", "item get"}} {
		got, err := d.Code(t.Context(), serial)
		at := w.Now().Add(time.Hour)
		now, _ := onepassword.CodeOf(seed, at)
		before, _ := onepassword.CodeOf(seed, at.Add(-30*time.Second))
		if err != nil || got != now && got != before {
			t.Errorf("code %d = %q, %v, want %q", i, got, err, now)
		}
		wantCalls(t, w, want...)
	}
	if args := w.Journal()[1].Args; !slices.Contains(args, "--otp") {
		t.Errorf("the second code is got by op %q", args)
	}
}

func TestNoCode(t *testing.T) {
	w := newWorld(t, "")
	c := client(t, w, nil)
	none := add(w, opemu.AccessKey{ID: keyID, Secret: secret}.Item())
	two := keyItem()
	two.Fields = append(two.Fields, opemu.Field{ID: "x", Type: "OTP", Label: "One-Time Password", Value: seed})
	for _, want := range []struct {
		ref     onepassword.Ref
		serial  string
		problem onepassword.Problem
	}{
		{none, serial, onepassword.Absent},
		{add(w, two), serial, onepassword.Duplicate},
		{add(w, keyItem()), serial + "2", onepassword.OtherDevice},
	} {
		code, err := c.Device(want.ref).Code(t.Context(), want.serial)
		if e, ok := errors.AsType[*onepassword.FieldError](err); !ok || e.Problem != want.problem {
			t.Errorf("Code = %q, %v, want %q", code, err, want.problem)
		}
	}
}
