package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kura/internal/deliver"
	"kura/internal/prompt"
)

const (
	// processTimeout is how long a caller waits for its credential process at
	// the most. The AWS SDK for Go kills it after a minute; most others wait
	// for ever. See DefaultTimeout in
	// https://pkg.go.dev/github.com/aws/aws-sdk-go-v2/credentials/processcreds
	processTimeout = 50 * time.Second

	// processAhead is more than the 15 minutes before the end at which botocore
	// begins to ask for new credentials, at each request until it gets them.
	// See _advisory_refresh_timeout in
	// https://github.com/boto/botocore/blob/develop/botocore/credentials.py
	processAhead = 16 * time.Minute

	// processRefused is how long 1Password is not asked again for the same
	// program once a person has refused: it may come back at each of its requests.
	processRefused = time.Minute
)

func credentialProcessCommand(a *app) *cobra.Command {
	var o mintFlags
	c := &cobra.Command{
		Use:   "credential-process PROFILE",
		Short: "print the credentials of a profile for AWS's own tools",
		Long: `Credential-process is what an AWS CLI, an SDK or awsume runs to get credentials
of PROFILE, when credential_process in ~/.aws/config says so. It prints them as
JSON and nothing else. It reads nothing from standard input, asks on the
terminal, and ends within 50 seconds: some SDKs kill it after 60. The commands
"export --format=json" and "exec --json" do the same.

The path of kura is best written out, without spaces and quotes: awsume looks
for a file of that name.

SDKs ask for new credentials up to 15 minutes before the old ones expire, so
they are renewed 16 minutes before (those of a short session, when half of it is
over). Nobody has to type a code for that: what needs one is renewed 5 minutes
before it expires (AWS_MIN_TTL). An early renewal that fails is put off for five
minutes, and the present credentials are printed.`,
		Example: `  [default]
  credential_process = /usr/local/bin/kura credential-process default`,
		Args:              exactly("profile"),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.credentialProcess(c.Context(), args[0], &o)
	}
	return c
}

// credentialProcess prints credentials for a program that runs this one to get
// them: one of AWS's, or one that was set up for aws-vault's exec --json.
func (a *app) credentialProcess(ctx context.Context, profile string, o *mintFlags) error {
	ctx, cancel := context.WithTimeoutCause(ctx, processTimeout, &lateError{processTimeout})
	defer cancel()
	a.ctx = ctx
	a.Stdin = nil // it is the caller's, and in JavaScript a pipe without end
	a.refusedFor = processRefused

	c, m, err := a.plan(ctx, profile, o)
	if err != nil {
		return inTime(ctx, profile, err)
	}
	m.Ahead = processAhead
	// Of a program's many threads and processes only one has a question to ask;
	// that the others wait for it is no news for the person who is asked.
	m.Waiting = nil
	credentials, err := a.mint(ctx, m, c)
	if err != nil {
		return inTime(ctx, profile, err)
	}
	out, err := deliver.Format("json", profile, c.Region, credentials)
	if err != nil {
		return fmt.Errorf("printing the credentials of %q: %w", profile, err)
	}
	_, err = a.Stdout.Write(out)
	a.shareSessions()
	return err
}

// inTime returns err, or what became of it because the time is over.
func inTime(ctx context.Context, profile string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	late := context.Cause(ctx)
	switch {
	case errors.Is(err, prompt.ErrCanceled): // but not by a person
		err = fmt.Errorf("a question was not answered: %w", late)
	case !errors.Is(err, late):
		err = fmt.Errorf("%w: %w", late, err)
	}
	return fmt.Errorf("getting credentials of %q: %w", profile, err)
}

// A lateError says that something took longer than there is time for.
type lateError struct{ after time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("not done after %s", e.after) }
func (e *lateError) Unwrap() error { return context.DeadlineExceeded }
