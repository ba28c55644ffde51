package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"kura/internal/mint"
	"kura/internal/prompt"
	"kura/internal/store"
)

func removeCommand(a *app) *cobra.Command {
	var force, sessionsOnly bool
	c := &cobra.Command{
		Use:     "remove PROFILE",
		Aliases: []string{"rm"},
		Short:   "remove an access key from the store",
		Long: `Remove deletes the access key of PROFILE from the store, and the sessions that
were minted from it. The key itself stays valid at AWS until it is deleted
there. The config file is not touched.`,
		Args:              exactly("profile"),
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	c.Flags().BoolVarP(&sessionsOnly, "sessions-only", "s", false, "remove only the sessions")
	c.Flags().Lookup("sessions-only").Hidden = true
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, profile := c.Context(), args[0]
		if sessionsOnly {
			n, err := a.sessions().Clear(func(s mint.Session) bool { return s.Profile == profile })
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "Deleted %d sessions.\n", n)
			return nil
		}
		config, err := a.config()
		if err != nil {
			return err
		}
		s, err := a.vaultOf(config, profile)
		if err != nil {
			return err
		}
		key := store.Key{Kind: store.AccessKey, Name: profile}
		names, err := s.List(ctx, store.AccessKey)
		if err != nil {
			return fmt.Errorf("removing the access key of %q: %w", profile, err)
		}
		if !slices.Contains(names, profile) {
			// An earlier remove may not have come as far as this.
			if err := a.forgetRotation(ctx, s, profile); err != nil {
				return err
			}
			if err := a.forgetSessionsOf(ctx, s, profile); err != nil {
				return err
			}
			return &notStoredError{profile}
		}
		if !force {
			yes, err := prompt.Confirm(ctx, fmt.Sprintf("Delete credentials for profile %q? (y|N) ", profile))
			if err != nil {
				return &unconfirmedError{err}
			}
			if !yes {
				return nil
			}
		}
		if err := s.Delete(ctx, key); err != nil {
			return fmt.Errorf("removing the access key of %q: %w", profile, err)
		}
		fmt.Fprintln(a.Stdout, "Deleted credentials.")
		if err := a.forgetRotation(ctx, s, profile); err != nil {
			return err
		}
		return a.forgetSessionsOf(ctx, s, profile)
	}
	return c
}

// forgetRotation removes what is known of a rotation of an access key, which has
// keys in it that may work.
func (a *app) forgetRotation(ctx context.Context, v *vault, accessKey string) error {
	err := v.Delete(ctx, store.Key{Kind: store.Rotation, Name: accessKey})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing what is known of a rotation of %q: %w", accessKey, err)
	}
	a.log.Warn("a rotation of the key was under way: AWS may have a second access key of the user")
	return nil
}

// A notStoredError says that there is no access key to remove.
type notStoredError struct{ profile string }

func (e *notStoredError) Error() string {
	return fmt.Sprintf("profile %q has no access key in the store", e.profile)
}

// An unconfirmedError says that the user was not asked whether to go on.
type unconfirmedError struct{ err error }

func (e *unconfirmedError) Error() string { return e.err.Error() }
func (e *unconfirmedError) Unwrap() error { return e.err }

// forgetSessionsOf removes the sessions that were minted from an access key
// that is no longer the one they came from.
func (a *app) forgetSessionsOf(ctx context.Context, v *vault, accessKey string) error {
	cache, err := a.cache(ctx, v)
	if err != nil {
		return err
	}
	n, err := cache.Forget(accessKey)
	if err != nil {
		return fmt.Errorf("forgetting the sessions of the former access key: %w", err)
	}
	if n > 0 {
		fmt.Fprintf(a.Stdout, "Deleted %d existing sessions.\n", n)
	}
	return nil
}
