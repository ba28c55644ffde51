package opemu

import (
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
	"time"
)

// totp returns the one-time password of an OTP field's value at a time (RFC
// 6238). The value is base32, in whatever form a person copied it, or an
// otpauth URI (https://github.com/google/google-authenticator/wiki/Key-Uri-Format).
func totp(value string, at time.Time) (string, error) {
	digits, period := 6, 30
	algorithm := sha1.New
	seed := value
	if strings.HasPrefix(strings.ToLower(value), "otpauth://") {
		u, err := url.Parse(value)
		if err != nil {
			return "", errors.New("not a URI") // the cause quotes the seed
		}
		q := u.Query()
		seed = q.Get("secret")
		if algorithm, err = hashOf(q.Get("algorithm")); err != nil {
			return "", err
		}
		if digits, err = numberOf(q.Get("digits"), digits, 6, 8); err != nil {
			return "", err
		}
		if period, err = numberOf(q.Get("period"), period, 1, 3600); err != nil {
			return "", err
		}
	}
	plain := strings.NewReplacer(" ", "", "-", "", "=", "").Replace(strings.ToUpper(seed))
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	if err != nil || len(key) == 0 {
		return "", errors.New("not base32")
	}
	mac := hmac.New(algorithm, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/int64(period))))
	sum := mac.Sum(nil)
	cut := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[cut:]) & 0x7fffffff
	limit := uint32(1)
	for range digits {
		limit *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%limit), nil
}

func hashOf(name string) (func() hash.Hash, error) {
	switch strings.ToUpper(name) {
	case "", "SHA1":
		return sha1.New, nil
	case "SHA256":
		return sha256.New, nil
	case "SHA512":
		return sha512.New, nil
	}
	return nil, errors.New("unknown algorithm")
}

// numberOf reads a number of a URI, which must be between least and most.
func numberOf(text string, missing, least, most int) (int, error) {
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, errors.New("a number is out of range")
	}
	return n, nil
}
