package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"kura/internal/mint"
)

func clearCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "clear [PROFILE]",
		Short: "forget sessions",
		Long: `Clear removes the cached sessions of PROFILE, or all of them. The next command
mints new ones; the access keys in the store stay. A session that several roles
share is that of the profile whose access key it comes from. AWS has no call to
end a session that was handed out already: it ends when its time is over.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeProfiles,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		n, err := a.sessions().Clear(func(s mint.Session) bool {
			return len(args) == 0 || s.Profile == args[0]
		})
		if err != nil {
			return fmt.Errorf("clearing sessions: %w", err)
		}
		fmt.Fprintf(a.Stdout, "Cleared %d sessions.\n", n)
		if config, err := a.config(); err == nil && n == 0 && len(args) > 0 {
			if _, ok := config.Profile(args[0]); !ok {
				a.log.Warn(fmt.Sprintf("no profile is called %q", args[0]))
			}
		}
		return nil
	}
	return c
}
