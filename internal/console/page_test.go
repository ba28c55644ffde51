package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
)

const target = "https://signin.example/federation?SigninToken=secret-of-example"

var quietLog = slog.New(slog.DiscardHandler)

// TestPage tries what gets nothing, and does not use the page up; then the
// browser comes, and after it nobody gets anything.
func TestPage(t *testing.T) {
	p := newPage(cred.NewSecret(target), "127.0.0.1:4321", quietLog)
	if len(p.path) < 20 {
		t.Fatalf("the path %q can be guessed", p.path)
	}
	ask := func(method, path string, change func(*http.Request)) *http.Response {
		r := httptest.NewRequest(method, "http://127.0.0.1:4321/", nil)
		r.RequestURI = path
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Result()
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, test := range []struct {
		name, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"another path", "GET", "/", nil, 404},
		{"a path cut short", "GET", p.path[:len(p.path)-1], nil, 404},
		{"a path with more", "GET", p.path + "x", nil, 404},
		{"a query", "GET", p.path + "?x", nil, 404},
		{"an escaped path", "GET", "/%" + p.path[1:], nil, 404},
		{"the absolute form", "GET", "http://127.0.0.1:4321" + p.path, nil, 404},
		{"a name that leads here", "GET", p.path, func(r *http.Request) { r.Host = "example.com:4321" }, 403},
		{"another port", "GET", p.path, func(r *http.Request) { r.Host = "127.0.0.1:80" }, 403},
		{"another port of localhost", "GET", p.path, func(r *http.Request) { r.Host = "localhost:80" }, 403},
		{"POST", "POST", p.path, nil, 405},
		{"HEAD", "HEAD", p.path, nil, 405},
		{"OPTIONS", "OPTIONS", p.path, nil, 405},
		{"a body", "GET", p.path, func(r *http.Request) { r.ContentLength = 1 }, 400},
		{"a body of unknown length", "GET", p.path, func(r *http.Request) { r.ContentLength = -1 }, 400},
		{"an origin", "GET", p.path, header("Origin", "https://example.com"), 403},
		{"a script in a page", "GET", p.path, header("Sec-Fetch-Mode", "no-cors"), 403},
		{"a picture in a page", "GET", p.path, header("Sec-Fetch-Dest", "image"), 403},
		{"a frame in a page", "GET", p.path, header("Sec-Fetch-Dest", "iframe"), 403},
		{"a proxy", "GET", p.path, header("X-Forwarded-For", "192.0.2.1"), 403},
		{"looking ahead", "GET", p.path, header("Sec-Purpose", "prefetch;prerender"), 503},
	} {
		resp := ask(test.method, test.path, test.change)
		if resp.StatusCode != test.want || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %d to %q, want %d", test.name, resp.StatusCode, resp.Header.Get("Location"), test.want)
		}
	}
	select {
	case <-p.fetched:
		t.Fatal("the page is used up")
	default:
	}

	for _, host := range []string{"127.0.0.1:4321", "localhost:4321"} {
		r := httptest.NewRequest("GET", p.path, nil)
		r.Host = host
		if status, reason := p.check(r); status != 200 {
			t.Errorf("Host %s: %d, %s", host, status, reason)
		}
	}
	resp := ask("GET", p.path, func(r *http.Request) {
		r.Header = http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-User": {"?1"}}
	})
	if resp.StatusCode != 303 || resp.Header.Get("Location") != target {
		t.Errorf("the browser got %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if h := resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", h)
	}
	<-p.fetched
	if resp := ask("GET", p.path, nil); resp.StatusCode != 410 || resp.Header.Get("Location") != "" {
		t.Errorf("the second one got %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// scripts returns an Opener whose browsers are shell scripts, which get the address
// of the page as $1, and the directory they write to.
func scripts(t *testing.T, timeout time.Duration, texts ...string) (*Opener, string) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no sh")
	}
	dir := t.TempDir()
	return &Opener{
		Commands: func(url string) (all [][]string) {
			for _, text := range texts {
				all = append(all, []string{"/bin/sh", "-c", text, "browser", url})
			}
			return all
		},
		Environ: []string{"OUT=" + filepath.Join(dir, "out")},
		Lift:    func() func() { return func() {} },
		Timeout: timeout,
		Log:     quietLog,
	}, dir
}

func TestOpenTimesOut(t *testing.T) {
	o, _ := scripts(t, 50*time.Millisecond, "exit 0")
	err := o.Open(t.Context(), cred.NewSecret(target))
	if e, ok := errors.AsType[*NotFetchedError](err); !ok || e.Program != "sh" {
		t.Errorf("a browser that does not come: %v, want a *NotFetchedError", err)
	}
	o, _ = scripts(t, time.Minute, "exit 0")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := o.Open(ctx, cred.NewSecret(target)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	o, _ := scripts(t, time.Minute, "exit 1", "exit 3")
	err := o.Open(t.Context(), cred.NewSecret(target))
	if _, ok := errors.AsType[*BrowserError](err); !ok || err.Error() != "sh: exit status 3" {
		t.Errorf("browsers that fail: %v, want the last one's status", err)
	}
	o.Commands = func(string) [][]string { return [][]string{{"/nonexistent/browser"}} }
	if err := o.Open(t.Context(), cred.NewSecret(target)); err == nil {
		t.Error("a browser that is not there: no error")
	}
}

// TestOpen has a browser come after one that fails, and checks what is left when
// it has been served: nothing to connect to, and the browser itself.
func TestOpen(t *testing.T) {
	o, dir := scripts(t, time.Minute, "exit 1", `echo "$1" >"$OUT.part"; mv "$OUT.part" "$OUT"; read line <"$OUT.fifo"; echo alive >"$OUT.fifo"`)
	out := filepath.Join(dir, "out")
	if err := makeFIFO(out + ".fifo"); err != nil {
		t.Skip(err)
	}
	opened := make(chan error)
	go func() { opened <- o.Open(t.Context(), cred.NewSecret(target)) }()

	var address string
	for address == "" {
		data, err := os.ReadFile(out)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		address = strings.TrimSpace(string(data))
	}
	if !strings.HasPrefix(address, "http://127.0.0.1:") || strings.Contains(address, "secret") {
		t.Errorf("the browser was given %q", address)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 303 || resp.Header.Get("Location") != target {
		t.Errorf("the page answered %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if err := <-opened; err != nil {
		t.Errorf("Open: %v", err)
	}
	if resp, err := client.Get(address); err == nil {
		t.Errorf("the page is still there: %s", resp.Status)
	}
	if err := os.WriteFile(out+".fifo", []byte("go on\n"), 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out + ".fifo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); err != nil || string(data) != "alive\n" {
		t.Errorf("the browser says %q, %v", data, err)
	}
}
