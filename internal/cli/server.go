package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/deliver"
	"kura/internal/linklocal"
	"kura/internal/mfa"
	"kura/internal/mint"
	"kura/internal/onepassword"
	"kura/internal/peer"
	"kura/internal/prompt"
	"kura/internal/serve"
	"kura/internal/store"
)

// serverFlags are the flags of exec that have it serve credentials in place of
// putting them into the environment.
type serverFlags struct {
	container bool
	imds, ec2 bool
	v1        bool
	lazy      bool
	tokenFile bool
}

func (o *serverFlags) declare(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.container, "server", "s", false, "serve credentials to the command, as ECS does for containers, and renew them")
	fs.BoolVar(&o.container, "ecs-server", false, "--server, by aws-vault's name for it")
	fs.BoolVar(&o.imds, "imds", false, "serve as EC2's instance metadata service does, at an address of this machine")
	fs.BoolVar(&o.ec2, "ec2-server", false, "--imds at 169.254.169.254, for programs that know no other address; takes root's help (Linux)")
	fs.BoolVar(&o.v1, "imds-v1", false, "let programs do without the session tokens of IMDSv2")
	fs.BoolVar(&o.lazy, "lazy", false, "get the first credentials when somebody asks for them")
	fs.BoolVar(&o.tokenFile, "token-in-file", false, "give the command the server's token in a file, not in a variable")
}

func (o *serverFlags) any() bool { return o.container || o.imds || o.ec2 }

// check returns what can't go together.
func (o *serverFlags) check(m *mintFlags, asJSON bool) error {
	name := "--ecs-server"
	switch {
	case o.ec2:
		name = "--ec2-server"
	case o.imds:
		name = "--imds"
	}
	switch {
	case o.ec2 && o.container:
		return usagef("Can't use --ec2-server with --ecs-server")
	case o.imds && (o.container || o.ec2):
		return usagef("Can't use --imds with %s", map[bool]string{true: "--ec2-server", false: "--ecs-server"}[o.ec2])
	case o.any() && asJSON:
		return usagef("Can't use %s with --json", name)
	case o.any() && m.noSession:
		return usagef("Can't use %s with --no-session", name)
	case o.v1 && !o.imds && !o.ec2:
		return usagef("--imds-v1 goes with --imds or --ec2-server")
	case o.tokenFile && !o.container:
		return usagef("--token-in-file goes with --server")
	case o.lazy && !o.any():
		return usagef("--lazy goes with --server, --imds or --ec2-server")
	}
	return nil
}

// toWhom says which programs find what is served.
func (o *serverFlags) toWhom() string {
	switch {
	case o.ec2:
		return "at 169.254.169.254 to all programs of yours"
	case o.imds:
		return "to SDKs that know AWS_EC2_METADATA_SERVICE_ENDPOINT"
	}
	return "to SDKs that know AWS_CONTAINER_CREDENTIALS_FULL_URI"
}

const (
	// patience is how long a request waits for credentials that are being
	// minted: less than the second after which SDKs begin to ask again.
	patience = 900 * time.Millisecond

	// servedQuestion is how long a window asks. Nobody waits for the answer but
	// what is done in the background.
	servedQuestion = 12 * time.Hour

	// maxRoles is how many roles of one profile are kept at hand.
	maxRoles = 64
)

// execServed runs a command that fetches its credentials from this process, for
// as long as it runs.
func (a *app) execServed(ctx context.Context, profile string, argv []string, o *mintFlags, s *serverFlags) error {
	a.patient, a.accompanied = true, true
	argv, shell := a.commandOrShell(argv)
	c, m, err := a.plan(ctx, profile, o)
	if err != nil {
		return err
	}
	if err := deliver.Look(argv[0], a.Environ); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	k := a.keeper(m, c, make(chan struct{}, 1))
	if !s.container {
		forInstance(k)
	}
	if err := k.Start(ctx, s.lazy); err != nil {
		a.afterMint(ctx, m, c, err)
		return err
	}
	defer func() { stop(); k.Wait() }()
	a.serving.Store(true)
	a.used(profile)
	a.shareSessions()
	beSmall()
	dir := &runDir{a: a}
	defer dir.remove()
	server, err := a.startServer(ctx, k, dir, s)
	if err != nil {
		return err
	}
	defer server.close()
	if err := a.outrankDefault(dir, &server.told); err != nil {
		return err
	}
	if shell && a.wantsHelp() {
		fmt.Fprintf(a.Stderr, "Serving credentials %s\nStarting subshell %s, use `exit` to exit the subshell\n", s.toWhom(), argv[0])
	}
	env := deliver.Environ(a.Environ, deliver.Settings{
		Profile:   c.Profile,
		Region:    c.Region,
		Endpoints: c.Endpoints,
		CABundle:  c.CABundle,
		Server:    server.told,
	})
	status, err := deliver.Run(ctx, argv, env, a.restore)
	if err != nil {
		return err
	}
	return exitStatus(status)
}

