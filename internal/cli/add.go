package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/prompt"
	"kura/internal/store"
)

// addFlags are the flags of add.
type addFlags struct {
	env       bool
	csv       string
	addConfig bool
	verify    bool
	mfaSerial string
}

func addCommand(a *app) *cobra.Command {
	o := addFlags{addConfig: true, verify: true}
	c := &cobra.Command{
		Use:   "add PROFILE",
		Short: "store an access key",
		Long: `Add stores an access key under the name PROFILE. It asks for the key on the
terminal, or reads it from a pipe (the access key ID and the secret access key,
a line each, or the CSV file that the AWS console offers), from the environment
(--env) or from such a file (--csv).

It asks STS whose key it is before it stores it, and adds the profile to the
AWS config file if it is not there.`,
		Example: `  kura add default
  kura add --env work
  kura add --csv accessKeys.csv work`,
		Args:              exactly("profile"),
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVar(&o.env, "env", false, "take the key from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	c.Flags().StringVar(&o.csv, "csv", "", "take the key from this `file`, as the AWS console offers it")
	c.Flags().BoolVar(&o.addConfig, "add-config", true, addConfigUsage)
	c.Flags().BoolVar(&o.verify, "verify", true, "ask STS whose key it is")
	c.Flags().StringVar(&o.mfaSerial, "mfa-serial", "", "`ARN` of the MFA device, for the config file")
	c.RunE = func(c *cobra.Command, args []string) error { return a.add(c.Context(), args[0], &o) }
	return c
}

const addConfigUsage = "add a profile to the AWS config file if it is not there"

func (a *app) add(ctx context.Context, profile string, o *addFlags) error {
	switch {
	case profile == "":
		return usagef("the profile has no name")
	case o.env && o.csv != "":
		return usagef("--env and --csv: the key can come from one of them")
	case o.mfaSerial != "" && !o.addConfig:
		return usagef("--mfa-serial is for the config file, which --no-add-config leaves as it is")
	}
	config, err := a.config()
	if err != nil {
		return err
	}
	section, inConfig := config.Profile(profile)
	if source := section.Get("source_profile"); source != "" && source != profile {
		return &otherSourceError{profile, source}
	}
	if o.addConfig {
		// Said before the key is typed, if it can't be.
		if _, err := withProfile(config, profile, o.mfaSerial); err != nil {
			return err
		}
	}
	// So is a store that can't be used or unlocked.
	s, err := a.vaultOf(config, profile)
	if err != nil {
		return err
	}
	err = s.Unlock(ctx)
	if err == nil {
		_, err = s.Check(ctx)
	}
	if err != nil {
		return fmt.Errorf("storing the access key of %q: %w", profile, err)
	}
	key, from, err := a.readKey(ctx, o)
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return &keyError{from, err}
	}
	if o.verify {
		if err := a.verify(ctx, config, profile, key); err != nil {
			return err
		}
	}
	if !inConfig && o.addConfig && o.mfaSerial == "" && from == fromTerminal {
		if o.mfaSerial, err = askSerial(ctx); err != nil {
			return err
		}
	}

	data, err := cred.Encode(key)
	if err != nil {
		return err
	}
	defer clear(data)
	if err := s.Put(ctx, store.Key{Kind: store.AccessKey, Name: profile}, data); err != nil {
		return fmt.Errorf("storing the access key of %q: %w", profile, err)
	}
	fmt.Fprintf(a.Stdout, "Added credentials to profile %q in vault\n", profile)
	if err := a.forgetSessionsOf(ctx, s, profile); err != nil {
		return err
	}
	if !o.addConfig {
		return nil
	}
	if err := a.addProfile(ctx, profile, o.mfaSerial); err != nil {
		return fmt.Errorf("the key is stored, but profile %q is not in the config file: %w", profile, err)
	}
	return nil
}

// An otherSourceError says that a key would not be used, because the profile
// names another one's.
type otherSourceError struct{ profile, source string }

func (e *otherSourceError) Error() string {
	return fmt.Sprintf("profile %q has a source_profile of %q, so a key of its own would not be used", e.profile, e.source)
}

// addProfile adds a profile to the config file, or what it lacks, and leaves
// the file otherwise as it is. The file is read again: somebody may have
// changed it while the key was typed.
func (a *app) addProfile(ctx context.Context, profile, mfaSerial string) error {
	defer a.lockConfig(ctx)()
	before, err := a.config()
	if err != nil {
		return err
	}
	after, err := withProfile(before, profile, mfaSerial)
	if err != nil || after == before {
		return err
	}
	return writeConfig(after)
}

// lockConfig keeps other processes of this program from changing the config
// file, until release is called.
func (a *app) lockConfig(ctx context.Context) (release func()) {
	dir := filepath.Join(a.cacheDir(), "locks")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		release, err = durable.Lock(ctx, filepath.Join(dir, "config"))
	}
	if err != nil {
		a.log.Warn("nothing keeps another kura from changing the config file at the same time", "reason", err)
		return func() {}
	}
	return release
}

