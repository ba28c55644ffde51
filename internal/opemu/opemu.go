// Package opemu emulates 1Password's command-line program, op, as far as a
// vault for access keys needs it: items, fields and token codes, sign-in and
// prompts, limits and faults. It is no mock: it refuses what op refuses, in
// op's words, and sets the traps that op sets. It does not know 1Password's
// servers or cryptography; its account is a JSON file.
//
// What is known of op is of different quality, which comments say:
//
//	[D]  1Password documents it
//	[S]  read in source code of 1Password's
//	[R]  recorded from op
//	[F]  reported from the field, not reproduced
//	[I]  inferred; nobody has confirmed it
//
// The contract tests say which expectation is which, and can be run against
// op itself.
package opemu

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Main is the program: op when it is called so, else control of it. It does not
// return. In a test binary it is for testscript.Main, as "op" and "opemu".
func Main() {
	e := OS()
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "op" {
		os.Exit(Run(context.Background(), e))
	}
	os.Exit(Control(context.Background(), e))
}

// A Config says where a World is and which op it has.
type Config struct {
	Dir     string // for all its files
	Program string // what "op" starts; "": this program, which must be Main for it
	Version string // of op; "": 2.39.0
}

// A World is an emulated 1Password for a test. Its methods may be called
// concurrently, and while op runs. They panic when its files can't be used,
// since only tests can be at fault.
type World struct {
	dir   string
	state string
}

// New makes a World: the desktop app runs, is unlocked and approves, at once,
// what it is asked; there is one account with the vaults Private, a personal
// one, and Shared, both empty.
func New(cfg Config) (*World, error) {
	w := &World{dir: cfg.Dir, state: filepath.Join(cfg.Dir, "state.json")}
	if err := create(w.state, newState(orElse(cfg.Version, "2.39.0"), w.state)); err != nil {
		return nil, err
	}
	program := cfg.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(w.Path()), 0o700); err != nil {
		return nil, err
	}
	return w, link(program, w.Path())
}

// newState returns the state of a new World.
func newState(version, path string) *State {
	const created = "2026-01-07T20:31:37Z"
	return &State{
		Version: version,
		Auth: Auth{
			Mode: Desktop, AppRunning: true, Prompt: Approve, SessionKey: PerTerminal,
			Idle: Duration(10 * time.Minute), Max: Duration(12 * time.Hour),
		},
		Accounts: []Account{{
			URL: "my.1password.com", Email: "ann@example.com",
			UserUUID: strings.ToUpper(newID()), AccountUUID: strings.ToUpper(newID()), Shorthand: "my",
		}},
		Vaults: []Vault{
			{ID: newID(), Name: "Private", Type: Personal, ContentVersion: 1, CreatedAt: created},
			{ID: newID(), Name: "Shared", Type: UserCreated, ContentVersion: 1, CreatedAt: created},
		},
		Items:          []Stored{},
		StrictTemplate: true,
		Journal:        strings.TrimSuffix(path, ".json") + ".journal",
	}
}

// create writes a state where there is none.
func create(path string, s *State) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("there is a state in %s", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return save(path, s, nil)
}

// link makes a program known by a second name.
func link(program, name string) error {
	if os.Symlink(program, name) == nil || os.Link(program, name) == nil {
		return nil
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o700)
}

// Path returns the path of the program op.
func (w *World) Path() string {
	name := "op"
	if runtime.GOOS == "windows" {
		name = "op.exe"
	}
	return filepath.Join(w.dir, "bin", name)
}

// Environ returns the environment variables, as "NAME=value", that a program
// needs to find this op before all others.
func (w *World) Environ() []string {
	return []string{
		stateVar + "=" + w.state,
		"PATH=" + filepath.Dir(w.Path()) + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"GORACE=atexit_sleep_ms=0", // else each call lasts a second with -race
	}
}

// A Result is what a call of op came to.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Op calls op in this process, with World.Environ and nothing else in its
// environment, without a terminal.
func (w *World) Op(ctx context.Context, stdin Stdin, args ...string) Result {
	return w.Call(ctx, Env{Args: args, Stdin: stdin})
}

// Call is Op for a call that comes from elsewhere: Environ is added to that of
// the World.
func (w *World) Call(ctx context.Context, e Env) Result {
	var out, errs strings.Builder
	e.Stdout, e.Stderr = &out, &errs
	e.Environ = append(w.Environ(), e.Environ...)
	exit := Run(ctx, e)
	return Result{out.String(), errs.String(), exit}
}

