//go:build unix

package prompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
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
	yields  bool // see Yielding
	signals chan os.Signal
	mode    *unix.Termios // while typing
	stale   bool          // others may have written to the terminal
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
	return t.unstopped(func() error {
		for len(text) > 0 {
			n, err := unix.Write(t.fd, []byte(text))
			if err := unlessInterrupted(err); err != nil {
				return fmt.Errorf("writing to the terminal: %w", err)
			}
			text = text[max(n, 0):]
		}
		return nil
	})
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
		err = t.set()
	}
	if err != nil {
		signal.Stop(t.signals)
		if errors.Is(err, ErrTaken) {
			return nil, err
		}
		// As for a process in the background that no shell looks after.
		return nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	return func() {
		_ = t.unstopped(func() error { // fails only if it was hung up
			if t.yields && !t.isAsSet() {
				return nil
			}
			return unix.IoctlSetTermios(t.fd, setTermios, before)
		})
		signal.Stop(t.signals)
	}, nil
}

// set sets the terminal to the mode of typing.
func (t *terminal) set() error {
	return t.unstopped(func() error {
		if t.yields && !t.isForeground() {
			return ErrTaken
		}
		return unix.IoctlSetTermios(t.fd, setTermios, t.mode)
	})
}

func (t *terminal) key(ctx context.Context) (byte, error) {
	for {
		b, ok, err := t.next(ctx, 100*time.Millisecond)
		if ok || err != nil {
			return b, err
		}
	}
}

// next implements keys.
func (t *terminal) next(ctx context.Context, while time.Duration) (b byte, ok bool, err error) {
	select {
	case s := <-t.signals:
		if err := t.heard(s); err != nil {
			return 0, false, err
		}
	case <-ctx.Done():
		return 0, false, canceled(ctx)
	default:
	}
	err = t.unstopped(func() (err error) {
		b, ok, err = t.poll(while)
		return err
	})
	switch {
	case errors.Is(err, ErrTaken):
		// A job that was stopped and continues finds the terminal as its shell
		// has left it, some time before it hears of that.
		select {
		case s := <-t.signals:
			return 0, false, t.heard(s)
		case <-time.After(100 * time.Millisecond):
		}
	case err != nil:
		// Linux takes the terminal away before it says so by a signal, which
		// must not find the process without a handler.
		select {
		case <-t.signals:
		case <-time.After(500 * time.Millisecond):
		}
		err = fmt.Errorf("%w: reading from the terminal: %w", ErrCanceled, err)
	}
	return b, ok, err
}

// heard returns the error by which a signal ends the question, if it does.
func (t *terminal) heard(s os.Signal) error {
	if s != syscall.SIGCONT {
		return ErrCanceled
	}
	// The shell has had the terminal and may have left it showing what is typed.
	t.stale = true
	if err := t.set(); errors.Is(err, ErrTaken) {
		return err
	}
	return nil
}

// size returns the columns and rows of the terminal. Some do not know.
func (t *terminal) size() (columns, rows int) {
	size, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// Draws reports whether Show works on a terminal that TERM says so of.
func Draws(term string) bool { return term != "" && term != "dumb" }

// poll returns a byte that was typed, or false after a while.
func (t *terminal) poll(while time.Duration) (b byte, ok bool, err error) {
	var ready unix.FdSet
	ready.Set(t.fd)
	timeout := unix.NsecToTimeval(int64(while))
	if _, err := unix.Select(t.fd+1, &ready, nil, nil, &timeout); err != nil {
		return 0, false, unlessInterrupted(err)
	}
	if t.yields && (!t.isForeground() || !t.isAsSet()) {
		return 0, false, ErrTaken
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
	if errors.Is(err, unix.EIO) && t.yields && !t.isForeground() {
		return 0, false, ErrTaken // between two calls
	}
	return 0, false, unlessInterrupted(err)
}

// isForeground reports whether the terminal belongs to this job. One that was hung
// up is nobody else's.
func (t *terminal) isForeground() bool {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// isAsSet reports whether the terminal is in the mode of typing still.
func (t *terminal) isAsSet() bool {
	mode, err := unix.IoctlGetTermios(t.fd, getTermios)
	return err != nil || mode.Lflag == t.mode.Lflag && mode.Iflag == t.mode.Iflag
}

// unstopped calls f, in which a process that yields is not stopped for using the
// terminal of another job: for f it is as if it ignored the signals for that. Only
// the thread does so, because what a process ignores its children ignore, too.
func (t *terminal) unstopped(f func() error) error {
	if !t.yields {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unblock, err := blockJobSignals()
	if err != nil {
		return err
	}
	defer unblock()
	return f()
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
	if !t.isForeground() {
		return false
	}
	mode, err := unix.IoctlGetTermios(t.fd, getTermios)
	return err == nil && mode.Lflag&unix.ICANON != 0 && mode.Lflag&unix.ECHO != 0
}
