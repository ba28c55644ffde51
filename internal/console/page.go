package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kura/internal/cred"
	"kura/internal/serve"
)

// An Opener gets a URL into a browser that is not to be an argument of a program.
// The browser is given the address of a page on this machine, which sends the
// first who asks for it to the URL, and is then gone.
type Opener struct {
	// Commands returns the commands that open a URL in a browser, the best first.
	// The next is tried where one fails before the page was asked for.
	Commands func(url string) [][]string
	Environ  []string // of the commands

	// Lift is called right before a command is started, and what it returns right
	// after: see package harden.
	Lift func() func()

	Timeout time.Duration        // how long the page waits for the browser
	Admit   func(net.Conn) error // see serve.Options
	Log     *slog.Logger
}

// A NotFetchedError says that a browser was started and no page was asked for.
type NotFetchedError struct {
	Program string
	After   time.Duration
}

func (e *NotFetchedError) Error() string {
	return fmt.Sprintf("%s was started, but no browser has asked for the page that signs in, within %v", e.Program, e.After)
}

// A BrowserError says that a program did not open the browser.
type BrowserError struct {
	Program string
	Err     error
}

func (e *BrowserError) Error() string { return fmt.Sprintf("%s: %v", e.Program, e.Err) }
func (e *BrowserError) Unwrap() error { return e.Err }

// Open opens a browser at a URL and returns when it was sent there. The browser
// goes on when this process ends. The error is a *NotFetchedError, the
// *BrowserError of the last command, or that of ctx.
func (o *Opener) Open(ctx context.Context, url cred.Secret) error {
	// By its number: what a name leads to is up to others.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("opening the browser: %w", err)
	}
	p := newPage(url, l.Addr().String(), o.Log)
	serving, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := serve.Serve(serving, l, p, serve.Options{Admit: o.Admit, Log: o.Log}); err != nil {
			o.Log.Warn("the page that signs in is not served", "reason", err)
		}
	}()
	defer func() { stop(); <-ended }()

	timeout := time.NewTimer(o.Timeout)
	defer timeout.Stop()
	for _, argv := range o.Commands("http://" + p.host + p.path) {
		name := filepath.Base(argv[0])
		failed, e := launch(argv, o.Environ, o.Lift)
		if e != nil {
			err = &BrowserError{name, e}
			continue
		}
		o.Log.Debug("browser started", "program", name)
		select {
		case <-p.fetched:
			return nil
		case e := <-failed:
			err = &BrowserError{name, e}
		case <-timeout.C:
			return &NotFetchedError{name, o.Timeout}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// A page sends the first browser that asks for it to a URL. Its path can't be
// guessed, and whoever asks for another, or in another way than a browser does that
// was given the address, gets nothing and does not use it up.
type page struct {
	host    string // with the port
	local   string // the same, where another machine's port leads here: editors do so
	path    string
	target  cred.Secret
	log     *slog.Logger
	used    atomic.Bool
	fetched chan struct{} // closed when the answer is on its way
}

func newPage(target cred.Secret, host string, log *slog.Logger) *page {
	return &page{
		host:    host,
		local:   "localhost" + host[strings.LastIndexByte(host, ':'):],
		path:    "/" + rand.Text(),
		target:  target,
		log:     log,
		fetched: make(chan struct{}),
	}
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Connection", "close")
	status, reason := p.check(r)
	if status == http.StatusOK && p.used.Swap(true) {
		status, reason = http.StatusGone, "it was asked for before"
	}
	if status != http.StatusOK {
		p.log.Warn("the page that signs in was refused", "reason", reason)
		http.Error(w, http.StatusText(status), status)
		return
	}
	h.Set("Location", p.target.Reveal())
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
	// The server ends with this answer, so it must be out before. A recorder of
	// tests has nothing to flush.
	_ = http.NewResponseController(w).Flush()
	close(p.fetched)
}

// check returns the status that a request is answered with, and what is wrong with
// it if that is not 200.
func (p *page) check(r *http.Request) (status int, reason string) {
	foreign := func(header string, own ...string) bool {
		return slices.ContainsFunc(r.Header[header], func(v string) bool { return !slices.Contains(own, v) })
	}
	switch {
	case r.Host != p.host && r.Host != p.local: // a name that was made to lead here
		return http.StatusForbidden, "the Host is not that of this server"
	case subtle.ConstantTimeCompare([]byte(r.RequestURI), []byte(p.path)) != 1:
		return http.StatusNotFound, "the path is not that of the page"
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, "the method is not GET"
	case r.ContentLength != 0:
		return http.StatusBadRequest, "the request has a body"
	// Who links here is not asked: an extension that opens a container does.
	case foreign("Origin"), foreign("Sec-Fetch-Mode", "navigate"), foreign("Sec-Fetch-Dest", "document"):
		return http.StatusForbidden, "it comes from within a web page"
	case foreign("X-Forwarded-For"), foreign("Forwarded"):
		return http.StatusForbidden, "it comes through a proxy"
	case foreign("Sec-Purpose"), foreign("Purpose"):
		return http.StatusServiceUnavailable, "the browser looks ahead"
	}
	return http.StatusOK, ""
}