// PipeOf returns text as what comes through a pipe.
func PipeOf(text string) Stdin { return Stdin{Pipe, strings.NewReader(text)} }

// Update changes anything in the state.
func (w *World) Update(change func(*State)) {
	err := update(context.Background(), w.state, func(s *State) error {
		change(s)
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// State returns the state as it is.
func (w *World) State() State {
	var state State
	w.Update(func(s *State) { state = *s })
	return state
}

// Now returns the time by op's clock, without the skew of token codes. As
// awstest.Config.Now it gives AWS the same clock.
func (w *World) Now() time.Time {
	s := w.State()
	return s.now()
}

// Advance moves op's clock.
func (w *World) Advance(d time.Duration) { w.Update(func(s *State) { s.Offset += Duration(d) }) }

// Lock locks the app, which forgets all approvals.
func (w *World) Lock() { w.Update((*State).lock) }

func (s *State) lock() { s.Auth.Locked, s.Auth.Authorized = true, nil }

// Unlock unlocks the app. Approvals do not come back.
func (w *World) Unlock() { w.Update(func(s *State) { s.Auth.Locked = false }) }

// SetPrompt says what the person makes of the app's questions from now on, one
// that waits for an answer included.
func (w *World) SetPrompt(answer PromptAnswer) { w.Update(func(s *State) { s.Auth.Prompt = answer }) }

// Prompts returns how often the app has asked the person.
func (w *World) Prompts() int { return w.State().Prompts }

// Fault makes calls go wrong, in place of the faults set before.
func (w *World) Fault(faults ...Fault) { w.Update(func(s *State) { s.Faults = faults }) }

// Vault returns the ID of a vault, by name.
func (w *World) Vault(name string) string {
	s := w.State()
	for _, v := range s.Vaults {
		if v.Name == name {
			return v.ID
		}
	}
	panic("no vault " + name)
}

// Items returns the items, archived and deleted ones included.
func (w *World) Items() []Stored { return w.State().Items }

// Item returns an item by ID.
func (w *World) Item(id string) Stored {
	s := w.State()
	it := s.item(id)
	if it == nil {
		panic("no item " + id)
	}
	return *it
}

// AddItem adds an item from another device and returns it as it is kept: with
// an ID, and in the vault Private unless it is in another.
func (w *World) AddItem(it Item) Stored {
	var added Stored
	w.Update(func(s *State) {
		added = Stored{Item: it.clone()}
		added.ID = orElse(it.ID, newID())
		added.Vault.Name = ""
		if it.Vault.ID == "" {
			added.Vault.ID = s.Vaults[0].ID
		}
		added.Version = max(it.Version, 1)
		added.LastEditedBy = s.Accounts[0].UserUUID
		added.CreatedAt = orElse(it.CreatedAt, storedTime(s.now()))
		added.UpdatedAt = orElse(it.UpdatedAt, storedTime(s.now()))
		s.Items = append(s.Items, added)
		s.vault(added.Vault.ID).ContentVersion++
	})
	return added
}

// EditElsewhere changes an item from another device.
func (w *World) EditElsewhere(id string, change func(*Stored)) {
	w.Update(func(s *State) {
		it := s.item(id)
		change(it)
		it.Version++
		it.UpdatedAt = storedTime(s.now())
		s.vault(it.Vault.ID).ContentVersion++
	})
}

// Freeze makes op's daemon answer from what there is now, whatever other
// devices change, until an edit from this one. --cache=false goes around it.
func (w *World) Freeze() {
	w.Update(func(s *State) {
		s.Snapshot = []Stored{}
		for _, it := range s.Items {
			it.Item = it.clone()
			s.Snapshot = append(s.Snapshot, it)
		}
	})
}

// Journal returns all calls so far.
func (w *World) Journal() []Call {
	calls, err := readJournal(w.State().Journal)
	if err != nil {
		panic(err)
	}
	return calls
}

// LeakCheck returns an error if one of the secrets, or a value that a concealed
// or OTP field ever had, was in the arguments or the environment of a call, as
// it is or within base64. The error says where, not what.
func (w *World) LeakCheck(secrets ...string) error {
	s := w.State()
	secrets = append(s.Secrets, secrets...)
	for _, c := range w.Journal() {
		if err := c.leak(secrets); err != nil {
			return err
		}
	}
	return nil
}

// dump writes a state as JSON.
func dump(out io.Writer, s *State) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(s)
}
