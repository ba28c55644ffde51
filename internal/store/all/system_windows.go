package all

import (
	"errors"
	"fmt"

	"kura/internal/store"
	"kura/internal/store/awsvault"
	"kura/internal/store/wincred"
)

func system(e *Env) []store.Backend {
	return []store.Backend{{
		Name: "wincred",
		Help: "the Windows Credential Manager",
		Auto: true,
		Settings: []store.Setting{
			{Name: "prefix", Help: "how the names of its credentials begin"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return wincred.Open(wincred.Options{Prefix: settings["prefix"]}), nil
		},
	}, e.helpers()}
}

func systemLeft(_ *Env, program string, n names) []Left {
	return []Left{{
		Backend: "wincred",
		Where:   "the Windows credentials of " + program,
		Open:    opener(wincred.OpenEntries(wincred.Options{Prefix: fmt.Sprintf("%s:%s:", n.service, n.service)}), awsvault.Raw),
	}}
}

// Leapp returns the secrets of Leapp by their accounts.
func Leapp(_ *Env, service string) awsvault.Entries {
	return wincred.OpenEntries(wincred.Options{Prefix: service + "/"})
}

func diagnose(err error) (Trouble, string) {
	switch {
	case errors.Is(err, wincred.ErrNoCredentialSet):
		return NoLogon, ""
	case errors.Is(err, wincred.ErrFull):
		return Full, "the Windows Credential Manager"
	}
	return "", ""
}
