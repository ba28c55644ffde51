// Package all lists the backends of this system. It is the only one that knows
// them all, and says of each what it needs of the process and the person.
package all

import (
	"context"
	"time"

	"filippo.io/age/plugin"

	"kura/internal/store"
	"kura/internal/store/file"
	"kura/internal/unlocked"
)

// Env is what backends are given.
type Env struct {
	Getenv   func(string) string
	Environ  []string // of the programs that backends run
	Home     string   // the user's home directory
	CacheDir string   // of kura

	TTY     string // name of the terminal that the user sits at, "" if none
	Display bool   // whether a window can be shown to him

	// Ask asks on the terminal for a text that is not shown.
	Ask func(ctx context.Context, question string) (string, error)

	// Say tells the user something on the terminal.
	Say func(text string)

	PluginUI *plugin.ClientUI               // of age plugins
	File     func(dir string) file.Options // "": the directory that there is without a choice
	Keep     *unlocked.Keep
	TTL      time.Duration // how long a store stays unlocked
	Waiting  func()        // told that another process is asking the user
}

// Backends returns the backends of this system, the one to prefer first.
func Backends(e *Env) []store.Backend {
	return append(system(e), store.Backend{
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

func system(*Env) []store.Backend { return nil }
