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
func replace(path string, argv, env []string, before func() (after func())) (Status, error) {
	after := before()
	err := syscall.Exec(path, argv, env)
	after()
	return Status{}, describe(path, err)
}

// describe tells apart what the system does not: for an interpreter that is
// missing it says that the script is.
func describe(path string, err error) error {
	if _, statErr := os.Stat(path); errors.Is(err, fs.ErrNotExist) && statErr == nil {
		return fmt.Errorf("its interpreter is missing: %w", syscall.ENOEXEC)
	}
	return err
}
