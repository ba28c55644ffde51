package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/doctor"
	"kura/internal/foreign"
	"kura/internal/mint"
	"kura/internal/prompt"
	"kura/internal/setup"
	"kura/internal/shell"
)

// setupFlags are the flags of setup and of what is below it.
type setupFlags struct {
	yes       bool
	mfaSerial string
	region    string

	account, vault, item string // of 1Password
	shareSession         bool
	shareSessionGiven    bool
}

func (o *setupFlags) declare(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.yes, "yes", "y", false, "change the config file without asking")
	fs.StringVar(&o.mfaSerial, "mfa-serial", "", "`ARN` of the MFA device, for the config file")
	fs.StringVar(&o.region, "region", "", "the AWS `region`")
}

func setupCommand(a *app) *cobra.Command {
	var o setupFlags
	c := &cobra.Command{
		Use:   "setup [PROFILE]",
		Short: "let the AWS CLI, SDKs and awsume have a profile's credentials",
		Long: `Setup makes all that reads ~/.aws/config get the credentials of PROFILE from
kura: the AWS CLI, SDKs, Terraform, awsume. Without PROFILE it is "default",
the one that these use when they are not told another. Role profiles that name
it as their source_profile then work too.

If there is no access key of PROFILE it is asked for and stored, as by add. For
a key in 1Password there is "setup 1password".

Setup shows how it will change the config file, and asks. Then it proves that
the profile works: it gets a session, and asks STS whose that is. Only then it
writes the file, in which all else stays as it is, and runs the
credential_process as an SDK would. Ctrl-C at any question leaves the file
alone. A profile that is set up already is only tried.

Some programs split a credential_process at blanks and some give it to a shell,
so neither the path of kura nor the name of the profile may have signs that
mean something there. If the path has, a link to it is offered. A profile that
is called 1password is set up by "setup -- 1password".

For scripts there is --yes, which asks nothing where all is known. The key can
be piped in then.`,
		Example: `  kura setup
  kura setup work --backend pass
  kura setup work --yes --mfa-serial arn:aws:iam::111122223333:mfa/ann`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := a.beginSetup(c, args, &o)
		if err != nil {
			return err
		}
		return a.setupKey(c.Context(), s)
	}
	c.AddCommand(setup1PasswordCommand(a))
	return c
}

// A settingUp is a profile that is being set up.
type settingUp struct {
	*setupFlags
	config  *awsconfig.File // as it was read
	profile setup.Profile   // as it is to be
	path    string          // of this program, if profile.Program is to be a link to it
}

// beginSetup finds out whether a profile can be set up at all.
func (a *app) beginSetup(c *cobra.Command, args []string, o *setupFlags) (*settingUp, error) {
	ctx := c.Context()
	s := &settingUp{setupFlags: o}
	s.profile.Name, s.profile.Region = "default", o.region
	if len(args) > 0 {
		s.profile.Name = args[0]
	}
	if err := a.saidInVain(c.Root().PersistentFlags()); err != nil {
		return nil, err
	}
	if o.mfaSerial != "" && !chain.IsMFASerial(o.mfaSerial) {
		return nil, &serialError{o.mfaSerial}
	}
	var err error
	if s.config, err = a.config(); err != nil {
		return nil, err
	}
	if err := setup.Check(s.config, s.profile.Name); err != nil {
		return nil, err
	}
	if !o.yes && !prompt.Works() {
		return nil, &unaskedError{"change the config file without a question by --yes", prompt.ErrNoTerminal}
	}
	return s, a.choosePlace(ctx, s)
}

// saidInVain returns an error about a flag on the command line that would not be
// there when an SDK runs the credential_process.
func (a *app) saidInVain(flags *pflag.FlagSet) error {
	var vain error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "backend" && strings.TrimPrefix(f.Name, "no-") != "debug" {
			vain = usagef("--%s is for this command alone, and the config file has no place for it: set it in %s, or by --backend NAME:key=value", f.Name, a.settingsFile())
		}
	})
	if a.global.backendForAll {
		s, err := parseSpec(a.backends(), a.global.backend)
		if err != nil {
			return &backendError{"--backend", err}
		}
		if dir := s.settings["dir"]; dir != "" && !filepath.IsAbs(a.expandHome(dir)) {
			return usagef("--backend %s: programs run anywhere, so the directory must be written in full", s.text)
		}
	}
	return vain
}