// A server is one that runs, and what a command is told of it.
type server struct {
	told  deliver.Server
	close func()
}

// startServer starts the server that the flags say. Its requests are answered
// until ctx is done.
func (a *app) startServer(ctx context.Context, k *mint.Keeper, dir *runDir, s *serverFlags) (*server, error) {
	l, hosts, err := a.listenFor(ctx, s)
	if err != nil {
		return nil, err
	}
	out := &server{}
	url := "http://" + l.Addr().String()
	var h http.Handler
	serving, stop := context.WithCancel(ctx)
	rolesEnded := func() {}
	options := serve.Options{Admit: admit, Log: a.log}
	switch {
	case s.container:
		options.Admit = admitToken
		token := newToken()
		c := &serve.Container{Token: token, Hosts: hosts, Source: a.source(k), Log: a.log}
		c.Roles, rolesEnded = a.roles(serving, k)
		h = c
		out.told.Container, out.told.Token = url, token
		if s.tokenFile {
			if out.told.TokenFile, err = dir.file("token"); err == nil {
				err = deliver.WriteToken(out.told.TokenFile, token)
			}
		}
	case s.imds:
		out.told.Metadata = url + "/"
		fallthrough
	default:
		out.told.IsInstance = s.ec2
		options.HopLimit = 1
		h = &serve.IMDS{Hosts: hosts, Source: a.source(k), Region: k.Chain.Region, V1: s.v1, Log: a.log}
	}
	if err != nil {
		stop()
		l.Close()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := serve.Serve(serving, l, h, options); err != nil {
			a.log.Warn("the server of credentials has ended", "reason", err)
		}
	}()
	if l, ok := l.(*linklocal.Listener); ok {
		go func() {
			select {
			case <-l.Gone():
				a.log.Warn("the helper that keeps 169.254.169.254 has ended, and the address goes with it")
			case <-serving.Done():
			}
		}()
	}
	out.close = func() {
		stop()
		<-ended
		rolesEnded()
		l.Close() // that of EC2 has more to give back than a socket
	}
	return out, nil
}

// listenFor returns the listener of a server for one command, and by which
// values of the Host header it is reached.
func (a *app) listenFor(ctx context.Context, s *serverFlags) (net.Listener, []string, error) {
	if s.ec2 {
		l, err := linklocal.Listen(ctx, linklocal.Options{
			Environ: deliver.Scrub(a.Environ),
			Ask:     prompt.Works(),
			Stderr:  a.Stderr,
		})
		if err != nil {
			return nil, nil, err
		}
		return l, []string{"169.254.169.254", "169.254.169.254:80"}, nil
	}
	// By its number: SDKs refuse names, and older ones other numbers.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("serving credentials: %w", err)
	}
	return l, hostsOf(l), nil
}

// hostsOf returns the values of the Host header by which a listener is reached.
// The Common Runtime of AWS leaves out the port. No name of a web page is among
// them, which is what they are compared for.
func hostsOf(l net.Listener) []string {
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return []string{l.Addr().String()}
	}
	hosts := []string{addr.String(), strings.TrimSuffix(addr.String(), fmt.Sprintf(":%d", addr.Port))}
	if addr.IP.IsLoopback() {
		hosts = append(hosts, fmt.Sprintf("localhost:%d", addr.Port), "localhost")
	}
	return hosts
}

// newToken returns what requests for credentials have to bring.
func newToken() cred.Secret {
	var random [32]byte
	rand.Read(random[:])
	return cred.NewSecret(base64.RawURLEncoding.EncodeToString(random[:]))
}

// admit is for connections of the user whose credentials these are. Where the
// system does not tell who is at the other end, the token has to do.
func admit(c net.Conn) error {
	err := peer.SameUser(c)
	if errors.Is(err, peer.ErrUnsupported) {
		return nil
	}
	return err
}

