package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"kura/internal/deliver"
	"kura/internal/mint"
	"kura/internal/serve"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen    string
	imds, v1  bool
	lazy      bool
	tokenFile string
	print     string
}

// printed are the forms in which serve says how it is reached.
var printed = []string{"env", "docker", "compose", "devcontainer", "none"}

func serveCommand(a *app) *cobra.Command {
	var o mintFlags
	s := serveFlags{listen: "127.0.0.1:0", print: "env"}
	c := &cobra.Command{
		Use:   "serve PROFILE...",
		Short: "serve credentials to programs, and renew them",
		Long: `Serve hands out credentials of each PROFILE to AWS SDKs, as ECS does for
containers, until it is ended by Ctrl-C or SIGTERM. It says on standard output
what such a program has to have in its environment: an address with the name of
the profile at its end, and a file with a token that each request must bring.
Without a name at its end the address is that of the first profile, and with
role-arn/ARN that of a role that this one may assume.

With --imds it serves the first profile, and no other, as the instance metadata
service of EC2 does (IMDSv2). That protocol has no token to keep other programs
out, so it is for this machine alone, and for programs of yours.

Credentials are renewed ahead of the time at which SDKs ask for others. Who is
needed for that, to type an MFA code, is told five minutes before.

On systems with systemd, serve takes a socket that is handed to it.`,
		Example: `  kura serve dev
  kura serve dev prod --listen 127.0.0.1:9911 --print docker
  kura serve dev --imds`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("required argument %q not provided", "profile")
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return a.completeProfiles(c, nil, toComplete)
		},
	}
	o.declare(c.Flags())
	c.Flags().StringVar(&s.listen, "listen", s.listen, "`address` and port to serve at; port 0 is any that is free")
	c.Flags().BoolVar(&s.imds, "imds", false, "serve as EC2's instance metadata service does, at an address of this machine")
	c.Flags().BoolVar(&s.v1, "imds-v1", false, "let programs do without the session tokens of IMDSv2")
	c.Flags().BoolVar(&s.lazy, "lazy", false, "get the first credentials when somebody asks for them")
	c.Flags().StringVar(&s.tokenFile, "token-file", "", "`file` for the token, which is removed at the end (default: one in a directory of its own)")
	c.Flags().StringVar(&s.print, "print", s.print, "`form` in which it is said what programs need: "+strings.Join(printed, ", "))
	c.RunE = func(c *cobra.Command, args []string) error { return a.serve(c.Context(), args, &o, &s) }
	return c
}

func (s *serveFlags) check(profiles []string, o *mintFlags) error {
	switch {
	case !slices.Contains(printed, s.print):
		return usagef("--print must be one of %s, got %q", strings.Join(printed, ", "), s.print)
	case o.noSession:
		return usagef("Can't use --no-session here: access keys are not served")
	case s.imds && len(profiles) > 1:
		return usagef("--imds serves one profile")
	case s.imds && s.tokenFile != "":
		return usagef("--token-file: --imds has no token")
	case s.v1 && !s.imds:
		return usagef("--imds-v1 goes with --imds")
	}
	return nil
}

