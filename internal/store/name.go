package store

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Escape returns a text of which every file system keeps two apart that differ,
// and takes every one as part of a name. Lower-case letters, digits and "-_@+."
// stand for themselves and %xx for any other byte, in lower case too, so that
// nothing depends on the case, or on the normal form of Unicode.
func Escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if isPlain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-_@+.", c) >= 0
}

// Unescape is the inverse of Escape. It also accepts what Escape would write in
// another way.
func Unescape(s string) (string, bool) {
	var b []byte
	for s != "" {
		if s[0] != '%' {
			b, s = append(b, s[0]), s[1:]
			continue
		}
		if len(s) < 3 {
			return "", false
		}
		c, err := hex.DecodeString(s[1:3])
		if err != nil {
			return "", false
		}
		b, s = append(b, c...), s[3:]
	}
	return string(b), true
}
