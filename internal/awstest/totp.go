package awstest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// A device is an MFA device of a user.
type device struct {
	serial  string
	seed    []byte
	owner   *user
	enabled time.Time
	used    map[int64]bool // by time step
}

const codePeriod = 30 // seconds

func step(t time.Time) int64 { return t.Unix() / codePeriod }

// code returns the token code of a time step (RFC 6238, RFC 4226 5.3).
func (d *device) code(step int64) string {
	mac := hmac.New(sha1.New, d.seed)
	binary.Write(mac, binary.BigEndian, step)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// accept reports whether code is right, one step early or late included, and
// was not used before. It is used then.
func (d *device) accept(code string, now time.Time) bool {
	for s := step(now) - 1; s <= step(now)+1; s++ {
		if !d.used[s] && subtle.ConstantTimeCompare([]byte(code), []byte(d.code(s))) == 1 {
			d.used[s] = true
			return true
		}
	}
	return false
}

// A NoCodeError says that the token codes of an MFA device that AWS would take
// now are used up.
type NoCodeError struct {
	Serial string
	Until  time.Time // when there is a new one, by the Cloud's clock
}

func (e *NoCodeError) Error() string {
	return fmt.Sprintf("all current codes of %s are used until %s", e.Serial, e.Until.UTC().Format(time.RFC3339))
}

// Code returns a token code of an MFA device that AWS accepts now: the current
// one or, when that is used, the one after it. When both are used it returns a
// *NoCodeError. Calling it does not use a code.
func (c *Cloud) Code(serial string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[serial]
	if d == nil {
		return "", fmt.Errorf("no MFA device %q", serial)
	}
	now := step(c.clock())
	for s := now; s <= now+1; s++ {
		if !d.used[s] {
			return d.code(s), nil
		}
	}
	return "", &NoCodeError{serial, time.Unix((now+1)*codePeriod, 0)}
}
