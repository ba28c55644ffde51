package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kura/internal/store/all"
)

func backendsCommand(a *app) *cobra.Command {
	var use string
	c := &cobra.Command{
		Use:   "backends",
		Short: "show where access keys can be kept on this machine",
		Long: `Backends shows the places where access keys can be kept, whether each works on
this machine and if not why, and which is in use. It asks nothing and, without
--use, changes nothing.

A backend is chosen, in this order, by --backend or KURA_BACKEND; by
kura_backend in a profile of the AWS config file, for that profile's key; by
backend in config.toml; and by --use here. Somebody who has chosen none gets the
first that works when he stores his first key. kura never takes another one
because the one in use fails. What is stored stays where it is when another
backend is chosen: see "kura migrate".`,
		Example: `  kura backends
  kura backends --use pass:dir=/home/ann/.password-store`,
		Args: exactly(),
	}
	c.Flags().Var(specFlag{&use}, "use", "make `NAME[:key=value,...]` the backend of all commands that name none")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if use == "" {
			return a.showBackends(c.Context())
		}
		return a.useBackend(c.Context(), use)
	}
	return c
}

// useBackend makes a backend the one of all commands that name none.
func (a *app) useBackend(ctx context.Context, use string) error {
	use, err := a.fromAnywhere(use)
	if err != nil {
		return err
	}
	v, err := a.openNamed(use)
	if err != nil {
		return err
	}
	if err := a.remember(use); err != nil {
		return err
	}
	if _, reason := a.works(ctx, v, nil); reason != "" {
		a.log.Warn(v.name()+" does not work here at the moment", "reason", reason)
	}
	if a.global.backend != "" {
		a.log.Warn(fmt.Sprintf("%q counts more, which is given by --backend, in the environment or in %s", a.global.backend, a.settingsFile()))
	}
	return nil
}

// fromAnywhere returns a spec that means the same in every directory.
func (a *app) fromAnywhere(text string) (string, error) {
	s, err := parseSpec(a.backends(), text)
	if err != nil || len(s.settings) == 0 {
		return text, err
	}
	var settings []string
	for _, name := range settingNames(s.backend) {
		value, ok := s.settings[name]
		switch {
		case !ok:
			continue
		case name == "dir" || name == "identities":
			if value, err = filepath.Abs(a.expandHome(value)); err != nil {
				return "", err
			}
		}
		settings = append(settings, name+"="+value)
	}
	return s.backend.Name + ":" + strings.Join(settings, ","), nil
}

func (a *app) showBackends(ctx context.Context) error {
	// That the choice is not understood is said below the ones there are.
	inUse, choiceErr := a.vault()
	name := ""
	if choiceErr == nil && inUse != a.undecided {
		name = inUse.name()
	}
	t := tabwriter.NewWriter(a.Stdout, 8, 4, 2, ' ', 0)
	fmt.Fprint(t, "Backend\tIn use\tWorks\tSettings\tWhat it is\n=======\t======\t=====\t========\t==========\n")
	var why []string
	for _, b := range a.backends() {
		v, mark := inUse, "yes"
		var err error
		if b.Name != name {
			mark = "-"
			v, err = a.openNamed(b.Name)
		}
		works, reason := a.works(ctx, v, err)
		if reason != "" {
			why = append(why, b.Name+": "+reason)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", b.Name, mark, works, strings.Join(settingNames(b), ", "), b.Help)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(why) > 0 {
		fmt.Fprint(a.Stdout, "\nWhat does not work, and why:\n")
		if err := writeLines(a.Stdout, why); err != nil {
			return err
		}
	}
	return choiceErr
}

// works says in a word or two whether a store, if it could be opened, can be
// used, and if not why.
func (a *app) works(ctx context.Context, v *vault, err error) (works, reason string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	note := ""
	if err == nil {
		note, err = v.Check(ctx)
	}
	switch {
	case errors.Is(err, all.ErrNoProgram):
		return "-", "" // it does with a program

	case err != nil:
		return "no", err.Error()
	case note == "":
		return "yes", ""
	}
	return "yes, " + note, ""
}
