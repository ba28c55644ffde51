package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kura/internal/awsconfig"
	"kura/internal/durable"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/transfer"
)

// transferFlags are the flags of the commands that bring access keys from one
// place to another: import, migrate and restore.
type transferFlags struct {
	dryRun    bool
	overwrite bool
	rename    bool
}

func (o *transferFlags) declare(fs *pflag.FlagSet) {
	fs.BoolVar(&o.dryRun, "dry-run", false, dryRunUsage)
	fs.BoolVar(&o.overwrite, "overwrite", false, "replace other keys of the same names")
	fs.BoolVar(&o.rename, "rename", false, "store a key under NAME-2 where NAME is taken by another")
}

const dryRunUsage = "say what would be done, and do nothing"

func (o *transferFlags) check() error {
	if o.overwrite && o.rename {
		return usagef("--overwrite and --rename: a key can't have both")
	}
	return nil
}

// A tally counts what has become of keys.
type tally struct {
	copied, overwritten, same, skipped, failed, deleted int

	arrived map[string]string // the keys that are there now: their names there, by those they had
}

// bring brings access keys to the store that is theirs by the config file, and
// says of each what has become of it.
func (a *app) bring(ctx context.Context, config *awsconfig.File, from transfer.Source, o *transferFlags, t *tally) error {
	var vaults []*vault
	names := map[*vault][]string{}
	for _, name := range from.Names {
		v, err := a.vaultOf(config, name)
		if err != nil {
			return err
		}
		if names[v] == nil {
			vaults = append(vaults, v)
		}
		names[v] = append(names[v], name)
	}
	for _, v := range vaults {
		from.Names = names[v]
		if err := a.bringTo(ctx, v, from, o, t); err != nil {
			return err
		}
	}
	return nil
}

// bringTo brings access keys to a store.
func (a *app) bringTo(ctx context.Context, to *vault, from transfer.Source, o *transferFlags, t *tally) error {
	if !o.dryRun {
		if err := to.Unlock(ctx); err != nil {
			return fmt.Errorf("storing in %s: %w", to.name(), err)
		}
	}
	var forgetErr error
	c := transfer.Copy{
		From:   from,
		To:     direct(to),
		DryRun: o.dryRun,
		Exists: func(ctx context.Context, name string) (transfer.Decision, error) { return a.clash(ctx, name, o) },
		Fatal: func(err error) bool {
			return errors.Is(err, durable.ErrDiskFull) || errors.Is(err, durable.ErrReadOnly) || errors.Is(err, prompt.ErrCanceled)
		},
		Report: func(r transfer.Result) {
			fmt.Fprintln(a.Stdout, oneLine(r.Name+": "+outcome(r)))
			t.add(r)
			if r.Outcome == transfer.Overwritten {
				forgetErr = errors.Join(forgetErr, a.forgetSessionsOf(ctx, to, r.As))
			}
		},
	}
	return errors.Join(c.Run(ctx), forgetErr)
}

// clash decides what to do about a key whose name another one has.
func (a *app) clash(ctx context.Context, name string, o *transferFlags) (transfer.Decision, error) {
	switch {
	case o.overwrite:
		return transfer.Overwrite, nil
	case o.rename:
		return transfer.Rename, nil
	}
	for {
		answer, err := prompt.Line(ctx, fmt.Sprintf("Another access key is stored as %q. Overwrite it, rename the new one or skip? (o|r|S) ", name))
		if err != nil {
			return transfer.Skip, &clashError{err}
		}
		switch strings.ToLower(answer) {
		case "o", "overwrite":
			return transfer.Overwrite, nil
		case "r", "rename":
			return transfer.Rename, nil
		case "", "s", "skip":
			return transfer.Skip, nil
		}
	}
}

// A clashError says that nobody decided what to do about a name that is taken.
type clashError struct{ err error }

func (e *clashError) Error() string { return "another access key has that name: " + e.err.Error() }
func (e *clashError) Unwrap() error { return e.err }

func outcome(r transfer.Result) string {
	text := string(r.Outcome)
	switch r.Outcome {
	case transfer.Copied, transfer.Overwritten:
		text += ", verified"
	case transfer.Renamed:
		text = fmt.Sprintf("copied as %q, verified", r.As)
	case transfer.Same:
		if r.As != r.Name {
			text += fmt.Sprintf(" as %q", r.As)
		}
	}
	if r.Deleted {
		text += ", deleted from source"
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

func (t *tally) add(r transfer.Result) {
	switch r.Outcome {
	case transfer.Copied, transfer.Renamed, transfer.WouldCopy:
		t.copied++
	case transfer.Overwritten:
		t.overwritten++
	case transfer.Same, transfer.WouldCompare:
		t.same++
	case transfer.Skipped:
		t.skipped++
	case transfer.Failed:
		t.failed++
	}
	switch r.Outcome {
	case transfer.Copied, transfer.Renamed, transfer.Overwritten, transfer.Same:
		if t.arrived == nil {
			t.arrived = map[string]string{}
		}
		t.arrived[r.Name] = r.As
	}
	if r.Deleted {
		t.deleted++
	} else if r.Err != nil && r.Outcome != transfer.Failed {
		t.failed++
	}
}

// verdict is the last word on a transfer: an error if some keys failed.
func (t *tally) verdict() error {
	if t.failed == 0 {
		return nil
	}
	return &someFailedError{t.failed}
}

// A someFailedError says that not all keys have arrived. Which, and why, was
// said before.
type someFailedError struct{ n int }

func (e *someFailedError) Error() string {
	if e.n == 1 {
		return "one of the access keys failed"
	}
	return fmt.Sprintf("%d of the access keys failed", e.n)
}

// only returns the names that were asked for, or all if none was. One that is
// not there is an error.
func only(names, wanted []string) ([]string, error) {
	if len(wanted) == 0 {
		return names, nil
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return nil, &notThereError{w}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(wanted))), nil
}

// A notThereError says that there is no key of a name to bring.
type notThereError struct{ name string }

func (e *notThereError) Error() string {
	return fmt.Sprintf("there is no access key of profile %q", e.name)
}

// direct returns a store without what is kept at hand of it: a copy that was
// never stored would prove nothing.
func direct(v *vault) store.Store {
	if u, ok := v.Opened.(*undecided); ok {
		v = u.vault // decided by now: it was unlocked
	}
	if near, ok := v.Opened.(interface{ Direct() store.Opened }); ok {
		return near.Direct()
	}
	return v
}

// readNamed returns a source of the access keys in a store: of what is there
// now, and not of what was read a while ago.
func readNamed(v *vault, names []string) transfer.Source {
	s := direct(v)
	return transfer.Source{
		Names: names,
		Get: func(ctx context.Context, name string) ([]byte, error) {
			return s.Get(ctx, store.Key{Kind: store.AccessKey, Name: name})
		},
	}
}
