package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kura/internal/backup"
	"kura/internal/durable"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/transfer"
)

// backupFlags are the flags of backup.
type backupFlags struct {
	recipients     string // with commas between them
	recipientFiles []string
	passphrase     bool
	force          bool
}

func backupCommand(a *app) *cobra.Command {
	var o backupFlags
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "write all access keys into one encrypted file",
		Long: `Backup writes the access keys of all stores in use into FILE, encrypted by age,
for another machine or a drawer. "kura restore" reads it, and so does the
program age. Who can open it is said by recipients, such as age-keygen prints
them (--recipient takes several, with commas between them), or by a passphrase.
FILE may be - for standard output.`,
		Example: `  kura backup keys.age --passphrase
  kura backup keys.age --recipient age1pq1...`,
		Args: exactly("file"),
	}
	c.Flags().StringVar(&o.recipients, "recipient", "", "age `recipient`, such as age1...")
	c.Flags().StringArrayVar(&o.recipientFiles, "recipients-file", nil, "encrypt to the recipients in this `file`; may be repeated")
	c.Flags().BoolVar(&o.passphrase, "passphrase", false, "encrypt with a passphrase, which is asked for")
	c.Flags().BoolVarP(&o.force, "force", "f", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error { return a.backup(c.Context(), args[0], &o) }
	return c
}

func (a *app) backup(ctx context.Context, file string, o *backupFlags) error {
	if out, ok := a.Stdout.(*os.File); ok && file == "-" && term.IsTerminal(int(out.Fd())) {
		return usagef("a backup is not for a terminal, but for a file or a pipe")
	}
	recipients, err := a.recipients(ctx, o)
	if err != nil {
		return err
	}
	info, err := os.Lstat(file)
	switch {
	case err != nil || file == "-":
	case !info.Mode().IsRegular():
		return usagef("%s is there, and is no file that could be replaced", file)
	case !o.force:
		yes, err := prompt.Confirm(ctx, fmt.Sprintf("%s is there already. Replace it? (y|N) ", file))
		if err != nil {
			return &unconfirmedError{fmt.Errorf("%s is there already: %w", file, err)}
		}
		if !yes {
			return nil
		}
	}
	// Stores ask what they have to before a passphrase is thought up.
	items, err := a.allKeys(ctx)
	defer clearItems(items)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return errors.New("there are no access keys to back up")
	}
	if o.passphrase {
		pass, err := askTwice(ctx, "Enter a passphrase for the backup: ", a.say)
		if err != nil {
			return &passphraseError{"backup", err, "run it in a terminal, or encrypt to --recipient or --recipients-file"}
		}
		r, err := age.NewScryptRecipient(pass)
		if err != nil {
			return err
		}
		recipients = append(recipients, r)
	}
	var out bytes.Buffer
	if err := backup.Write(&out, items, recipients, time.Now()); err != nil {
		return fmt.Errorf("encrypting the backup: %w", err)
	}
	if file == "-" {
		_, err := a.Stdout.Write(out.Bytes())
		return err
	}
	if err := durable.WriteFile(file, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	fmt.Fprintf(a.Stdout, "Wrote %s into %s.\n", count(len(items), "access key"), oneLine(file))
	return nil
}

// recipients returns to whom a backup is encrypted, but for somebody who knows
// the passphrase.
func (a *app) recipients(ctx context.Context, o *backupFlags) ([]age.Recipient, error) {
	named := o.recipients != "" || len(o.recipientFiles) > 0
	switch {
	case o.passphrase && named:
		return nil, usagef("--passphrase and recipients: a backup opens with one or the other")
	case !o.passphrase && !named:
		return nil, usagef("who is to open the backup? --recipient, --recipients-file or --passphrase")
	}
	var list []age.Recipient
	if o.recipients != "" {
		r, err := backup.ParseRecipients(strings.ReplaceAll(o.recipients, ",", "\n"), a.questions(ctx))
		if e, ok := errors.AsType[*backup.LineError](err); ok {
			err = e.Err // there are no lines in a flag
		}
		if err != nil {
			return nil, &recipientError{"--recipient", err}
		}
		list = append(list, r...)
	}
	for _, name := range o.recipientFiles {
		text, err := durable.ReadFile(a.expandHome(name), 1<<20)
		if err != nil {
			return nil, fmt.Errorf("--recipients-file: %w", err)
		}
		r, err := backup.ParseRecipients(string(text), a.questions(ctx))
		if err != nil {
			return nil, &recipientError{name, err}
		}
		list = append(list, r...)
	}
	return list, nil
}

// A recipientError says that a recipient or an identity can't be used.
type recipientError struct {
	from string
	err  error
}

func (e *recipientError) Error() string { return e.from + ": " + e.err.Error() }
func (e *recipientError) Unwrap() error { return e.err }

