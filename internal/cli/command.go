package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/shell"
)

// callersVariable tells a command that kura runs which profiles it is run for,
// so that a kura below does not start the same again, and again.
const callersVariable = "KURA_CALLERS"

// A recursionError says that a profile's own command asks kura for the profile.
type recursionError struct{ profile string }

func (e *recursionError) Error() string {
	return fmt.Sprintf("the command that profile %q is configured with asks for the credentials of that profile", e.profile)
}

// commandTimeout is how long a configured command may take: as long as a
// person who has to answer its questions.
const commandTimeout = 2 * time.Minute

// runCommand runs a command line of the configuration and returns what it
// prints. It gets none of the credentials in this process's environment. The
// error does not quote what it printed.
func (a *app) runCommand(ctx context.Context, profile, line string) ([]byte, error) {
	callers := strings.TrimPrefix(a.Getenv(callersVariable)+"\n"+profile, "\n")
	run := shell.Command{
		Line:      line,
		Apart:     !a.mayAsk(),
		Environ:   append(deliver.Scrub(a.Environ), callersVariable+"="+callers),
		Stdin:     a.Stdin,
		Stderr:    a.Stderr,
		Timeout:   commandTimeout,
		MaxOutput: 1 << 20,
	}
	if run.Apart {
		run.Stdin = nil // it is the other program's
	}
	out, err := run.Output(ctx)
	switch {
	case errors.Is(err, shell.ErrTimeout):
		return nil, fmt.Errorf("not done after %s", commandTimeout)
	case errors.Is(err, shell.ErrTooMuch):
		return nil, errors.New("it printed more than 1 MiB")
	}
	return out, err
}

// commandOf returns the profile whose command a source is, or "".
func commandOf(s chain.Source) string {
	switch {
	case s.Process != nil:
		return s.Process.Profile
	case s.WebIdentity != nil && s.WebIdentity.TokenProcess != "":
		return s.WebIdentity.Profile
	}
	return ""
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