// withProfile returns config with a profile in it that has the MFA serial, if
// there is one: config itself if nothing has to be changed.
func withProfile(config *awsconfig.File, profile, mfaSerial string) (*awsconfig.File, error) {
	if mfaSerial != "" && !chain.IsMFASerial(mfaSerial) {
		return nil, &serialError{mfaSerial}
	}
	section, ok := config.Profile(profile)
	switch {
	case !ok && mfaSerial == "":
		return config.AddProfile(profile)
	case !ok:
		return config.AddProfile(profile, awsconfig.Setting{Name: "mfa_serial", Value: mfaSerial})
	case mfaSerial == "" || section.Get("mfa_serial") == mfaSerial:
		return config, nil
	}
	return config.Set(profile, "mfa_serial", mfaSerial)
}

// A serialError says that a text does not name an MFA device.
type serialError struct{ text string }

func (e *serialError) Error() string {
	return fmt.Sprintf("%q is not the ARN or the serial number of an MFA device", e.text)
}

// A keySource is where add gets the key from.
type keySource int

const (
	fromTerminal keySource = iota
	fromPipe
	fromCSV
	fromEnvironment
)

// A keyError says that there was no access key where add looked for one.
type keyError struct {
	from keySource
	err  error
}

func (e *keyError) Error() string { return e.err.Error() }
func (e *keyError) Unwrap() error { return e.err }

// readKey gets the access key from where the flags say or, if they don't, from
// a pipe or the terminal.
func (a *app) readKey(ctx context.Context, o *addFlags) (cred.Credentials, keySource, error) {
	switch {
	case o.env:
		key, err := a.keyFromEnv()
		return key, fromEnvironment, err
	case o.csv != "":
		key, err := readCSV(o.csv)
		return key, fromCSV, err
	case isPipe(a.Stdin):
		key, err := parseKey("standard input", a.Stdin)
		return key, fromPipe, err
	}
	key, err := askKey(ctx)
	return key, fromTerminal, err
}

func askKey(ctx context.Context) (cred.Credentials, error) {
	id, err := prompt.Line(ctx, "Enter Access Key ID: ")
	if err != nil {
		return cred.Credentials{}, err
	}
	if err := checkKeyID(id); err != nil {
		return cred.Credentials{}, err // before the secret is asked for
	}
	secret, err := prompt.Secret(ctx, "Enter Secret Access Key: ")
	if err != nil {
		return cred.Credentials{}, err
	}
	return cred.Credentials{AccessKeyID: id, SecretAccessKey: cred.NewSecret(secret)}, nil
}

// askSerial asks which MFA device is the user's, if there is one.
func askSerial(ctx context.Context) (string, error) {
	serial, err := prompt.Line(ctx, "Enter MFA Device ARN (If MFA is not enabled, leave this blank): ")
	if err == nil && serial != "" && !chain.IsMFASerial(serial) {
		err = &serialError{serial}
	}
	return serial, err
}

func readCSV(name string) (cred.Credentials, error) {
	f, err := os.Open(name)
	if err != nil {
		return cred.Credentials{}, err
	}
	defer f.Close()
	return parseKey(name, f)
}

func (a *app) keyFromEnv() (cred.Credentials, error) {
	id, secret := a.Getenv("AWS_ACCESS_KEY_ID"), a.Getenv("AWS_SECRET_ACCESS_KEY")
	if id == "" {
		return cred.Credentials{}, errors.New("Missing value for AWS_ACCESS_KEY_ID")
	}
	if secret == "" {
		return cred.Credentials{}, errors.New("Missing value for AWS_SECRET_ACCESS_KEY")
	}
	return cred.Credentials{AccessKeyID: id, SecretAccessKey: cred.NewSecret(secret)}, nil
}

