package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kura/internal/cred"
)

// patient are the bounds of Serve.
var patient = bounds{
	conns: 128, header: 5 * time.Second, request: time.Minute, idle: 2 * time.Minute,
	fresh: 100 * time.Millisecond, answer: time.Second,
}

// start serves the handler that is made for an address, and returns that.
func start(t *testing.T, h func(host string) http.Handler, o Options, b bounds) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	handler, done := h(l.Addr().String()), make(chan error, 1)
	go func() { done <- serve(ctx, l, handler, o, b) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve = %v", err)
		}
	})
	return l.Addr().String()
}

func containerAt(host string) http.Handler {
	c := newContainer()
	c.Hosts = []string{host}
	return c
}

// dial connects, and closes the connection when the test ends.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func goodRequest(addr string) string {
	return "GET / HTTP/1.1\r\nHost: " + addr + "\r\nAuthorization: " + token + "\r\n\r\n"
}

// asks sends a request on a connection and returns the response with its body.
func asks(c net.Conn, raw string) (*http.Response, string, error) {
	if _, err := io.WriteString(c, raw); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// A log keeps the lines that are logged.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, containerAt(addr), Options{}) }()
	c := dial(t, addr)
	if resp, _, err := asks(c, goodRequest(addr)); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	cancel()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("Read = %d after the end", n)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the address is still served")
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, l, containerAt(""), Options{}); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the address is served")
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, containerAt(""), Options{}); err == nil {
		t.Error("Serve = nil for a listener that is closed")
	}
}

// A request's context ends with the server, so that nothing is minted for
// nobody.
func TestRequestsEndWithServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	began, ended := make(chan bool), make(chan error, 1)
	h := containerAt(addr).(*Container)
	h.Source = func(ctx context.Context) (cred.Credentials, error) {
		began <- true
		<-ctx.Done()
		ended <- ctx.Err()
		return cred.Credentials{}, ctx.Err()
	}
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h, Options{}) }()
	if _, err := io.WriteString(dial(t, addr), goodRequest(addr)); err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-done
}

func TestAdmit(t *testing.T) {
	var log logbook
	var asked []string // the requests of a connection follow each other
	admit := func(c net.Conn) error {
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("Admit is given a %T", c)
		}
		asked = append(asked, c.RemoteAddr().String())
		switch len(asked) {
		case 1:
			return nil
		case 2:
			return errors.New("process 77 is of user 1001")
		}
		return &Denial{"WrongUser", "only ann is served"}
	}
	addr := start(t, containerAt, Options{Admit: admit, Log: log.logger()}, patient)
	for i, want := range []struct {
		status int
		text   string
	}{{200, "ASIAbase"}, {403, "NotAdmitted"}, {403, "only ann is served"}} {
		c := dial(t, addr)
		for range 2 {
			resp, body, err := asks(c, goodRequest(addr))
			if i > 0 && resp == nil {
				break // the connection of one who is not admitted is closed
			}
			if err != nil || resp.StatusCode != want.status || !strings.Contains(body, want.text) || strings.Contains(body, "process 77") {
				t.Errorf("connection %d: %v %s, %v, want %d %s", i, resp, body, err, want.status, want.text)
			}
		}
		if len(asked) != i+1 || asked[i] != c.LocalAddr().String() {
			t.Errorf("Admit was asked of %v, want once for each of %d connections", asked, i+1)
		}
	}
	if got := log.String(); !strings.Contains(got, "process 77") || !strings.Contains(got, asked[1]) {
		t.Errorf("the log says %s", got)
	}
}

func TestHopLimit(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, hops := range []int{0, 1} {
			l, err := net.Listen(network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
			if err != nil {
				t.Log(err)
				continue
			}
			got := make(chan int, 1)
			admit := func(c net.Conn) error { got <- hopsOf(t, c); return nil }
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- Serve(ctx, l, containerAt(l.Addr().String()), Options{Admit: admit, HopLimit: hops})
			}()
			if resp, _, err := asks(dial(t, l.Addr().String()), goodRequest(l.Addr().String())); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s: %v, %v", network, resp, err)
			} else if n := <-got; (n == 1) != (hops == 1) {
				t.Errorf("%s: with a HopLimit of %d packets live for %d hops", network, hops, n)
			}
			cancel()
			<-done
		}
	}
}

