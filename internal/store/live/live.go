// Package live starts the real services and programs that stores are made of,
// each with a home of its own: for tests, scripts and measurements. No part of
// the program imports it.
package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A MissingError says that a program which is needed is not installed.
type MissingError struct{ Program string }

func (e *MissingError) Error() string { return e.Program + " is not installed" }

// find returns the path of a program, or a *MissingError.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &MissingError{program}
	}
	return path, nil
}

// A daemon is a process that runs until it is stopped, or its starter dies.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

// start runs a daemon.
func start(cmd *exec.Cmd) (*daemon, error) {
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd, make(chan struct{})}
	go func() {
		cmd.Wait() // that it was killed is no news
		close(d.done)
	}()
	return d, nil
}

// stop kills a daemon and waits until it has ended.
func (d *daemon) stop() {
	d.cmd.Process.Kill() // it may have ended already
	<-d.done
}

// logTo sends the output of a command to a file, for those who must find out
// what went wrong.
func logTo(cmd *exec.Cmd, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd.Stderr = f
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	return nil
}

// until calls ready every few milliseconds until it returns true, the daemon
// ends, ctx is done, or 20 seconds have passed.
func (d *daemon) until(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not ready after 20 seconds"))
	defer cancel()
	for !ready() {
		select {
		case <-d.done:
			return fmt.Errorf("%s: %v", d.cmd.Path, d.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", d.cmd.Path, context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}
