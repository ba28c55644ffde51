// Package cli is the command line: it parses arguments, puts the other
// packages together, and is the only one that prints, reads the environment
// and gives advice.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kura/internal/chain"
	"kura/internal/harden"
	"kura/internal/linklocal"
	"kura/internal/store"
	"kura/internal/unlocked"
)

// Env is everything that a command may use of the process it runs in.
type Env struct {
	Stdin          *os.File
	Stdout, Stderr io.Writer
	Environ        []string
}

// OS returns the Env of this process. The secrets among its variables are taken
// out of the process's own environment, which age plugins inherit.
func OS() Env {
	env := Env{os.Stdin, os.Stdout, os.Stderr, os.Environ()}
	secrets := []string{"KURA_MFA_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
	for _, name := range append(secrets, passphraseVariables...) {
		_ = os.Unsetenv(name) // fails for a name that no variable can have
	}
	return env
}

// Getenv returns the value of an environment variable.
func (e Env) Getenv(name string) string {
	value, _ := e.lookupEnv(name)
	return value
}

func (e Env) lookupEnv(name string) (string, bool) {
	for _, entry := range e.Environ {
		if len(entry) <= len(name) || entry[len(name)] != '=' {
			continue
		}
		if entry[:len(name)] == name || runtime.GOOS == "windows" && strings.EqualFold(entry[:len(name)], name) {
			return entry[len(name)+1:], true
		}
	}
	return "", false
}

// app is what commands have in common.
type app struct {
	Env
	name    string // what the program was called as: "kura" or "aws-vault"
	argv0   string // and how: a name, or a path
	global  globalFlags
	log     *slog.Logger
	ctx     context.Context // for what is called by libraries that know none
	restore func() func()   // lifts for a child what protects this process, see harden.Process
	kept    *unlocked.Keep  // see keep

	unshared   unshared
	refusedFor time.Duration // see onepassword.Options

	// Of commands that serve credentials; see server.go.
	patient     bool        // a question stays open for as long as it takes
	accompanied bool        // a command runs, or will run, beside this process
	serving     atomic.Bool // credentials are served by now, see mayAsk
	codesHere   bool        // token codes come from who sits at the terminal

	// The stores, see backend.go.
	all       []store.Backend
	opened    map[string]*vault // by spec
	undecided *vault

	negations  bool // a --no- flag is given, so the flags need such forms
	completing bool // a shell asks what may come next
}

// commands are the commands in the order of help. Only those that are needed
// are made: a cached exec is a matter of milliseconds.
var commands = []struct {
	name string
	make func(*app) *cobra.Command
}{
	{"setup", setupCommand},
	{"add", addCommand},
	{"list", listCommand},
	{"exec", execCommand},
	{"export", exportCommand},
	{"login", loginCommand},
	{"switch", switchCommand},
	{"credential-process", credentialProcessCommand},
	{"serve", serveCommand},
	{"status", statusCommand},
	{"explain", explainCommand},
	{"clear", clearCommand},
	{"remove", removeCommand},
	{"rotate", rotateCommand},
	{"import", importCommand},
	{"migrate", migrateCommand},
	{"backup", backupCommand},
	{"restore", restoreCommand},
	{"backends", backendsCommand},
	{"config", configCommand},
	{"doctor", doctorCommand},
	{"lock", lockCommand},
	{"store", storeCommand},
	{"completion", completionCommand},
	{"init", initCommand},
	{"version", versionCommand},
	{writeSessionName, writeSessionCommand},
}

// Main runs the program and returns its exit status. It does not return if a
// command that it ran was ended by a signal, and ends by that, too.
func Main(args []string, env Env) int {
	// Signals end the program as they end any other: what it holds is released
	// by the system, and what it writes is written whole or not at all. Only a
	// prompt, which changes the terminal, looks after them.
	a := &app{Env: env, name: programName(args[0]), argv0: args[0], restore: harden.Process()}
	status := a.report(a.run(context.Background(), args[1:]))
	status.Raise()
	return status.Code
}

// programName is "aws-vault" where the program was called through a link of
// that name, so that scripts which look for the name find it.
func programName(arg0 string) string {
	name := strings.TrimSuffix(filepath.Base(arg0), ".exe")
	if name == "aws-vault" {
		return name
	}
	return "kura"
}

func (a *app) run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == linklocal.Command {
		return a.imdsHelper(ctx)
	}
	if len(args) == 1 && strings.HasPrefix(args[0], "--completion-script-") {
		// As aws-vault spells it; shells' start-up files do so.
		args = []string{"completion", strings.TrimPrefix(args[0], "--completion-script-")}
	}
	if len(args) == 1 && (args[0] == "--help-man" || args[0] == "--help-long") {
		args = []string{"help", "--" + strings.TrimPrefix(args[0], "--help-")}
	}
	a.ctx = ctx
	root := a.root(args)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if e, ok := errors.AsType[*usageError](err); ok && e.command == "" {
		e.command = c.CommandPath()
	}
	return err
}

