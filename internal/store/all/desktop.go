//go:build linux || freebsd

package all

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"kura/internal/sessionbus"
	"kura/internal/store"
	"kura/internal/store/awsvault"
	"kura/internal/store/kwallet"
	"kura/internal/store/secretservice"
)

func system(e *Env) []store.Backend {
	list := []store.Backend{{
		Name: "secret-service",
		Help: "the desktop's keyring: GNOME Keyring, KeePassXC, KDE",
		Auto: true,
		Settings: []store.Setting{
			{Name: "collection", Help: "its label; the default one is the desktop's own"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			s := secretservice.Open(e.secretService(settings["collection"]))
			return e.nearNamed("secret-service", settings, s, s.Version), nil
		},
	}, {
		Name: "kwallet",
		Help: "KWallet of KDE 5 and 6",
		Auto: true,
		Settings: []store.Setting{
			{Name: "wallet", Help: "its name"},
			{Name: "folder", Help: "a folder in it"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return e.nearNamed("kwallet", settings, kwallet.Open(e.kwallet(settings["wallet"], settings["folder"])), nil), nil
		},
	}}
	list = append(list, kernel()...)
	list = append(list, e.passwordStores()...)
	return append(list, e.helpers())
}

func systemLeft(e *Env, program string, n names) []Left {
	return append([]Left{{
		Backend: "secret-service",
		Where:   fmt.Sprintf("the Secret Service collection %q of %s", n.collection, program),
		Open:    opener(secretservice.OpenEntries(e.secretService(n.collection), "profile", nil), awsvault.Enveloped),
	}, {
		Backend: "kwallet",
		Where:   fmt.Sprintf("the wallet %q of %s", n.wallet, program),
		Open:    opener(kwallet.OpenEntries(e.kwallet(n.wallet, n.wallet)), awsvault.Enveloped),
	}}, e.passwordsLeft(program, n)...)
}

// Leapp returns the secrets of Leapp by their accounts.
func Leapp(e *Env, service string) awsvault.Entries {
	return secretservice.OpenEntries(e.secretService(""), "account", map[string]string{"service": service})
}

func (e *Env) secretService(collection string) secretservice.Options {
	return secretservice.Options{
		Address:    e.busAddress(),
		Collection: collection,
		Display:    e.Display,
		Ask:        e.Ask,
		Say:        e.Say,
	}
}

func (e *Env) kwallet(wallet, folder string) kwallet.Options {
	return kwallet.Options{
		Address: e.busAddress(),
		Wallet:  wallet,
		Folder:  folder,
		Display: e.Display,
		Say:     e.Say,
	}
}

// busAddress returns the address of the user's D-Bus session bus. Where the
// environment does not say, it is the one that systemd makes.
func (e *Env) busAddress() string {
	if address := e.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address
	}
	dir := e.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	}
	socket := filepath.Join(dir, "bus")
	if _, err := os.Stat(socket); err != nil {
		return ""
	}
	return "unix:path=" + socket
}

func diagnose(err error) (Trouble, string) {
	if _, ok := errors.AsType[*sessionbus.NoBusError](err); ok {
		return NoBus, ""
	}
	if e, ok := errors.AsType[*sessionbus.NoServiceError](err); ok {
		return NoService, e.Service
	}
	if e, ok := errors.AsType[*sessionbus.TimeoutError](err); ok {
		return NoAnswer, e.Service
	}
	switch {
	case errors.Is(err, kwallet.ErrDisabled):
		return Disabled, ""
	case errors.Is(err, secretservice.ErrDismissed), errors.Is(err, kwallet.ErrDismissed):
		return Dismissed, ""
	case errors.Is(err, secretservice.ErrUnanswered), errors.Is(err, kwallet.ErrUnanswered):
		return Unanswered, ""
	case errors.Is(err, secretservice.ErrNobody), errors.Is(err, secretservice.ErrNoDisplay), errors.Is(err, kwallet.ErrNobody):
		return NobodyToAsk, ""
	case errors.Is(err, kwallet.ErrSilent):
		return Silent, ""
	case errors.Is(err, secretservice.ErrWrongPassword):
		return WrongPassword, ""
	}
	if _, ok := errors.AsType[*secretservice.LockedError](err); ok {
		return NobodyToAsk, "" // what was to ask has failed
	}
	if t, name := diagnoseKernel(err); t != "" {
		return t, name
	}
	return diagnosePasswords(err)
}
