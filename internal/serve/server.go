package serve

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options are what Serve does besides serving. The zero value is fine.
type Options struct {
	// Admit decides once for each connection, when its first request has come,
	// whether it is served. An error refuses all requests on it: they are told
	// the text of a *Denial, the log that of any error.
	Admit func(net.Conn) error

	// HopLimit, if it is not 0, is how many hosts a packet to the client may
	// pass, this one included: with 1 no answer leaves the network that this
	// host is on. It is the time to live of IPv4 and the hop limit of IPv6.
	HopLimit int

	Log *slog.Logger // of connections that were not admitted; nil logs nothing
}

// Serve serves h to the connections of l until ctx is done, which is no error,
// and closes l and all connections then. The requests' contexts end with ctx.
//
// What one client does is bounded, so that others are served:
//
//	5 s     for a request's header, from the first byte or, on a new connection,
//	        from the beginning
//	8 KiB   for that header
//	1 min   for a request with its answer
//	2 min   of doing nothing between two requests; clients give up sooner
//	128     connections
//
// Where there are more, the new ones take the place of others, the oldest first:
// of those that wait between two requests, then of those that have not asked
// within a tenth of a second, then of those that take more than a second to be
// answered. One whose request has come but was not read yet keeps its place; on
// Windows that is not seen.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	return serve(ctx, l, h, o, bounds{
		conns: 128, header: 5 * time.Second, request: time.Minute, idle: 2 * time.Minute,
		fresh: 100 * time.Millisecond, answer: time.Second,
	})
}

// bounds are what a client may take.
type bounds struct {
	conns                 int
	header, request, idle time.Duration
	fresh, answer         time.Duration // before a connection may have to make room
}

// headerSize is the greatest size of a header. net/http allows for 4 KiB more
// than it is told.
const headerSize, allowance = 8 << 10, 4 << 10

func serve(ctx context.Context, l net.Listener, h http.Handler, o Options, b bounds) error {
	limited := &listener{
		Listener: l, bounds: b, hops: o.HopLimit, log: o.Log, began: time.Now(),
		conns: map[*conn]struct{}{}, changed: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	server := &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is for h to refuse
		MaxHeaderBytes:               headerSize - allowance,
		ReadHeaderTimeout:            b.header,
		ReadTimeout:                  b.request,
		WriteTimeout:                 b.request,
		IdleTimeout:                  b.idle,
		ConnState:                    func(c net.Conn, s http.ConnState) { c.(*conn).is(s) },
		ErrorLog:                     slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	if o.Log != nil {
		server.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelError)
	}
	if o.Admit != nil {
		server.Handler = &gate{Handler: h, admit: o.Admit, log: o.Log}
		server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(limited)
	_ = server.Close() // and with it the connections that are left
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// A gate serves the connections that are admitted.
type gate struct {
	http.Handler
	admit func(net.Conn) error
	log   *slog.Logger
	lines throttle
}

type connKey struct{}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	if !c.asked { // requests of one connection follow each other
		c.asked, c.refused = true, g.admit(c.Conn)
	}
	if c.refused == nil {
		g.Handler.ServeHTTP(w, r)
		return
	}
	g.lines.warn(g.log, "a connection was refused", c.refused.Error(), r.RemoteAddr)
	told, ok := errors.AsType[*Denial](c.refused)
	if !ok {
		told = &Denial{"NotAdmitted", "this server is not for the program that asks"}
	}
	hangUp(w)
	sendDenial(w, http.StatusForbidden, told)
}

// A listener keeps the number of its open connections within bounds.
type listener struct {
	net.Listener
	bounds bounds
	hops   int
	log    *slog.Logger
	lines  throttle
	began  time.Time

	mu      sync.Mutex
	conns   map[*conn]struct{}
	changed chan struct{} // has an element when there may be room again
	closed  chan struct{}
	once    sync.Once
}

// A conn is an open connection of a listener.
type conn struct {
	net.Conn
	of    *listener
	state atomic.Int32 // an http.ConnState
	since atomic.Int64 // when that began, a time.Duration after of.began

	begun   bool  // a part of the next request was read
	asked   bool  // whether it is admitted is known:
	refused error // why it is not
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.hops > 0 {
			if err := limitHops(nc, l.hops); err != nil { // it may have been reset
				l.lines.warn(l.log, "a connection was refused", err.Error(), nc.RemoteAddr().String())
				_ = nc.Close()
				continue
			}
		}
		return l.admit(nc)
	}
}

