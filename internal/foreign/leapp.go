package foreign

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kura/internal/cred"
	"kura/internal/store"
)

// LeappService is the service under which Leapp keeps secrets by the library
// keytar, each under an account:
//
//   - in the macOS keychain, a generic password of that service and account in
//     the default keychain;
//   - in Secret Service, an item of the default collection that has the
//     attributes "service" and "account";
//   - in the Windows Credential Manager, target SERVICE/ACCOUNT, the account as
//     user name, the text in UTF-8.
//
// Source: packages/core/src/models/constants.ts and services/
// keychain-service.ts of Noovolari/leapp; src/keytar_{mac,posix,win}.cc of
// atom/node-keytar.
const LeappService = "Leapp"

// The accounts of an access key are the ID of a session and one of these.
//
// Source: packages/core/src/services/session/aws/aws-iam-user-service.ts.
const (
	leappKeyID  = "-iam-user-aws-session-access-key-id"
	leappSecret = "-iam-user-aws-session-secret-access-key"
)

// A LeappSession is what Leapp knows of an access key besides the key.
type LeappSession struct {
	ID        string // a UUID
	Name      string // as the user calls it
	Profile   string // into which Leapp writes its credentials, often "default"
	Region    string
	MFASerial string // may be empty
}

// FromLeapp returns the access keys that Leapp left, the entries being those of
// LeappService, by account. An item is named after its session if that is among
// sessions, and after the ID of the session if not. Leapp's other secrets are
// not opened.
//
// What is wrong with one item is said there. An error ends everything.
func FromLeapp(ctx context.Context, entries Entries, sessions []LeappSession) ([]Item, error) {
	accounts, err := entries.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, account := range accounts {
		for _, suffix := range []string{leappKeyID, leappSecret} {
			if id, ok := strings.CutSuffix(account, suffix); ok {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	var items []Item
	for _, id := range slices.Compact(ids) {
		item := Item{Name: id, Note: "Leapp session " + id}
		i := slices.IndexFunc(sessions, func(s LeappSession) bool { return s.ID == id })
		if i >= 0 && sessions[i].Name != "" {
			item.Name = sessions[i].Name
		}
		item.Key, item.Err = leappKey(ctx, entries, id)
		if ctx.Err() != nil {
			return items, context.Cause(ctx)
		}
		if item.Err != nil && !ofOneItem(item.Err) {
			return items, fmt.Errorf("%s: %w", item.Note, item.Err)
		}
		items = append(items, item)
	}
	return items, nil
}

// ofOneItem reports whether an error leaves hope for other items.
func ofOneItem(err error) bool {
	if errors.Is(err, store.ErrLocked) || errors.Is(err, store.ErrUnavailable) {
		return false
	}
	_, half := errors.AsType[*HalfError](err)
	return half || errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrDamaged)
}

func leappKey(ctx context.Context, entries Entries, id string) (cred.Credentials, error) {
	var half [2]string
	for i, suffix := range []string{leappKeyID, leappSecret} {
		data, err := entries.Get(ctx, id+suffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return cred.Credentials{}, err
		}
		half[i] = strings.TrimSpace(string(data))
		clear(data)
		if half[i] == "" || half[i] == "<EMPTY>" { // what Leapp stores for none
			return cred.Credentials{}, &HalfError{id, [...]string{"access key ID", "secret access key"}[i]}
		}
		if strings.ContainsFunc(half[i], notInKeys) {
			return cred.Credentials{}, fmt.Errorf("%w: it is not an access key", store.ErrDamaged)
		}
	}
	return cred.Credentials{AccessKeyID: half[0], SecretAccessKey: cred.NewSecret(half[1])}, nil
}

// ErrLeappLock says that a file is not the list of Leapp's sessions, or that of
// another machine.
var ErrLeappLock = errors.New("not Leapp's sessions on this machine")

// LeappSessions returns the sessions with access keys in Leapp's file
// ~/.Leapp/Leapp-lock.json, in its order. The file is encrypted under the ID of
// the machine, in whatever case: on Linux the first line of
// /var/lib/dbus/machine-id or else /etc/machine-id, on macOS the
// IOPlatformUUID, on Windows the MachineGuid. Errors wrap ErrLeappLock.
//
// Source: packages/core/src/services/{repository,file-service}.ts and
// models/workspace.ts of Noovolari/leapp; index.js of node-machine-id 1.1.12.
func LeappSessions(lock []byte, machineID string) ([]LeappSession, error) {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(machineID))))
	text, err := decryptCryptoJS(strings.TrimSpace(string(lock)), hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	var w struct {
		Sessions []struct{ SessionID, SessionName, Type, Region, ProfileID, MFADevice string } `json:"_sessions"`
		Profiles []struct{ ID, Name string }                                                   `json:"_profiles"`
	}
	if json.Unmarshal(text, &w) != nil {
		return nil, fmt.Errorf("%w: it is not JSON", ErrLeappLock)
	}
	var sessions []LeappSession
	for _, s := range w.Sessions {
		if s.Type != "awsIamUser" {
			continue
		}
		session := LeappSession{ID: s.SessionID, Name: s.SessionName, Region: s.Region, MFASerial: s.MFADevice}
		for _, p := range w.Profiles {
			if p.ID == s.ProfileID {
				session.Profile = p.Name
			}
		}
		sessions = append(sessions, session)
	}
	return sessions, nil
}

// decryptCryptoJS is the inverse of what CryptoJS.AES.encrypt makes of a text
// and a passphrase: the form of "openssl enc -aes-256-cbc -md md5 -base64".
func decryptCryptoJS(text, passphrase string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	salted, ok := strings.CutPrefix(string(data), "Salted__")
	if err != nil || !ok || len(salted) < 8+aes.BlockSize || (len(salted)-8)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: it is not encrypted as those are", ErrLeappLock)
	}
	salt, plain := salted[:8], []byte(salted[8:])

	var key []byte // EVP_BytesToKey of OpenSSL: 32 bytes of key, 16 of IV
	for len(key) < 48 {
		sum := md5.Sum([]byte(string(key[max(0, len(key)-md5.Size):]) + passphrase + salt))
		key = append(key, sum[:]...)
	}
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		return nil, err
	}
	cipher.NewCBCDecrypter(block, key[32:48]).CryptBlocks(plain, plain)
	n := int(plain[len(plain)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, fmt.Errorf("%w: the machine has another ID", ErrLeappLock)
	}
	return plain[:len(plain)-n], nil
}
