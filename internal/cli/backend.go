package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"kura/internal/awsconfig"
	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/store/all"
	"kura/internal/store/file"
)

// A spec says which store is meant: NAME or NAME:key=value,key=value. The key
// of the first setting of a backend may be left out.
type spec struct {
	text     string
	backend  store.Backend
	settings map[string]string
}

// parseSpec reads a spec. The error is one for flags and settings alike.
func parseSpec(backends []store.Backend, text string) (spec, error) {
	name, rest, more := strings.Cut(text, ":")
	i := slices.IndexFunc(backends, func(b store.Backend) bool { return b.Name == name })
	if i < 0 {
		return spec{}, fmt.Errorf("must be one of %s, got %q", strings.Join(backendNames(backends), ", "), name)
	}
	s := spec{text, backends[i], map[string]string{}}
	if !more {
		return s, nil
	}
	for n, part := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(part, "=")
		known := slices.ContainsFunc(s.backend.Settings, func(s store.Setting) bool { return s.Name == key })
		// What looks like a setting and is none is a slip, not the value of the
		// first one, which would make a store of that name.
		bare := !ok || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz-") != ""
		switch {
		case ok && known:
		case n == 0 && bare && len(s.backend.Settings) > 0:
			key, value = s.backend.Settings[0].Name, part
		default:
			return spec{}, fmt.Errorf("%q is no setting of the backend %s, which has: %s", part, name, strings.Join(settingNames(s.backend), ", "))
		}
		s.settings[key] = value
	}
	return s, nil
}

// specFlag is a flag that takes a spec.
type specFlag struct{ to *string }

func (f specFlag) String() string {
	if f.to == nil {
		return ""
	}
	return *f.to
}
func (f specFlag) Type() string { return "spec" }
func (f specFlag) Set(text string) error {
	// What backends are given matters only to those that are opened.
	_, err := parseSpec(all.Backends(new(all.Env)), text)
	*f.to = text
	return err
}

func backendNames(backends []store.Backend) []string {
	var names []string
	for _, b := range backends {
		names = append(names, b.Name)
	}
	return names
}

func settingNames(b store.Backend) []string {
	var names []string
	for _, s := range b.Settings {
		names = append(names, s.Name)
	}
	return names
}

// ofBackend returns the settings of a backend that have flags of their own,
// which are aws-vault's.
func (g *globalFlags) ofBackend(name string) map[string]string {
	settings := map[string]string{}
	switch name {
	case "file":
		settings["dir"] = g.fileDir
	case "keychain":
		settings["keychain"] = g.keychain
	case "secret-service":
		settings["collection"] = g.collection
	case "pass":
		settings["dir"], settings["command"], settings["prefix"] = g.passDir, g.passCommand, g.passPrefix
	case "passage":
		settings["dir"], settings["prefix"] = g.passDir, g.passPrefix
	}
	maps.DeleteFunc(settings, func(_, value string) bool { return value == "" })
	return settings
}

// backends returns the backends of this system, the one to prefer first.
func (a *app) backends() []store.Backend {
	if a.all == nil {
		a.all = all.Backends(a.backendEnv())
	}
	return a.all
}

// A vault is a store that is in use, with what tells it from all others.
type vault struct {
	store.Opened
	name     func() string // of its backend
	settings map[string]string
}

// id tells the store from all others. It is part of the name of each session.
func (v *vault) id(ctx context.Context) (string, error) {
	id, err := v.ID(ctx)
	return v.name() + ":" + id, err
}

// vaultOf returns the store that holds the access key of a profile, by what the
// user has said: for this call; in the profile (kura_backend); for all calls;
// or when he stored his first key.
func (a *app) vaultOf(config *awsconfig.File, profile string) (*vault, error) {
	section, _ := config.Profile(profile)
	own := section.Get("kura_backend")
	if own == "" || a.global.backendForAll {
		return a.vault()
	}
	s, err := parseSpec(a.backends(), own)
	if err != nil {
		return nil, &backendError{fmt.Sprintf("%s:%d: kura_backend of profile %q", config.Name(), section.Line("kura_backend"), profile), err}
	}
	return a.open(s)
}

// vault returns the store for the profiles that do not name one.
func (a *app) vault() (*vault, error) {
	if a.global.backend != "" {
		s, err := parseSpec(a.backends(), a.global.backend)
		if err != nil {
			return nil, &backendError{"--backend", err}
		}
		return a.open(s)
	}
	if a.undecided != nil {
		return a.undecided, nil
	}
	text, err := durable.ReadFile(a.choiceFile(), 4096)
	if err == nil {
		s, err := parseSpec(a.backends(), strings.TrimSpace(string(text)))
		if err != nil {
			return nil, &backendError{a.choiceFile(), err}
		}
		return a.open(s)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("which store is in use: %w", err)
	}
	u := &undecided{a: a}
	u.vault, err = a.openNamed("file")
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(a.storeDir(""), "format")); err == nil || a.global.fileDir != "" {
		return u.vault, nil // it is in use already, or meant to be
	}
	a.undecided = &vault{Opened: u, name: func() string { return u.name() }}
	return a.undecided, nil
}

