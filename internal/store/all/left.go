package all

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"kura/internal/store/awsvault"
)

// A Left is a place where another program may have left access keys, in the
// form of aws-vault's.
type Left struct {
	Backend string
	Where   string // for people
	Dir     string // of encrypted files

	// Shared says that it may hold other secrets of the user, which are not to
	// be opened.
	Shared bool

	// Open returns what reads it. Nothing is looked at yet. The function asks
	// for the passphrase of encrypted files.
	Open func(passphrase func(ctx context.Context, attempt int) (string, error)) *awsvault.Vault
}

// AWSVault returns the places where aws-vault can keep access keys on this
// system, in its own order. The settings are those of a backend that the user
// has given.
func AWSVault(e *Env, settings func(backend string) map[string]string) []Left {
	dir := settings("file")["dir"]
	if dir == "" {
		dir = filepath.Join(e.Home, ".awsvault", "keys")
	}
	return append(systemLeft(e, "aws-vault", names{
		keychain:   or(settings("keychain")["keychain"], "aws-vault"),
		service:    "aws-vault",
		collection: or(settings("secret-service")["collection"], "awsvault"),
		wallet:     "aws-vault",
		passDir:    settings("pass")["dir"],
		passPrefix: settings("pass")["prefix"],
	}), files("aws-vault", dir))
}

// GrantedPlaces says where Granted keeps access keys.
type GrantedPlaces struct {
	Name       string // of its items wherever they have one
	Keychain   string
	Collection string
	Dir        string
	PassDir    string
}

// Granted returns the places where Granted can keep access keys on this system.
func Granted(e *Env, g GrantedPlaces) []Left {
	return append(systemLeft(e, "Granted", names{
		keychain:   g.Keychain,
		service:    g.Name,
		collection: g.Collection,
		wallet:     g.Name,
		passDir:    g.PassDir,
		passPrefix: g.Name,
	}), files("Granted", g.Dir))
}

// names are what a program calls its own in the stores of a system.
type names struct {
	keychain   string // a keychain, by its name
	service    string // of items in it; twice, with colons, the prefix of Windows credentials
	collection string // of Secret Service
	wallet     string // of KWallet, and its folder and application
	passDir    string
	passPrefix string
}

func files(program, dir string) Left {
	return Left{
		Backend: "file",
		Where:   fmt.Sprintf("the files of %s in %s", program, dir),
		Dir:     dir,
		Open: func(ask func(context.Context, int) (string, error)) *awsvault.Vault {
			return awsvault.OpenFile(dir, ask)
		},
	}
}

func or(set, otherwise string) string {
	if set == "" {
		return otherwise
	}
	return set
}

// expand replaces a leading "~/", as settings in files reach us without a shell.
func (e *Env) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(e.Home, rest)
	}
	return path
}

func opener(entries awsvault.Entries, layout awsvault.Layout) func(func(context.Context, int) (string, error)) *awsvault.Vault {
	return func(func(context.Context, int) (string, error)) *awsvault.Vault {
		return awsvault.Open(entries, layout)
	}
}
