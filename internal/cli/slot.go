package cli

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"kura/internal/store"
	"kura/internal/store/file"
)

func storeCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "manage the store",
		Long: `Store has commands for the store itself. Those for what is in it are add, list
and remove.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	slot := &cobra.Command{
		Use:   "slot",
		Short: "manage the ways to open the file store",
		Long: `A slot is one of the ways to open the file store: a passphrase, a recovery key
on paper, or a device such as a YubiKey. Any of them opens all of the store.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	slot.AddCommand(slotAddCommand(a), slotListCommand(a), slotRemoveCommand(a), slotPassphraseCommand(a))
	c.AddCommand(slot)
	return c
}

func slotAddCommand(a *app) *cobra.Command {
	var name, recipient, identity string
	c := &cobra.Command{
		Use:   "add passphrase|recovery|plugin",
		Short: "add a way to open the store",
		Long: `Add adds a slot: another passphrase; a recovery key, which is printed once and
belongs on paper; or an age plugin, whose program age-plugin-NAME must be in
PATH.`,
		Example: `  kura store slot add recovery
  kura store slot add plugin --recipient age1yubikey1...`,
		Args:      exactly("kind"),
		ValidArgs: []string{"passphrase", "recovery", "plugin"},
	}
	c.Flags().StringVar(&name, "name", "", "`name` of the slot (default: its kind)")
	c.Flags().StringVar(&recipient, "recipient", "", "age `recipient`, such as age1...")
	c.Flags().StringVar(&identity, "identity", "", "the plugin's `identity`, such as AGE-PLUGIN-YUBIKEY-1...")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		s, err := a.fileStore()
		if err != nil {
			return err
		}
		switch args[0] {
		case "passphrase":
			err = s.AddPassphrase(ctx, name)
		case "recovery":
			var key string
			if key, err = s.AddRecovery(ctx, name); err == nil {
				_, err = fmt.Fprintln(a.Stdout, key)
			}
			if key != "" && err != nil {
				// Nobody has seen the key, so the slot is of no use.
				return errors.Join(err, s.RemoveSlot(ctx, cmp.Or(name, file.Recovery)))
			}
			if err == nil {
				fmt.Fprintf(a.Stderr, "%s: write this key down and keep it where the store is not; it is not shown again\n", a.name)
			}
		case "plugin":
			if recipient == "" {
				return usagef("a plugin slot needs --recipient")
			}
			err = s.AddPlugin(ctx, name, recipient, identity)
		default:
			return usagef("a slot is of kind passphrase, recovery or plugin, got %q", args[0])
		}
		if err != nil {
			return fmt.Errorf("adding a slot: %w", err)
		}
		return nil
	}
	return c
}

func slotListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "show the ways to open the store",
		Long:    "List shows the slots of the file store. It unlocks nothing.",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.fileStore()
			if err != nil {
				return err
			}
			slots, err := s.Slots(c.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(a.Stdout, 12, 4, 2, ' ', 0)
			fmt.Fprint(t, "Name\tKind\tCreated\n====\t====\t=======\n")
			for _, slot := range slots {
				fmt.Fprintf(t, "%s\t%s\t%s\n", oneLine(slot.Name), oneLine(slot.Kind), slot.Created.Local().Format(time.DateOnly))
			}
			return t.Flush()
		},
	}
}

func slotRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "remove a way to open the store",
		Long: `Remove removes a slot. The last one that can open the store stays. Somebody who
has copied the slot's file, and knows what opens it, can still open such copies
of the store as he has.`,
		Args:              exactly("name"),
		ValidArgsFunction: a.completeSlots,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.fileStore()
			if err != nil {
				return err
			}
			err = s.RemoveSlot(c.Context(), args[0])
			if errors.Is(err, store.ErrNotFound) {
				return &noSlotError{args[0]}
			}
			if err != nil {
				return fmt.Errorf("removing a slot: %w", err)
			}
			fmt.Fprintf(a.Stdout, "Removed slot %q.\n", args[0])
			return nil
		},
	}
}

// A noSlotError says that there is no slot of a name.
type noSlotError struct{ name string }

func (e *noSlotError) Error() string { return fmt.Sprintf("the store has no slot %q", e.name) }

func slotPassphraseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "change-passphrase",
		Short: "change the passphrase of the store",
		Long:  "Change-passphrase replaces a passphrase slot by one with a new passphrase.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.fileStore()
			if err != nil {
				return err
			}
			if err := s.ChangePassphrase(c.Context()); err != nil {
				return fmt.Errorf("changing the passphrase: %w", err)
			}
			return nil
		},
	}
}