// An unaskedError says that a question could not be asked.
type unaskedError struct {
	instead string // what does without the question
	err     error
}

func (e *unaskedError) Error() string { return e.err.Error() }
func (e *unaskedError) Unwrap() error { return e.err }

// choosePlace chooses the path by which programs will run this one: that by
// which it was called. A link is not followed, as those of package managers lead
// to the new version after an update.
func (a *app) choosePlace(ctx context.Context, s *settingUp) error {
	path, err := exec.LookPath(a.argv0)
	if err != nil {
		path, err = os.Executable() // whoever called it has named it otherwise
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("where this program is: %w", err)
	}
	if setup.IsTemporary(path, os.TempDir()) {
		a.log.Warn(fmt.Sprintf("%s is a temporary place: when it is gone, nothing gets credentials any more", path))
	}
	s.profile.Program = setup.Place(path, a.home())
	if s.profile.Program == path {
		return nil
	}
	link := s.profile.Program
	if link == "" || runtime.GOOS == "windows" { // where a link takes an administrator
		return &placeOfProgramError{path}
	}
	if isSameFile(link, path) {
		return nil
	}
	if _, err := os.Lstat(link); err == nil {
		return &linkTakenError{link}
	}
	if !s.yes {
		yes, err := prompt.Confirm(ctx, fmt.Sprintf("Programs that split a line at blanks can't run %s.\nMake a link to it, %s? [y/N] ", path, link))
		if err != nil {
			return err
		}
		if !yes {
			return &placeOfProgramError{path}
		}
	}
	s.path = path
	return nil
}

