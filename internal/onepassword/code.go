package onepassword

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Device is an MFA device of which an item has the seed, so that the item
// makes its token codes.
type Device struct {
	c   *Client
	ref Ref

	mu   sync.Mutex
	seed *seed // nil until it is known and has made the code that op has shown
}

// Device returns the MFA device of an item. It runs nothing yet.
func (c *Client) Device(ref Ref) *Device { return &Device{c: c, ref: ref} }

// maxCodeAge is how old a code of op's may be when it is used: a question to the
// person, which takes longer, can make it late.
const maxCodeAge = 5 * time.Second

// Code returns the token code of now. It reads the item at the first time, if
// the Client has not just read it, and makes all codes after that of the seed.
// The serial is that of the device that a code is needed of; the item may name
// none. The error may be a *FieldError.
func (d *Device) Code(ctx context.Context, serial string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seed != nil {
		return d.seed.code(d.c.o.Now()), nil
	}
	began := d.c.o.Now()
	it, err := d.c.Item(ctx, d.ref)
	if err != nil {
		return "", err
	}
	f, n := it.codeField()
	switch {
	case n == 0:
		return "", it.problem(it.names.OneTimePassword, Absent)
	case n > 1:
		return "", it.problem(f.name(), Duplicate)
	}
	// A wrong entry can't tell that it is another device's.
	if own, err := it.MFASerial(); err == nil && own != "" && serial != "" && own != serial {
		return "", it.problem(it.names.MFASerial, OtherDevice)
	}
	now := d.c.o.Now()
	if s, err := parseSeed(f.value); err == nil && (f.code == "" || s.made(f.code, it.read)) {
		d.seed = s
		return s.code(now), nil
	}
	if f.code != "" && it.read.Sub(began) >= 0 && now.Sub(began) <= maxCodeAge {
		return f.code, nil
	}
	return d.fromOp(ctx)
}

// fromOp has op make a code of a seed that is not understood here. It takes the
// one that op calls primary, if the item has several.
func (d *Device) fromOp(ctx context.Context) (code string, err error) {
	a, err := itemCommand("get", d.ref, "--otp")
	if err != nil {
		return "", err
	}
	err = d.c.run(ctx, a, func(out []byte) error {
		code = strings.TrimSpace(string(out))
		if n := len(code); n < 6 || n > 8 || strings.Trim(code, "0123456789") != "" {
			return errors.New("not a one-time password")
		}
		return nil
	})
	return code, err
}

// A seed makes one-time passwords: RFC 6238.
type seed struct {
	key    []byte
	hash   func() hash.Hash
	digits int
	period int64 // seconds
}

var errSeed = errors.New("not the seed of a one-time password")

// parseSeed reads the value of an OTP field: base32 as a person has copied it,
// or a URI as in
// https://github.com/google/google-authenticator/wiki/Key-Uri-Format. The error
// does not quote it.
func parseSeed(value string) (*seed, error) {
	s := &seed{hash: sha1.New, digits: 6, period: 30}
	text := strings.TrimSpace(value)
	if strings.HasPrefix(strings.ToLower(text), "otpauth://") {
		u, err := url.Parse(text)
		if err != nil || !strings.EqualFold(u.Host, "totp") {
			return nil, errSeed
		}
		q := u.Query()
		text = q.Get("secret")
		switch strings.ToUpper(q.Get("algorithm")) {
		case "", "SHA1":
		case "SHA256":
			s.hash = sha256.New
		case "SHA512":
			s.hash = sha512.New
		default:
			return nil, errSeed
		}
		if v := q.Get("digits"); v != "" {
			if s.digits, err = strconv.Atoi(v); err != nil || s.digits < 6 || s.digits > 8 {
				return nil, errSeed
			}
		}
		if v := q.Get("period"); v != "" {
			if s.period, err = strconv.ParseInt(v, 10, 32); err != nil || s.period < 1 {
				return nil, errSeed
			}
		}
	}
	plain := strings.NewReplacer(" ", "", "-", "", "=", "").Replace(strings.ToUpper(text))
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	if err != nil || len(key) == 0 {
		return nil, errSeed
	}
	s.key = key
	return s, nil
}

// code returns the one-time password of a moment.
func (s *seed) code(at time.Time) string {
	mac := hmac.New(s.hash, s.key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/s.period)))
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	limit := uint32(1)
	for range s.digits {
		limit *= 10
	}
	return fmt.Sprintf("%0*d", s.digits, n%limit)
}

// made reports whether a code is one of about that time: if not, op makes codes
// of the seed in another way, or by another clock.
func (s *seed) made(code string, at time.Time) bool {
	for step := range int64(5) {
		if s.code(at.Add(time.Duration((step-3)*s.period)*time.Second)) == code {
			return true
		}
	}
	return false
}
