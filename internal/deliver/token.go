package deliver

import (
	"os"

	"kura/internal/cred"
)

// WriteToken writes the token of a server to a file that only the user can read,
// without the line break that SDKs would send along. It must not be there before.
func WriteToken(name string, token cred.Secret) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(token.Reveal()); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