func (a *app) serve(ctx context.Context, profiles []string, o *mintFlags, s *serveFlags) error {
	if err := s.check(profiles, o); err != nil {
		return err
	}
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, ends...)
	defer stop()
	a.patient = true
	l, err := a.listen(ctx, s)
	if err != nil {
		return err
	}
	defer l.Close()
	served, err := a.startKeepers(ctx, profiles, o, s)
	if err != nil {
		return err
	}
	rolesEnded := func() {}
	defer func() {
		stop()
		rolesEnded()
		for _, k := range served {
			k.Wait()
		}
	}()
	a.serving.Store(true)
	a.shareSessions()
	beSmall()
	dir := &runDir{a: a}
	defer dir.remove()
	url := "http://" + l.Addr().String()
	var h http.Handler
	options := serve.Options{Log: a.log}
	if isLoopback(l) {
		options.Admit = admitToken
	}
	facts := servedFacts{profiles: profiles, region: served[0].Chain.Region, url: url}
	if s.imds {
		options.Admit, options.HopLimit = admit, 1
		h = &serve.IMDS{Hosts: hostsOf(l), Source: a.source(served[0]), Region: facts.region, V1: s.v1, Log: a.log}
	} else {
		token := newToken()
		if facts.tokenFile = s.tokenFile; facts.tokenFile == "" {
			facts.tokenFile, err = dir.file("token")
		}
		if err == nil {
			err = deliver.WriteToken(facts.tokenFile, token)
		}
		if err != nil {
			return fmt.Errorf("the token of the server: %w", err)
		}
		defer deliver.RemoveToken(facts.tokenFile, token)
		c := &serve.Container{Token: token, Hosts: hostsOf(l), Source: a.source(served[0]), Profiles: map[string]serve.Source{}, Log: a.log}
		for _, k := range served {
			c.Profiles[k.Chain.Profile] = a.source(k)
		}
		c.Roles, rolesEnded = a.roles(ctx, served[0])
		h = c
	}
	if err := facts.write(a, s.print); err != nil {
		return err
	}
	a.say(fmt.Sprintf("serving %s at %s; Ctrl-C ends it", strings.Join(quoted(profiles), ", "), url))
	return serve.Serve(ctx, l, h, options)
}

// startKeepers starts what keeps the credentials of the profiles at hand. All of
// them are planned first, as the environment changes with that.
func (a *app) startKeepers(ctx context.Context, profiles []string, o *mintFlags, s *serveFlags) ([]*mint.Keeper, error) {
	var served []*mint.Keeper
	turn := make(chan struct{}, 1)
	for _, profile := range profiles {
		c, m, err := a.plan(ctx, profile, o)
		if err != nil {
			return nil, err
		}
		served = append(served, a.keeper(m, c, turn))
	}
	for i, k := range served {
		if s.imds {
			forInstance(k)
		}
		if err := k.Start(ctx, s.lazy); err != nil {
			return nil, fmt.Errorf("getting credentials of %q: %w", profiles[i], err)
		}
	}
	return served, nil
}

// A listenError says that the server can't be where it was to be.
type listenError struct {
	address string
	err     error
}

func (e *listenError) Error() string { return fmt.Sprintf("--listen %s: %v", e.address, e.err) }
func (e *listenError) Unwrap() error { return e.err }

var (
	errAnyAddress = errors.New("that is every address of this machine; name the one that is meant")
	errNoToken    = errors.New("--imds has no token to keep other machines out, so it is for an address such as 127.0.0.1")
)

// listen returns the listener of serve: one that was handed to this process, or
// a new one.
func (a *app) listen(ctx context.Context, s *serveFlags) (net.Listener, error) {
	l, err := a.activated()
	if l == nil && err == nil {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	}
	if err == nil {
		addr, ok := l.Addr().(*net.TCPAddr)
		switch {
		case !ok:
			err = errors.New("not a TCP socket")
		case addr.IP.IsUnspecified():
			err = errAnyAddress
		case s.imds && !addr.IP.IsLoopback():
			err = errNoToken
		}
		if err != nil {
			l.Close()
		}
	}
	if err != nil {
		return nil, &listenError{s.listen, err}
	}
	return l, nil
}

// activated returns the socket that systemd has handed to this process, or nil:
// https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
func (a *app) activated() (net.Listener, error) {
	if pid, err := strconv.Atoi(a.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, nil
	}
	if n := a.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("LISTEN_FDS is %s, and one socket is served", n)
	}
	const first = 3
	f := os.NewFile(first, "socket")
	defer f.Close()
	return net.FileListener(f)
}

