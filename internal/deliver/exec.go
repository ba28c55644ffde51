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
// runs, ctx does not bear on it any more. If SIGHUP, SIGINT or SIGTSTP were
// ignored when this process started, as SIGHUP is under nohup, they are ignored
// by the command, provided that nobody here listens to them by then. Go does not
// keep other signals ignored.
func Exec(ctx context.Context, argv, env []string, before func() (after func())) (Status, error) {
	return start(ctx, argv, env, before, replace)
}

// Run is Exec as a child of this process, with its standard input, output and
// error. It waits for the command and returns how that ended. Whoever deals with
// this process, by keys, from a shell or by signals, deals with the command. On
// Unix that means:
//
//   - The command is in the process group of this process. It gets what the
//     terminal sends to that, at Ctrl-C, Ctrl-\ and Ctrl-Z or when the window
//     changes its size, and this process outlives it. On a terminal, this process
//     stops when the command has, and what continues this process continues the
//     command.
//   - SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP and
//     SIGWINCH are passed on. What was ignored when this process started, as by
//     nohup, both go on to ignore.
//   - SIGINT, SIGQUIT, SIGTSTP and SIGWINCH are not passed on while the terminal
//     belongs to the process group and the command is in that, as it has them
//     from the terminal. One that kill(1) sends to this process alone is lost then.
//     It looks the same, and to be interrupted twice by one Ctrl-C does harm: many
//     a command then drops what it would have brought to an end.
//   - All others are passed on, once each. One that is sent to the whole group, as
//     by kill %1, is not told from one that is sent to this process alone, and
//     arrives twice. Better so than not at all.
//   - If this process is killed, the command gets SIGTERM on Linux and FreeBSD,
//     unless it runs set-user-ID. It gets nothing on macOS, which has no such
//     thing.
//
// On Windows, Ctrl-C and the closing of the console reach the command by
// themselves, and this process outlives them. If this process is killed the
// command goes on: a job object could kill it as well, but not ask it to end.
//
// The signals that are named here do not end this process any more once Run has
// returned a Status, so that the caller can clean up undisturbed. It is to do no
// more than that before it ends as Status says.
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
