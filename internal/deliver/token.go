package deliver

import (
	"crypto/subtle"
	"fmt"
	"os"

	"kura/internal/cred"
	"kura/internal/durable"
)

// WriteToken writes the token of a server to a file that only the user can read,
// without the line break that SDKs would send along. It replaces a file of that
// name, which a server that was killed may have left, and nothing else: no link, and
// no device such as /dev/stdout.
func WriteToken(name string, token cred.Secret) error {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", name, durable.ErrNotRegular)
	}
	return durable.WriteFile(name, []byte(token.Reveal()), 0o600)
}

// RemoveToken removes a file of WriteToken, unless the token in it is that of
// another server by now.
func RemoveToken(name string, token cred.Secret) {
	data, err := durable.ReadFile(name, 1024)
	if err == nil && subtle.ConstantTimeCompare(data, []byte(token.Reveal())) == 1 {
		_ = os.Remove(name) // it is of use to nobody without the server
	}
}
