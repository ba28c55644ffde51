package mfa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kura/internal/shell"
)

// A Command is a program that prints a token code: the setting mfa_process.
type Command struct {
	Line    string   // for the system's shell
	Environ []string // its environment; it should hold no AWS credentials

	// Terminal opens the terminal, which is the command's standard input and
	// error: it may ask for a PIN or to touch a key. Where that fails the
	// command's input is empty and its messages go to Stderr.
	Terminal func() (in, out *os.File, err error)
	Stderr   io.Writer

	// Apart says that another program has the terminal. Terminal is not called,
	// and the command can't open it by itself.
	Apart bool

	Timeout time.Duration // 0 is a minute
}

// maxOutput is how much a command may print, in bytes.
const maxOutput = 4 << 10

// Code runs the command and returns what it printed, without white space around
// it. Its errors name how the command ended, never what it printed.
func (c *Command) Code(ctx context.Context, _ string) (string, error) {
	run := shell.Command{Line: c.Line, Apart: c.Apart, Environ: c.Environ, Stderr: c.Stderr, Timeout: c.Timeout, MaxOutput: maxOutput}
	if run.Timeout == 0 {
		run.Timeout = time.Minute
	}
	if !c.Apart {
		if in, out, err := c.Terminal(); err == nil {
			defer in.Close()
			defer out.Close()
			run.Stdin, run.Stderr = in, out
		}
	}
	output, err := run.Output(ctx)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, shell.ErrTimeout):
		return "", fmt.Errorf("mfa_process: no token code after %v", run.Timeout)
	case errors.Is(err, shell.ErrTooMuch):
		return "", errors.New("mfa_process: it printed more than a token code")
	case err != nil:
		return "", fmt.Errorf("mfa_process: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