// hopsOf returns how many hosts the packets of a connection may pass.
func hopsOf(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	level, name := ipv6, ipv6Hops
	if c.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
		level, name = ipv4, ipv4Hops
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n, err = getsockopt(fd, level, name) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Who connects and says nothing, or very little, keeps nobody from being
// answered, and makes way for the next.
func TestCrowdOfTheSilent(t *testing.T) {
	addr := start(t, containerAt, Options{}, patient)
	before := runtime.NumGoroutine()
	var crowd []net.Conn
	for i := range 1000 {
		c := dial(t, addr)
		if i%2 == 0 {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: ")
		}
		crowd = append(crowd, c)
	}
	began := time.Now()
	resp, _, err := asks(dial(t, addr), goodRequest(addr))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("in the crowd: %v, %v", resp, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("in the crowd an answer takes %v", took)
	}
	if n := runtime.NumGoroutine() - before; n > 2*patient.conns {
		t.Errorf("%d goroutines for %d connections", n, patient.conns)
	}
	// The oldest were closed.
	crowd[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := crowd[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest connection: %v, want it closed", err)
	}
}

// A thousand clients at once that all ask, each on a connection that it keeps,
// are all answered.
func TestCrowdOfClients(t *testing.T) {
	unhurried := patient
	unhurried.fresh = time.Minute // as if none was slow to ask
	addr := start(t, containerAt, Options{}, unhurried)
	var wg sync.WaitGroup
	errs := make(chan error, 1000)
	for range cap(errs) {
		c := dial(t, addr)
		wg.Go(func() {
			resp, body, err := asks(c, goodRequest(addr))
			if err == nil && (resp.StatusCode != 200 || !strings.Contains(body, "ASIAbase")) {
				err = fmt.Errorf("%d %s", resp.StatusCode, body)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	failed := 0
	for err := range errs {
		if err != nil {
			failed++
			t.Log(err)
		}
	}
	if failed > 0 {
		t.Errorf("%d clients got no answer", failed)
	}
}

// Connections that are being answered are the last to make way, and do it when
// they take long.
func TestCrowdThatIsAnswered(t *testing.T) {
	few := patient
	few.conns, few.fresh, few.answer = 3, time.Millisecond, 50*time.Millisecond
	began, release := make(chan bool, 8), make(chan bool)
	addr := start(t, func(host string) http.Handler {
		h := containerAt(host).(*Container)
		h.Roles = func(ctx context.Context, _ string) (cred.Credentials, error) {
			began <- true
			select {
			case <-release:
			case <-ctx.Done():
			}
			return credentialsOf("role"), ctx.Err()
		}
		return h
	}, Options{}, few)
	role := strings.Replace(goodRequest(addr), "GET /", "GET /role-arn/"+arn, 1)
	var conns []net.Conn
	for range 2 {
		c := dial(t, addr)
		io.WriteString(c, role)
		conns = append(conns, c)
		<-began
	}
	// A third connection is silent: it makes way, and not those two.
	silent := dial(t, addr)
	if resp, _, err := asks(dial(t, addr), goodRequest(addr)); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	silent.SetReadDeadline(time.Now().Add(patient.header / 2))
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent connection: %v, want it closed", err)
	}
	// A third that is answered takes the place of the one that was answered just
	// now. Then all are, and the oldest makes way for a fourth.
	third := dial(t, addr)
	io.WriteString(third, role)
	<-began
	if resp, _, err := asks(dial(t, addr), goodRequest(addr)); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if _, err := conns[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest connection got an answer")
	}
	close(release)
	for i, c := range []net.Conn{conns[1], third} {
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("connection %d that was being answered: %v, %v", i, resp, err)
		}
	}
}

// A connection whose request has come and was not read yet keeps its place.
func TestRoomBesideTheUnread(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it is not seen there")
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	l := &listener{bounds: bounds{conns: 2, fresh: 10, answer: 1}, conns: map[*conn]struct{}{}, changed: make(chan struct{}, 1)}
	accept := func(request string) *conn {
		client := dial(t, tcp.Addr().String())
		nc, err := tcp.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		io.WriteString(client, request)
		c := &conn{Conn: nc, of: l}
		c.is(http.StateIdle)
		for end := time.Now().Add(5 * time.Second); request != "" && !c.hasUnread(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("what was sent does not show")
			}
		}
		return c
	}
	asking, silent, third, fourth := accept("GET"), accept(""), accept("GET"), accept("")
	for _, c := range []*conn{asking, silent, third} {
		if wait := l.add(c); wait != 0 {
			t.Fatalf("no room for %v", wait)
		}
	}
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the one that is silent: %v, want it closed", err)
	}
	if wait := l.add(fourth); wait == 0 {
		t.Error("there is room where all have asked")
	}
	// Half a request is none once it is read.
	if _, err := asking.Read(make([]byte, 8)); err != nil {
		t.Errorf("the one that has asked: %v", err)
	}
	asking.since.Store(0)
	if wait := l.add(fourth); wait != 0 {
		t.Errorf("no room for %v", wait)
	}
}

// Connections that end make room at once.
func TestRoomOfThoseWhoLeave(t *testing.T) {
	few := patient
	few.conns, few.fresh, few.answer = 2, time.Hour, time.Hour
	addr := start(t, containerAt, Options{}, few)
	for range 3 {
		silent := []net.Conn{dial(t, addr), dial(t, addr)}
		c := dial(t, addr)
		for _, c := range silent {
			c.Close()
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if resp, _, err := asks(c, goodRequest(addr)); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Unix(1_800_000_000, 0)
	count := func(n int) (lines int) {
		for range n {
			if _, ok := th.next(now); ok {
				lines++
			}
		}
		return lines
	}
	if n := count(1000); n != maxLines {
		t.Errorf("%d lines at once, want %d", n, maxLines)
	}
	now = now.Add(lineEvery)
	if omitted, ok := th.next(now); !ok || omitted != 1000-maxLines {
		t.Errorf("after %v: %d left out, %v", lineEvery, omitted, ok)
	}
	if n := count(1000); n != 0 {
		t.Errorf("%d lines more, want none", n)
	}
	now = now.Add(time.Hour)
	if n := count(1000); n != maxLines {
		t.Errorf("%d lines at once after an hour, want %d", n, maxLines)
	}
}
