//go:build unix

package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookPath finds a command as execvp(3) does, in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	found := error(exec.ErrNotFound)
	if name == "" {
		return "", found
	}
	for _, dir := range filepath.SplitList(getenv(env, "PATH")) {
		path := filepath.Join(dir, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		// What to report if there is no better one further on. A directory that
		// may not be searched says nothing about the command.
		if errors.Is(err, fs.ErrPermission) {
			if _, statErr := os.Stat(path); statErr == nil {
				found = err
			}
		}
	}
	return "", found
}

// getenv returns a variable of env.
func getenv(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return fs.ErrNotExist
	case err != nil:
		return errors.Unwrap(err)
	case info.IsDir():
		return syscall.EACCES
	}
	return unix.Access(path, unix.X_OK)
}

// replace runs a command in the place of this process.
func replace(path string, argv, env []string, before func() (after func())) (int, error) {
	after := before()
	err := syscall.Exec(path, argv, env)
	after()
	return 0, describe(path, err)
}

// describe tells apart what the system does not: for an interpreter that is
// missing it says that the script is.
func describe(path string, err error) error {
	if _, statErr := os.Stat(path); errors.Is(err, fs.ErrNotExist) && statErr == nil {
		return fmt.Errorf("its interpreter is missing: %w", syscall.ENOEXEC)
	}
	return err
}

// forwarded are the signals that a person or a program sends on purpose.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	}
}

func forward(p *os.Process, s os.Signal) {
	if (s == syscall.SIGINT || s == syscall.SIGQUIT) && foreground() {
		return
	}
	_ = p.Signal(s) // fails only if the command has ended
}

// foreground reports whether keys of a terminal send signals to this process.
func foreground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func exitStatus(state *os.ProcessState) int {
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
