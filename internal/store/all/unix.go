//go:build unix

package all

import (
	"errors"
	"fmt"

	"filippo.io/age/plugin"

	"kura/internal/store"
	"kura/internal/store/awsvault"
	"kura/internal/store/pass"
	"kura/internal/store/passage"
)

// passwordStores are the backends of the programs pass and passage.
func (e *Env) passwordStores() []store.Backend {
	return []store.Backend{{
		Name: "pass",
		Help: "the password manager pass, with GnuPG",
		Settings: []store.Setting{
			{Name: "dir", Help: "the password store"},
			{Name: "command", Help: "the program to run"},
			{Name: "prefix", Help: "a directory in it"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return e.near("pass", pass.Open(e.pass(settings))), nil
		},
	}, {
		Name: "passage",
		Help: "a password store of passage, with age",
		Settings: []store.Setting{
			{Name: "dir", Help: "the password store"},
			{Name: "prefix", Help: "a directory in it"},
			{Name: "identities", Help: "the file of identities"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return e.near("passage", passage.Open(e.passage(settings))), nil
		},
	}}
}

func (e *Env) pass(settings map[string]string) pass.Options {
	tty, terminal := e.Terminal()
	return pass.Options{
		Dir:      e.expand(settings["dir"]),
		Home:     e.Home,
		Command:  e.expand(settings["command"]),
		Prefix:   settings["prefix"],
		Environ:  e.Environ(),
		TTY:      tty,
		Terminal: terminal,
		Display:  e.Display,
		Say:      e.Say,
	}
}

func (e *Env) passage(settings map[string]string) passage.Options {
	return passage.Options{
		Home:           e.Home,
		Dir:            or(e.expand(settings["dir"]), e.Getenv("PASSAGE_DIR")),
		Prefix:         settings["prefix"],
		IdentitiesFile: or(e.expand(settings["identities"]), e.Getenv("PASSAGE_IDENTITIES_FILE")),
		RecipientsFile: e.Getenv("PASSAGE_RECIPIENTS_FILE"),
		Recipients:     e.Getenv("PASSAGE_RECIPIENTS"),
		PluginUI:       e.PluginUI(),
		Passphrase:     e.Ask,
	}
}

// passwordsLeft are the password stores that another program may have used.
func (e *Env) passwordsLeft(program string, n names) []Left {
	settings := map[string]string{"dir": n.passDir, "prefix": n.passPrefix}
	left := func(backend string, entries awsvault.Entries) Left {
		return Left{
			Backend: backend,
			Where:   fmt.Sprintf("the entries of %s in %s", program, backend),
			Shared:  n.passPrefix == "",
			Open:    opener(entries, awsvault.Enveloped),
		}
	}
	return []Left{
		left("pass", pass.OpenEntries(e.pass(settings))),
		left("passage", passage.OpenEntries(e.passage(settings))),
	}
}

func diagnosePasswords(err error) (Trouble, string) {
	if e, ok := errors.AsType[*pass.UninitializedError](err); ok {
		return NoPasswords, e.Dir
	}
	if e, ok := errors.AsType[*pass.KeyError](err); ok {
		return NoGPGKey, e.ID
	}
	if e, ok := errors.AsType[*passage.KeyError](err); ok {
		return NoIdentity, e.Path
	}
	if e, ok := errors.AsType[*plugin.NotFoundError](err); ok {
		return NoProgram, "age-plugin-" + e.Name
	}
	switch {
	case errors.Is(err, pass.ErrNobody), errors.Is(err, passage.ErrNobody):
		return NobodyToAsk, ""
	case errors.Is(err, pass.ErrNoPinentry):
		return NoPinentry, ""
	case errors.Is(err, pass.ErrNotUnlocked), errors.Is(err, passage.ErrWrongPassphrase):
		return WrongPassword, ""
	}
	return "", ""
}