// root returns the command tree, or as much of it as args call for.
func (a *app) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   a.name,
		Short: "keep AWS access keys safe, and use what is minted from them",
		Long: `Kura keeps long-term AWS access keys in a secure store, mints short-lived
session credentials from them, and hands those to the commands that need them.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.unknownCommand(args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{msg: err.Error(), command: c.CommandPath(), near: nearFlags(c, err)}
	})
	a.negations = slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--no-") })
	a.completing = len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
	a.global.declare(root.PersistentFlags())
	a.strict(root.PersistentFlags())
	for _, c := range commands {
		if len(args) > 0 && args[0] == c.name {
			root.CompletionOptions.DisableDefaultCmd = true
			root.AddCommand(a.prepare(c.make(a)))
			return root
		}
	}
	root.Version = version()
	for _, c := range commands {
		root.AddCommand(a.prepare(c.make(a)))
	}
	root.SetHelpCommand(a.helpCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	if a.completing {
		a.completeFlags(root)
	}
	return root
}

// helpCommand is package cobra's, but says so when there is no such command, and
// has the manual too.
func (a *app) helpCommand() *cobra.Command {
	var man, long bool
	c := &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "show what a command does",
		Long: `Help shows what COMMAND does, or all commands. --long shows the help of all
commands below it, and --man the manual pages, as man -l takes them.`,
	}
	c.Flags().BoolVar(&man, "man", false, "print manual pages")
	c.Flags().BoolVar(&long, "long", false, "show the help of all commands")
	c.RunE = func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return a.unknownCommand(strings.Join(args, " "))
		}
		about.InitDefaultHelpFlag()
		about.InitDefaultVersionFlag()
		all := []*cobra.Command{about}
		if man && len(args) == 0 || long {
			all = documented(about)
		}
		for i, c := range all {
			if man {
				_, err = a.Stdout.Write(pageOf(c).roff())
			} else {
				if i > 0 {
					fmt.Fprintf(a.Stdout, "\n%s\n\n", strings.Repeat("-", 72))
				}
				err = c.Help()
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// prepare gives a command, and those below it, what all commands have.
func (a *app) prepare(c *cobra.Command) *cobra.Command {
	a.strict(c.Flags())
	c.DisableFlagsInUseLine = true
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, list []string) error {
			err := args(c, list)
			if _, ok := errors.AsType[*usageError](err); err != nil && !ok {
				return &usageError{msg: err.Error(), command: c.CommandPath(), near: nearCommands(c, list)}
			}
			return err
		}
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := a.start(c); err != nil {
				return err
			}
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		a.prepare(sub)
	}
	return c
}

// start reads the settings that apply to a command before it runs.
func (a *app) start(c *cobra.Command) error {
	if f := c.Flags().Lookup(segmentFlag); f != nil && f.Changed {
		return nil // it is drawn with each prompt, wherever that is
	}
	if _, err := os.UserHomeDir(); err != nil {
		// Better than to make a store wherever the program was started.
		return &noHomeError{err}
	}
	settings, err := readSettings(a.settingsFile(), c.Root().PersistentFlags())
	if err != nil {
		return err
	}
	if err := fill(c.Flags(), a.Getenv, settings); err != nil {
		return err
	}
	a.global.backendForAll = a.given(c.Flags().Lookup("backend"))
	a.log = slog.New(&logHandler{w: a.Stderr, name: a.name, debug: a.global.debug})
	return nil
}

// given reports whether a flag was given for this call, on the command line or
// in the environment.
func (a *app) given(f *pflag.Flag) bool {
	return f.Changed || slices.ContainsFunc(envNames(f), func(name string) bool { return a.Getenv(name) != "" })
}

// A noHomeError says that the user's home directory is not known.
type noHomeError struct{ err error }

func (e *noHomeError) Error() string { return "where your files are is not known: " + e.err.Error() }

func (a *app) unknownCommand(name string) error {
	var names []string
	for _, c := range commands {
		if !c.make(a).Hidden {
			names = append(names, c.name)
		}
	}
	return &usageError{
		msg:     fmt.Sprintf("unknown command %q; the commands are: %s", name, strings.Join(names, ", ")),
		command: a.name,
		near:    chain.Near(names, name),
	}
}

// nearCommands returns the commands below c that its first argument may have been
// meant to be.
func nearCommands(c *cobra.Command, args []string) []string {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	if len(args) == 0 {
		return nil
	}
	return chain.Near(names, args[0])
}

// nearFlags returns the flags that one may have been meant to be which c does not
// have.
func nearFlags(c *cobra.Command, err error) []string {
	e, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(e.GetSpecifiedName()) < 2 {
		return nil
	}
	var names []string
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	}
	c.Flags().VisitAll(add)
	return chain.Near(names, "--"+e.GetSpecifiedName())
}

// exactly is cobra.ExactArgs with words for the missing ones.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("required argument %q not provided", names[len(args)])
		}
		if len(args) > len(names) {
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// atMost is exactly for arguments that may be left out.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("unexpected argument %q", args[n])
		}
		return nil
	}
}

// A logHandler prints records as the program's other messages are printed.
// Package slog's own would print times and quote what people are to read.
type logHandler struct {
	w     io.Writer
	name  string
	debug bool
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.debug
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	level := "warning: "
	if r.Level < slog.LevelWarn {
		level = "debug: "
	}
	fmt.Fprintf(&b, "%s: %s%s", h.name, level, r.Message)
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "reason" {
			fmt.Fprintf(&b, ": %v", attr.Value)
		} else {
			fmt.Fprintf(&b, " %s=%v", attr.Key, attr.Value)
		}
		return true
	})
	b.WriteByte('\n')
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h *logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler      { return h }
