//go:build unix

package deliver

import (
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
			_ = unix.Kill(pid, s.(syscall.Signal))
		}
	}
	return supervise(pid, signals)
}

// supervise waits for the command, and does what happens to it to this process
// and what happens to this process to it. Nobody else waits for the command, so
// its ID is its own until it has been seen to have ended.
func supervise(pid int, signals <-chan os.Signal) (Status, error) {
	var got os.Signal
	var stopped, hadTerminal bool
	for {
		state, changed, err := look(pid)
		switch {
		case err != nil:
			return Status{}, err
		case changed && state.Stopped():
			owner := foreground()
			stopped, hadTerminal = true, owner == groupOf(pid)
			if owner == -1 {
				continue // nobody controls jobs, or would continue this process
			}
			// Only now: a command that sets the terminal right before it stops
			// must not find that a shell has it already. SIGTSTP can't be the
			// signal, since it is caught.
			stop()
			continue
		case changed && state.Continued():
			stopped = false
			continue
		case changed && state.Signaled():
			return Status{128 + int(state.Signal()), state.Signal()}, nil
		case changed:
			return Status{Code: state.ExitStatus()}, nil
		}
		if got == syscall.SIGCONT && stopped {
			resume(pid, hadTerminal)
		}
		got = <-signals
		if s := got.(syscall.Signal); slices.Contains(forwarded(), got) && !fromKeys(s, pid) {
			_ = unix.Kill(pid, s) // fails only if the command is of another user by now
		}
	}
}

// look returns what has become of a child since the last time, if anything.
func look(pid int) (state unix.WaitStatus, changed bool, err error) {
	for {
		n, err := unix.Wait4(pid, &state, unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED, nil)
		if err != unix.EINTR {
			return state, n == pid, os.NewSyscallError("wait4", err)
		}
	}
}

// resume continues a command that stopped and was not continued together with
// this process, because it is in a group of its own, as a shell with job control
// is. It gets the terminal back if it had it and the shell that this process runs
// under has given that to our group.
func resume(pid int, hadTerminal bool) {
	group := groupOf(pid)
	if group == unix.Getpgrp() {
		_ = unix.Kill(pid, unix.SIGCONT)
		return
	}
	if hadTerminal && foreground() == unix.Getpgrp() {
		setForeground(group)
	}
	_ = unix.Kill(-group, unix.SIGCONT)
}

// fromKeys reports whether a signal may have been made of a key, or of the
// window's size, and so have reached the command already.
func fromKeys(s syscall.Signal, pid int) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGWINCH:
		group := groupOf(pid)
		return group == unix.Getpgrp() && group == foreground()
	}
	return false
}

// groupOf returns the process group of a child.
func groupOf(pid int) int {
	group, err := unix.Getpgid(pid)
	if err != nil {
		return 0 // no group; it can't fail before the child has been waited for
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
		return // the system spares it
	}
	// Package signal would leave the signal to Go's runtime, which drops some and
	// prints its goroutines at others. SIGKILL has no action to set.
	_ = sigaction(s, &action{}, nil)
	_ = unix.Kill(unix.Getpid(), s) // can't fail
	<-time.After(time.Second)       // another thread may be the one that gets it
}