func isSameFile(one, other string) bool {
	a, errA := os.Stat(one)
	b, errB := os.Stat(other)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// A placeOfProgramError says that no command line can be written with the path
// of this program that all programs read alike.
type placeOfProgramError struct{ path string }

func (e *placeOfProgramError) Error() string {
	return fmt.Sprintf("the path %s can't stand in a credential_process, which some programs split at blanks and others give to a shell", e.path)
}

// A linkTakenError says that another file has the name that a link was to have.
type linkTakenError struct{ link string }

func (e *linkTakenError) Error() string { return e.link + " is there, and is another program" }

// setupKey sets a profile up whose key is in a store, or is to be.
func (a *app) setupKey(ctx context.Context, s *settingUp) error {
	name := s.profile.Name
	if a.global.backendForAll {
		s.profile.Backend = a.global.backend
	}
	has, err := a.stored(ctx, s.config, name)
	if err != nil {
		return err
	}
	if !has {
		if !prompt.Works() && !isPipe(a.Stdin) {
			return &mint.NoKeyError{Name: name}
		}
		if err := a.tellOfPlainKey(s); err != nil {
			return err
		}
		if err := a.add(ctx, name, &addFlags{verify: true}); err != nil {
			return err
		}
	}
	s.profile.MFASerial = s.mfaSerial
	section, _ := s.config.Profile(name)
	isNew := !setup.Asks(s.config, name, s.profile.Program)
	if s.mfaSerial == "" && section.Get("mfa_serial") == "" && isNew && !s.yes {
		if s.profile.MFASerial, err = askSerial(ctx); err != nil {
			return err
		}
	}
	return a.finishSetup(ctx, s)
}

// tellOfPlainKey says where the access key stands that is going to be asked for,
// if it does.
func (a *app) tellOfPlainKey(s *settingUp) error {
	credentials, err := a.credentialsFile()
	if err != nil {
		return err
	}
	for _, item := range slices.Concat(foreign.FromFile(credentials), foreign.FromFile(s.config)) {
		if item.Name == s.profile.Name && item.Err == nil && item.Key.LongTerm() {
			a.tell(fmt.Sprintf("%s has an access key of profile %q", item.Note, item.Name),
				fmt.Sprintf(`"@kura import credentials --strip %s" brings it into the store, so that it need not be typed`, shellWord(item.Name)))
		}
	}
	return nil
}

// finishSetup shows what is to be changed, proves that it works, changes it and
// tries it.
func (a *app) finishSetup(ctx context.Context, s *settingUp) error {
	defer a.shareSessions() // that of the proof, where sessions are shared
	name := s.profile.Name
	after, err := s.profile.Edit(s.config)
	if err != nil {
		return err
	}
	if err := a.pointOut(s, after); err != nil {
		return err
	}
	if after == s.config {
		fmt.Fprintf(a.Stdout, "Profile %q is set up: there is nothing to change in %s.\n", name, after.Name())
	} else {
		a.showChange(s.config, after)
		if !s.yes {
			yes, err := prompt.Confirm(ctx, fmt.Sprintf("Write this to %s? [y/N] ", after.Name()))
			if err != nil {
				return err
			}
			if !yes {
				a.tell("nothing was written to " + after.Name())
				return nil
			}
		}
		if err := a.prove(ctx, after, name); err != nil {
			return &unprovenError{after.Name(), err}
		}
	}
	if s.path != "" {
		if err := makeLink(s.path, s.profile.Program); err != nil {
			return err
		}
		fmt.Fprintf(a.Stdout, "Made the link %s.\n", s.profile.Program)
	}
	if after != s.config {
		if err := a.replaceConfig(ctx, s.config, after); err != nil {
			return err
		}
		fmt.Fprintf(a.Stdout, "Profile %q is set up in %s.\n", name, after.Name())
	}
	took, err := a.tryLine(ctx, s.profile.Line())
	if err != nil {
		return &tryError{s.profile.Line(), err}
	}
	fmt.Fprintf(a.Stdout, "Its credential_process works, and took %s.\n", took)
	a.sayNext(after, name)
	return nil
}

// pointOut says what is not as it may be meant, or not as others want it.
func (a *app) pointOut(s *settingUp, after *awsconfig.File) error {
	name := s.profile.Name
	section, _ := s.config.Profile(name)
	if section.Get("credential_process") != "" && !setup.Asks(s.config, name, s.profile.Program) {
		a.tell(fmt.Sprintf("the credential_process of profile %q runs another program now, and is replaced", name))
	}
	c, err := a.chainFromKey(after, name)
	if err != nil {
		return err
	}
	a.global.config = after
	if _, serial := mfaDevice(c); serial == "" {
		a.tell(fmt.Sprintf("no MFA device is named: the sessions of %q will be without MFA", name))
	} else if source, err := a.promptOf(c); err == nil && source.name == "terminal" {
		a.tell(fmt.Sprintf("the token codes of %s will be asked for", serial))
	}

	credentials, err := a.credentialsFile()
	if err != nil {
		return err
	}
	d := a.examined(name, after, credentials)
	d.Stored = func(of string) (has, known bool) { return of == name, of == name }
	d.LookPath = func(program string) (string, error) {
		if program == s.profile.Program {
			return program, nil // or it will be there
		}
		return exec.LookPath(program)
	}
	for _, f := range doctor.Sorted(append(d.Examine(), d.Roles(name)...)) {
		if f.Level == doctor.Note || f.Where == "AWS_CONFIG_FILE" { // which is made now
			continue
		}
		text := fmt.Sprintf("%s: %s", f.Level, f.What)
		if f.Where != "" {
			text += " (" + f.Where + ")"
		}
		a.tell(text, f.Fix)
	}
	return nil
}

// showChange prints the difference between two versions of the config file.
func (a *app) showChange(before, after *awsconfig.File) {
	paint := func(_, line string) string { return line }
	if out, ok := a.Stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) && a.Getenv("NO_COLOR") == "" {
		paint = func(colour, line string) string { return "\x1b[" + colour + "m" + line + "\x1b[m" }
	}
	const bold, red, green, cyan = "1", "31", "32", "36"
	for _, line := range setup.Diff(before, after) {
		switch {
		case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
			line = paint(bold, line)
		case line[0] == '-':
			line = paint(red, line)
		case line[0] == '+':
			line = paint(green, line)
		case line[0] == '@':
			line = paint(cyan, line)
		}
		fmt.Fprintln(a.Stdout, line)
	}
}

