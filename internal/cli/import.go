package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kura/internal/awsconfig"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/foreign"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/store/all"
	"kura/internal/transfer"
)

// importFlags are the flags of import.
type importFlags struct {
	transferFlags
	addConfig bool
	strip     bool
	backup    bool
	awsVault  *globalFlags
}

func importCommand(a *app) *cobra.Command {
	o := importFlags{addConfig: true}
	c := &cobra.Command{
		Use:   "import SOURCE [ARG...]",
		Short: "store the access keys that other tools have",
		Long: `Import stores access keys that are kept in another place:

  aws-vault[:BACKEND] [PROFILE...]
            in aws-vault's store, in that backend of it (secret-service,
            kwallet, pass, passage, file, keychain or wincred) or in all that
            are there. Its own variables say where, such as AWS_VAULT_FILE_DIR,
            or else its flags, such as --pass-dir
  credentials [PROFILE...]
            in ~/.aws/credentials and ~/.aws/config. When they are stored it
            offers to remove them from the files; every other byte stays
  csv FILE [PROFILE]
            in a file that the AWS console offers
  granted [PROFILE...]
            in Granted's secure storage
  leapp [SESSION...]
            in Leapp's

What it reads it leaves as it is. Temporary credentials and sessions are passed
over. A key that is stored already is left alone, so that import can be run
again; if another key has its name you are asked. What is wrong with one key
does not keep the others.`,
		Example: `  kura import aws-vault
  kura import credentials --strip
  kura import csv accessKeys.csv work`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("required argument %q not provided", "source")
			}
			return nil
		},
		ValidArgs: []string{"aws-vault", "credentials", "csv", "granted", "leapp"},
	}
	o.declare(c.Flags())
	c.Flags().BoolVar(&o.addConfig, "add-config", true, addConfigUsage)
	c.Flags().BoolVar(&o.strip, "strip", false, "credentials: remove the keys from the files without asking")
	c.Flags().BoolVar(&o.backup, "backup", false, "credentials: keep a copy of each file that keys are removed from")
	c.RunE = func(c *cobra.Command, args []string) error {
		o.awsVault = a.awsVaultFlags(c.Flags())
		return a.importKeys(c.Context(), args[0], args[1:], &o)
	}
	return c
}

// A find is what was found in one place.
type find struct {
	from    string // for people
	items   []foreign.Item
	passed  int                             // sessions and the like that were passed over
	file    func() (*awsconfig.File, error) // reads it, if it is one of AWS's files
	problem error                           // why there is nothing, or not all
	arrived map[string]string               // as in tally
}

func (a *app) importKeys(ctx context.Context, source string, args []string, o *importFlags) error {
	if err := o.check(); err != nil {
		return err
	}
	if (o.strip || o.backup) && source != "credentials" {
		return usagef("--strip and --backup are for \"import credentials\"; all else is left as it is")
	}
	config, err := a.config()
	if err != nil {
		return err
	}
	finds, err := a.find(ctx, config, source, args, o)
	if err != nil {
		return err
	}
	var t tally
	found := false
	for i := range finds {
		found = found || len(finds[i].items) > 0 || finds[i].problem != nil
		if err := a.importFrom(ctx, config, finds[:i], &finds[i], o, &t); err != nil {
			return err
		}
	}
	if !found {
		return &nothingFoundError{finds}
	}
	for _, f := range finds {
		if err := a.addProfiles(ctx, f.arrived, o.addConfig && !o.dryRun); err != nil {
			return err
		}
	}
	for _, f := range finds {
		if f.file != nil && !o.dryRun {
			if err := a.strip(ctx, f, o); err != nil {
				return err
			}
		}
	}
	return a.importVerdict(finds, &t)
}

// importVerdict is the last word on an import: an error if a place or a key
// could not be read, or a key not be stored.
func (a *app) importVerdict(finds []find, t *tally) error {
	var unread []error
	for _, f := range finds {
		if f.problem != nil {
			unread = append(unread, &placeError{f.from, f.problem})
		}
	}
	if len(unread) == 1 && t.failed == 0 {
		return unread[0]
	}
	for _, err := range unread {
		a.log.Warn(err.Error())
	}
	if t.failed == 0 && len(unread) > 0 {
		return fmt.Errorf("%d places could not be read", len(unread))
	}
	return t.verdict()
}

