// Package serve hands session credentials to AWS SDKs over HTTP on this
// machine, as two services of AWS do: [Container] as the endpoint for container
// credentials of ECS and EKS, [IMDS] as the instance metadata service of EC2.
// [Serve] serves either within bounds. The package does not know where the
// credentials come from or who may have them.
//
// Nothing here waits for anybody: credentials come from a [Source], which has
// them in memory. An SDK gives up after one or two seconds, asks up to nine
// times where a server fails (500), and has nobody to show a question to. So
// renewal happens beside the requests, never inside one, and a denial is final.
//
// Both handlers turn away, before they look at a token:
//
//   - a Host that is not one of theirs. That is how a web page is known whose
//     name was made to lead to this machine (DNS rebinding), and which session
//     tokens of IMDSv2 don't keep out;
//   - what only browsers and proxies send: Origin, Sec-Fetch-Site other than
//     none, X-Forwarded-For, Forwarded;
//   - methods other than GET, and PUT for a session token;
//   - requests with a body, of which nothing is read and the connection closed,
//     so that no part of it is taken for another request;
//   - targets other than a path: the absolute form, "*".
//
// A path is compared as it was sent; none is cleaned, and none redirected. A
// query is ignored. Tokens are compared in constant time.
//
// Each refusal is a line in the log that says what was wrong and from which
// address it came: ten lines at once, then one a second, with the number of
// those that were left out. It repeats nothing of the request, where a token
// may be in the wrong place. What net/http itself turns away is not logged:
// malformed requests, and headers of more than 8 KiB.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kura/internal/cred"
)

// A Source returns session credentials, from memory and at once. An error
// denies the request: a client is told the text of a [*Denial]; that of any
// other error goes to the log alone.
type Source func(ctx context.Context) (cred.Credentials, error)

// A Denial is an error that is made for clients: there is no secret in it.
type Denial struct {
	Code    string // a word, such as "ExpiredToken"
	Message string // a sentence for people
}

func (d *Denial) Error() string { return d.Code + ": " + d.Message }

// ask returns the credentials of a source, or what the client is told instead
// and why that is. Long-term access keys are denied: the protocols have no form
// for them that all SDKs take, and a server is no place to hand them out.
func ask(r *http.Request, source Source) (c cred.Credentials, told *Denial, why error) {
	c, why = source(r.Context())
	if why == nil && (c.LongTerm() || c.Expires.IsZero()) {
		why = errors.New("a long-term access key is not served")
	}
	if why == nil {
		return c, nil, nil
	}
	if d, ok := errors.AsType[*Denial](why); ok {
		return cred.Credentials{}, d, why
	}
	return cred.Credentials{}, &Denial{"CredentialsUnavailable", "no credentials are to be had; the log of the server says why"}, why
}

// check returns why a request is not one of an AWS client, and the status to
// refuse it with, which is 0 for a request that passes.
func check(r *http.Request, hosts []string, methods ...string) (status int, reason string) {
	switch {
	case !slices.Contains(methods, r.Method):
		return http.StatusMethodNotAllowed, "the method is not one of the protocol"
	case r.ContentLength != 0:
		return http.StatusBadRequest, "the request has a body"
	case !strings.HasPrefix(r.RequestURI, "/"):
		return http.StatusBadRequest, "the target is not a path"
	case !slices.Contains(hosts, r.Host):
		return http.StatusForbidden, "the Host is not that of this server"
	case len(r.Header["Origin"]) > 0, slices.ContainsFunc(r.Header["Sec-Fetch-Site"], func(site string) bool { return site != "none" }):
		return http.StatusForbidden, "it comes from a web page"
	case len(r.Header["X-Forwarded-For"]) > 0, len(r.Header["Forwarded"]) > 0:
		return http.StatusForbidden, "it comes through a proxy"
	}
	return 0, ""
}

// pathOf returns the path of a request as it was sent.
func pathOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// An answer is a response with its headers, ready to be sent any number of
// times.
type answer struct {
	body         []byte
	kind, length []string
}

const (
	jsonText  = "application/json"
	plainText = "text/plain"
	htmlText  = "text/html"
)

func newAnswer(kind string, body []byte) *answer {
	return &answer{body, []string{kind}, []string{strconv.Itoa(len(body))}}
}

func (a *answer) send(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = a.kind, a.length
	w.WriteHeader(status)
	w.Write(a.body) //nolint:errcheck // the client has gone, and nobody else is concerned
}

// hangUp has the connection closed after the response, without waiting for what
// is left of the request.
func hangUp(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a recorder of tests has none
}

// maxRendered is how many answers a server keeps.
const maxRendered = 100

// answers keeps what was made of credentials until these change.
type answers struct {
	mu sync.Mutex
	m  map[string]rendered
}

type rendered struct {
	of     cred.Credentials
	answer *answer
}

// get returns the answer of a name: the one that is kept, if it was made of the
// same credentials, or a new one.
func (s *answers) get(name string, c cred.Credentials, render func(cred.Credentials) *answer) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.m[name]; ok && kept.of == c {
		return kept.answer
	}
	if s.m == nil || len(s.m) >= maxRendered {
		s.m = map[string]rendered{}
	}
	a := render(c)
	s.m[name] = rendered{c, a}
	return a
}

// stamp returns t in the form that every SDK can read.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

const (
	maxLines  = 10          // that are logged at once
	lineEvery = time.Second // after that
)

// A throttle keeps the lines that are logged to what somebody can read.
type throttle struct {
	mu      sync.Mutex
	full    time.Time // when maxLines may follow at once again
	omitted int
}

// warn logs what happened to a request, why, and from where it came.
func (t *throttle) warn(to *slog.Logger, what, reason, from string) {
	if to == nil {
		return
	}
	omitted, ok := t.next(time.Now())
	switch {
	case !ok:
	case omitted > 0:
		to.Warn(what, "reason", reason, "from", from, "left_out", omitted)
	default:
		to.Warn(what, "reason", reason, "from", from)
	}
}

// next reports whether a line may be logged, and how many were not before it.
func (t *throttle) next(now time.Time) (omitted int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full.Before(now) {
		t.full = now
	}
	if t.full.Sub(now) > (maxLines-1)*lineEvery {
		t.omitted++
		return 0, false
	}
	t.full = t.full.Add(lineEvery)
	omitted, t.omitted = t.omitted, 0
	return omitted, true
}