// vaults returns all stores that the config file leads to, each once.
func (a *app) vaults(config *awsconfig.File) ([]*vault, error) {
	v, err := a.vault()
	if err != nil {
		return nil, err
	}
	list := []*vault{v}
	for _, profile := range config.Profiles() {
		v, err := a.vaultOf(config, profile)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list, nil
}

// A backendError says that what chooses the store is not understood.
type backendError struct {
	from string // the flag, or the file and the line
	err  error
}

func (e *backendError) Error() string { return e.from + ": " + e.err.Error() }
func (e *backendError) Unwrap() error { return e.err }

func (a *app) openNamed(name string) (*vault, error) {
	s, err := parseSpec(a.backends(), name)
	if err != nil {
		return nil, &backendError{"the backend", err}
	}
	return a.open(s)
}

// open opens a store, or returns the one that is open.
func (a *app) open(s spec) (*vault, error) {
	if v := a.opened[s.text]; v != nil {
		return v, nil
	}
	settings := a.global.ofBackend(s.backend.Name)
	maps.Copy(settings, s.settings)
	opened, err := s.backend.Open(settings)
	if err != nil {
		return nil, &backendError{"the backend " + s.text, err}
	}
	v := &vault{opened, func() string { return s.backend.Name }, settings}
	if a.opened == nil {
		a.opened = map[string]*vault{}
	}
	a.opened[s.text] = v
	return v, nil
}

// choiceFile is where the backend is written that was chosen for a user who has
// not chosen. It is data, not cache: without it his keys would be looked for in
// another place.
func (a *app) choiceFile() string { return filepath.Join(a.dataDir(), "backend") }

// remember makes a backend the one of all calls that name none.
func (a *app) remember(spec string) error {
	if err := os.MkdirAll(a.dataDir(), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(a.choiceFile(), []byte(spec+"\n"), 0o600)
}

// undecided is the store of somebody who has none yet: empty until the first
// item is put, or the store has to be unlocked for that. Then it becomes the
// best that works on this machine, and stays so.
type undecided struct {
	*vault // the file store that is not there, then the one chosen
	a      *app
	chosen bool
}

// Unlock implements store.Opened.
func (u *undecided) Unlock(ctx context.Context) error {
	if err := u.choose(ctx); err != nil {
		return err
	}
	return u.vault.Unlock(ctx)
}

// Put implements store.Store.
func (u *undecided) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := u.choose(ctx); err != nil {
		return err
	}
	if err := u.vault.Unlock(ctx); err != nil {
		return err
	}
	// Before the item: one in a store that nobody looks into would be lost.
	if err := u.a.remember(u.name()); err != nil {
		return err
	}
	return u.vault.Put(ctx, key, data)
}

// checkTimeout is how long a backend may take to say whether it works.
const checkTimeout = 5 * time.Second

func (u *undecided) choose(ctx context.Context) error {
	if u.chosen {
		return nil
	}
	for _, b := range u.a.backends() {
		if !b.Auto {
			continue
		}
		v, err := u.a.openNamed(b.Name)
		if err != nil {
			return err
		}
		if b.Name != "file" { // which says itself what is wrong with it
			check, cancel := context.WithTimeout(ctx, checkTimeout)
			_, err = v.Check(check)
			cancel()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			u.a.log.Debug("not this backend", "backend", b.Name, "reason", err)
			continue
		}
		fmt.Fprintf(u.a.Stderr, "%s: your access keys will be kept in %s (%s); %q shows other places\n", u.a.name, b.Name, b.Help, u.a.name+" backends")
		u.vault, u.chosen = v, true
		return nil
	}
	return errors.New("no backend works on this machine")
}

// fileStore returns the file store, for the commands that are about its slots.
func (a *app) fileStore() (*file.Store, error) {
	v, err := a.vault()
	if err != nil {
		return nil, err
	}
	if v.name() != "file" {
		return nil, &otherBackendError{v.name()}
	}
	return file.Open(a.fileOptions(v.settings["dir"])), nil
}

// An otherBackendError says that what a command is about is not the store that
// is in use.
type otherBackendError struct{ name string }

func (e *otherBackendError) Error() string {
	return fmt.Sprintf("slots are ways to open the file store, and the store in use is %s", e.name)
}

// storeDir returns the absolute path of a file store, by default that of the
// user.
func (a *app) storeDir(dir string) string {
	dir = a.expandHome(dir)
	if dir == "" {
		dir = a.expandHome(a.global.fileDir)
	}
	if dir == "" {
		dir = filepath.Join(a.dataDir(), "store")
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir // the directory we are in is gone; what follows says so
}

func (a *app) fileOptions(dir string) file.Options {
	dir = a.storeDir(dir)
	return file.Options{
		Dir:           dir,
		Passphrase:    func(ctx context.Context, attempt int) (string, error) { return a.passphrase(ctx, dir, attempt) },
		NewPassphrase: func(ctx context.Context) (string, error) { return a.newPassphrase(ctx, dir) },
		PluginUI:      a.pluginUI(),
		Waiting:       func() { a.say("waiting for another process that is opening the store") },
		Keep:          a.keep(),
		TTL:           a.global.unlockTTL,
	}
}

// display reports whether a window can be shown to the person at the terminal.
func (a *app) display() bool {
	switch runtime.GOOS {
	case "windows", "darwin":
		return true
	}
	return a.Getenv("DISPLAY") != "" || a.Getenv("WAYLAND_DISPLAY") != ""
}

// drop forgets what is kept of an item, if anything is.
func (v *vault) drop(ctx context.Context, key store.Key) {
	if near, ok := v.Opened.(interface {
		Drop(context.Context, store.Key) error
	}); ok {
		_ = near.Drop(ctx, key) // it ends by itself in time
	}
}

// forgetNames drops what was noted of the names of access keys, and reports
// whether there was anything.
func (a *app) forgetNames() bool {
	noted := false
	for _, v := range a.opened {
		if n, ok := v.Opened.(interface{ Forget() bool }); ok && n.Forget() {
			noted = true
		}
	}
	return noted
}

// dated returns the store as one that knows when its items were written, if it
// does.
func (v *vault) dated() (store.Dated, bool) {
	opened := v.Opened
	if near, ok := opened.(interface{ Unwrap() store.Opened }); ok {
		opened = near.Unwrap()
	}
	dated, ok := opened.(store.Dated)
	return dated, ok
}
