package cred_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
)

func TestSecretDoesNotShow(t *testing.T) {
	c := cred.Credentials{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("hunter2")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{c, &c, c.SecretAccessKey, []cred.Secret{c.SecretAccessKey}} {
			s := fmt.Sprintf(verb, v)
			if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74") {
				t.Errorf("%s of a %T shows the secret: %s", verb, v, s)
			}
		}
	}
	if data, err := json.Marshal(c); err == nil {
		t.Errorf("Marshal succeeded: %s", data)
	}
}

func TestEncode(t *testing.T) {
	for _, want := range []cred.Credentials{
		{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("s")},
		{AccessKeyID: "ASIA", SecretAccessKey: cred.NewSecret("s"), SessionToken: cred.NewSecret("t"), Expires: time.Unix(1e9, 0).UTC()},
	} {
		data, err := cred.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := cred.Decode(data); err != nil || got != want {
			t.Errorf("Decode(Encode(c)) = %v, %v, want %v", got, err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, data := range []string{
		"", "AccessKeyID=AKIA\n", "SecretAccessKey=hunter2\n", "hunter2", "AccessKeyID=AKIA\nSecretAccessKey=hunter2\nExpires=hunter2\n",
	} {
		if c, err := cred.Decode([]byte(data)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Decode(%q) = %v, %v, want an error that does not quote it", data, c, err)
		}
	}
	if _, err := cred.Encode(cred.Credentials{AccessKeyID: "A", SecretAccessKey: cred.NewSecret("s\nAccountID=x")}); err == nil {
		t.Error("Encode took a secret with a line break")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("AccessKeyID=AKIA\nSecretAccessKey=s\nExpires=2026-01-02T03:04:05Z\nFuture=x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := cred.Decode(data)
		if err != nil {
			return
		}
		again, err := cred.Encode(c)
		if err != nil {
			return // a carriage return, which Encode never writes
		}
		c2, err := cred.Decode(again)
		if c.Expires.Equal(c2.Expires) {
			c.Expires = c2.Expires // in another zone
		}
		if err != nil || c2 != c {
			t.Errorf("%v encodes to %s, which decodes to %v, %v", c, again, c2, err)
		}
	})
}
