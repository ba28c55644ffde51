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
	c.Flags().BoolVar(&o.addConfig, "add-config", true, "add the profile to the AWS config file if it is not there")
	c.Flags().BoolVar(&o.verify, "verify", true, "ask STS whose key it is")
	c.Flags().StringVar(&o.mfaSerial, "mfa-serial", "", "`ARN` of the MFA device, for the config file")
	c.RunE = func(c *cobra.Command, args []string) error { return a.add(c.Context(), args[0], &o) }
	return c
}

func (a *app) add(ctx context.Context, profile string, o *addFlags) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	section, inConfig := config.Profile(profile)
	if source := section.Get("source_profile"); source != "" && source != profile {
		return fmt.Errorf("profile %q has a source_profile of %q, so a key of its own would not be used", profile, source)
	}
	s, err := a.store(ctx)
	if err != nil {
		return err
	}
	key, err := a.readKey(ctx, o)
	if err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return err
	}
	if !inConfig && o.addConfig && o.mfaSerial == "" && key.asked {
		o.mfaSerial, err = prompt.Line(ctx, "Enter MFA Device ARN (If MFA is not enabled, leave this blank): ")
		if err != nil {
			return err
		}
	}
	if o.mfaSerial != "" && !chain.IsMFASerial(o.mfaSerial) {
		return fmt.Errorf("%q is not the ARN or the serial number of an MFA device", o.mfaSerial)
	}
	if o.verify {
		if err := a.verify(ctx, config, profile, key.Credentials); err != nil {
			return err
		}
	}

	data, err := cred.Encode(key.Credentials)
	if err != nil {
		return err
	}
	defer clear(data)
	if err := s.Put(ctx, store.Key{Kind: store.AccessKey, Name: profile}, data); err != nil {
		return fmt.Errorf("storing the access key of %q: %w", profile, err)
	}
	fmt.Fprintf(a.Stdout, "Added credentials to profile %q in vault\n", profile)
	if err := a.forgetSessionsOf(s, profile); err != nil {
		return err
	}
	if inConfig || !o.addConfig {
		return nil
	}
	if err := a.addProfile(config, profile, o.mfaSerial); err != nil {
		return fmt.Errorf("adding profile %q to the config file (the key is stored): %w", profile, err)
	}
	return nil
}

// addProfile adds a profile to the config file, which it leaves otherwise as
// it is.
func (a *app) addProfile(config *awsconfig.File, profile, mfaSerial string) error {
	var settings []awsconfig.Setting
	if mfaSerial != "" {
		settings = append(settings, awsconfig.Setting{Name: "mfa_serial", Value: mfaSerial})
	}
	config, err := config.AddProfile(profile, settings...)
	if err != nil {
		return err
	}
	return writeConfig(config)
}

// An enteredKey is an access key and whether a person was asked for it.
type enteredKey struct {
	cred.Credentials
	asked bool
}

// readKey gets the access key from where the flags say or, if they don't, from
// a pipe or the terminal.
func (a *app) readKey(ctx context.Context, o *addFlags) (enteredKey, error) {
	switch {
	case o.env:
		key, err := a.keyFromEnv()
		return enteredKey{key, false}, err
	case o.csv != "":
		f, err := os.Open(o.csv)
		if err != nil {
			return enteredKey{}, err
		}
		defer f.Close()
		key, err := parseKey(o.csv, f)
		return enteredKey{key, false}, err
	case isPipe(a.Stdin):
		key, err := parseKey("standard input", a.Stdin)
		return enteredKey{key, false}, err
	}
	id, err := prompt.Line(ctx, "Enter Access Key ID: ")
	if err != nil {
		return enteredKey{}, err
	}
	if err := checkKeyID(id); err != nil {
		return enteredKey{}, err // before the secret is asked for
	}
	secret, err := prompt.Secret(ctx, "Enter Secret Access Key: ")
	if err != nil {
		return enteredKey{}, err
	}
	return enteredKey{cred.Credentials{AccessKeyID: id, SecretAccessKey: cred.NewSecret(secret)}, true}, nil
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
func checkKey(key enteredKey) error {
	if err := checkKeyID(key.AccessKeyID); err != nil {
		return err
	}
	return key.SecretAccessKey.CheckAccessKey()
}

// checkKeyID checks the shape of an access key ID: 16 to 128 letters, digits
// and underscores, of which the first four say what it is.
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
	case len(id) < 16 || len(id) > 128 || strings.TrimFunc(id, word) != "":
		// It may be the secret, pasted in the wrong place: it is not quoted.
		return errors.New("that is not an access key ID, which is 16 to 128 letters and digits such as AKIAIOSFODNN7EXAMPLE")
	}
	return nil
}

// verify asks STS whose key it is. A key that AWS refuses is not stored; that
// AWS can't be reached is no reason to lose what was typed.
func (a *app) verify(ctx context.Context, config *awsconfig.File, profile string, key cred.Credentials) error {
	client, call, err := a.stsFor(config, profile)
	if err != nil {
		return err
	}
	who, err := client.GetCallerIdentity(ctx, key, call)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Kind == awsapi.Unreachable {
		a.log.Warn("whose key it is could not be asked", "reason", err)
		return nil
	}
	if err != nil {
		return &refusedKeyError{err}
	}
	fmt.Fprintf(a.Stderr, "%s: the key belongs to %s\n", a.name, who.ARN)
	return nil
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
