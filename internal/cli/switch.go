package cli

import (
	"context"
	_ "embed" // the hooks
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kura/internal/deliver"
)

// The hooks, which are functions that evaluate what switch prints. In them @kura
// stands for the program's name, and @shell for that of the shell.
var (
	//go:embed shells/hook.bash
	hookBash string
	//go:embed shells/hook.fish
	hookFish string
	//go:embed shells/hook.ps1
	hookPowerShell string
)

// The variables by which a hook tells switch which shell evaluates what it
// prints, and what an earlier switch has given it to keep.
const (
	switchVariable = "KURA_SWITCH"
	formerVariable = "KURA_SWITCH_FORMER"
)

// switchMark is the first line of what is to be evaluated.
const switchMark = "#kura\n"

func initCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init bash|zsh|fish|powershell",
		Short: "print the shell function that switch needs",
		Long: `Init prints a function for a shell's start-up file, named as this program, with
which "kura switch" changes the shell that it is called from. All other commands
are passed on as they are.`,
		Example: `  echo 'eval "$(kura init bash)"' >>~/.bashrc
  echo 'eval "$(kura init zsh)"' >>~/.zshrc
  echo 'kura init fish | source' >>~/.config/fish/config.fish
  kura init powershell | Out-String | Invoke-Expression   # in $PROFILE`,
		Args:      exactly("shell"),
		ValidArgs: shells,
		RunE: func(_ *cobra.Command, args []string) error {
			hook, err := scriptOf(args[0], hookBash, hookBash, hookFish, hookPowerShell)
			if err != nil {
				return err
			}
			_, err = strings.NewReplacer("@kura", a.name, "@shell", args[0]).WriteString(a.Stdout, hook)
			return err
		},
	}
}

func switchCommand(a *app) *cobra.Command {
	var o mintFlags
	var off bool
	c := &cobra.Command{
		Use:   "switch [PROFILE | -]",
		Short: "give the current shell the credentials of a profile",
		Long: `Switch sets and removes variables of the shell that it is called from, so that
its environment is that of a command of exec. "-" goes back to the profile
before, and --off to the environment as it was before the first switch. Without
PROFILE you choose one on the terminal.

No program can do that to a shell by itself: put the line that the help of init
shows into your shell's start-up file.

The credentials are not renewed. When they have expired, switch again.`,
		Example: `  kura switch dev
  kura switch -
  kura switch --off`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	c.Flags().BoolVar(&off, "off", false, "restore the environment as it was before the first switch")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := a.switched()
		if err != nil {
			return err
		}
		switch {
		case off && len(args) > 0:
			return usagef("--off takes no profile")
		case off:
			return s.off()
		case len(args) == 1 && args[0] == "-":
			if s.former.Profile == "" {
				return errNotSwitched
			}
			if s.former.Last == "" {
				return s.off()
			}
			args[0] = s.former.Last
		}
		profile, err := a.profileArg(c.Context(), args)
		if err != nil {
			return err
		}
		return s.to(c.Context(), profile, &o)
	}
	return c
}

var errNotSwitched = errors.New("this shell was not switched to a profile")

// A noHookError says that nothing evaluates what switch prints.
type noHookError struct{ shell string } // "" if it is not known, or none of ours

func (e *noHookError) Error() string {
	return "no program can change the shell that it is called from without a function there"
}

// A former is what a shell keeps of how it was before the first switch. It is in
// a variable that the shell does not export: children don't see it.
type former struct {
	Profile   string             // which the shell was switched to
	Last      string             // and before, "" for none
	Variables map[string]*string // those that were changed; nil for one that was not set
}

// A switcher changes a shell.
type switcher struct {
	a      *app
	shell  string
	former former
	now    []string // the environment of the shell
	base   []string // as it was before the first switch
}

// switched returns what changes the shell that has called this program.
func (a *app) switched() (*switcher, error) {
	s := &switcher{a: a, shell: a.Getenv(switchVariable)}
	if !slices.Contains(shells, s.shell) {
		shell := strings.TrimSuffix(filepath.Base(a.Getenv("SHELL")), ".exe")
		if !slices.Contains(shells, shell) {
			shell = ""
		}
		return nil, &noHookError{shell}
	}
	if text := a.Getenv(formerVariable); text != "" {
		data, err := base64.RawStdEncoding.DecodeString(text)
		if err == nil {
			err = json.Unmarshal(data, &s.former)
		}
		if err != nil {
			// It may hold a secret, which the error is not to quote.
			return nil, errors.New("what this shell keeps of its former environment is damaged")
		}
	}
	for _, entry := range a.Environ {
		if name, _, _ := strings.Cut(entry, "="); name != switchVariable && name != formerVariable {
			s.now = append(s.now, entry)
		}
	}
	s.base = slices.DeleteFunc(slices.Clone(s.now), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		if runtime.GOOS == "windows" {
			name = strings.ToUpper(name) // as package deliver has them
		}
		_, changed := s.former.Variables[name]
		return changed
	})
	for name, value := range s.former.Variables {
		if value != nil {
			s.base = append(s.base, name+"="+*value)
		}
	}
	a.Environ = s.base
	return s, nil
}

// to changes the shell for a profile.
func (s *switcher) to(ctx context.Context, profile string, o *mintFlags) error {
	a := s.a
	c, credentials, err := a.credentials(ctx, profile, o)
	if err != nil {
		return err
	}
	target := deliver.Environ(a.Environ, deliver.Settings{
		Profile:     c.Profile,
		Region:      c.Region,
		Endpoints:   c.Endpoints,
		CABundle:    c.CABundle,
		Credentials: credentials,
	})
	next := former{Profile: profile, Last: s.former.Profile, Variables: map[string]*string{}}
	if next.Last == profile {
		next.Last = s.former.Last // it was renewed
	}
	for _, change := range ofOthers(deliver.Changes(target, s.base)) {
		value := &change.Value
		if change.Unset {
			value = nil
		}
		next.Variables[change.Name] = value
	}
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := s.print(deliver.Changes(s.now, target), base64.RawStdEncoding.EncodeToString(data)); err != nil {
		return err
	}
	a.used(profile)
	a.shareSessions()
	return nil
}

// off restores the environment.
func (s *switcher) off() error {
	if s.former.Profile == "" {
		return errNotSwitched
	}
	return s.print(deliver.Changes(s.now, s.base), "")
}

// print prints what the shell evaluates.
func (s *switcher) print(changes []deliver.Change, kept string) error {
	script, err := deliver.Script(s.shell, ofOthers(changes))
	if err != nil {
		return err
	}
	keep := "_kura_former='" + kept + "'\nexport -n _kura_former\n" // whatever set -a says
	switch s.shell {
	case "zsh":
		keep = "typeset -g _kura_former='" + kept + "'\ntypeset -g +x _kura_former\n"
	case "fish":
		keep = "set -g _kura_former '" + kept + "'\n"
	case "powershell":
		keep = "$global:_kura_former = '" + kept + "'\n"
	}
	_, err = io.WriteString(s.a.Stdout, switchMark+string(script)+keep)
	return err
}

// ofOthers leaves out the variables that are for this program, which the shell
// goes on to run. A command of exec does not get its secrets.
func ofOthers(changes []deliver.Change) []deliver.Change {
	return slices.DeleteFunc(changes, func(c deliver.Change) bool {
		return strings.HasPrefix(c.Name, "KURA_") || strings.HasPrefix(c.Name, "AWS_VAULT_")
	})
}
