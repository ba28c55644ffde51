package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kura/internal/deliver"
)

// formatUsage is the same for all commands that have several.
const formatUsage = "the `format` of the output, one of those above"

func exportCommand(a *app) *cobra.Command {
	var o mintFlags
	format := "env"
	c := &cobra.Command{
		Use:   "export [PROFILE]",
		Short: "print the credentials of a profile",
		Long: `Export prints credentials of PROFILE for a program that can't be run by exec.
What is printed is a secret: it is meant for a pipe or for eval, not for a
file. Without PROFILE you choose one on the terminal.

The formats are env, export-env (for eval in sh, bash and zsh), fish,
powershell, dotenv, json (as credential-process does it) and ini (a section of
a credentials file).`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	c.Flags().StringVar(&format, "format", format, formatUsage)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(deliver.Formats(), format) {
			return usagef("--format must be one of %s, got %q", strings.Join(deliver.Formats(), ", "), format)
		}
		profile, err := a.profileArg(c.Context(), args)
		if err != nil {
			return err
		}
		if format == "json" {
			return a.credentialProcess(c.Context(), profile, &o)
		}
		return a.export(c.Context(), profile, format, &o)
	}
	return c
}

func (a *app) export(ctx context.Context, profile, format string, o *mintFlags) error {
	chain, credentials, err := a.credentials(ctx, profile, o)
	if err != nil {
		return err
	}
	out, err := deliver.Format(format, profile, chain.Region, credentials)
	if err != nil {
		return fmt.Errorf("exporting %q: %w", profile, err)
	}
	_, err = a.Stdout.Write(out)
	a.used(profile)
	a.shareSessions()
	return err
}
