package sessionbus_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
	"kura/internal/store/live"
)

func startBus(t *testing.T) *live.Bus {
	t.Helper()
	b, err := live.StartBus(t.Context(), t.TempDir())
	if missing, ok := errors.AsType[*live.MissingError](err); ok && os.Getenv("KURA_TEST_STORES") != "all" {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

func connect(t *testing.T, address string) *dbus.Conn {
	t.Helper()
	conn, err := sessionbus.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Where there is no bus none is started, and the error says where none is.
func TestNoBus(t *testing.T) {
	for _, address := range []string{
		"", "autolaunch:", "unix:path=/nowhere", "unix:", "nonsense", "unix:path=/a;unix:path=/b", "tcp:host=127.0.0.1,port=1",
	} {
		_, err := sessionbus.Connect(t.Context(), address)
		e, ok := errors.AsType[*sessionbus.NoBusError](err)
		if !ok || e.Address != address || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), address) {
			t.Errorf("Connect(%q): %v, want a NoBusError", address, err)
		}
	}
}

// Something that listens and says nothing, or nonsense, is not waited for when
// ctx is done.
func TestStuckBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("no sockets here: ", err)
	}
	t.Cleanup(func() { listener.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = sessionbus.Connect(ctx, "unix:path="+path)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("Connect: %v after %v, want context.DeadlineExceeded after 50 ms", err, time.Since(start))
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	_, err = sessionbus.Connect(t.Context(), "unix:path="+path)
	if _, ok := errors.AsType[*sessionbus.NoBusError](err); !ok {
		t.Errorf("Connect to something else: %v, want a NoBusError", err)
	}
	gone := errors.New("gone")
	canceled, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(gone)
	if _, err := sessionbus.Connect(canceled, "unix:path="+path); !errors.Is(err, gone) {
		t.Errorf("Connect for a caller who has gone: %v, want %v", err, gone)
	}
}

// fake answers calls in several ways.
type fake struct{ stuck chan struct{} }

func (f fake) Echo(s string) (string, *dbus.Error) { return s, nil }
func (f fake) Fail() *dbus.Error                   { return dbus.NewError("com.example.Bad", []any{"what is wrong"}) }
func (f fake) Deny() *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"no"})
}
func (f fake) Hang() *dbus.Error { <-f.stuck; return nil }

func TestCall(t *testing.T) {
	b := startBus(t)
	server := connect(t, b.Address)
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	if err := server.Export(fake{stuck}, "/fake", "com.example.Fake"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.RequestName("com.example", 0); err != nil {
		t.Fatal(err)
	}
	s := &sessionbus.Service{Conn: connect(t, b.Address), Name: "com.example"}
	call := func(ctx context.Context, method string, args []any, results ...any) error {
		return s.Call(ctx, "/fake", "com.example.Fake."+method, args, results...)
	}

	var got string
	if err := call(t.Context(), "Echo", []any{"text"}, &got); err != nil || got != "text" {
		t.Errorf("Echo = %q, %v", got, err)
	}
	var number int32
	if err := call(t.Context(), "Echo", []any{"text"}, &number); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a result of another type: %v, want ErrUnavailable", err)
	}
	if err := call(t.Context(), "Fail", nil); !sessionbus.IsError(err, "com.example.Other", "com.example.Bad") || err.Error() != "what is wrong" {
		t.Errorf("Fail: %v, want the service's own error", err)
	}
	if err := call(t.Context(), "Deny", nil); !errors.Is(err, store.ErrDenied) {
		t.Errorf("Deny: %v, want ErrDenied", err)
	}

	// Nobody waits longer than they said.
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	if err := call(ctx, "Hang", nil); !errors.Is(err, gone) {
		t.Errorf("Hang for a caller who goes: %v, want %v", err, gone)
	}
	s.Timeout = 20 * time.Millisecond
	err := call(t.Context(), "Hang", nil)
	if _, ok := errors.AsType[*sessionbus.TimeoutError](err); !ok || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Hang: %v, want a TimeoutError", err)
	}
	s.Timeout = 0

	// The service goes, and then the bus.
	wait := make(chan error, 1)
	go func() { wait <- call(t.Context(), "Hang", nil) }()
	if err := call(t.Context(), "Echo", []any{""}, &got); err != nil {
		t.Fatal(err)
	}
	server.Close()
	for _, err := range []error{<-wait, call(t.Context(), "Echo", []any{"text"}, &got)} {
		if _, ok := errors.AsType[*sessionbus.NoServiceError](err); !ok || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Echo of a service that has gone: %v, want a NoServiceError", err)
		}
	}
	b.Stop()
	err = call(t.Context(), "Echo", []any{"text"}, &got)
	if _, ok := errors.AsType[*sessionbus.NoServiceError](err); !ok {
		t.Errorf("Echo after the bus has gone: %v, want a NoServiceError", err)
	}
}

// A service that the bus knows how to start is started by a call, and one that
// does not come up is an error.
func TestActivation(t *testing.T) {
	b := startBus(t)
	if err := b.Serve("com.example", "/bin/false"); err != nil {
		t.Fatal(err)
	}
	s := &sessionbus.Service{Conn: connect(t, b.Address), Name: "com.example"}
	err := s.Call(t.Context(), "/", "com.example.Echo", nil)
	if e, ok := errors.AsType[*sessionbus.NoServiceError](err); !ok || e.Service != "com.example" {
		t.Errorf("error = %v, want a NoServiceError", err)
	}
}
