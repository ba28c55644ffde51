package helper

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/store"
)

// An entry is one of a helper's: the head of a version of an item, or a further
// part of it. Its URL is
//
//	https://kura.invalid/<kind>/<name>/<version>
//	https://kura.invalid/<kind>/<name>/<version>.<part>
//
// with a host that nobody can have (RFC 2606) and a scheme that helpers take: some
// refuse all but https. In it are no characters that need to be escaped in a URL,
// and no upper case but in long names.
type entry struct {
	key     store.Key
	version string // the greater the newer
	part    int    // 0 is the head, which is the first part; then from 2 on
}

const (
	scheme = "https://"
	host   = "kura.invalid/"

	// maxName is the greatest length of a name in a URL. docker-credential-pass
	// makes a file name of the whole URL by base64, so that 191 bytes is the
	// limit of that: 21 for scheme and host, 10 and a slash for the kind, 1 + 14
	// for the version and 3 for the part.
	maxName = 134

	// longText is how much of a long name in base64 is in the URL.
	longText = 100
)

// user returns the user name of an entry: "kura", which for long names is
// followed by a dot and what the URL does not hold.
func (e entry) user() string { _, user := encodeName(e.key.Name); return user }

func (e entry) url() string {
	name, _ := encodeName(e.key.Name)
	url := scheme + host + string(e.key.Kind) + "/" + name + "/" + e.version
	if e.part > 0 {
		url += "." + strconv.Itoa(e.part)
	}
	return url
}

// encodeName returns a name as it is part of a URL. Lower-case letters, digits
// and the hyphen stand for themselves and _xx for any other byte. A name that
// would be too long is ~<32 digits>~<text>: the first 16 bytes of its SHA-256 in
// hexadecimal and the beginning of the name in base64, whose end is in user.
func encodeName(name string) (text, user string) {
	var b strings.Builder
	for _, c := range []byte(name) {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	if b.Len() <= maxName {
		return b.String(), "kura"
	}
	sum := sha256.Sum256([]byte(name))
	all := base64.RawURLEncoding.EncodeToString([]byte(name))
	n := min(len(all), longText)
	return "~" + hex.EncodeToString(sum[:16]) + "~" + all[:n], "kura." + all[n:]
}

// decodeName is the inverse of encodeName.
func decodeName(text, user string) (name string, ok bool) {
	if rest, long := strings.CutPrefix(text, "~"); long {
		_, head, _ := strings.Cut(rest, "~")
		b, err := base64.RawURLEncoding.DecodeString(head + strings.TrimPrefix(user, "kura."))
		name, ok = string(b), err == nil
	} else {
		name, ok = unescape(text)
	}
	if !ok {
		return "", false
	}
	againText, againUser := encodeName(name)
	return name, againText == text && againUser == user
}

func unescape(text string) (string, bool) {
	var b []byte
	for text != "" {
		c := text[0]
		text = text[1:]
		if c == '_' {
			if len(text) < 2 {
				return "", false
			}
			code, err := hex.DecodeString(text[:2])
			if err != nil {
				return "", false
			}
			c, text = code[0], text[2:]
		}
		b = append(b, c)
	}
	return string(b), true
}

// parseEntry returns the entry that a helper has listed. It is not ok if kura
// did not write it. A helper may leave the scheme away, or add a slash.
func parseEntry(url, user string) (e entry, ok bool) {
	url = strings.TrimPrefix(strings.TrimSuffix(url, "/"), scheme)
	rest, ok := strings.CutPrefix(url, host)
	elem := strings.Split(rest, "/")
	if !ok || len(elem) != 3 {
		return entry{}, false
	}
	e.key.Kind = store.Kind(elem[0])
	if e.key.Name, ok = decodeName(elem[1], user); !ok || check(e.key) != nil {
		return entry{}, false
	}
	version, part, isPart := strings.Cut(elem[2], ".")
	if e.version = version; len(version) != versionLen {
		return entry{}, false
	}
	if isPart {
		n, err := strconv.Atoi(part)
		if err != nil || n < 2 || strconv.Itoa(n) != part {
			return entry{}, false
		}
		e.part = n
	}
	return e, true
}

// compare sorts entries by item, then by age, the head of a version first.
func (e entry) compare(o entry) int {
	return cmp.Or(cmp.Compare(e.key.Kind, o.key.Kind), cmp.Compare(e.key.Name, o.key.Name),
		cmp.Compare(e.version, o.version), cmp.Compare(e.part, o.part))
}

// check returns an error if no item can have the key.
func check(key store.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	kind := string(key.Kind)
	if kind == "" || len(kind) > 10 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q is not a kind of item", kind)
	}
	return nil
}

// of returns the entries of an item, in order.
func of(all []entry, key store.Key) []entry {
	return slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return e.key != key })
}

// headsOf returns the heads of an item, the oldest first.
func headsOf(all []entry, key store.Key) []entry {
	return slices.DeleteFunc(of(all, key), func(e entry) bool { return e.part != 0 })
}

// versionLen is the length of a version: 11 digits of the time in microseconds
// to the base 36, and three at random for those who write at the same time.
const versionLen = 14

// newVersion returns a version that is newer than others, even where the clock
// was set back.
func newVersion(others []entry, now time.Time) string {
	n := now.UnixMicro()
	for _, e := range others {
		if last, err := strconv.ParseInt(e.version[:11], 36, 64); err == nil {
			n = max(n, last+1)
		}
	}
	digits := strconv.FormatInt(n, 36)
	return strings.Repeat("0", max(0, 11-len(digits))) + digits + strings.ToLower(rand.Text()[:3])
}

const (
	// longPart is the length of a part in characters that is tried first.
	// Docker's library reads no lines of 64 KiB.
	longPart = 32 << 10

	// shortPart fits into 2560 bytes of UTF-16, the limit of Windows.
	shortPart = 1200
)

// A head is the beginning of the first part of a version:
//
//	kura1.<number of parts>.<16 digits>.<text>
//
// where the digits are the first 8 bytes of the data's SHA-256 in hexadecimal,
// and the text, which goes on in the other parts, is the data in base64 of URLs.
type head struct {
	parts int
	sum   string
	text  string
}

// encode returns the parts of a version, each with up to size characters.
func encode(data []byte, size int) []string {
	text := base64.RawURLEncoding.EncodeToString(data)
	const room = 32 // for the head
	parts := []string{text[:min(len(text), size-room)]}
	for rest := text[len(parts[0]):]; rest != ""; {
		n := min(len(rest), size)
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	parts[0] = fmt.Sprintf("kura1.%d.%s.%s", len(parts), sumOf(data), parts[0])
	return parts
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

func parseHead(secret string) (head, bool) {
	f := strings.Split(secret, ".")
	if len(f) != 4 || f[0] != "kura1" {
		return head{}, false
	}
	parts, err := strconv.Atoi(f[1])
	return head{parts, f[2], f[3]}, err == nil && 1 <= parts && parts <= 100
}

// decode returns the data whose text is that of all parts.
func (h head) decode(text string) ([]byte, bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if data == nil {
		data = []byte{}
	}
	return data, err == nil && sumOf(data) == h.sum
}
