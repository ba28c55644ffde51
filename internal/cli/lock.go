package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func lockCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lock",
		Short: "lock the store",
		Long: `Lock makes the system forget what keeps the store, and the sessions in the
cache, unlocked. The next command that needs a key asks for the passphrase
again. Programs that run keep the session credentials they were given.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.keep().Forget(); err != nil {
				return fmt.Errorf("locking: %w", err)
			}
			return nil
		},
	}
}
