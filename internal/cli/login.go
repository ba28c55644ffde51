package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/console"
	"kura/internal/cred"
	"kura/internal/deliver"
	"kura/internal/peer"
	"kura/internal/prompt"
)

// loginFlags are the flags of login.
type loginFlags struct {
	mint       mintFlags
	path       string
	autoLogout bool
	browser    console.Browser

	stdout, clipboard, qr bool // where the URL goes in place of a browser
}

func loginCommand(a *app) *cobra.Command {
	var o loginFlags
	c := &cobra.Command{
		Use:   "login [PROFILE] [SERVICE]",
		Short: "open the AWS console in a browser, signed in",
		Long: `Login opens the AWS console in a browser, signed in as what PROFILE leads to:
the role, or the user whose access key it is. Without PROFILE it takes that of
AWS_PROFILE; failing that, the credentials in the environment; and where there
are none, what you choose on the terminal.

SERVICE is a page of the console by a short name such as s3, ec2 or logs; the
shell completes them. --path takes any other.

The sign-in URL is as good as the credentials for 15 minutes. It is in no
argument list: the browser is given the address of a page of this machine, which
sends it there once. Kura ends as soon as the browser has come.

The browser is that of --browser; of kura_browser in the profile; of BROWSER; or
the one that the system has for web pages. Profiles may also have kura_container
and kura_browser_profile, so that each AWS account has its own.`,
		Example: `  kura login dev
  kura login dev s3 --region eu-west-1
  kura login dev --container work
  kura login dev --stdout`,
		Args:              atMost(2),
		ValidArgsFunction: a.completeLogin,
	}
	o.declare(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		to, err := o.destination(c.Flags())
		if err != nil {
			return err
		}
		if len(args) > 1 {
			if o.path, err = pathOfService(args[1], o.path); err != nil {
				return err
			}
		}
		profile, err := a.loginProfile(c.Context(), args)
		if err != nil {
			return err
		}
		return a.login(c.Context(), profile, to, &o)
	}
	return c
}

func (o *loginFlags) declare(fs *pflag.FlagSet) {
	o.mint.declare(fs)
	fs.StringVar(&o.path, "path", "", "the `page` of the console, as what stands after the host in its URL")
	fs.BoolVarP(&o.stdout, "stdout", "s", false, "print the sign-in URL in place of opening a browser")
	fs.BoolVar(&o.clipboard, "clipboard", false, "copy the sign-in URL in place of opening a browser")
	fs.BoolVar(&o.qr, "qr", false, "draw the sign-in URL as a QR code in place of opening a browser")
	fs.StringVar(&o.browser.Command, "browser", "", "`program` to open, with arguments if need be and %s for the URL; or one of "+strings.Join(console.KnownBrowsers(), ", "))
	fs.StringVar(&o.browser.Container, "container", "", "`name` of the Firefox container to open; takes an extension")
	fs.StringVar(&o.browser.Profile, "browser-profile", "", "`name` of the browser's profile to open, such as \"Profile 1\"")
	fs.BoolVarP(&o.autoLogout, "auto-logout", "a", false, "sign the browser out first")
	fromEnv(fs, "stdout", "AWS_VAULT_STDOUT")
	fromEnv(fs, "browser")
	fromEnv(fs, "auto-logout", "AWS_VAULT_AUTO_LOGOUT")
}

// destination returns the flag that says where the sign-in URL goes, or "" for a
// browser. What is said on the command line comes before AWS_VAULT_STDOUT.
func (o *loginFlags) destination(fs *pflag.FlagSet) (string, error) {
	var given []string
	for _, name := range []string{"stdout", "clipboard", "qr", "browser", "container", "browser-profile"} {
		if f := fs.Lookup(name); f.Changed && f.Value.String() != "false" {
			given = append(given, name)
		}
	}
	switch {
	case len(given) > 1 && slices.Contains([]string{"stdout", "clipboard", "qr"}, given[0]):
		return "", usagef("--%s and --%s: the sign-in URL goes to one of them", given[0], given[1])
	case len(given) > 0 && slices.Contains([]string{"stdout", "clipboard", "qr"}, given[0]):
		return given[0], nil
	case len(given) == 0 && o.stdout:
		return "stdout", nil
	}
	return "", nil
}

func pathOfService(name, path string) (string, error) {
	if path != "" {
		return "", usagef("--path and a service: the console shows one page")
	}
	path, ok := console.ServicePath(name)
	if !ok {
		return "", usagef("no service is called %q here; --path takes any page of the console", name)
	}
	return path, nil
}

