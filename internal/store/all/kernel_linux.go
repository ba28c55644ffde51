package all

import (
	"errors"
	"fmt"

	"kura/internal/store"
	"kura/internal/store/keyctl"
)

func kernel() []store.Backend {
	return []store.Backend{{
		Name: "keyctl",
		Help: "the Linux kernel's keyring, which forgets",
		Settings: []store.Setting{
			{Name: "ring", Help: "persistent, user or session"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			switch ring := keyctl.Ring(settings["ring"]); ring {
			case "", keyctl.Persistent, keyctl.User, keyctl.Session:
				return keyctl.Open(keyctl.Options{Ring: ring}), nil
			}
			return nil, fmt.Errorf("ring must be one of persistent, user, session, got %q", settings["ring"])
		},
	}}
}

func diagnoseKernel(err error) (Trouble, string) {
	if _, ok := errors.AsType[*keyctl.QuotaError](err); ok {
		return Full, "the kernel's keyring"
	}
	return "", ""
}
