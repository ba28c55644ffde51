//go:build unix

package prompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const ttyName = "/dev/tty"

// terminal is the controlling terminal. It is no os.File, because the runtime
// can't poll it on all systems: macOS has neither kqueue nor poll for it, but
// all have select.
type terminal struct {
	fd      int
	signals chan os.Signal
	mode    *unix.Termios // while typing
}

func open() (*terminal, error) {
	fd, err := unix.Open(ttyName, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoTerminal, ttyName, err)
	}
	return &terminal{fd: fd}, nil
}

func sessionID() int {
	id, err := unix.Getsid(0)
	if err != nil {
		return 0 // it can't fail for this process
	}
	return id
}

func files() (in, out *os.File, err error) {
	f, err := os.OpenFile(ttyName, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	return f, f, nil
}

func (t *terminal) Close() error { return unix.Close(t.fd) }

func (t *terminal) show(text string) { _ = t.write(text) }

func (t *terminal) write(text string) error {
	for len(text) > 0 {
		n, err := unix.Write(t.fd, []byte(text))
		if err := unlessInterrupted(err); err != nil {
			return fmt.Errorf("writing to the terminal: %w", err)
		}
		text = text[max(n, 0):]
	}
	return nil
}

// typing makes the terminal hand over each key at once and show none, until
// restore is called. Keys that make signals still do: Ctrl-C is meant for
// everything that runs on the terminal, not for this process alone. What was
// typed ahead is kept.
func (t *terminal) typing() (restore func(), err error) {
	// Before the terminal is changed, so that no signal leaves it changed.
	t.signals = make(chan os.Signal, 16)
	signal.Notify(t.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCONT)
	before, err := unix.IoctlGetTermios(t.fd, getTermios)
	if err == nil {
		mode := *before
		mode.Lflag &^= unix.ICANON | unix.ECHO | unix.ECHONL
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 0, 0 // key does the waiting
		t.mode = &mode
		err = unix.IoctlSetTermios(t.fd, setTermios, t.mode)
	}
	if err != nil {
		signal.Stop(t.signals)
		// As for a process in the background that no shell looks after.
		return nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	return func() {
		_ = unix.IoctlSetTermios(t.fd, setTermios, before) // fails only if it was hung up
		signal.Stop(t.signals)
	}, nil
}

func (t *terminal) key(ctx context.Context) (byte, error) {
	for {
		select {
		case s := <-t.signals:
			if s != syscall.SIGCONT {
				return 0, ErrCanceled
			}
			// The shell has had the terminal and may have left it showing what
			// is typed.
			_ = unix.IoctlSetTermios(t.fd, setTermios, t.mode)
		case <-ctx.Done():
			return 0, canceled(ctx)
		default:
		}
		b, ok, err := t.poll()
		if err != nil {
			// Linux takes the terminal away before it says so by a signal, which
			// must not find the process without a handler.
			select {
			case <-t.signals:
			case <-time.After(500 * time.Millisecond):
			}
			return 0, fmt.Errorf("%w: reading from the terminal: %w", ErrCanceled, err)
		}
		if ok {
			return b, nil
		}
	}
}

// poll returns a byte that was typed, or false after a tenth of a second.
func (t *terminal) poll() (b byte, ok bool, err error) {
	var ready unix.FdSet
	ready.Set(t.fd)
	timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
	if _, err := unix.Select(t.fd+1, &ready, nil, nil, &timeout); err != nil {
		return 0, false, unlessInterrupted(err)
	}
	if !ready.IsSet(t.fd) {
		return 0, false, nil
	}
	var buf [1]byte
	n, err := unix.Read(t.fd, buf[:])
	if n == 1 {
		return buf[0], true, nil
	}
	if err == nil {
		// A terminal that was hung up reads as empty for ever.
		_, err = unix.IoctlGetTermios(t.fd, getTermios)
	}
	return 0, false, unlessInterrupted(err)
}

func unlessInterrupted(err error) error {
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}

func (t *terminal) flush() { flushInput(t.fd) }

func jobID() int { return unix.Getpgrp() }

func isFree() bool {
	t, err := open()
	if err != nil {
		return false
	}
	defer t.Close()
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return false
	}
	mode, err := unix.IoctlGetTermios(t.fd, getTermios)
	return err == nil && mode.Lflag&unix.ICANON != 0 && mode.Lflag&unix.ECHO != 0
}
