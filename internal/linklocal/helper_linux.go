package linklocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A helper is what differs between the program and its tests.
type helper struct {
	lifetime time.Duration // of the address, in whole seconds, if nobody prolongs it
}

// answerTimeout is how long a metadata service may take to answer: a real one
// is on this machine or the next.
const answerTimeout = 500 * time.Millisecond

// listenerFD is where the first process gives the second the socket.
const listenerFD = 3

func help(ctx context.Context, stdin *os.File, sudoUID string) error {
	return helper{lifetime: 30 * time.Second}.run(ctx, stdin, sudoUID)
}

func (h helper) run(ctx context.Context, stdin *os.File, sudoUID string) error {
	defer stdin.Close()
	conn, err := unixConn(stdin)
	if err != nil {
		return fmt.Errorf("standard input is not a socket of a process that is to listen: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if os.Geteuid() != 0 {
		err = h.keep(ctx, conn)
	} else {
		err = h.setUp(ctx, stdin, sudoUID)
	}
	if err == nil {
		return nil
	}
	kind, text := byte(failed), err.Error()
	if e, ok := errors.AsType[*TakenError](err); ok {
		kind, text = taken, e.By
	}
	_, err = conn.Write(append([]byte{kind}, text[:min(len(text), maxMessage-1)]...))
	return err
}

// setUp is what the first process does, as root.
func (h helper) setUp(ctx context.Context, stdin *os.File, sudoUID string) error {
	// Whom the terminal interrupts ends the second process by ending.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	caller, err := callerOf(stdin, sudoUID)
	if err != nil {
		return err
	}
	listener, err := bind()
	if err != nil {
		return err
	}
	defer listener.Close()
	// From here on no other helper does anything, since none can listen.
	if err := vacant(ctx); err != nil {
		return err
	}
	if err := h.addAddress(); err != nil {
		return err
	}
	if err := h.startSecond(ctx, stdin, listener, caller); err != nil {
		return errors.Join(err, removeAddress())
	}
	return nil
}

// callerOf returns the user who has made a socket, as the kernel noted it then,
// if this is the one for whom the helper is to work.
func callerOf(socket *os.File, sudoUID string) (*unix.Ucred, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var caller *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		caller, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return nil, err
	}
	want := strconv.Itoa(os.Getuid())
	if want == "0" && sudoUID != "" {
		want = sudoUID
	}
	if got := strconv.FormatUint(uint64(caller.Uid), 10); got != want {
		return nil, fmt.Errorf("the socket is of user %s, and not of %s, who has called", got, want)
	}
	return caller, nil
}

// bind returns a socket that listens at the address, whether or not that is
// there yet. What comes from other machines by other interfaces does not reach
// it, and only root can change that.
func bind() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), address)
	// Connections of before that are not quite over are in nobody's way.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	}
	if err == nil {
		err = unix.BindToDevice(fd, "lo")
	}
	if err == nil {
		at := netip.MustParseAddrPort(address)
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &TakenError{"a program listens there, or at that port of all addresses"}
	}
	return nil, fmt.Errorf("listening at %s: %w", address, err)
}

// vacant returns a TakenError if the address is somebody's. One that a former
// helper has left, of which nothing else is left, is not.
func vacant(ctx context.Context) error {
	left, other, err := holders()
	switch {
	case err != nil:
		return err
	case other != "":
		return &TakenError{"the interface " + other + " has the address"}
	case left:
		return nil
	}
	d := net.Dialer{Timeout: answerTimeout}
	if conn, err := d.DialContext(ctx, "tcp4", address); err == nil {
		_ = conn.Close()
		return &TakenError{"a metadata service answers there"}
	}
	return nil
}

// startSecond starts the second process: of the caller's user, or nobody if
// that is root, in a session of its own, where no terminal reaches it, with no
// environment.
func (h helper) startSecond(ctx context.Context, stdin, listener *os.File, caller *unix.Ucred) error {
	const nobody = 65534
	user := &syscall.Credential{Uid: caller.Uid, Gid: caller.Gid}
	if user.Uid == 0 {
		user = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Command)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.Stdin = stdin
	cmd.ExtraFiles = []*os.File{listenerFD - 3: listener}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Credential:  user,
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the helper's second process: %w", err)
	}
	return nil
}

// keep is what the second process does: it hands over the socket and keeps the
// address until the other end of conn is closed.
func (h helper) keep(ctx context.Context, conn *net.UnixConn) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM)
	defer stop()
	if err := h.addAddress(); err != nil {
		return err
	}
	listener := os.NewFile(listenerFD, address)
	defer listener.Close()                 // after the address is removed, which it protects
	defer func() { _ = removeAddress() }() // or the kernel does, later
	if _, _, err := conn.WriteMsgUnix([]byte{listening}, unix.UnixRights(listenerFD), nil); err != nil {
		return nil // nobody is there to be told
	}
	closed := make(chan struct{})
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // whatever it is
		close(closed)
	}()
	prolong := time.NewTicker(h.lifetime / 3)
	defer prolong.Stop()
	for {
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return nil
		case <-prolong.C:
			if err := h.addAddress(); err != nil {
				return nil // and who listens sees that this process has ended
			}
		}
	}
}
