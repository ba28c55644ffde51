package cli

import (
	_ "embed" // the scripts
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kura/internal/deliver"
)

// The scripts that make shells ask for completions. In them @kura stands for the
// program's name.
var (
	//go:embed shells/complete.bash
	completeBash string
	//go:embed shells/complete.zsh
	completeZsh string
	//go:embed shells/complete.fish
	completeFish string
	//go:embed shells/complete.ps1
	completePowerShell string
)

// shells are those that there is completion and a hook for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "print a script that completes kura's command lines",
		Long: `Completion prints a script for a shell, which then completes commands, flags and
what they take: profiles, backends, prompts, formats, regions, slots. What
follows exec's -- is completed as a command line of its own. A link named
aws-vault to the program completes too, and in bash so do aliases that were
there before.`,
		Example: `  echo 'source <(kura completion bash)' >>~/.bashrc
  echo 'source <(kura completion zsh)' >>~/.zshrc
  kura completion fish >~/.config/fish/completions/kura.fish
  kura completion powershell | Out-String | Invoke-Expression   # in $PROFILE`,
		Args:      exactly("shell"),
		ValidArgs: shells,
		RunE: func(_ *cobra.Command, args []string) error {
			script, err := scriptOf(args[0], completeBash, completeZsh, completeFish, completePowerShell)
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.Stdout, strings.ReplaceAll(script, "@kura", a.name))
			return err
		},
	}
}

// scriptOf returns the script of a shell from those of all shells, in order.
func scriptOf(shell string, scripts ...string) (string, error) {
	if shell == "pwsh" {
		shell = "powershell"
	}
	i := slices.Index(shells, shell)
	if i < 0 {
		return "", usagef("there is no script for %q; the shells are: %s", shell, strings.Join(shells, ", "))
	}
	return scripts[i], nil
}

// A completer is what package cobra asks for completions.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeFlags makes the values of flags complete, in a command and all below it.
func (a *app) completeFlags(c *cobra.Command) {
	complete := func(f *pflag.Flag) {
		if values := a.valuesOf(f); values != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, values) // fails for a flag that c hasn't
		}
	}
	c.LocalNonPersistentFlags().VisitAll(complete)
	c.PersistentFlags().VisitAll(complete)
	for _, sub := range c.Commands() {
		a.completeFlags(sub)
	}
}

// valuesOf returns what completes the value of a flag, nil where that is a file.
// A flag means the same in all commands.
func (a *app) valuesOf(f *pflag.Flag) completer {
	switch f.Name {
	case "backend", "cache-backend", "use", "from", "to":
		return oneOf(backendNames(a.backends())...)
	case "prompt":
		return oneOf(promptNames()...)
	case "format":
		return oneOf(deliver.Formats()...)
	case "print":
		return oneOf(printed...)
	case "region":
		return a.completeRegions
	case "profile", "source-profile":
		return func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return a.completeProfiles(c, nil, typed)
		}
	case "csv", "recipients-file", "identities-file", "token-file", "op-cmd", "pass-cmd", "file-passphrase-command", "file-dir", "pass-dir":
		return nil
	}
	if f.Value.Type() == "bool" {
		return nil
	}
	return oneOf() // nothing that could be guessed
}

func oneOf(values ...string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return beginning(values, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// beginning returns those of names that begin with what was typed.
func beginning(names []string, typed string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, typed) })
}

// completeProfiles completes the first argument with the names of profiles.
func (a *app) completeProfiles(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	config, err := a.config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return beginning(config.Profiles(), typed), cobra.ShellCompDirectiveNoFileComp
}

// completeSlots completes the first argument with the names of slots.
func (a *app) completeSlots(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || a.start(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := a.fileStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	slots, err := s.Slots(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, slot := range slots {
		names = append(names, slot.Name)
	}
	return beginning(names, typed), cobra.ShellCompDirectiveNoFileComp
}

// completeRegions completes with the regions of the config file, which are those
// that the user works in, and then those of AWS.
func (a *app) completeRegions(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if config, err := a.config(); err == nil {
		names = config.Values("region")
	}
	// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
	for _, name := range strings.Fields(`us-east-1 us-east-2 us-west-1 us-west-2
		af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
		ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
		ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3
		il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1
		cn-north-1 cn-northwest-1 us-gov-east-1 us-gov-west-1 eusc-de-east-1`) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return beginning(names, typed), cobra.ShellCompDirectiveNoFileComp
}