// A placeError says that a place where keys were looked for can't be read, or
// not to its end.
type placeError struct {
	from string
	err  error
}

func (e *placeError) Error() string { return e.from + ": " + e.err.Error() }
func (e *placeError) Unwrap() error { return e.err }

// A nothingFoundError says that there were no access keys to import.
type nothingFoundError struct{ finds []find }

func (e *nothingFoundError) Error() string {
	var places []string
	for _, f := range e.finds {
		places = append(places, f.from)
	}
	return "there are no access keys in " + strings.Join(places, ", nor in ")
}

// importFrom stores what was found in one place, after those before.
func (a *app) importFrom(ctx context.Context, config *awsconfig.File, before []find, f *find, o *importFlags, t *tally) error {
	if f.passed > 0 {
		fmt.Fprintf(a.Stderr, "%s: %s: %s passed over; kura mints its own\n", a.name, f.from, count(f.passed, "session"))
	}
	data := map[string][]byte{}
	var names []string
	for _, item := range f.items {
		encoded, why, err := encodeItem(item)
		first := outranks(before, item)
		switch {
		case err != nil:
			why = "failed: " + err.Error()
			t.failed++
		case why != "":
		case first != nil && o.overwrite:
			why = "passed over: another key of that name, in " + first.from + ", comes first"
		case data[item.Name] == nil:
			data[item.Name] = encoded
			names = append(names, item.Name)
			continue
		case !bytes.Equal(data[item.Name], encoded):
			why = "passed over: another key of that name comes first"
		}
		clear(encoded)
		if why != "" {
			fmt.Fprintln(a.Stdout, oneLine(cmp.Or(item.Name, item.Note)+": "+why))
		}
	}
	t.arrived = nil
	err := a.bring(ctx, config, transfer.Source{
		Names: names,
		Get:   func(_ context.Context, name string) ([]byte, error) { return bytes.Clone(data[name]), nil },
	}, &o.transferFlags, t)
	f.arrived = t.arrived
	for _, d := range data {
		clear(d)
	}
	if err != nil {
		return fmt.Errorf("importing from %s: %w", f.from, err)
	}
	return nil
}

// outranks returns the place from which another key has arrived under the name
// of an item: nobody means by --overwrite to replace what he imports.
func outranks(before []find, item foreign.Item) *find {
	for i, f := range before {
		other := func(o foreign.Item) bool {
			return o.Name == item.Name && (o.Key.AccessKeyID != item.Key.AccessKeyID || o.Key.SecretAccessKey != item.Key.SecretAccessKey)
		}
		if _, ok := f.arrived[item.Name]; ok && slices.ContainsFunc(f.items, other) {
			return &before[i]
		}
	}
	return nil
}

// encodeItem returns an access key in the form in which stores keep it, or why
// it is not to be kept, or the error that is in its place.
func encodeItem(item foreign.Item) (data []byte, why string, err error) {
	switch {
	case item.Err != nil:
		return nil, "", item.Err
	case item.Name == "":
		return nil, "passed over: it has no name", nil
	case !item.Key.SessionToken.IsZero(), strings.HasPrefix(item.Key.AccessKeyID, "ASIA"):
		return nil, "passed over: temporary credentials, which expire", nil
	}
	item.Key.AccountID = ""
	if err := checkKey(item.Key); err != nil {
		if item.Note != "" {
			err = fmt.Errorf("%s: %w", item.Note, err)
		}
		return nil, "", err
	}
	data, err = cred.Encode(item.Key)
	return data, "", err
}

// addProfiles adds the profiles of keys that have arrived to the config file, if
// it has none of their names.
func (a *app) addProfiles(ctx context.Context, arrived map[string]string, wanted bool) error {
	if !wanted {
		return nil
	}
	for _, name := range slices.Sorted(maps.Values(arrived)) {
		config, err := a.config()
		if err != nil {
			return err
		}
		if _, ok := config.Profile(name); ok {
			continue
		}
		if _, err := withProfile(config, name, ""); err != nil {
			a.log.Warn(fmt.Sprintf("the key of %q is stored, but no profile can have that name", name), "reason", err)
			continue
		}
		if err := a.addProfile(ctx, name, ""); err != nil {
			return fmt.Errorf("the keys are stored, but profile %q is not in the config file: %w", name, err)
		}
	}
	return nil
}