// admitToken is admit for a server whose requests bring a token. Root may come
// too, as a container that shares this machine's network comes as root.
func admitToken(c net.Conn) error {
	err := admit(c)
	if e, ok := errors.AsType[*peer.OtherUserError](err); ok && e.UID == 0 {
		return nil
	}
	return err
}

// beSmall has this process, which lives long and does little, take little memory:
// what its start has taken is given back, code included, and what requests leave
// is cleaned up at once.
func beSmall() {
	debug.SetGCPercent(20)
	debug.FreeOSMemory()
	forgetPages()
}

// keeper returns what keeps the credentials of a chain at hand for a server. All
// that this process has share turn.
func (a *app) keeper(m *mint.Minter, c chain.Chain, turn chan struct{}) *mint.Keeper {
	m.Ahead = processAhead
	m.Waiting = nil // who waits for it is a program
	return &mint.Keeper{Minter: m, Chain: c, Patience: patience, Tell: a.tellOfServed, Refused: isRefusal, Turn: turn}
}

// instanceLeast is more than the ten minutes for which botocore goes on with what
// it has from the metadata service when that has less than 25 minutes left. See
// _evaluate_expiration in
// https://github.com/boto/botocore/blob/develop/botocore/utils.py
const instanceLeast = 11 * time.Minute

// forInstance has a Keeper serve what SDKs take for an instance of EC2.
func forInstance(k *mint.Keeper) {
	k.Least = instanceLeast
	k.Minter.Least = max(k.Minter.Least, instanceLeast)
}

// isRefusal reports whether an error is a person's no, or that they can't be
// asked: to try the same again, beside what they are doing, would be to ask for
// ever.
func isRefusal(err error) bool {
	switch onepassword.KindOf(err) {
	case onepassword.Dismissed, onepassword.Unanswered:
		return true
	}
	for _, no := range []error{store.ErrDenied, store.ErrLocked, prompt.ErrCanceled, prompt.ErrTaken, prompt.ErrNoTerminal} {
		if errors.Is(err, no) {
			return true
		}
	}
	return mint.IsCodeError(err)
}

// source returns what a server hands out of a Keeper.
func (a *app) source(k *mint.Keeper) serve.Source {
	return func(ctx context.Context) (cred.Credentials, error) {
		got, err := k.Credentials(ctx)
		if err != nil {
			return cred.Credentials{}, a.denial(k.Chain.Profile, err)
		}
		return got, nil
	}
}

// denial is what a client is told in place of credentials. The person may see it
// as the client's error, so it says what to type if that helps.
func (a *app) denial(profile string, err error) error {
	ended, ok := errors.AsType[*mint.EndedError](err)
	switch {
	case !ok:
		return &serve.Denial{Code: "CredentialsNotReady", Message: "the credentials are being fetched: try again in a moment"}
	case ended.Err == nil || isRefusal(ended.Err):
		return &serve.Denial{Code: "ExpiredCredentials", Message: oneLine(err.Error()) + "; " + a.renews(profile, ended.Expired)}
	}
	return &serve.Denial{Code: "CredentialsUnavailable", Message: oneLine(err.Error())}
}

// renews says what gives a server that needs one the session that takes the place
// of one which ends at a time. Before that it has to be said that the old one, as
// it is in the last minutes, does not do.
func (a *app) renews(profile string, expires time.Time) string {
	line := a.name + " exec " + shellWord(profile)
	if time.Now().Before(expires) {
		line += " --min-ttl 30m"
	}
	return fmt.Sprintf("%q, in any terminal, renews the session", line+" -- true")
}

// roles returns what serves the roles that can be assumed with the credentials
// of a Keeper, until ctx is done, and what waits for that to have ended then. It
// keeps those of maxRoles at hand.
func (a *app) roles(ctx context.Context, base *mint.Keeper) (source func(context.Context, string) (cred.Credentials, error), wait func()) {
	var mu sync.Mutex
	keepers := map[string]*mint.Keeper{}
	of := func(arn string) (*mint.Keeper, error) {
		mu.Lock()
		defer mu.Unlock()
		if k := keepers[arn]; k != nil {
			return k, nil
		}
		if len(keepers) == maxRoles {
			return nil, &serve.Denial{Code: "TooManyRoles", Message: fmt.Sprintf("no more than %d roles are served", maxRoles)}
		}
		c, err := base.Chain.Assume(arn, a.user())
		if err != nil {
			return nil, &serve.Denial{Code: "InvalidRole", Message: "that is not the ARN of a role"}
		}
		k := base.For(c) // it is the client that hears of what becomes of it
		if err := k.Start(ctx, true); err != nil {
			return nil, err
		}
		keepers[arn] = k
		return k, nil
	}
	source = func(ctx context.Context, arn string) (cred.Credentials, error) {
		k, err := of(arn)
		if err != nil {
			return cred.Credentials{}, err
		}
		return a.source(k)(ctx)
	}
	wait = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range keepers {
			k.Wait()
		}
	}
	return source, wait
}

