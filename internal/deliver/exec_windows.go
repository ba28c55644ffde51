package deliver

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// lookPath finds a command in the PATH of this process, which is the child's
// too: nothing here changes it. The extensions of PATHEXT are tried.
func lookPath(name string, _ []string) (string, error) { return exec.LookPath(name) }

// replace is spawn: Windows can't replace the program of a process.
func replace(path string, argv, env []string, before func() (after func())) (Status, error) {
	return spawn(path, argv, env, before)
}

// spawn runs a command as a child and waits for it.
func spawn(path string, argv, env []string, before func() (after func())) (Status, error) {
	// Ctrl-C and the closing of the console reach every process of it, so this
	// one has only to wait for the command. Go calls the closing SIGTERM.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cmd := exec.Cmd{Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	after := before()
	err := cmd.Start()
	after()
	if err != nil {
		signal.Stop(signals)
		return Status{}, err
	}
	err = cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return Status{}, err
	}
	return Status{Code: cmd.ProcessState.ExitCode()}, nil
}

func raise(syscall.Signal) {}