// find looks where a source keeps its keys.
func (a *app) find(ctx context.Context, config *awsconfig.File, source string, args []string, o *importFlags) ([]find, error) {
	name, backend, _ := strings.Cut(source, ":")
	switch {
	case name == "aws-vault":
		return a.findAWSVault(ctx, config, backend, args, o)
	case source == "credentials":
		return a.findInFiles(args)
	case source == "csv" && (len(args) == 1 || len(args) == 2):
		return a.findInCSV(args)
	case source == "csv":
		return nil, usagef("import csv takes a file and, if it has one key, a profile")
	case source == "granted":
		return a.findGranted(ctx, config, args)
	case source == "leapp":
		return a.findLeapp(ctx, args)
	}
	return nil, usagef("%q is not a source to import from; the sources are: aws-vault, credentials, csv, granted, leapp", source)
}

// findInFiles looks into the two files of the AWS CLI.
func (a *app) findInFiles(wanted []string) ([]find, error) {
	credentials, err := a.credentialsFile()
	if err != nil {
		return nil, err
	}
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	finds := []find{
		{from: credentials.Name(), items: foreign.FromFile(credentials), file: a.credentialsFile},
		{from: config.Name(), items: foreign.FromFile(config), file: a.config},
	}
	return keepOnly(finds, wanted)
}

// credentialsFile reads the credentials file. One that is not there is empty.
func (a *app) credentialsFile() (*awsconfig.File, error) {
	name := a.expandHome(a.Getenv("AWS_SHARED_CREDENTIALS_FILE"))
	if name == "" {
		name = filepath.Join(a.home(), ".aws", "credentials")
	}
	text, err := readText(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &credentialsFileError{name, err}
	}
	return awsconfig.ParseCredentials(name, text)
}

// A credentialsFileError says that the AWS credentials file can't be read.
type credentialsFileError struct {
	name string
	err  error
}

func (e *credentialsFileError) Error() string { return "the AWS credentials file: " + e.err.Error() }
func (e *credentialsFileError) Unwrap() error { return e.err }

// keepOnly drops the items that were not asked for. One that was and is not
// there is an error.
func keepOnly(finds []find, wanted []string) ([]find, error) {
	if len(wanted) == 0 {
		return finds, nil
	}
	for _, w := range wanted {
		has := func(f find) bool {
			return slices.ContainsFunc(f.items, func(i foreign.Item) bool { return i.Name == w })
		}
		if !slices.ContainsFunc(finds, has) {
			return nil, &notThereError{w}
		}
	}
	for i := range finds {
		finds[i].items = slices.DeleteFunc(finds[i].items, func(item foreign.Item) bool { return !slices.Contains(wanted, item.Name) })
	}
	return finds, nil
}

// findInCSV looks into a file that the AWS console offers. A key is named after
// the profile that is given, else the user that the file names.
func (a *app) findInCSV(args []string) ([]find, error) {
	f, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	items, err := foreign.FromText(args[0], f)
	if err != nil {
		return nil, err
	}
	if len(args) == 2 {
		if len(items) != 1 {
			return nil, usagef("%s has %d access keys, which can't all be called %q", args[0], len(items), args[1])
		}
		items[0].Name = args[1]
	}
	for _, item := range items {
		if item.Name == "" && item.Err == nil {
			return nil, usagef("%s does not say whose key it is: name a profile after the file", args[0])
		}
	}
	return []find{{from: args[0], items: items}}, nil
}

// findAWSVault looks into one of aws-vault's stores, or into all that there are.
func (a *app) findAWSVault(ctx context.Context, config *awsconfig.File, backend string, wanted []string, o *importFlags) ([]find, error) {
	places := all.AWSVault(a.backendEnv(), o.awsVault.ofBackend)
	named := cmp.Or(backend, a.Getenv("AWS_VAULT_BACKEND"))
	if named == "" {
		return a.findLeft(ctx, config, "any store of aws-vault", places, false, wanted)
	}
	var names []string
	for _, p := range places {
		if p.Backend == named {
			return a.findLeft(ctx, config, p.Where, []all.Left{p}, true, wanted)
		}
		names = append(names, p.Backend)
	}
	return nil, usagef("stores of aws-vault are read in %s, not in %q", strings.Join(names, ", "), named)
}

