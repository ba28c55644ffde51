package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/deliver"
	"kura/internal/mint"
	"kura/internal/store"
)

// mintFlags are the flags of the commands that mint credentials.
type mintFlags struct {
	duration  time.Duration
	noSession bool
	region    string
	tokenCode string
	minTTL    time.Duration
}

func (o *mintFlags) declare(fs *pflag.FlagSet) {
	o.declareChain(fs)
	fs.StringVarP(&o.tokenCode, "mfa-token", "t", "", tokenCodeUsage)
	fs.Var(duration{&o.minTTL}, "min-ttl", "renew credentials first that are good for less, such as 45m")
	fromEnv(fs, "mfa-token") // an argument can be seen by others
}

// declareChain declares those that bear on the chain.
func (o *mintFlags) declareChain(fs *pflag.FlagSet) {
	fs.VarP(duration{&o.duration}, "duration", "d", "how long the session is to last, such as 1h (default: duration_seconds of the profile, or 1h)")
	fs.BoolVarP(&o.noSession, "no-session", "n", false, noSessionUsage)
	fs.StringVar(&o.region, "region", "", "the AWS `region`")
	fromEnv(fs, "duration", "AWS_VAULT_DURATION")
}

const (
	noSessionUsage = "do without GetSessionToken"
	tokenCodeUsage = "use this MFA `code` instead of asking"
)

func execCommand(a *app) *cobra.Command {
	var o mintFlags
	var s serverFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "exec [PROFILE] [-- COMMAND [ARG...]]",
		Short: "run a command with the credentials of a profile",
		Long: `Exec runs COMMAND with session credentials of PROFILE in its environment.
Without COMMAND it runs your shell, without PROFILE it takes that of
AWS_PROFILE or lets you choose one on the terminal.

On Unix COMMAND takes the place of kura: its exit status, signals and terminal
are its own. The status is 127 if COMMAND is not found, 126 if it can't be run
and 1 if there are no credentials for it.

What is in the environment ends when the session does. With --server, --imds or
--ec2-server kura stays beside COMMAND, which fetches credentials from it, and
renews them for as long as COMMAND runs. A code that has to be typed for that is
asked for in a window; the terminal is COMMAND's. Without a window kura says on
it, five minutes before, what to type elsewhere.`,
		Example: `  kura exec admin -- aws s3 ls
  kura exec admin --server -- terraform apply
  kura exec admin --min-ttl 45m -- make release`,
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	s.declare(c.Flags())
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "print the credentials as JSON, as export --format=json does")
	c.Flags().Lookup("json").Hidden = true
	c.RunE = func(c *cobra.Command, args []string) error {
		profile, argv := splitExec(args, c.ArgsLenAtDash())
		if profile == "" {
			profile = a.Getenv("AWS_PROFILE")
		}
		if err := s.check(&o, asJSON); err != nil {
			return err
		}
		if profile == "" {
			err := usagef("required argument %q not provided, and AWS_PROFILE is not set", "profile")
			if named := len(args) > 0 && c.ArgsLenAtDash() != 0; !named {
				profile, err = a.pickProfile(c.Context(), err)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case asJSON:
			return a.credentialProcess(c.Context(), profile, &o)
		case s.any():
			return a.execServed(c.Context(), profile, argv, &o, &s)
		}
		return a.exec(c.Context(), profile, argv, &o)
	}
	return c
}

// splitExec takes the profile from the arguments of exec, of which so many
// stood before "--" (-1: there was none).
func splitExec(args []string, dash int) (profile string, argv []string) {
	if len(args) == 0 || dash == 0 {
		return "", args
	}
	return args[0], args[1:]
}

func (a *app) exec(ctx context.Context, profile string, argv []string, o *mintFlags) error {
	argv, shell := a.commandOrShell(argv)
	c, m, err := a.plan(ctx, profile, o)
	if err != nil {
		return err
	}
	// A command that is not there is not worth a token code.
	if err := deliver.Look(argv[0], a.Environ); err != nil {
		return err
	}
	credentials, err := a.mint(ctx, m, c)
	if err != nil {
		return err
	}
	if shell && a.wantsHelp() {
		fmt.Fprintf(a.Stderr, "Starting subshell %s, use `exit` to exit the subshell\n", argv[0])
	}
	env := deliver.Environ(a.Environ, deliver.Settings{
		Profile:     c.Profile,
		Region:      c.Region,
		Endpoints:   c.Endpoints,
		CABundle:    c.CABundle,
		Credentials: credentials,
	})
	a.used(profile)
	a.shareSessions() // what follows takes the place of this process
	status, err := deliver.Exec(ctx, argv, env, a.restore)
	if err != nil {
		return err
	}
	return exitStatus(status)
}

