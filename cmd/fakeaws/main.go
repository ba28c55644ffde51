// Fakeaws serves an emulated AWS on a loopback address, for demonstrations,
// for scripts and for clients in other languages. What it emulates is package
// awstest; this program adds a command line and control over HTTP.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kura/internal/awstest"
)

const usage = `usage: fakeaws [--listen ADDRESS] [--state FILE] [--tls FILE] [--key-delay DURATION]
               [--spread DURATION]

Serves an emulated AWS: STS, IAM access keys, S3 listings and the sign-in to the
console, over the real protocols, with signatures, token codes, expiry and limits
checked as AWS does.
Prints its URL when it is ready and ends on SIGINT or SIGTERM. Clients reach it
with AWS_ENDPOINT_URL.

  --listen ADDRESS      loopback address and port; the default 127.0.0.1:0
                        takes any free port
  --state FILE          JSON with the users, roles, buckets and web identities
                        that there are, instead of the default world
  --tls FILE            serve HTTPS, and write the certificate that clients
                        have to trust (AWS_CA_BUNDLE) to FILE
  --key-delay DURATION  how long a created access key does not work yet
  --spread DURATION     how long a deleted or inactive one works still, and lists
                        have what was there before

The default world is account 111122223333 with the user ann, whose access key
is AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY and whose MFA
device is arn:aws:iam::111122223333:mfa/ann; the roles readonly, admin and audit
(both with MFA), hub, long (12 hours), vendor (external ID example-external-id),
traced (source identity) and deploy (web identity); and account 444455556666
with the role spoke, which trusts hub. A second user is oppara.

Control, for scripts:

  GET  /_fakeaws/calls                the calls so far, as JSON
  POST /_fakeaws/reset-calls          forget them
  GET  /_fakeaws/code?serial=ARN      a token code that is good now
  GET  /_fakeaws/secrets              every secret there is, as JSON
  POST /_fakeaws/clock?offset=10m     move the clock of AWS
  POST /_fakeaws/sessions?limit=2m    end new sessions after that time (0: when
                                      they are to)
  POST /_fakeaws/fault?op=AssumeRole&kind=KIND&count=N&delay=DURATION
                                      make the next N calls (0: all) of an
                                      operation (*: of any) go wrong

The KINDs are %s;
none ends them.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fakeaws:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("fakeaws", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	listen := flags.String("listen", "127.0.0.1:0", "")
	state := flags.String("state", "", "")
	caFile := flags.String("tls", "", "")
	delay := flags.Duration("key-delay", 0, "")
	spread := flags.Duration("spread", 0, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, usage, kinds())
	}
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	cfg := awstest.Config{KeyDelay: *delay, Spread: *spread}
	if *state != "" {
		data, err := os.ReadFile(*state)
		if err != nil {
			return err
		}
		world, err := awstest.ReadWorld(data)
		if err != nil {
			return fmt.Errorf("%s: %w", *state, err)
		}
		cfg.World = &world
	}
	l, err := listenLoopback(*listen)
	if err != nil {
		return err
	}
	defer l.Close()
	var ca *awstest.CA
	scheme := "http"
	if *caFile != "" {
		ca, scheme = awstest.NewCA(), "https"
		if err := os.WriteFile(*caFile, ca.PEM(), 0o644); err != nil {
			return err
		}
	}
	// The listener takes connections already, so whoever reads this line can
	// connect.
	fmt.Fprintf(stdout, "%s://%s\n", scheme, l.Addr())
	return serveUntil(ctx, l, awstest.NewHandler(cfg), ca)
}

// serveUntil serves until ctx is done, over TLS if ca is not nil.
func serveUntil(ctx context.Context, l net.Listener, cloud *awstest.Cloud, ca *awstest.CA) error {
	server := &http.Server{
		Handler:  handler(cloud),
		ErrorLog: log.New(io.Discard, "", 0), // clients that give up are no news
	}
	stop := context.AfterFunc(ctx, func() {
		cloud.Close()
		server.Close()
	})
	defer stop()
	var err error
	if ca != nil {
		server.TLSConfig = ca.Config()
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listenLoopback refuses addresses that other machines can reach: what is
// served here gives out secrets to anybody.
func listenLoopback(address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not a loopback address", address)
	}
	return net.ListenTCP("tcp", addr)
}

// handler serves the cloud, and control of it below /_fakeaws/.
func handler(cloud *awstest.Cloud) http.Handler {
	control := http.NewServeMux()
	control.HandleFunc("GET /_fakeaws/calls", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, cloud.Calls())
	})
	control.HandleFunc("POST /_fakeaws/reset-calls", func(w http.ResponseWriter, r *http.Request) {
		cloud.ResetCalls()
	})
	control.HandleFunc("GET /_fakeaws/secrets", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, cloud.Secrets())
	})
	control.HandleFunc("GET /_fakeaws/code", func(w http.ResponseWriter, r *http.Request) {
		code, err := cloud.Code(r.FormValue("serial"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintln(w, code)
	})
	control.HandleFunc("POST /_fakeaws/clock", func(w http.ResponseWriter, r *http.Request) {
		offset, err := time.ParseDuration(r.FormValue("offset"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		cloud.SetClockOffset(offset)
	})
	control.HandleFunc("POST /_fakeaws/sessions", func(w http.ResponseWriter, r *http.Request) {
		limit, err := time.ParseDuration(r.FormValue("limit"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		cloud.SetSessionLimit(limit)
	})
	control.HandleFunc("POST /_fakeaws/fault", func(w http.ResponseWriter, r *http.Request) {
		if err := setFault(cloud, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not everything goes through the ServeMux, since it redirects paths
		// that S3 allows.
		if strings.HasPrefix(r.URL.Path, "/_fakeaws/") {
			control.ServeHTTP(w, r)
			return
		}
		cloud.ServeHTTP(w, r)
	})
}

func setFault(cloud *awstest.Cloud, r *http.Request) error {
	op, kind := r.FormValue("op"), r.FormValue("kind")
	if op == "" {
		return errors.New("op is missing")
	}
	if kind == "none" {
		cloud.SetFault(op)
		return nil
	}
	fault := awstest.Fault{}
	for _, k := range awstest.FaultKinds() {
		if string(k) == kind {
			fault.Kind = k
		}
	}
	if fault.Kind == awstest.None {
		return fmt.Errorf("kind is %q, not one of %s, none", kind, kinds())
	}
	if s := r.FormValue("count"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return fmt.Errorf("count is %q, not a number of calls", s)
		}
		fault.Count = n
	}
	if s := r.FormValue("delay"); s != "" {
		var err error
		if fault.Delay, err = time.ParseDuration(s); err != nil {
			return err
		}
	}
	cloud.SetFault(op, fault)
	return nil
}

func kinds() string {
	var all []string
	for _, k := range awstest.FaultKinds() {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

// writeJSON writes list, which is [] rather than null when it is empty.
func writeJSON[T any](w http.ResponseWriter, list []T) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(append([]T{}, list...)) // the client may be gone; nobody to tell
}
