package all

import (
	"errors"
	"fmt"

	"kura/internal/store"
	"kura/internal/store/awsvault"
	"kura/internal/store/keychain"
)

func system(e *Env) []store.Backend {
	list := []store.Backend{{
		Name: "keychain",
		Help: "the macOS Keychain",
		Auto: true,
		Settings: []store.Setting{
			{Name: "keychain", Help: "its name; the login keychain otherwise"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return e.nearNamed("keychain", settings, keychain.Open(keychain.Options{Keychain: settings["keychain"]}), nil), nil
		},
	}}
	list = append(list, e.passwordStores()...)
	return append(list, e.helpers())
}

func systemLeft(e *Env, program string, n names) []Left {
	return append([]Left{{
		Backend: "keychain",
		Where:   fmt.Sprintf("the keychain %q of %s", n.keychain, program),
		Open:    opener(keychain.OpenEntries(keychain.Options{Keychain: n.keychain, Service: n.service}), awsvault.Raw),
	}}, e.passwordsLeft(program, n)...)
}

// Leapp returns the secrets of Leapp by their accounts.
func Leapp(_ *Env, service string) awsvault.Entries {
	return keychain.OpenEntries(keychain.Options{Service: service})
}

func diagnose(err error) (Trouble, string) {
	switch {
	case errors.Is(err, keychain.ErrDismissed):
		return Dismissed, ""
	case errors.Is(err, keychain.ErrNoAnswer):
		return Unanswered, ""
	case errors.Is(err, keychain.ErrNoInteraction):
		return NoWindows, ""
	}
	return diagnosePasswords(err)
}