// awsVaultFlags returns the flags that say where aws-vault's store is: by its own
// variables or, failing that, on the command line. KURA_FILE_DIR and the
// settings file say where keys go to, not where they come from.
func (a *app) awsVaultFlags(given *pflag.FlagSet) *globalFlags {
	var g globalFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	g.declare(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		value := ""
		if flag := given.Lookup(f.Name); flag.Changed {
			value = flag.Value.String()
		}
		for _, name := range envNames(f) {
			if v := a.Getenv(name); v != "" && strings.HasPrefix(name, "AWS_VAULT_") {
				value = v // and the flag says where the keys go to
			}
		}
		if value != "" {
			_ = flags.Set(f.Name, value) // what is wrong with it was said at the start
		}
	})
	g.fileDir = a.expandHome(g.fileDir)
	return &g
}

// findGranted looks into Granted's secure storage.
func (a *app) findGranted(ctx context.Context, config *awsconfig.File, wanted []string) ([]find, error) {
	dir := filepath.Join(a.home(), ".granted")
	if _, err := os.Stat(dir); err != nil {
		if xdg := a.Getenv("XDG_CONFIG_HOME"); xdg != "" {
			dir = filepath.Join(xdg, "granted")
		}
	}
	text, err := durable.ReadFile(filepath.Join(dir, "config"), maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	g, err := foreign.ParseGranted(dir, text)
	if err != nil {
		return nil, err
	}
	places := all.Granted(a.backendEnv(), all.GrantedPlaces{
		Name:       foreign.GrantedName,
		Keychain:   g.Keychain,
		Collection: g.Collection,
		Dir:        a.expandHome(g.Dir),
		PassDir:    a.expandHome(g.PassDir),
	})
	if g.Backend != "" {
		places = slices.DeleteFunc(places, func(p all.Left) bool { return p.Backend != g.Backend })
	}
	return a.findLeft(ctx, config, "Granted's secure storage", places, false, wanted)
}

// findLeft looks into places. Those that can't be there are left out, unless
// the place was named.
func (a *app) findLeft(ctx context.Context, config *awsconfig.File, what string, places []all.Left, named bool, wanted []string) ([]find, error) {
	var finds []find
	trouble := false
	for _, p := range places {
		f := a.read(ctx, p, func(name string) bool {
			if len(wanted) > 0 {
				return slices.Contains(wanted, name)
			}
			// A password store is full of other secrets.
			_, known := config.Profile(name)
			return known || !p.Shared
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(f.problem, prompt.ErrCanceled) {
			return nil, f.problem
		}
		if !named && errors.Is(f.problem, store.ErrUnavailable) {
			a.log.Debug("nothing there", "backend", p.Backend, "reason", f.problem)
			continue
		}
		trouble = trouble || f.problem != nil
		if len(f.items) > 0 || f.problem != nil {
			finds = append(finds, f)
		}
	}
	if len(finds) == 0 {
		finds = []find{{from: what}}
	}
	if trouble {
		return finds, nil // what was asked for may be where it can't be read
	}
	return keepOnly(finds, wanted)
}

// read reads a place.
func (a *app) read(ctx context.Context, p all.Left, want func(string) bool) find {
	v := p.Open(func(ctx context.Context, attempt int) (string, error) {
		if pass, ok := a.lookupEnv("AWS_VAULT_FILE_PASSPHRASE"); ok {
			return pass, nil
		}
		question := fmt.Sprintf("Enter passphrase to unlock %q: ", p.Dir)
		if attempt > 1 {
			question = "That passphrase is wrong. " + question
		}
		return prompt.Passphrase(ctx, question)
	})
	contents, err := v.Items(ctx, want)
	f := find{from: p.Where, passed: contents.Skipped, problem: err}
	for _, item := range contents.Items {
		f.items = append(f.items, foreign.Item{Name: item.Name, Key: item.Key, Err: item.Err})
	}
	return f
}

// findLeapp looks where Leapp keeps its secrets. The names of its sessions are
// encrypted under the ID of the machine; where they can't be read, the keys are
// called by the IDs of their sessions.
func (a *app) findLeapp(ctx context.Context, wanted []string) ([]find, error) {
	var sessions []foreign.LeappSession
	lock, err := durable.ReadFile(filepath.Join(a.home(), ".Leapp", "Leapp-lock.json"), maxConfig)
	if err == nil {
		sessions, err = foreign.LeappSessions(lock, machineID())
	}
	if err != nil {
		a.log.Debug("the names of Leapp's sessions are not known", "reason", err)
	}
	items, err := foreign.FromLeapp(ctx, all.Leapp(a.backendEnv(), foreign.LeappService), sessions)
	if err != nil && len(items) == 0 {
		return nil, fmt.Errorf("Leapp's secrets: %w", err)
	}
	return keepOnly([]find{{from: "Leapp's secrets", items: items, problem: err}}, wanted)
}

// strip offers to remove keys that are stored now from the file that they came
// from. What is not there any more, or has changed, is left alone.
func (a *app) strip(ctx context.Context, found find, o *importFlags) error {
	if len(found.arrived) == 0 {
		return nil
	}
	f, err := found.file() // anew: profiles may have been added to it
	if err != nil {
		return err
	}
	var names []string
	for _, item := range foreign.FromFile(f) {
		stored := func(i foreign.Item) bool { return i.Err == nil && i.Name == item.Name && i.Key == item.Key }
		if _, ok := found.arrived[item.Name]; ok && slices.ContainsFunc(found.items, stored) {
			names = append(names, item.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if !o.strip {
		yes, err := prompt.Confirm(ctx, fmt.Sprintf("Remove %s from %s? (y|N) ", count(len(names), "access key"), f.Name()))
		if errors.Is(err, prompt.ErrNoTerminal) || err == nil && !yes {
			fmt.Fprintf(a.Stderr, "%s: the keys are still in %s as plain text; --strip removes them\n", a.name, f.Name())
			return nil
		}
		if err != nil {
			return err
		}
	}
	return a.stripFile(f, names, o.backup)
}

// stripFile removes keys from one of AWS's files. A file that has changed since
// it was read is left alone.
func (a *app) stripFile(f *awsconfig.File, names []string, backup bool) error {
	now, err := readText(f.Name())
	if err != nil {
		return err
	}
	if now != string(f.Bytes()) {
		return fmt.Errorf("%s has changed meanwhile; nothing was removed from it", f.Name())
	}
	stripped, err := foreign.Strip(f, names)
	if err != nil {
		return err
	}
	if lines(f)-lines(stripped) != 2*len(names) {
		// One of them is not the one that is stored.
		return &severalKeysError{f.Name()}
	}
	if backup {
		name := f.Name() + ".bak"
		if _, err := os.Lstat(name); err == nil {
			return &copyExistsError{name, f.Name()}
		}
		if err := durable.WriteFile(name, f.Bytes(), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(a.Stderr, "%s: %s holds the keys as they were; delete it when you no longer need it\n", a.name, name)
	}
	if err := writeConfig(stripped); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "Removed %s from %s.\n", count(len(names), "access key"), f.Name())
	return nil
}

func lines(f *awsconfig.File) int { return bytes.Count(f.Bytes(), []byte("\n")) }

// A severalKeysError says that a profile has more than one access key in a file.
type severalKeysError struct{ name string }

func (e *severalKeysError) Error() string {
	return fmt.Sprintf("%s has more than one access key of a profile; nothing was removed from it", e.name)
}

// A copyExistsError says that a file which keys are to be removed from was not
// copied first, as the user wanted.
type copyExistsError struct{ name, of string }

func (e *copyExistsError) Error() string {
	return fmt.Sprintf("%s is there already; nothing was removed from %s", e.name, e.of)
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// machineID is what Leapp's list of sessions is encrypted under.
func machineID() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	for _, name := range []string{"/var/lib/dbus/machine-id", "/etc/machine-id"} {
		if id, err := durable.ReadFile(name, 256); err == nil {
			return string(id)
		}
	}
	return ""
}
