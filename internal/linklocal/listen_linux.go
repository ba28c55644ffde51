package linklocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kura/internal/store/program"
)

const (
	startTimeout = 10 * time.Second
	askTimeout   = 2 * time.Minute // while a password is asked for
)

// What a message of the helper begins with. The rest is text.
const (
	listening = 'l' // and here is the socket
	taken     = 't' // a TakenError
	failed    = 'f'

	maxMessage = 1024
)

func listen(ctx context.Context, o Options) (*Listener, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	helper := []string{self, Command}
	if os.Geteuid() == 0 {
		return start(ctx, call{argv: helper, environ: []string{}, timeout: startTimeout})
	}
	sudo, err := program.Find("sudo", o.Environ)
	if err != nil {
		return nil, ErrNoSudo
	}
	l, err := start(ctx, call{
		argv:    append([]string{sudo, "-n", "--"}, helper...),
		environ: o.Environ,
		timeout: startTimeout,
	})
	if _, ok := errors.AsType[*endedError](err); ok && o.Ask {
		l, err = start(ctx, call{
			argv:    append([]string{sudo, "--"}, helper...),
			environ: o.Environ,
			stderr:  o.Stderr,
			timeout: askTimeout,
		})
	}
	if e, ok := errors.AsType[*endedError](err); ok {
		err = &SudoError{e.status, e.output}
	}
	return l, err
}

// A call is how the helper is started.
type call struct {
	argv    []string
	environ []string
	stderr  io.Writer // nil makes what is written there part of the error
	timeout time.Duration
}

// An endedError says that the helper, or what was to start it, ended without
// having told anything.
type endedError struct {
	status error
	output string
}

func (e *endedError) Error() string { return fmt.Sprintf("the helper: %v: %s", e.status, e.output) }

// start starts the helper and waits for what it has to tell. One that is no
// longer waited for finds the other end of its socket closed, and ends.
func start(ctx context.Context, c call) (*Listener, error) {
	conn, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stderr = c.environ, theirs, c.stderr
	if c.stderr == nil {
		cmd.Stderr = &output
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	status := make(chan error, 1)
	go func() { status <- cmd.Wait() }()
	listener, err := receive(ctx, conn, c.timeout)
	if errors.Is(err, io.EOF) { // nobody has the socket any more
		e := &endedError{status: <-status}
		if e.status == nil {
			e.status = errors.New("it told nothing")
		}
		e.output, _, _ = strings.Cut(strings.TrimSpace(output.String()), "\n")
		err = e
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	l := &Listener{Listener: listener, helper: conn, gone: make(chan struct{})}
	_ = conn.SetReadDeadline(time.Time{}) // fails for a closed one
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // it tells nothing more
		close(l.gone)
	}()
	return l, nil
}

// socketpair returns the ends of a pair of sockets: ours, and that of a process
// to be started.
func socketpair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "helper"), os.NewFile(uintptr(fds[1]), "helper")
	conn, err := unixConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// unixConn returns a connection with a copy of a file, which must be a socket
// such as socketpair makes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if network := conn.LocalAddr().Network(); !ok || network != "unixpacket" {
		_ = conn.Close()
		return nil, fmt.Errorf("its type is %s", network)
	}
	return u, nil
}

// receive returns what the helper tells. The error is io.EOF if it ends before.
func receive(ctx context.Context, conn *net.UnixConn, timeout time.Duration) (net.Listener, error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	n, r, _, _, err := conn.ReadMsgUnix(text, rights)
	stop()
	switch {
	case err == nil && n > 0:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &TimeoutError{timeout}
	case err != nil:
		return nil, err
	default:
		return nil, io.EOF
	}
	switch text[0] {
	case listening:
		return listenerOf(rights[:r])
	case taken:
		return nil, &TakenError{string(text[1:n])}
	}
	return nil, fmt.Errorf("the helper: %s", text[1:n])
}

// listenerOf returns the listener that a control message carries.
func listenerOf(rights []byte) (net.Listener, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errors.New("the helper sent no socket")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fds[0]), address)
	defer file.Close()
	return net.FileListener(file)
}