// completeLogin completes the profile and the service.
func (a *app) completeLogin(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeProfiles(c, args, word)
	}
	var names []string
	for _, s := range console.Services() {
		if len(args) == 1 {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// loginProfile returns the profile to sign in with, or "" for the credentials in
// the environment.
func (a *app) loginProfile(ctx context.Context, args []string) (string, error) {
	profile := a.Getenv("AWS_PROFILE")
	if len(args) > 0 {
		profile = args[0]
	}
	if profile == "" && a.credentialsOfEnv().AccessKeyID == "" {
		return a.pickProfile(ctx, usagef("required argument %q not provided, AWS_PROFILE is not set, and there are no credentials in the environment", "profile"))
	}
	return profile, nil
}

// credentialsOfEnv returns the credentials in the environment by the names that
// the AWS SDK for Go knows; zero if there are none.
func (a *app) credentialsOfEnv() cred.Credentials {
	id := cmp.Or(a.Getenv("AWS_ACCESS_KEY_ID"), a.Getenv("AWS_ACCESS_KEY"))
	secret := cmp.Or(a.Getenv("AWS_SECRET_ACCESS_KEY"), a.Getenv("AWS_SECRET_KEY"))
	if id == "" || secret == "" {
		return cred.Credentials{}
	}
	return cred.Credentials{
		AccessKeyID:     id,
		SecretAccessKey: cred.NewSecret(secret),
		SessionToken:    cred.NewSecret(a.Getenv("AWS_SESSION_TOKEN")),
	}
}

func (a *app) login(ctx context.Context, profile, to string, o *loginFlags) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	// A browser that is not there is not worth a token code.
	var commands func(string) [][]string
	if to == "" {
		if commands, err = a.browserOf(config, profile, o.browser).Commands(a.desktop()); err != nil {
			return err
		}
	}
	in, err := a.consoleSession(ctx, config, profile, &o.mint)
	if err != nil {
		return err
	}
	site, err := a.siteOf(config, profile, in)
	if err != nil {
		return err
	}
	page, err := site.Destination(in.region, o.path)
	if err != nil {
		return err
	}
	token, err := a.signinToken(ctx, in, site)
	if err != nil {
		return err
	}
	url := site.SignIn(token, page)
	if profile != "" {
		a.used(profile)
	}
	a.shareSessions()
	if to == "" {
		return a.openConsole(ctx, url, site, commands, o.autoLogout)
	}
	if o.autoLogout {
		url = site.SignOutFirst(url)
	}
	return a.handOver(ctx, url, to)
}

// A consoleSession is what signs in to the console.
type consoleSession struct {
	credentials cred.Credentials
	region      string // that the console shows; "" for the one it has shown last
	partition   string
	client      *awsapi.Client

	// lasts is how long the console is to be open where that can be said, and
	// else 0: for as long as the credentials last.
	lasts time.Duration
}

// consoleSession returns what signs in to the console for a profile, or with the
// credentials in the environment if it has no name.
func (a *app) consoleSession(ctx context.Context, config *awsconfig.File, profile string, o *mintFlags) (consoleSession, error) {
	if profile == "" {
		c, err := chain.Resolve(config, "default", chain.Overrides{
			Region: o.region, Getenv: a.Getenv, Stored: func(string) bool { return true },
		})
		if err != nil {
			return consoleSession{}, err
		}
		in, err := a.asCaller(ctx, c, a.credentialsOfEnv(), o)
		if err != nil {
			err = &environmentError{err}
		}
		return in, err
	}
	c, m, err := a.planIn(ctx, config, profile, o)
	if err == nil && len(c.Steps) > 0 && c.Steps[len(c.Steps)-1].SessionToken != nil {
		// The user itself is to sign in. AWS makes a session for that from the
		// access key alone, not from another session.
		without := *o
		without.noSession = true
		c, m, err = a.planIn(ctx, config, profile, &without)
	}
	if err != nil {
		return consoleSession{}, err
	}
	lasts := consoleDuration(c)
	if lasts == 0 {
		m.Ahead = loginAhead
	}
	credentials, err := a.mint(ctx, m, c)
	if err != nil {
		return consoleSession{}, err
	}
	in := consoleSession{credentials: credentials, region: c.Region, client: m.AWS, lasts: lasts}
	switch n := len(c.Steps); {
	case n > 0:
		in.partition = c.Steps[n-1].AssumeRole.Partition
	case c.Source.WebIdentity != nil:
		in.partition = c.Source.WebIdentity.Partition
	case c.Source.SSO != nil:
		in.partition = chain.RegionPartition(c.Source.SSO.Region)
	default:
		return a.asCaller(ctx, c, credentials, o)
	}
	return in, nil
}

// loginAhead is what must be left of a cached session that the console lasts no
// longer than. One that ends sooner is renewed, unless that takes somebody to type
// a code.
const loginAhead = 30 * time.Minute

// consoleDuration returns how long the console is to be open for the credentials
// that a chain leads to, 0 if AWS is not to be told: it takes that for a role that
// is assumed with an access key, or with no credentials, and from nowhere else.
func consoleDuration(c chain.Chain) time.Duration {
	switch {
	case len(c.Steps) == 1 && c.Source.Stored != nil && c.Steps[0].AssumeRole != nil:
		return c.Steps[0].AssumeRole.Duration
	case len(c.Steps) == 0 && c.Source.WebIdentity != nil:
		return c.Source.WebIdentity.Duration
	}
	return 0
}

// An environmentError is about the credentials in the environment.
type environmentError struct{ err error }

func (e *environmentError) Error() string {
	return "the credentials in the environment: " + e.err.Error()
}
func (e *environmentError) Unwrap() error { return e.err }

// A notUserError says that an access key is not that of a user.
type notUserError struct{ arn string }

func (e *notUserError) Error() string {
	return fmt.Sprintf("the access key is that of %s, which is no user: nobody is signed in with it", e.arn)
}

// allowAll is the policy of a session of GetFederationToken, which may do what
// both the policy and the user may.
const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// asCaller returns what signs in with credentials of which AWS alone knows whose
// they are.
func (a *app) asCaller(ctx context.Context, c chain.Chain, credentials cred.Credentials, o *mintFlags) (consoleSession, error) {
	in := consoleSession{credentials: credentials, region: c.Region, client: a.aws(c.CABundle)}
	who, err := in.client.GetCallerIdentity(ctx, credentials, c.STS)
	if err != nil {
		return in, err
	}
	in.partition = who.Partition()
	if !credentials.SessionToken.IsZero() {
		return in, nil
	}
	f := awsapi.FederationToken{Call: c.STS, Policy: allowAll}
	f.Partition = in.partition
	if f.Name, err = federatedName(who); err != nil {
		return in, err
	}
	if f.Duration, err = a.federationDuration(o); err != nil {
		return in, err
	}
	in.credentials, err = in.client.GetFederationToken(ctx, credentials, f)
	return in, err
}

// federatedName returns the name of a user in the 2 to 32 characters that
// GetFederationToken takes. The error is a *notUserError.
func federatedName(who awsapi.Identity) (string, error) {
	name, ok := who.UserName()
	if !ok || name == "" {
		return "", &notUserError{who.ARN}
	}
	if len(name) < 2 {
		name = "user-" + name
	}
	return name[:min(32, len(name))], nil
}

// federationDuration returns how long a session of GetFederationToken is to last.
func (a *app) federationDuration(o *mintFlags) (time.Duration, error) {
	const least, most = 15 * time.Minute, 36 * time.Hour // AWS's
	d, from := o.duration, "--duration"
	if text := a.Getenv("AWS_FEDERATION_TOKEN_TTL"); d == 0 && text != "" {
		from = "AWS_FEDERATION_TOKEN_TTL"
		var err error
		if d, err = chain.ParseDuration(text); err != nil {
			return 0, &chain.SettingError{Setting: from, Value: text, Msg: err.Error()}
		}
	}
	d = cmp.Or(d, time.Hour)
	if d < least || d > most {
		return 0, &chain.SettingError{Setting: from, Value: d.String(), Msg: "GetFederationToken takes 15m to 36h"}
	}
	return d, nil
}

// A regionError says that the console of a region is another partition's.
type regionError struct{ region, partition string }

func (e *regionError) Error() string {
	return fmt.Sprintf("the region %q is not one of the partition %q, which the credentials are of", e.region, e.partition)
}

// siteOf returns the console that a session is for, at the endpoint that is
// configured for the service Signin, if one is.
func (a *app) siteOf(config *awsconfig.File, profile string, in consoleSession) (console.Site, error) {
	partition := cmp.Or(in.partition, "aws")
	site, err := console.SiteOf(partition)
	if err != nil {
		return console.Site{}, err
	}
	if in.region != "" && chain.RegionPartition(in.region) != partition {
		return console.Site{}, &regionError{in.region, partition}
	}
	endpoint, err := chain.Endpoint(config, cmp.Or(profile, "default"), chain.Overrides{Getenv: a.Getenv}, "signin")
	if err != nil || endpoint == "" {
		return site, err
	}
	return site.At(endpoint), nil
}

// signinToken returns a sign-in token. That AWS documents a duration for the
// credentials does not mean that it takes it, and a shorter session is better than
// none.
func (a *app) signinToken(ctx context.Context, in consoleSession, site console.Site) (cred.Secret, error) {
	token, err := in.client.SigninToken(ctx, in.credentials, site.Federation, in.lasts)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Kind == awsapi.Denied && in.lasts > 0 {
		if token, err = in.client.SigninToken(ctx, in.credentials, site.Federation, 0); err == nil {
			left := time.Until(in.credentials.Expires).Round(time.Minute)
			a.log.Warn(fmt.Sprintf("AWS takes no duration for the console here: it is open for %s, as long as the credentials last", left))
		}
	}
	return token, err
}

// browserOf returns the browser to use: what was given for this call comes before
// what the profile says. A container or a profile of its browser is of no use in
// another.
func (a *app) browserOf(config *awsconfig.File, profile string, given console.Browser) console.Browser {
	if given.Command != "" {
		return given
	}
	section, _ := config.Profile(profile)
	return console.Browser{
		Command:   section.Get("kura_browser"),
		Container: cmp.Or(given.Container, section.Get("kura_container")),
		Profile:   cmp.Or(given.Profile, section.Get("kura_browser_profile")),
	}
}

// desktop is where browsers and clipboards are looked for. They get none of the
// credentials in this process's environment.
func (a *app) desktop() console.System {
	display := a.display() || a.Getenv("WSL_DISTRO_NAME") != ""
	return console.System{OS: runtime.GOOS, Environ: deliver.Scrub(a.Environ), Display: display}
}

const (
	// browserTimeout is how long a browser may take to come, which may have to be
	// started and to be told which profile to use.
	browserTimeout = time.Minute

	// waitingAfter is when the person is told what is being waited for.
	waitingAfter = 5 * time.Second

	// logoutTime is how long a browser is given to sign out, which can't be seen
	// from here.
	logoutTime = 2 * time.Second
)

// openConsole opens a browser. To sign out and in by one URL does not work where
// the console has several sessions (see console.Site.SignOutFirst), so that is two
// pages, each of which the browser goes to as if its address had been typed: then
// the second works whatever has become of the first.
func (a *app) openConsole(ctx context.Context, url cred.Secret, site console.Site, commands func(string) [][]string, signOut bool) error {
	opener := &console.Opener{
		Commands: commands,
		Environ:  deliver.Scrub(a.Environ),
		Lift:     a.restore,
		Timeout:  browserTimeout,
		Admit:    a.admitBrowser,
		Log:      a.log,
	}
	waiting := time.AfterFunc(waitingAfter, func() { a.say("waiting for the browser") })
	defer waiting.Stop()
	if signOut {
		if err := opener.Open(ctx, cred.NewSecret(site.Logout)); err != nil {
			return err
		}
		select {
		case <-time.After(logoutTime):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return opener.Open(ctx, url)
}

// admitBrowser is admitToken, the path of the page being the token. In WSL it may
// be a browser of Windows that comes, whose processes are not known here.
func (a *app) admitBrowser(c net.Conn) error {
	err := admitToken(c)
	if errors.Is(err, peer.ErrUnknown) && a.Getenv("WSL_DISTRO_NAME") != "" {
		return nil
	}
	return err
}

// handOver gives the sign-in URL to the person.
func (a *app) handOver(ctx context.Context, url cred.Secret, to string) error {
	switch to {
	case "clipboard":
		var terminal io.Writer
		if in, out, err := prompt.Files(); err == nil {
			defer in.Close()
			defer out.Close()
			terminal = out
		}
		remote := a.Getenv("SSH_CONNECTION") != "" || a.Getenv("SSH_TTY") != ""
		by, err := a.desktop().Copy(ctx, url, remote, terminal)
		if err != nil {
			return err
		}
		done := fmt.Sprintf("the sign-in URL is in the clipboard (%s)", by)
		if by == "" {
			done = "the terminal was asked to copy the sign-in URL, and some can't"
		}
		a.tell(done + "; whoever has it can sign in, for 15 minutes")
		return nil
	case "qr":
		columns, rows := 0, 0
		if out, ok := a.Stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
			columns, rows, _ = term.GetSize(int(out.Fd())) // unknown is as good as none
		}
		return console.PrintQR(a.Stdout, url, columns, rows)
	}
	return console.Print(a.Stdout, url)
}
