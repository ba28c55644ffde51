package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
)

// A NotRunError says that a command could not be started.
type NotRunError struct {
	Command  string // as it was typed
	NotFound bool   // there is no such command; otherwise it can't be run
	Err      error
}

func (e *NotRunError) Error() string { return fmt.Sprintf("running %s: %v", e.Command, e.Err) }
func (e *NotRunError) Unwrap() error { return e.Err }

// A Status is how a command ended.
type Status struct {
	Code   int            // its exit status; where Signal is set 128+Signal, as shells have it
	Signal syscall.Signal // what ended it, or 0; always 0 on Windows
}

// Raise ends this process by the signal that ended the command, if one did, so
// that its parent sees what it would have seen of the command. No deferred call
// runs any more. Raise returns where there is no signal, or where the system does
// not let it end this process, which may be the first one of a container: then
// Code is what to exit with.
func (s Status) Raise() {
	if s.Signal != 0 {
		raise(s.Signal)
	}
}

// Exec runs a command with env as its whole environment, without a shell. The
// command is looked up in the PATH of env and gets argv as it is, argv[0]
// included. Just before it starts, before is called, and what that returns right
// after, when the command runs or could not be started: between them stands what
// the command is to inherit and this process is not to have. Before may be nil.
//
// On Unix the command takes the place of this process, and Exec returns only if
// that fails, with a *NotRunError. Elsewhere Exec is Run. Once the command
// runs, ctx does not bear on it any more. SIGHUP, SIGINT and what stops jobs are
// ignored by the command if they were when this process started, as under nohup,
// provided that nobody here listens to them by then; Go does not keep others so.
func Exec(ctx context.Context, argv, env []string, before func() (after func())) (Status, error) {
	return start(ctx, argv, env, before, replace)
}

// Run is Exec as a child of this process, with its standard input, output and
// error, and waits for it. Whoever deals with this process, a shell or a program
// that sends it signals, is to find that it deals with the command.
//
// On Unix the command stays in the process group, and so the job, of this
// process. Keys that make signals (Ctrl-C, Ctrl-\, Ctrl-Z) and changes of the
// window's size reach it from the terminal, and are outlived here. When the
// command stops, this process does; what continues this process continues the
// command. SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP
// and SIGWINCH are passed on once each, with two exceptions:
//
//   - What was ignored when this process started is ignored by both.
//   - What keys may have sent is not passed on: SIGINT, SIGQUIT, SIGTSTP and
//     SIGWINCH while the command is in the group of this process and the terminal
//     belongs to that. Nothing tells a key from kill(1) here, and a command that is
//     interrupted twice may give up what it would have finished after one Ctrl-C;
//     of the one who sends SIGINT to this process alone, while it has a terminal,
//     the command does not hear.
//
// A signal that is sent to the whole group by other means (kill %1, a service
// manager that signals all its processes) arrives at the command twice: it can't
// be told from one for this process alone, and to lose that would be worse.
//
// Should this process be killed nonetheless, the command gets SIGTERM on Linux and
// FreeBSD, unless it is set-user-ID. Other systems have nothing of the kind; that a
// command on Windows could be killed together with this process is not made use
// of. There, Ctrl-C and the closing of the console reach the command by
// themselves, and are outlived here.
//
// From the start of the command to the end of this process no signal that can be
// caught ends this process, so that what the caller has to clean up when Run
// returns is cleaned up. It is to end then, as Status says.
func Run(ctx context.Context, argv, env []string, before func() (after func())) (Status, error) {
	return start(ctx, argv, env, before, spawn)
}

// A runner runs the command that is at path.
type runner func(path string, argv, env []string, before func() (after func())) (Status, error)

func start(ctx context.Context, argv, env []string, before func() (after func()), run runner) (Status, error) {
	if ctx.Err() != nil {
		return Status{}, context.Cause(ctx)
	}
	path, err := lookPath(argv[0], env)
	if err != nil {
		return Status{}, notRun(argv[0], err)
	}
	if before == nil {
		before = func() func() { return func() {} }
	}
	status, err := run(path, argv, env, before)
	if err != nil {
		return Status{}, notRun(argv[0], err)
	}
	return status, nil
}

// Look returns a *NotRunError if Exec could not find or run the command with
// env as its environment. It lets a mistyped name be reported before the user
// is asked for anything.
func Look(command string, env []string) error {
	if _, err := lookPath(command, env); err != nil {
		return notRun(command, err)
	}
	return nil
}

func notRun(command string, err error) error {
	return &NotRunError{command, errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound), err}
}
