package mfa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
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

	Timeout time.Duration // 0 is a minute
}

const (
	// maxOutput is how much a command may print, in bytes.
	maxOutput = 4 << 10

	// outputDelay is how long after a command was ended those that it started
	// may keep its standard output open.
	outputDelay = time.Second
)

// Code runs the command and returns what it printed, without white space around
// it. Its errors name how the command ended, never what it printed.
func (c *Command) Code(ctx context.Context, _ string) (string, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := shell(limited, c.Line, c.Environ)
	cmd.Env = c.Environ
	cmd.WaitDelay = outputDelay
	cmd.Stderr = c.Stderr
	if in, out, err := c.Terminal(); err == nil {
		defer in.Close()
		defer out.Close()
		cmd.Stdin, cmd.Stderr = in, out
	}
	var output limitedBuffer
	cmd.Stdout = &output
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well and left something running, such as an agent
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case limited.Err() != nil:
		return "", fmt.Errorf("mfa_process: no token code after %v", timeout)
	case output.full:
		return "", errors.New("mfa_process: it printed more than a token code")
	case err != nil:
		return "", fmt.Errorf("mfa_process: %w", err)
	}
	return strings.TrimSpace(output.buf.String()), nil
}

// limitedBuffer is a buffer of up to maxOutput bytes. It does not embed the
// buffer, whose ReadFrom would go past Write.
type limitedBuffer struct {
	buf  bytes.Buffer
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxOutput {
		b.full = true
		return 0, io.ErrShortWrite
	}
	return b.buf.Write(p)
}
