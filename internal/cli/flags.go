package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kura/internal/chain"
)

// envAnnotation lists the environment variables that a flag takes its value
// from when it is not on the command line.
const envAnnotation = "env"

// fromEnv makes a flag take its value from KURA_ and its name or, failing that,
// from the other variables, as aws-vault's flag of that name does. Flags that
// say what one command does are not made so: nobody should have to know all of
// them before he exports KURA_JSON for a program of his own.
func fromEnv(fs *pflag.FlagSet, name string, others ...string) {
	f := fs.Lookup(name)
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	own := "KURA_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	f.Annotations[envAnnotation] = append([]string{own}, others...)
}

// envNames returns the variables that f takes its value from, the first that
// is set winning.
func envNames(f *pflag.Flag) []string { return f.Annotations[envAnnotation] }

// once is a flag that may be given once. Twice is more often a mistake in a
// script than a wish for the second, and aws-vault refuses it too.
type once struct {
	pflag.Value
	name string
	set  bool
}

func (o *once) Set(s string) error {
	if o.set {
		return fmt.Errorf("flag %q cannot be repeated", o.name)
	}
	o.set = true
	if _, err := strconv.ParseBool(s); err != nil && o.Type() == "bool" {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	return o.Value.Set(s)
}

// negation is the flag --no-NAME of a flag --NAME.
type negation struct{ of pflag.Value }

func (n negation) String() string { return "" }
func (n negation) Type() string   { return "bool" }
func (n negation) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return err
	}
	return n.of.Set(strconv.FormatBool(!b))
}

// strict gives the flags of fs aws-vault's manners: each but lists may be given
// once, and each that is on or off has a hidden --no- form. These are made only
// where one is given. For completion package cobra reads a command line twice.
func (a *app) strict(fs *pflag.FlagSet) {
	var negated []*pflag.Flag
	fs.VisitAll(func(f *pflag.Flag) {
		if _, list := f.Value.(pflag.SliceValue); list || f.Name == "help" {
			return
		}
		if !a.completing {
			f.Value = &once{Value: f.Value, name: f.Name}
		}
		if a.negations && f.Value.Type() == "bool" {
			negated = append(negated, f)
		}
	})
	for _, f := range negated {
		no := fs.VarPF(negation{f.Value}, "no-"+f.Name, "", "the opposite of --"+f.Name)
		no.NoOptDefVal, no.Hidden = "true", true
	}
}

// fill sets the flags that are not on the command line from the environment
// or, failing that, from the settings file.
func fill(fs *pflag.FlagSet, getenv func(string) string, settings *settings) error {
	var err error
	fs.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || f.Name == "help" || strings.HasPrefix(f.Name, "no-") && f.Hidden {
			return
		}
		if o, ok := f.Value.(*once); ok && o.set {
			return // by its --no- form
		}
		for _, name := range envNames(f) {
			if value := getenv(name); value != "" {
				if e := f.Value.Set(value); e != nil {
					err = usagef("%s=%q: %v", name, value, e)
				}
				return
			}
		}
		value, ok := settings.take(f.Name)
		if !ok {
			return
		}
		if e := f.Value.Set(value); e != nil {
			err = usagef("%s: %s = %q: %v", settings.file, f.Name, value, e)
		}
	})
	return err
}

// duration is a flag that takes Go's durations, and days and weeks besides.
type duration struct{ to *time.Duration }

func (d duration) String() string {
	if d.to == nil || *d.to == 0 {
		return ""
	}
	return d.to.String()
}
func (d duration) Type() string { return "duration" }
func (d duration) Set(s string) error {
	t, err := chain.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 1h, 90m or 2d", s)
	}
	*d.to = t
	return nil
}