func (a *app) questions(ctx context.Context) backup.Questions {
	return backup.Questions{
		Plugin: a.pluginUI(),
		Passphrase: func(of string, attempt int) (string, error) {
			question := fmt.Sprintf("Enter passphrase of the %s: ", of)
			if attempt > 1 {
				question = "That passphrase is wrong. " + question
			}
			pass, err := prompt.Passphrase(ctx, question)
			if err != nil {
				return "", &passphraseError{of, err, "run it in a terminal to be asked"}
			}
			return pass, nil
		},
	}
}

// A passphraseError says that no passphrase was given of a backup or an identity
// file.
type passphraseError struct {
	of      string
	err     error
	instead string // what to do where nobody can be asked
}

func (e *passphraseError) Error() string {
	return "the passphrase of the " + e.of + ": " + e.err.Error()
}
func (e *passphraseError) Unwrap() error { return e.err }

// allKeys returns the access keys of all stores in use. Where two stores have
// one of a name, that of the store which the profile uses counts.
func (a *app) allKeys(ctx context.Context) ([]backup.Item, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	vaults, err := a.vaults(config)
	if err != nil {
		return nil, err
	}
	var items []backup.Item
	for _, v := range vaults {
		names, err := v.List(ctx, store.AccessKey)
		if err != nil {
			return items, fmt.Errorf("listing the access keys in %s: %w", v.name(), err)
		}
		for _, name := range names {
			if used, err := a.vaultOf(config, name); err != nil || used != v {
				continue
			}
			data, err := direct(v).Get(ctx, store.Key{Kind: store.AccessKey, Name: name})
			if err != nil {
				return items, fmt.Errorf("reading the access key of %q: %w", name, err)
			}
			items = append(items, backup.Item{Name: name, Data: data})
		}
	}
	return items, nil
}

func clearItems(items []backup.Item) {
	for _, item := range items {
		clear(item.Data)
	}
}

func restoreCommand(a *app) *cobra.Command {
	var o struct {
		transferFlags
		identities []string
		profiles   []string
		addConfig  bool
	}
	o.addConfig = true
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "store the access keys of a backup",
		Long: `Restore stores the access keys that "kura backup" has written into FILE. It asks
for the passphrase, or reads --identities-file. A key that is stored
already is left alone; if another key has its name you are asked. FILE may be -
for standard input.

A backup does not say who made it: what is in it is listed by --dry-run.`,
		Example: `  kura restore keys.age --dry-run
  kura restore keys.age --identities-file key.txt`,
		Args: exactly("file"),
	}
	o.declare(c.Flags())
	c.Flags().StringArrayVar(&o.identities, "identities-file", nil, "open it with the age identities in this `file`; may be repeated")
	c.Flags().StringSliceVar(&o.profiles, "profile", nil, "bring only the key of this `profile`; may be repeated")
	c.Flags().BoolVar(&o.addConfig, "add-config", true, addConfigUsage)
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		if err := o.check(); err != nil {
			return err
		}
		contents, err := a.readBackup(ctx, args[0], o.identities)
		defer clearItems(contents.Items)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Stderr, "%s: a backup of %s, by its maker's clock\n", a.name, contents.Made.Local().Format(time.DateTime))
		return a.restoreKeys(ctx, contents, o.profiles, o.addConfig, &o.transferFlags)
	}
	return c
}

func (a *app) readBackup(ctx context.Context, file string, identityFiles []string) (backup.Contents, error) {
	var in io.Reader = a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return backup.Contents{}, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsDir() {
			return backup.Contents{}, &fs.PathError{Op: "read", Path: file, Err: errors.New("it is a directory")}
		}
		in = f
	}
	q := a.questions(ctx)
	identities := []age.Identity{backup.Passphrase(q)}
	for _, name := range identityFiles {
		text, err := durable.ReadFile(a.expandHome(name), 1<<20)
		if err != nil {
			return backup.Contents{}, fmt.Errorf("--identities-file: %w", err)
		}
		list, err := backup.ParseIdentities(text, q)
		clear(text)
		if err != nil {
			return backup.Contents{}, &recipientError{name, err}
		}
		identities = append(identities, list...)
	}
	contents, err := backup.Read(in, identities)
	if err != nil && file == "-" {
		return contents, fmt.Errorf("standard input: %w", err)
	}
	if err != nil {
		return contents, fmt.Errorf("%s: %w", file, err)
	}
	return contents, nil
}

func (a *app) restoreKeys(ctx context.Context, contents backup.Contents, profiles []string, addConfig bool, o *transferFlags) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	var names []string
	for _, item := range contents.Items {
		data[item.Name] = item.Data
		names = append(names, item.Name)
	}
	if names, err = only(names, profiles); err != nil {
		return err
	}
	var t tally
	err = a.bring(ctx, config, transfer.Source{
		Names: names,
		Get:   func(_ context.Context, name string) ([]byte, error) { return bytes.Clone(data[name]), nil },
	}, o, &t)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	if err := a.addProfiles(ctx, t.arrived, addConfig && !o.dryRun); err != nil {
		return err
	}
	return t.verdict()
}