// commandOrShell returns what exec runs, and whether it is a shell for want of a
// command.
func (a *app) commandOrShell(argv []string) ([]string, bool) {
	if len(argv) > 0 {
		return argv, false
	}
	return []string{a.shell()}, true
}

// shell is what exec runs when it is not told what.
func (a *app) shell() string {
	if shell := a.Getenv("SHELL"); shell != "" {
		return shell
	}
	if runtime.GOOS == "windows" {
		return "cmd.exe"
	}
	return "/bin/sh"
}

// wantsHelp reports whether a person sits before the terminal who may like to
// know that a subshell has begun.
func (a *app) wantsHelp() bool {
	out, ok := a.Stdout.(*os.File)
	return ok && !a.global.debug && a.Getenv("AWS_VAULT_DISABLE_HELP_MESSAGE") != "1" && term.IsTerminal(int(out.Fd()))
}

// credentials resolves a profile and returns its chain and what it leads to.
func (a *app) credentials(ctx context.Context, profile string, o *mintFlags) (chain.Chain, cred.Credentials, error) {
	c, m, err := a.plan(ctx, profile, o)
	if err != nil {
		return chain.Chain{}, cred.Credentials{}, err
	}
	credentials, err := a.mint(ctx, m, c)
	return c, credentials, err
}

// mint carries out a chain. Where the key is gone that was there when its name
// was noted, another kura has removed it, or another program: the next command
// looks again.
func (a *app) mint(ctx context.Context, m *mint.Minter, c chain.Chain) (cred.Credentials, error) {
	credentials, err := m.Credentials(ctx, c)
	a.afterMint(ctx, m, c, err)
	if left := time.Until(credentials.Expires); err == nil && !credentials.Expires.IsZero() && left < m.Least {
		a.log.Warn(fmt.Sprintf("the credentials of %q are good for %s; a session of theirs lasts no longer", c.Profile, left.Round(time.Second)))
	}
	return credentials, err
}

// afterMint sees to it that the next command looks at the store again if this one
// has failed for what is kept of it.
func (a *app) afterMint(ctx context.Context, m *mint.Minter, c chain.Chain, err error) {
	if _, ok := errors.AsType[*mint.NoKeyError](err); ok {
		a.forgetNames()
	}
	// So it does where the key is another one by now, as when a password store
	// was synchronised.
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Kind == awsapi.InvalidKey && c.Source.Stored != nil {
		if v, ok := m.Store.(*vault); ok {
			v.drop(ctx, store.Key{Kind: store.AccessKey, Name: c.Source.Stored.Name})
		}
	}
}

// plan resolves a profile and returns its chain and what carries it out.
func (a *app) plan(ctx context.Context, profile string, o *mintFlags) (chain.Chain, *mint.Minter, error) {
	if strings.TrimSpace(profile) == "" {
		return chain.Chain{}, nil, usagef("the profile has no name")
	}
	config, err := a.config()
	if err != nil {
		return chain.Chain{}, nil, err
	}
	return a.planIn(ctx, config, profile, o)
}

// planIn is plan by a config file that need not be written yet.
func (a *app) planIn(ctx context.Context, config *awsconfig.File, profile string, o *mintFlags) (chain.Chain, *mint.Minter, error) {
	a.Environ = a.withoutOuter(config)
	c, err := a.resolve(ctx, config, profile, o)
	if isMissing(err) && a.forgetNames() {
		c, err = a.resolve(ctx, config, profile, o)
	}
	if err != nil {
		return chain.Chain{}, nil, err
	}
	if by := commandOf(c.Source); a.calledFor(by) {
		return chain.Chain{}, nil, &recursionError{by}
	}
	v, err := a.vault()
	if key := c.Source.Stored; key != nil {
		v, err = a.vaultOf(config, key.Name)
	}
	if err != nil {
		return chain.Chain{}, nil, err
	}
	if a.global.debug {
		a.log.Debug("resolved", "profile", profile, "reason", strings.ReplaceAll(strings.TrimSpace(c.String()), "\n", "; "))
	}
	if o.duration > 0 {
		a.warnOfCut(c)
	}
	m, err := a.minter(ctx, v, c, o)
	return c, m, err
}

// isMissing reports whether a profile can't be resolved for want of a key.
func isMissing(err error) bool {
	_, notFound := errors.AsType[*chain.NotFoundError](err)
	_, noSource := errors.AsType[*chain.NoSourceError](err)
	return notFound || noSource
}

// warnOfCut says that a session will not last as long as --duration asks.
func (a *app) warnOfCut(c chain.Chain) {
	for _, step := range c.Steps {
		if role := step.AssumeRole; role != nil && role.Wanted > role.Duration {
			a.log.Warn(fmt.Sprintf("the session of %q lasts %s, not %s: AWS allows no more to a role that is assumed with session credentials",
				step.Profile, role.Duration, role.Wanted))
			return
		}
	}
}
