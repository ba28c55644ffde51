package awsvault

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// isToken reports whether an entry is an Identity Center token.
//
// Source: vault/oidctokenkeyring.go of aws-vault.
func isToken(name string) bool { return strings.HasPrefix(name, "oidc:") }

// isSession reports whether aws-vault takes an entry of that name for one of
// its sessions, in the form of today or one of three older ones. As it deletes
// what looks like an old session, no access key of such a name stays for long.
//
// Source: sessionKeyPattern and oldSessionKeyPatterns in
// vault/sessionkeyring.go of aws-vault.
func isSession(name string) bool {
	if p := strings.Split(name, ","); len(p) == 4 && p[0] != "" && p[1] != "" && isNumber(p[3]) {
		return p[0] == "session" && len(p[3]) > 1 || isBase64URL(p[1]) && isBase64URL(p[2])
	}
	if rest, ok := strings.CutPrefix(name, "session:"); ok {
		i := strings.LastIndexByte(rest, ':')
		if i >= 0 && i < len(rest)-1 && strings.LastIndexByte(rest[:i], ':') > 0 && !strings.Contains(rest[:i], " ") {
			return true
		}
	}
	head, number, ok := cutLast(strings.TrimSuffix(name, ")"), " session (")
	return ok && head != "" && isNumber(number) && strings.HasSuffix(name, ")")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isBase64URL(s string) bool {
	_, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil
}

// fileName returns the name of the file of an entry: "/" and "%" are
// percent-encoded and nothing else is.
//
// Source: file.go of 99designs/keyring.
func fileName(name string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(name)
}

// entryName is the inverse of fileName. As in aws-vault, "%" without two
// hexadecimal digits after it stands for itself.
func entryName(file string) string {
	var b strings.Builder
	for i := 0; i < len(file); i++ {
		if file[i] == '%' && i+2 < len(file) {
			if c, err := hex.DecodeString(file[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(file[i])
	}
	return b.String()
}
