package foreign

import (
	"fmt"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
)

// GrantedName is under what name Granted keeps access keys.
const GrantedName = "granted-aws-iam-credentials"

// Granted says where "granted credentials add" and "import" keep access keys.
// It keeps them by the library and in the form of aws-vault, so that package
// store/awsvault reads them: an entry for each profile, of which the macOS
// keychain and the Windows Credential Manager have the raw form. The places
// have other names:
//
//   - keychain: service GrantedName, in the keychain of the field Keychain;
//   - wincred: targets GrantedName:GrantedName:PROFILE;
//   - secret-service: the collection of the field Collection, attribute profile;
//   - kwallet: wallet, folder and application of GrantedName;
//   - pass: entries GrantedName/PROFILE;
//   - file: the directory of the field Dir, as in aws-vault. Some versions take
//     the passphrase from CF_KEYRING_FILE_PASSWORD, which may be empty.
//
// The keyctl backend, which few versions can open, and the service "granted-iam"
// of early versions are not covered.
//
// Source: pkg/securestorage/{securestorage,iam-credential-storage}.go and
// pkg/config/config.go of fwdcloudsec/granted, before that
// common-fate/granted.
type Granted struct {
	// Backend is as the library calls it. If it is empty Granted takes the
	// first of wincred, keychain, secret-service, kwallet, pass and file that
	// the system has.
	Backend    string
	Keychain   string // name of the keychain without its extension
	Collection string
	Dir        string // may begin with "~/"
	PassDir    string // of the password store, the same; empty for that of pass
}

// ParseGranted reads Granted's file named config, which may be empty. It lies
// in dir: ~/.granted or, where there is none, $XDG_CONFIG_HOME/granted.
func ParseGranted(dir string, config []byte) (Granted, error) {
	var c struct {
		Keyring struct{ Backend, KeychainName, LibSecretCollectionName, FileDir, PassDir string }
	}
	if err := toml.Unmarshal(config, &c); err != nil {
		return Granted{}, fmt.Errorf("%s: %w", filepath.Join(dir, "config"), err)
	}
	k := c.Keyring
	or := func(set, otherwise string) string {
		if set == "" {
			return otherwise
		}
		return set
	}
	return Granted{
		Backend:    k.Backend,
		Keychain:   or(k.KeychainName, "login"),
		Collection: or(k.LibSecretCollectionName, GrantedName),
		Dir:        or(k.FileDir, filepath.Join(dir, "secure-storage-aws-iam-credentials")),
		PassDir:    k.PassDir,
	}, nil
}
