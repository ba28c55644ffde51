package awstest

import (
	"testing"
	"time"
)

// The values are those of RFC 6238, appendix B, cut down to six digits.
func TestTOTP(t *testing.T) {
	d := &device{seed: []byte("12345678901234567890")}
	for at, want := range map[int64]string{
		59:          "287082",
		1111111109:  "081804",
		1111111111:  "050471",
		1234567890:  "005924",
		2000000000:  "279037",
		20000000000: "353130",
	} {
		if got := d.code(step(time.Unix(at, 0))); got != want {
			t.Errorf("code at %d = %s, want %s", at, got, want)
		}
	}
}

func TestCodeWindow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for off, want := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		d := &device{seed: []byte("12345678901234567890"), used: map[int64]bool{}}
		if got := d.accept(d.code(step(now)+off), now); got != want {
			t.Errorf("a code %d steps off: accepted %v, want %v", off, got, want)
		}
	}
}
