package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
)

// A NotRunError says that a command could not be started.
type NotRunError struct {
	Command  string // as it was typed
	NotFound bool   // there is no such command; otherwise it can't be run
	Err      error
}

func (e *NotRunError) Error() string { return fmt.Sprintf("running %s: %v", e.Command, e.Err) }
func (e *NotRunError) Unwrap() error { return e.Err }

// Exec runs a command with env as its whole environment, without a shell. The
// command is looked up in the PATH of env and gets argv as it is, argv[0]
// included. Just before it starts, before is called, and what that returns right
// after, when the command runs or could not be started: between them stands what
// the command is to inherit and this process is not to have. Before may be nil.
//
// On Unix the command takes the place of this process, and Exec returns only if
// that fails, with a *NotRunError. Elsewhere Exec is Run. Once the command
// runs, ctx does not bear on it any more. Signals that were ignored when this
// process started, as under nohup, are ignored by the command, provided that
// nobody here listens to them by then.
func Exec(ctx context.Context, argv, env []string, before func() (after func())) (status int, err error) {
	return start(ctx, argv, env, before, replace)
}

// Run is Exec as a child of this process, with its standard input, output and
// error. It waits for the command and returns its exit status, which for one
// that was ended by signal n is 128+n, as shells have it.
//
// Signals that this process gets meanwhile are passed on once each. Those that
// the terminal makes of keys (Ctrl-C) reach the command without our help, so
// SIGINT and SIGQUIT are passed on only when this process is not in the
// foreground of a terminal.
func Run(ctx context.Context, argv, env []string, before func() (after func())) (status int, err error) {
	return start(ctx, argv, env, before, spawn)
}

// A runner runs the command that is at path.
type runner func(path string, argv, env []string, before func() (after func())) (status int, err error)

func start(ctx context.Context, argv, env []string, before func() (after func()), run runner) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	path, err := lookPath(argv[0], env)
	if err != nil {
		return 0, notRun(argv[0], err)
	}
	if before == nil {
		before = func() func() { return func() {} }
	}
	status, err := run(path, argv, env, before)
	if err != nil {
		return 0, notRun(argv[0], err)
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

// spawn runs a command as a child and waits for it.
func spawn(path string, argv, env []string, before func() (after func())) (int, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)

	cmd := exec.Cmd{Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	after := before()
	err := cmd.Start()
	after()
	if err != nil {
		return 0, describe(path, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			forward(cmd.Process, s)
		case err := <-done:
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				return 0, err
			}
			return exitStatus(cmd.ProcessState), nil
		}
	}
}