// prove gets credentials of a profile as a config file has it, and asks STS whose
// they are.
func (a *app) prove(ctx context.Context, config *awsconfig.File, profile string) error {
	c, m, err := a.planIn(ctx, config, profile, &mintFlags{})
	if err != nil {
		return err
	}
	credentials, err := a.mint(ctx, m, c)
	if err != nil {
		return err
	}
	client, call, err := a.stsFor(config, profile)
	if err != nil {
		return err
	}
	who, err := client.GetCallerIdentity(ctx, credentials, call)
	if err != nil {
		return err
	}
	a.tell(fmt.Sprintf("the credentials are those of %s", who.ARN))
	return nil
}

// An unprovenError says that the config file is as it was, as what was to be
// written to it does not work.
type unprovenError struct {
	file string
	err  error
}

func (e *unprovenError) Error() string {
	return fmt.Sprintf("nothing is written to %s, as it would not work: %v", e.file, e.err)
}
func (e *unprovenError) Unwrap() error { return e.err }

func makeLink(path, link string) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	return os.Symlink(path, link)
}

// replaceConfig writes a new version of the config file, unless somebody else has
// written one meanwhile.
func (a *app) replaceConfig(ctx context.Context, before, after *awsconfig.File) error {
	defer a.lockConfig(ctx)()
	now, err := a.config()
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Bytes(), before.Bytes()) {
		return &changedError{now.Name()}
	}
	return writeConfig(after)
}

// A changedError says that a file was changed by somebody else.
type changedError struct{ name string }

func (e *changedError) Error() string {
	return e.name + " was changed by somebody else meanwhile; nothing was written to it"
}

// tryLine runs a credential_process as most SDKs do, and returns how long it
// took.
func (a *app) tryLine(ctx context.Context, line string) (time.Duration, error) {
	run := shell.Command{
		Line:      line,
		Environ:   deliver.Scrub(a.Environ),
		Stderr:    a.Stderr,
		Timeout:   processTimeout + 10*time.Second,
		MaxOutput: 1 << 20,
	}
	began := time.Now()
	out, err := run.Output(ctx)
	took := time.Since(began)
	defer clear(out)
	if err != nil {
		return 0, err
	}
	return took.Round(time.Millisecond), checkOutput(out)
}

// checkOutput returns an error unless a credential_process has printed session
// credentials that all SDKs take.
func checkOutput(out []byte) error {
	var got struct {
		Version                                    int
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
	}
	switch {
	case json.Unmarshal(out, &got) != nil: // its error could quote a secret
		return errors.New("what it prints is not the JSON that SDKs read")
	case got.Version != 1, got.AccessKeyId == "", got.SecretAccessKey == "", got.SessionToken == "", got.Expiration.IsZero():
		return errors.New("the JSON that it prints lacks something that SDKs read")
	}
	return nil
}

// A tryError says that a credential_process that was set up does not work.
type tryError struct {
	line string
	err  error
}

func (e *tryError) Error() string {
	return fmt.Sprintf("the credential_process is set up, but does not work: %v", e.err)
}
func (e *tryError) Unwrap() error { return e.err }

// sayNext says what to type now.
func (a *app) sayNext(config *awsconfig.File, profile string) {
	option := ""
	if profile != "default" {
		option = " --profile " + shellWord(profile)
	}
	section, _ := config.Profile(profile)
	if section.Get("region") == "" && a.Getenv("AWS_REGION") == "" && a.Getenv("AWS_DEFAULT_REGION") == "" {
		option += " --region us-east-1" // which a person replaces, and the AWS CLI asks for
	}
	fmt.Fprintf(a.Stdout, "\nNext, in any terminal:\n  aws sts get-caller-identity%s\n", option)
	const most = 3
	n := 0
	for _, name := range config.Profiles() {
		section, _ := config.Profile(name)
		if section.Get("role_arn") == "" || section.Get("source_profile") != profile {
			continue
		}
		if n++; n <= most {
			fmt.Fprintf(a.Stdout, "  awsume %s\n", shellWord(name))
		}
	}
	if n > most {
		fmt.Fprintf(a.Stdout, "  ... and %d more\n", n-most)
	}
}