// ownSource are the settings that make a [default] profile have credentials of
// its own.
var ownSource = []string{
	"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "credential_process", "credential_source", "login_session",
	"role_arn", "source_profile", "sso_account_id", "sso_role_name", "sso_session", "sso_start_url", "web_identity_token_file",
}

// outrankDefault keeps a [default] profile with credentials of its own from
// coming before the server, as it does in every SDK. The command gets a copy of
// the config file without them, and no credentials file if that has such a
// profile: a copy of it would be one of secrets.
func (a *app) outrankDefault(dir *runDir, told *deliver.Server) error {
	without, err := withoutSource(a.global.config)
	if err != nil {
		return err
	}
	if without != a.global.config {
		if told.ConfigFile, err = dir.file("config"); err != nil {
			return err
		}
		if err := os.WriteFile(told.ConfigFile, without.Bytes(), 0o600); err != nil {
			return err
		}
	}
	credentials, err := a.credentialsFile()
	if err != nil {
		return err
	}
	without, err = withoutSource(credentials)
	if err != nil || without == credentials {
		return err
	}
	if told.CredentialsFile, err = dir.file("credentials"); err != nil {
		return err
	}
	a.log.Warn(fmt.Sprintf("the command does not see %s, whose [default] would come before the credentials of this profile", credentials.Name()))
	return os.WriteFile(told.CredentialsFile, nil, 0o600)
}

// withoutSource returns f with nothing in [default] that makes it have
// credentials, or f itself.
func withoutSource(f *awsconfig.File) (*awsconfig.File, error) {
	section, _ := f.Profile("default")
	for _, name := range section.Names() {
		if !slices.Contains(ownSource, name) {
			continue
		}
		var err error
		if f, err = f.Unset("default", name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// tellOfServed tells the person what has become of what is served: on the
// terminal and, as that may be out of sight, on the desktop. A terminal that
// shows another program's screen is left alone if there is a desktop.
func (a *app) tellOfServed(n mint.Notice) {
	at, text := n.Expires.Local().Format("15:04"), ""
	// There is neither a terminal to ask on nor a window.
	unasked := a.codesHere && !a.hasTerminal() && a.windowName(false) == ""
	switch n.Kind {
	case mint.CodeSoon:
		text = fmt.Sprintf("the session of %q ends at %s: in 5 minutes you will be asked for an MFA code", n.Profile, at)
		if unasked {
			text = fmt.Sprintf("the session of %q ends at %s; %s", n.Profile, at, a.renews(n.Profile, n.Expires))
		}
	case mint.CodeNow:
		if unasked {
			return // NotRenewed is next
		}
		text = fmt.Sprintf("the session of %q ends at %s, and takes an MFA code of %s", n.Profile, at, n.Serial)
		if n.Expires.IsZero() {
			text = fmt.Sprintf("a session of %q takes an MFA code of %s", n.Profile, n.Serial)
		}
	case mint.NotRenewed:
		text = fmt.Sprintf("the session of %q, which ends at %s, is not renewed: %v", n.Profile, at, n.Err)
		if n.Expires.IsZero() {
			text = fmt.Sprintf("there is no session of %q: %v", n.Profile, n.Err)
		}
		if isRefusal(n.Err) {
			text += "; " + a.renews(n.Profile, n.Expires)
		}
	case mint.Ended:
		text = fmt.Sprintf("the session of %q has ended; %s", n.Profile, a.renews(n.Profile, n.Expires))
	case mint.Renewed:
		text = fmt.Sprintf("the session of %q is renewed, until %s", n.Profile, at)
	}
	shown := n.Kind != mint.Renewed && mfa.Notify(a.ctx, deliver.Scrub(a.Environ), a.display(), text)
	if !shown || prompt.Free() {
		a.say(text)
	}
}
