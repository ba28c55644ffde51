package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kura/internal/store"
)

func backendsCommand(a *app) *cobra.Command {
	var use string
	c := &cobra.Command{
		Use:   "backends",
		Short: "show where access keys can be kept on this machine",
		Long: `Backends shows the places where access keys can be kept, whether each works on
this machine and if not why, and which is in use. It changes nothing and asks
nothing.

A backend is chosen, in this order, by --backend or KURA_BACKEND; by
kura_backend in a profile of the AWS config file, for that profile's key; by
backend in config.toml; and by --use here. Somebody who has chosen none gets the
first that works when he stores his first key. kura never takes another one
because the one in use fails. What is stored stays where it is when another
backend is chosen: see "kura migrate".`,
		Example: `  kura backends
  kura backends --use pass:dir=/home/ann/.password-store`,
		Args: cobra.NoArgs,
	}
	c.Flags().Var(specFlag{&use}, "use", "make `NAME[:key=value,...]` the backend of all commands that name none")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if use == "" {
			return a.showBackends(c.Context())
		}
		s, err := parseSpec(a.backends(), use)
		if err != nil {
			return err
		}
		if _, err := a.open(s); err != nil {
			return err
		}
		return a.remember(use)
	}
	return c
}

func (a *app) showBackends(ctx context.Context) error {
	inUse, err := a.vault()
	if err != nil {
		return err
	}
	name := inUse.name()
	if inUse == a.undecided {
		name = ""
	}
	t := tabwriter.NewWriter(a.Stdout, 16, 4, 2, ' ', 0)
	fmt.Fprint(t, "Backend\tIn use\tWorks\tWhat it is\n=======\t======\t=====\t==========\n")
	var why []string
	for _, b := range a.backends() {
		v := inUse
		mark := "yes"
		if b.Name != name {
			mark = "-"
			if v, err = a.openNamed(b.Name); err != nil {
				return err
			}
		}
		works, reason := a.works(ctx, v)
		if reason != "" {
			why = append(why, b.Name+": "+reason)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Name, mark, works, withSettings(b))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(why) > 0 {
		fmt.Fprint(a.Stdout, "\nWhat does not work, and why:\n")
		return writeLines(a.Stdout, why)
	}
	return nil
}

// works says in a word or two whether a store can be used and, if not, why.
func (a *app) works(ctx context.Context, v *vault) (works, reason string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	note, err := v.Check(ctx)
	switch {
	case err != nil:
		return "no", err.Error()
	case note == "":
		return "yes", ""
	}
	return "yes, " + note, ""
}

func withSettings(b store.Backend) string {
	if len(b.Settings) == 0 {
		return b.Help
	}
	return b.Help + " (" + strings.Join(settingNames(b), ", ") + ")"
}