// admit counts a connection among the open ones, once there is room.
func (l *listener) admit(nc net.Conn) (net.Conn, error) {
	c := &conn{Conn: nc, of: l}
	c.is(http.StateNew)
	for {
		wait := l.add(c)
		if wait == 0 {
			return c, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.changed:
		case <-timer.C:
		case <-l.closed:
			_ = nc.Close()
			return nil, net.ErrClosed
		}
		timer.Stop()
	}
}

// add adds c to the open connections, if need be in place of another. If none
// can make room yet, it returns how long that will take.
func (l *listener) add(c *conn) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.bounds.conns {
		oldest, wait := l.oldest()
		if wait > 0 {
			return wait
		}
		delete(l.conns, oldest)
		_ = oldest.Conn.Close()
	}
	l.conns[c] = struct{}{}
	return 0
}

// oldest returns the connection that is to make room, or how long it will take
// until one can. It is one between two requests, if there is any, which may be
// closed at any time; else one that has not asked in time; and if all are being
// answered, the one for which that takes longest. This process may be slow, so
// that a request lies there unread: that connection is spared.
func (l *listener) oldest() (*conn, time.Duration) {
	var oldest [http.StateClosed]*conn // by state
	spared := false
	for c := range l.conns {
		state := http.ConnState(c.state.Load())
		first := &oldest[state]
		switch {
		case *first != nil && c.since.Load() >= (*first).since.Load():
		case state != http.StateActive && c.hasUnread():
			spared = true
		default:
			*first = c
		}
	}
	switch idle, fresh, active := oldest[http.StateIdle], oldest[http.StateNew], oldest[http.StateActive]; {
	case idle != nil:
		return idle, 0
	case fresh != nil:
		return fresh, max(0, l.bounds.fresh-fresh.age())
	case spared:
		return nil, l.bounds.fresh / 10
	default:
		return active, max(0, l.bounds.answer-active.age())
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// is notes what the connection does from now on.
func (c *conn) is(s http.ConnState) {
	if s == http.StateHijacked || s == http.StateClosed {
		return // Close sees to that
	}
	c.since.Store(int64(time.Since(c.of.began)))
	c.state.Store(int32(s))
	if s == http.StateIdle {
		c.begun = false
		c.of.signal()
	}
}

// Read is that of net.Conn. Net/http says that there is a request when it has the
// whole header. Until then the connection is one that has not asked yet, and has
// the time for that from the first byte on, which may have waited here for long.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.begun {
		c.begun = true
		c.is(http.StateNew)
	}
	return n, err
}

// hasUnread reports whether something has come that was not read yet.
func (c *conn) hasUnread() bool {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	err = raw.Control(func(fd uintptr) { found = unread(fd) })
	return err == nil && found
}

// age returns for how long the connection has been in its state.
func (c *conn) age() time.Duration {
	return time.Since(c.of.began) - time.Duration(c.since.Load())
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	c.of.signal()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a response that a client is still sending to.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// signal tells Accept that there may be room.
func (l *listener) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// limitHops has packets on c pass as many hosts at most, where c has such.
func limitHops(c net.Conn, hops int) error {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return nil
	}
	level, name := ipv6, ipv6Hops
	if local.IP.To4() != nil {
		level, name = ipv4, ipv4Hops
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = setsockopt(fd, level, name, hops) })
	return cmp.Or(err, failed)
}