func isLoopback(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// servedFacts are what programs have to know of a server. The token is in a
// file.
type servedFacts struct {
	profiles  []string
	region    string
	url       string
	tokenFile string // "" of an instance metadata service
}

// variables returns the environment of a program that uses a profile, in which
// the token is in a file of that name.
func (f servedFacts) variables(profile, tokenFile string) [][2]string {
	set := [][2]string{{"AWS_EC2_METADATA_SERVICE_ENDPOINT", f.url + "/"}}
	if f.tokenFile != "" {
		set = [][2]string{
			{"AWS_CONTAINER_CREDENTIALS_FULL_URI", f.url + "/profile/" + pathOf(profile)},
			{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", tokenFile},
		}
	}
	if f.region != "" {
		set = append(set, [2]string{"AWS_REGION", f.region}, [2]string{"AWS_DEFAULT_REGION", f.region})
	}
	return set
}

// inContainer is where a container finds the token.
const inContainer = "/run/kura-token"

// write prints what programs need in one of the forms.
func (f servedFacts) write(a *app, form string) error {
	network := "host"
	if !strings.HasPrefix(f.url, "http://127.") && !strings.HasPrefix(f.url, "http://[::1]") {
		network = "kura"
	}
	var b strings.Builder
	switch form {
	case "env":
		for _, profile := range f.profiles {
			if len(f.profiles) > 1 {
				fmt.Fprintf(&b, "# %s\n", profile)
			}
			for _, v := range f.variables(profile, f.tokenFile) {
				fmt.Fprintf(&b, "export %s=%s\n", v[0], shellWord(v[1]))
			}
		}
	case "docker":
		for _, profile := range f.profiles {
			fmt.Fprintf(&b, "docker run --rm --network %s", network)
			for _, v := range f.variables(profile, inContainer) {
				fmt.Fprintf(&b, " -e %s", shellWord(v[0]+"="+v[1]))
			}
			if f.tokenFile != "" {
				fmt.Fprintf(&b, " -v %s", shellWord(f.tokenFile+":"+inContainer+":ro"))
			}
			b.WriteString(" IMAGE\n")
		}
	case "compose":
		b.WriteString("services:\n")
		for _, profile := range f.profiles {
			fmt.Fprintf(&b, "  %s:\n", yaml(profile))
			if network == "host" {
				b.WriteString("    network_mode: host\n")
			} else {
				fmt.Fprintf(&b, "    networks: [%s]\n", network)
			}
			b.WriteString("    environment:\n")
			for _, v := range f.variables(profile, inContainer) {
				fmt.Fprintf(&b, "      %s: %s\n", v[0], yaml(v[1]))
			}
			if f.tokenFile != "" {
				fmt.Fprintf(&b, "    volumes:\n      - %s\n", yaml(f.tokenFile+":"+inContainer+":ro"))
			}
		}
		if network != "host" {
			fmt.Fprintf(&b, "networks:\n  %s:\n    external: true\n", network)
		}
	case "devcontainer":
		profile := f.profiles[0]
		settings := struct {
			RunArgs      []string          `json:"runArgs"`
			Mounts       []string          `json:"mounts,omitempty"`
			ContainerEnv map[string]string `json:"containerEnv"`
		}{[]string{"--network=" + network}, nil, map[string]string{}}
		for _, v := range f.variables(profile, inContainer) {
			settings.ContainerEnv[v[0]] = v[1]
		}
		if f.tokenFile != "" {
			settings.Mounts = []string{"type=bind,readonly,source=" + f.tokenFile + ",target=" + inContainer}
		}
		text, err := json.MarshalIndent(settings, "", "  ")
		if err != nil {
			return err
		}
		b.Write(append(text, '\n'))
	}
	_, err := a.Stdout.Write([]byte(b.String()))
	return err
}

// yaml returns a text as a scalar of YAML, which takes those of JSON.
func yaml(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		return strconv.Quote(text) // which it can't be for a string
	}
	return string(data)
}

// pathOf returns a profile's name as a part of a path.
func pathOf(profile string) string { return neturl.PathEscape(profile) }
