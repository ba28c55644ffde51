package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"kura/internal/deliver"
)

// callersVariable tells a command that kura runs which profiles it is run for,
// so that a kura below does not start the same again, and again.
const callersVariable = "KURA_CALLERS"

// A recursionError says that a profile's own command asks kura for the profile.
type recursionError struct{ profile string }

func (e *recursionError) Error() string {
	return fmt.Sprintf("the command that profile %q is configured with asks for the credentials of that profile", e.profile)
}

// runCommand runs a command line of the configuration by the system's shell, as
// the AWS CLI and SDKs do, and returns what it prints. It gets none of the
// credentials in this process's environment. The error does not quote what it
// printed.
func (a *app) runCommand(ctx context.Context, profile, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	argv := []string{"/bin/sh", "-c", command}
	if runtime.GOOS == "windows" {
		argv = []string{filepath.Join(a.Getenv("SystemRoot"), "System32", "cmd.exe"), "/C", command}
	}
	var out limited
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(deliver.Scrub(a.Environ), callersVariable+"="+strings.TrimPrefix(a.Getenv(callersVariable)+"\n"+profile, "\n"))
	c.Stdin, c.Stdout, c.Stderr = a.Stdin, &out, a.Stderr
	c.WaitDelay = time.Second // for what the shell started and left behind
	err := c.Run()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, fmt.Errorf("not done after %s", commandTimeout)
	}
	if err != nil {
		return nil, err
	}
	return out.data, nil
}

// calledFor reports whether this process was started, near or far, by the
// configured command of that profile.
func (a *app) calledFor(profile string) bool {
	for caller := range strings.SplitSeq(a.Getenv(callersVariable), "\n") {
		if caller == profile && profile != "" {
			return true
		}
	}
	return false
}

// limited takes as much as any credential_process may print, and no more.
type limited struct{ data []byte }

func (l *limited) Write(p []byte) (int, error) {
	if len(l.data)+len(p) > 1<<20 {
		return 0, errors.New("it prints more than 1 MiB")
	}
	l.data = append(l.data, p...)
	return len(p), nil
}