// isPipe reports whether somebody feeds f: it is a pipe or a file, neither a
// terminal nor /dev/null.
func isPipe(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// parseKey reads an access key: an ID and a secret, a line each, or a CSV file
// with one record below a header that names the two columns.
func parseKey(from string, r io.Reader) (cred.Credentials, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err != nil {
		return cred.Credentials{}, err
	}
	defer clear(text)
	in := strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff"))
	first, _, _ := strings.Cut(in, "\n")
	if strings.Contains(first, ",") {
		return parseCSV(from, in)
	}
	lines := bufio.NewScanner(strings.NewReader(in))
	var id, secret string
	if lines.Scan() {
		id = strings.TrimSpace(lines.Text())
	}
	if lines.Scan() {
		secret = strings.TrimSpace(lines.Text())
	}
	if id == "" || secret == "" || lines.Scan() {
		return cred.Credentials{}, fmt.Errorf("%s: want an access key ID and a secret access key, a line each", from)
	}
	return cred.Credentials{AccessKeyID: id, SecretAccessKey: cred.NewSecret(secret)}, nil
}

func parseCSV(from, text string) (cred.Credentials, error) {
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		// The error says where, not what: it does not quote its input.
		return cred.Credentials{}, fmt.Errorf("%s: %w", from, err)
	}
	id, secret := -1, -1
	for i, name := range records[0] {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "access key id":
			id = i
		case "secret access key":
			secret = i
		}
	}
	if id < 0 || secret < 0 {
		return cred.Credentials{}, fmt.Errorf(`%s: the first line has no columns "Access key ID" and "Secret access key"`, from)
	}
	if len(records) != 2 {
		return cred.Credentials{}, fmt.Errorf("%s: %d access keys, want one", from, len(records)-1)
	}
	return cred.Credentials{
		AccessKeyID:     strings.TrimSpace(records[1][id]),
		SecretAccessKey: cred.NewSecret(strings.TrimSpace(records[1][secret])),
	}, nil
}

// checkKey refuses what can't be a long-term access key, which is most often a
// slip of the clipboard.
func checkKey(key cred.Credentials) error {
	if err := checkKeyID(key.AccessKeyID); err != nil {
		return err
	}
	if key.SecretAccessKey == cred.NewSecret(key.AccessKeyID) {
		return errors.New("that is the access key ID again, not the secret access key")
	}
	return key.SecretAccessKey.CheckAccessKey()
}

// checkKeyID checks the shape of an access key ID: 16 to 128 letters, digits
// and underscores, of which the first four say what it is. One of 40, the
// length of a secret, is most likely that.
//
// Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
// and https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func checkKeyID(id string) error {
	word := func(r rune) bool {
		return r == '_' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
	}
	switch {
	case strings.HasPrefix(id, "ASIA"):
		return errors.New("an access key ID that begins with ASIA belongs to session credentials, which expire; a long-term one begins with AKIA")
	case len(id) == 40, len(id) < 16, len(id) > 128, strings.TrimFunc(id, word) != "":
		// It may be the secret, pasted in the wrong place: it is not quoted.
		return errors.New("that is not an access key ID, which is 16 to 128 letters and digits such as AKIAIOSFODNN7EXAMPLE")
	}
	return nil
}

// verify asks STS whose key it is. A key that AWS refuses is not stored; that
// AWS can't be asked is no reason to lose what was typed.
func (a *app) verify(ctx context.Context, config *awsconfig.File, profile string, key cred.Credentials) error {
	client, call, err := a.stsFor(config, profile)
	if err != nil {
		return err
	}
	who, err := client.GetCallerIdentity(ctx, key, call)
	if err == nil {
		fmt.Fprintf(a.Stderr, "%s: the key belongs to %s\n", a.name, oneLine(who.ARN))
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*awsapi.Error](err); ok {
		switch e.Kind {
		case awsapi.Unreachable, awsapi.Unavailable, awsapi.Throttled:
			a.log.Warn("STS could not be asked whose key it is", "reason", err)
			return nil
		}
	}
	return &refusedKeyError{err}
}

// A refusedKeyError says that AWS did not accept a key that was to be stored.
type refusedKeyError struct{ err error }

func (e *refusedKeyError) Error() string { return "the key is not stored: " + e.err.Error() }
func (e *refusedKeyError) Unwrap() error { return e.err }

// writeConfig writes an edited config file. Where its name is a symbolic link,
// as in a directory of dot files, the file it leads to is written.
func writeConfig(f *awsconfig.File) error {
	name := f.Name()
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	} else if to, err := os.Readlink(name); err == nil { // to where nothing is yet
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(name))
			if err != nil {
				return err
			}
			to = filepath.Join(dir, to)
		}
		name = to
	}
	perm := os.FileMode(0o600)
	if info, err := os.Stat(name); err == nil {
		perm = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(name, f.Bytes(), perm)
}
