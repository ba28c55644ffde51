// Package sessionbus talks to services on a D-Bus session bus so that nothing
// ever hangs: a bus that is not there, or that accepts and says nothing, and a
// service that does not answer, are errors after a while. It never starts a
// bus. It knows nothing of what the services do.
package sessionbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/store"
)

// defaultTimeout limits the time that connecting, or a call, may take.
const defaultTimeout = 10 * time.Second

// A NoBusError says that there is no bus, or none that answers. It wraps
// store.ErrUnavailable.
type NoBusError struct {
	Address string // "" where none is known
	Err     error  // nil if Address is ""
}

func (e *NoBusError) Error() string {
	if e.Address == "" {
		return "there is no D-Bus session bus here: its address is not set"
	}
	return fmt.Sprintf("no D-Bus session bus at %s: %v", e.Address, e.Err)
}

// Unwrap returns store.ErrUnavailable and Err.
func (e *NoBusError) Unwrap() []error { return []error{store.ErrUnavailable, e.Err} }

// A NoServiceError says that nobody on the bus has a service's name, and that
// the bus could not start anybody who would, or that the service ended or lost
// its bus before it answered. It wraps store.ErrUnavailable.
type NoServiceError struct {
	Service string
	Err     error
}

func (e *NoServiceError) Error() string {
	return fmt.Sprintf("no service %s on the session bus: %v", e.Service, e.Err)
}

// Unwrap returns store.ErrUnavailable and Err.
func (e *NoServiceError) Unwrap() []error { return []error{store.ErrUnavailable, e.Err} }

// A TimeoutError says that a bus or a service gave no answer in time. It wraps
// store.ErrUnavailable.
type TimeoutError struct {
	Service string
	After   time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer from %s within %v", e.Service, e.After)
}

// Unwrap returns store.ErrUnavailable.
func (e *TimeoutError) Unwrap() error { return store.ErrUnavailable }

// Connect connects to the bus at an address as DBUS_SESSION_BUS_ADDRESS has it.
// It starts none, so "autolaunch:" is an address that nothing listens at. It
// takes no longer than 10 seconds. The error is a *NoBusError, or the cause of
// ctx.
func Connect(ctx context.Context, address string) (*dbus.Conn, error) {
	if address == "" {
		return nil, &NoBusError{}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, defaultTimeout,
		&NoBusError{address, &TimeoutError{"the bus", defaultTimeout}})
	defer cancel()
	type result struct {
		conn *dbus.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := connect(ctx, address)
		done <- result{conn, err}
	}()
	select {
	case <-ctx.Done():
		// The goroutine ends by itself: connect closes what ctx has outlived.
		return nil, context.Cause(ctx)
	case r := <-done:
		switch {
		case r.err == nil:
			return r.conn, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		return nil, &NoBusError{address, r.err}
	}
}

// connect returns a connection on which calls can be made. godbus knows no
// deadline for any of the three steps, but closing ends the later two.
func connect(ctx context.Context, address string) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = conn.Auth(nil)
	if err == nil {
		err = conn.Hello()
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// A Service is a program on a bus.
type Service struct {
	Conn    *dbus.Conn
	Name    string        // such as org.freedesktop.secrets
	Timeout time.Duration // of each call; 0 means 10 seconds
}

// Call calls a method, written with its interface, of an object of the service,
// and stores what it returns in the pointers of results. The bus starts the
// service if it knows how. The error is the cause of ctx, a *NoServiceError, a
// *TimeoutError, one that wraps store.ErrDenied, or the service's own: a
// dbus.Error.
func (s *Service) Call(ctx context.Context, path dbus.ObjectPath, method string, args []any, results ...any) error {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, &TimeoutError{s.Name, timeout})
	defer cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Sending blocks where the bus does not read, and heeds no context.
	done := make(chan *dbus.Call, 1)
	go func() {
		call := s.Conn.Object(s.Name, path).GoWithContext(ctx, method, 0, make(chan *dbus.Call, 1), args...)
		done <- <-call.Done
	}()
	var call *dbus.Call
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case call = <-done:
	}
	if call.Err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.explain(call.Err)
	}
	if err := call.Store(results...); err != nil {
		return fmt.Errorf("%w: %s of %s answered in an unknown way: %w", store.ErrUnavailable, method, s.Name, err)
	}
	return nil
}

// explain makes an error of a call one that tells what it means. The names are
// those of the D-Bus specification and of dbus-daemon.
func (s *Service) explain(err error) error {
	e, ok := errors.AsType[dbus.Error](err)
	switch {
	case !ok:
		return &NoServiceError{s.Name, fmt.Errorf("the connection to the bus was lost: %w", err)}
	case strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.Spawn."):
		return &NoServiceError{s.Name, e}
	}
	switch e.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown",
		"org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.NoReply",
		"org.freedesktop.DBus.Error.TimedOut",
		"org.freedesktop.DBus.Error.Disconnected",
		"org.freedesktop.DBus.Error.NoServer":
		return &NoServiceError{s.Name, e}
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.AuthFailed":
		return fmt.Errorf("%s: %w: %w", s.Name, store.ErrDenied, e)
	}
	return e
}

// IsError reports whether an error is a service's own of one of these names,
// such as org.freedesktop.DBus.Error.UnknownMethod.
func IsError(err error, names ...string) bool {
	e, ok := errors.AsType[dbus.Error](err)
	return ok && slices.Contains(names, e.Name)
}
