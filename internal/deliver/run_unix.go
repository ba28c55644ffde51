//go:build unix

package deliver

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that a person or a program sends on purpose.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGALRM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGWINCH,
	}
}

// spawn runs a command as a child and waits for it.
func spawn(path string, argv, env []string, before func() (after func())) (Status, error) {
	// The command is told of the end of the thread that started it, which Go may
	// end before the process: golang/go#27505.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	// To listen to a signal is not to ignore it any more, here and in the command.
	heard := slices.DeleteFunc(forwarded(), func(s os.Signal) bool { return ignored(s.(syscall.Signal)) })
	// A broken pipe may be where this process has something to say, and is no
	// reason to leave the command alone.
	heard = append(heard, syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGPIPE)
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, heard...)

	after := before()
	early := len(signals) // have come before there was a command
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{os.Stdin.Fd(), os.Stdout.Fd(), os.Stderr.Fd()},
		Sys:   outlived(syscall.SIGTERM),
	})
	after()
	if err != nil {
		signal.Stop(signals)
		return Status{}, describe(path, err)
	}
	for range early {
		if s := <-signals; slices.Contains(forwarded(), s) {
			kill(pid, s.(syscall.Signal))
		}
	}
	return supervise(pid, signals)
}

// supervise waits for the command, and does to each of it and this process what
// happens to the other. Nobody else waits for the command, so its ID is its own
// until look has seen it end.
func supervise(pid int, signals <-chan os.Signal) (Status, error) {
	var got os.Signal
	var stopped, hadTerminal bool
	for {
		state, changed, err := look(pid)
		switch {
		case err != nil:
			return Status{}, err
		case !changed:
			if got == syscall.SIGCONT && stopped {
				resume(pid, hadTerminal)
			}
			if got = <-signals; slices.Contains(forwarded(), got) {
				pass(got.(syscall.Signal), pid)
			}
		case state == continued:
			stopped = false
		case state&0xff == 0x7f: // WIFSTOPPED; that of package unix is wrong on BSD
			owner := foreground()
			stopped, hadTerminal = true, owner == groupOf(pid)
			// Without a terminal there are no jobs, and nobody who would continue
			// this one. With one, this process stops last: a command that sets the
			// terminal right first must not find that a shell has it already.
			if owner != -1 {
				stop()
			}
		case state.Signaled():
			return Status{128 + int(state.Signal()), state.Signal()}, nil
		default:
			return Status{Code: state.ExitStatus()}, nil
		}
	}
}

// pass passes a signal on to a command, unless it has that already.
func pass(s syscall.Signal, pid int) {
	if !fromTerminal(s) {
		kill(pid, s)
		return
	}
	// Who pressed the key means a command in a group of its own, too.
	if group := groupOf(pid); group != unix.Getpgrp() {
		kill(-group, s)
	}
}

// fromTerminal reports whether the terminal may have sent a signal that has come
// here, and so to the whole group of this process.
func fromTerminal(s syscall.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGWINCH:
		return foreground() == unix.Getpgrp()
	}
	return false
}

// kill sends a signal to a command or, as kill(2) does, to its group. It is there;
// but that of another user, such as sudo(8), is out of reach.
func kill(pid int, s syscall.Signal) { _ = unix.Kill(pid, s) }

// look returns what has become of a child since the last time, if anything.
func look(pid int) (state unix.WaitStatus, changed bool, err error) {
	for {
		n, err := unix.Wait4(pid, &state, unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED, nil)
		if !errors.Is(err, unix.EINTR) {
			return state, n == pid, os.NewSyscallError("wait4", err)
		}
	}
}

// resume continues a command that was not continued together with this process.
// As a rule it is in a group of its own, as a shell with job control is. Then it
// gets the terminal back, if it had that and our group has been given it.
func resume(pid int, hadTerminal bool) {
	group := groupOf(pid)
	if group == unix.Getpgrp() {
		kill(pid, unix.SIGCONT)
		return
	}
	if hadTerminal && foreground() == unix.Getpgrp() {
		setForeground(group)
	}
	kill(-group, unix.SIGCONT)
}

// groupOf returns the process group of a child.
func groupOf(pid int) int {
	group, err := unix.Getpgid(pid)
	if err != nil {
		return unix.Getpgrp() // it can't fail before the child has been waited for
	}
	return group
}

// foreground returns the process group that the terminal belongs to, or -1
// without a terminal.
func foreground() int {
	tty, err := openTerminal()
	if err != nil {
		return -1
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil {
		return -1
	}
	return group
}

// setForeground gives the terminal to a process group. The caller's must have
// it.
func setForeground(group int) {
	if tty, err := openTerminal(); err == nil {
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group) // the command sees for itself
		unix.Close(tty)
	}
}

func openTerminal() (fd int, err error) {
	return unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}

// An action is what sigaction(2) takes, on every system: what is done at a signal
// comes first, and zero stands for the default. It is at least as long as theirs.
type action [8]uintptr

// ignored reports whether this process ignores a signal. Package signal knows
// only of those that nobody has listened to.
func ignored(s syscall.Signal) bool {
	const ignore = 1 // SIG_IGN
	var a action
	return sigaction(s, nil, &a) == nil && a[0] == ignore
}

func raise(s syscall.Signal) {
	if unix.Getpid() == 1 {
		return // it would be spared
	}
	// Package signal can't do this: it leaves a signal to Go's runtime, which drops
	// some and prints its goroutines at others. It fails for SIGKILL alone, which
	// has no other action.
	_ = sigaction(s, &action{}, nil)
	_ = unix.Kill(unix.Getpid(), s) // can't fail
	<-time.After(time.Second)       // another thread may be the one that gets it
}
