package opemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const controlUsage = `usage: opemu ctl COMMAND

Controls the emulated 1Password whose state is in the file $OPEMU_STATE. A link
to this program that is named op is the op that uses it.

  init                 make a state: the app runs and approves what it is asked,
                       and the vault Private has the item "AWS Access Key"
  lock, unlock         the app; locking it takes all approvals back
  approve, dismiss     what is made of a prompt, even one that waits
  advance DURATION     move the clock
  set KEY VALUE        set a part of the state, such as auth.prompt_delay 2s
  realistic            let commands take what they take in the field
  fault COMMAND [NAME=VALUE...]
                       make calls of a command ("item get", or "*") go wrong;
                       the names are nth, times, stderr, exit, delay and mode:
                       before, after_commit, truncate_stdout, hang, hang_child,
                       panic, exit0_empty, silent, slow, killed, killed_done,
                       caller_killed or both_killed
  fault none           no more faults
  dump                 print the state, secrets included
  journal              print the calls so far, a line of JSON each, with the
                       names of their environment variables
`

// Control carries out a command line of opemu, which steers a state from
// outside: "opemu ctl lock". It returns the exit status.
func Control(ctx context.Context, e Env) int {
	if len(e.Args) < 2 || e.Args[0] != "ctl" {
		io.WriteString(e.Stderr, controlUsage)
		return 2
	}
	if err := control(ctx, e, e.Args[1], e.Args[2:]); err != nil {
		fmt.Fprintln(e.Stderr, "opemu:", err)
		return 1
	}
	return 0
}

func control(ctx context.Context, e Env, verb string, args []string) error {
	c := call{Env: e}
	path := c.getenv(stateVar)
	if path == "" {
		return errors.New(stateVar + " is not set")
	}
	wants := map[string]int{
		"init": 0, "lock": 0, "unlock": 0, "approve": 0, "dismiss": 0, "advance": 1, "set": 2, "realistic": 0,
		"fault": max(len(args), 1), "dump": 0, "journal": 0,
	}
	if n, ok := wants[verb]; !ok || n != len(args) {
		return errors.New("see opemu for its commands")
	}
	if verb == "init" {
		return create(path, demoState(path))
	}
	return update(ctx, path, func(s *State) error {
		switch verb {
		case "lock":
			s.lock()
		case "unlock":
			s.Auth.Locked = false
		case "approve", "dismiss":
			s.Auth.Prompt = PromptAnswer(verb)
		case "advance":
			d, err := time.ParseDuration(args[0])
			s.Offset += Duration(d)
			return err
		case "set":
			changed, err := s.with(args[0], args[1])
			if err == nil {
				*s = *changed
			}
			return err
		case "realistic":
			s.BeRealistic()
		case "fault":
			return s.addFault(args)
		case "dump":
			return dump(e.Stdout, s)
		case "journal":
			return printJournal(e.Stdout, s.Journal)
		}
		return nil
	})
}

// demoState is the state of a new World, with the access key that the emulated
// AWS knows by default.
func demoState(path string) *State {
	s := newState("2.39.0", path)
	it := Stored{Item: AccessKey{
		ID:           "AKIAIOSFODNN7EXAMPLE",
		Secret:       "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		MFASerial:    "arn:aws:iam::111122223333:mfa/ann",
		Seed:         "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD",
		SessionCache: true,
	}.Item()}
	it.ID, it.Vault.ID, it.Version = newID(), s.Vaults[0].ID, 1
	it.CreatedAt, it.UpdatedAt = s.Vaults[0].CreatedAt, s.Vaults[0].CreatedAt
	s.Items = []Stored{it}
	return s
}

// with returns the state with another value of a member, which is named by its
// path in JSON. The value is JSON where that makes a state, or else a string.
func (s *State) with(key, value string) (*State, error) {
	var changed *State
	var err error
	for _, v := range []any{json.RawMessage(value), value} {
		if changed, err = s.withMember(strings.Split(key, "."), v); err == nil {
			return changed, nil
		}
	}
	return nil, fmt.Errorf("setting %s: %w", key, err)
}

func (s *State) withMember(path []string, value any) (*State, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	at, last := all, len(path)-1
	for _, name := range path[:last] {
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	at[path[last]] = value
	if data, err = json.Marshal(all); err != nil {
		return nil, err
	}
	return decodeState(data)
}

// addFault adds a fault that is written as a command and pairs of NAME=VALUE.
func (s *State) addFault(args []string) error {
	if slices.Equal(args, []string{"none"}) {
		s.Faults = nil
		return nil
	}
	f := Fault{Match: args[0]}
	if f.Match != "*" && !slices.ContainsFunc(commands(), func(c command) bool { return c.words == f.Match }) {
		return fmt.Errorf("op has no command %q", f.Match)
	}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		var err error
		switch name {
		case "nth":
			f.Nth, err = strconv.Atoi(value)
		case "times":
			f.Times, err = strconv.Atoi(value)
		case "exit":
			f.Exit, err = strconv.Atoi(value)
		case "delay":
			err = f.Delay.UnmarshalText([]byte(value))
		case "stderr":
			f.Stderr = value
		case "mode":
			f.Mode = FaultMode(value)
		default:
			err = fmt.Errorf("a fault has no %q", name)
		}
		if err != nil {
			return err
		}
	}
	s.Faults = append(s.Faults, f)
	return nil
}

// printJournal prints the calls in a journal, without the values of variables.
func printJournal(out io.Writer, path string) error {
	calls, err := readJournal(path)
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	for _, c := range calls {
		c.Environ = c.EnvNames()
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	return nil
}
