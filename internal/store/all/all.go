// Package all lists the backends of this system. It is the only one that knows
// them all, and says of each what it needs of the process and the person.
package all

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age/plugin"

	"kura/internal/onepassword"
	"kura/internal/store"
	"kura/internal/store/file"
	"kura/internal/store/helper"
	"kura/internal/store/near"
	"kura/internal/unlocked"
)

// Env is what backends are given.
type Env struct {
	Getenv   func(string) string
	Environ  func() []string // of the programs that backends run
	Home     string          // the user's home directory
	CacheDir string          // of kura

	// Terminal returns whether the user sits at a terminal, and its name where
	// the system tells.
	Terminal func() (name string, ok bool)

	Display bool // whether a window can be shown to him

	// Ask asks on the terminal for a text that is not shown.
	Ask func(ctx context.Context, question string) (string, error)

	// Say tells the user something on the terminal.
	Say func(text string)

	// OnePassword returns what runs op. It is the same one at each call, for
	// what one user of it has read the others need not read again.
	OnePassword func() *onepassword.Client

	PluginUI func() *plugin.ClientUI       // of age plugins
	File     func(dir string) file.Options // "": the directory that there is without a choice
	Keep     *unlocked.Keep
	TTL      time.Duration // how long a store stays unlocked
	Waiting  func()        // told that another process is asking the user
}

// Backends returns the backends of this system, the one to prefer first.
func Backends(e *Env) []store.Backend {
	return append(system(e), e.onePassword(), store.Backend{
		Name: "file",
		Help: "an encrypted directory, for every system",
		Auto: true,
		Settings: []store.Setting{
			{Name: "dir", Help: "its path"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			return file.Open(e.File(settings["dir"])), nil
		},
	})
}

// near returns a store whose items are kept at hand when they were read once:
// see package near.
func (e *Env) near(backend string, s store.Opened) store.Opened {
	return near.Open(e.nearOptions(backend, s))
}

// nearNamed is near for a store whose names are to be at hand too, which are
// those of a backend with settings. If version is not nil it tells whether they
// are still the same.
func (e *Env) nearNamed(backend string, settings map[string]string, s store.Opened, version func(context.Context) (string, error)) *near.Store {
	sum := sha256.Sum256(fmt.Append(nil, backend, settings)) // in the order of keys
	o := e.nearOptions(backend, s)
	o.NamesFile = filepath.Join(e.CacheDir, "names", hex.EncodeToString(sum[:16]))
	o.Version = version
	return near.Open(o)
}

func (e *Env) nearOptions(backend string, s store.Opened) near.Options {
	return near.Options{
		Store:   s,
		Backend: backend,
		Keep:    e.Keep,
		TTL:     e.TTL,
		LockDir: filepath.Join(e.CacheDir, "locks"),
		Waiting: e.Waiting,
	}
}

// helpers is the backend of Docker's credential helpers.
func (e *Env) helpers() store.Backend {
	return store.Backend{
		Name: "helper",
		Help: "a program that speaks the protocol of Docker's credential helpers",
		Settings: []store.Setting{
			{Name: "program", Help: "its path, or NAME of docker-credential-NAME"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			if settings["program"] == "" {
				return nil, ErrNoProgram
			}
			tty, terminal := e.Terminal()
			return e.nearNamed("helper", settings, helper.Open(helper.Options{
				Program:  e.expand(settings["program"]),
				Environ:  e.Environ(),
				TTY:      tty,
				Terminal: terminal,
				Display:  e.Display,
				Say:      e.Say,
			}), nil), nil
		},
	}
}

// ErrNoProgram says that the backend helper was chosen without its program.
var ErrNoProgram = errors.New("which program? helper:PROGRAM")
