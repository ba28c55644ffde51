package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"kura/internal/store"
)

// migrateFlags are the flags of migrate.
type migrateFlags struct {
	transferFlags
	from, to     string
	profiles     []string
	deleteSource bool
}

func migrateCommand(a *app) *cobra.Command {
	var o migrateFlags
	c := &cobra.Command{
		Use:     "migrate --to NAME[:key=value,...]",
		Aliases: []string{"migrate-backend"},
		Short:   "move access keys to another backend",
		Long: `Migrate copies access keys from one backend to another: those of --from, which
is the one in use if it is left out, to --to. Each is read back and compared. A
key that is there already is left as it is, so that migrate, run again after it
was interrupted, goes on. With --delete-source a key is deleted from the source
once it has arrived.

Sessions are not copied; they are minted anew. "kura backends --use" then makes
the other backend the one in use.`,
		Example: `  kura migrate --to secret-service --dry-run
  kura migrate --from file --to pass --delete-source`,
		Args: exactly(),
	}
	c.Flags().Var(specFlag{&o.from}, "from", "the backend to copy from, as `NAME[:key=value,...]` (default: the one in use)")
	c.Flags().Var(specFlag{&o.to}, "to", "the backend to copy to, as `NAME[:key=value,...]`")
	c.Flags().StringSliceVar(&o.profiles, "profile", nil, "bring only the key of this `profile`; may be repeated")
	c.Flags().BoolVar(&o.deleteSource, "delete-source", false, "delete each key that has arrived from the source")
	o.declare(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error { return a.migrate(c.Context(), &o) }
	return c
}

func (a *app) migrate(ctx context.Context, o *migrateFlags) error {
	if o.to == "" {
		return usagef("--to is missing: the backend to copy to")
	}
	if err := o.check(); err != nil {
		return err
	}
	from, to, err := a.migration(o)
	if err != nil {
		return err
	}
	names, err := from.List(ctx, store.AccessKey)
	if err != nil {
		return fmt.Errorf("listing the access keys in %s: %w", from.name(), err)
	}
	if names, err = only(names, o.profiles); err != nil {
		return err
	}
	if len(names) == 0 {
		fmt.Fprintf(a.Stdout, "There are no access keys in %s.\n", from.name())
		return nil
	}
	source := readNamed(from, names)
	if o.deleteSource {
		rotating, err := from.List(ctx, store.Rotation)
		if err != nil {
			return fmt.Errorf("finding out whether keys in %s are being rotated: %w", from.name(), err)
		}
		for _, name := range rotating {
			if slices.Contains(names, name) {
				return &rotatingError{name, from.name()}
			}
		}
		source.Delete = func(ctx context.Context, name string) error {
			if err := from.Delete(ctx, store.Key{Kind: store.AccessKey, Name: name}); err != nil {
				return err
			}
			if err := a.forgetSessionsOf(ctx, from, name); err != nil {
				a.log.Warn("the key is deleted, and its sessions are not", "reason", err)
			}
			return nil
		}
	}
	if !o.dryRun {
		if err := from.Unlock(ctx); err != nil {
			return fmt.Errorf("reading from %s: %w", from.name(), err)
		}
	}
	var t tally
	err = a.bringTo(ctx, to, source, &o.transferFlags, &t)
	if err == nil || t.copied+t.overwritten+t.same+t.skipped+t.failed > 0 {
		a.sumUp(&t, o)
	}
	if err != nil {
		return fmt.Errorf("migrating to %s: %w", to.name(), err)
	}
	if !o.dryRun && t.failed == 0 {
		if err := a.sayStillInUse(from, o.to, t.arrived); err != nil {
			return err
		}
	}
	return t.verdict()
}

// A rotatingError says that a key is not moved, because what is known of its
// rotation, which has both keys in it, would be left behind.
type rotatingError struct{ name, where string }

func (e *rotatingError) Error() string {
	return fmt.Sprintf("the rotation of the access key of %q in %s is not finished", e.name, e.where)
}

// migration returns the two stores of a migration.
func (a *app) migration(o *migrateFlags) (from, to *vault, err error) {
	if o.from == "" {
		from, err = a.vault()
	} else {
		from, err = a.openNamed(o.from)
	}
	if err != nil {
		return nil, nil, err
	}
	if to, err = a.openNamed(o.to); err != nil {
		return nil, nil, err
	}
	fromID, fromErr := from.id(a.ctx)
	toID, toErr := to.id(a.ctx)
	if from == to || fromID == toID && fromErr == nil && toErr == nil {
		return nil, nil, usagef("--from and --to are the same store")
	}
	return from, to, nil
}

// sayStillInUse says what still leads to the backend that keys were copied from.
func (a *app) sayStillInUse(from *vault, to string, arrived map[string]string) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	inUse, err := a.vault()
	if err != nil {
		return err
	}
	if inUse == from {
		fmt.Fprintf(a.Stderr, "%s: the backend in use is still %s; %q changes that\n", a.name, from.name(), a.name+" backends --use "+shellWord(to))
	}
	for _, name := range slices.Sorted(maps.Keys(arrived)) {
		section, _ := config.Profile(name)
		line := section.Line("kura_backend")
		if v, err := a.vaultOf(config, name); err == nil && v == from && line > 0 {
			fmt.Fprintf(a.Stderr, "%s: %s:%d: kura_backend of profile %q still says %s\n", a.name, config.Name(), line, name, section.Get("kura_backend"))
		}
	}
	return nil
}

func (a *app) sumUp(t *tally, o *migrateFlags) {
	if o.dryRun {
		fmt.Fprintln(a.Stdout, "\nNo changes made.")
		return
	}
	fmt.Fprintf(a.Stdout, "\nMigration summary:\n  copied: %d\n  overwritten: %d\n  already there: %d\n  skipped: %d\n  deleted from source: %d\n",
		t.copied, t.overwritten, t.same, t.skipped, t.deleted)
}
