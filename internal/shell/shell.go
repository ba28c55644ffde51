// Package shell runs the command lines that stand in the configuration, by the
// system's shell, as the AWS CLI and SDKs do. It does not know what they are
// for, and never says what they printed.
package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Command is a command line and what it runs with.
type Command struct {
	Line      string
	Apart     bool          // it can't use the terminal, which another program has
	Environ   []string      // its environment; nil is an empty one
	Stdin     *os.File      // nil is an empty input
	Stderr    io.Writer     // nil loses its messages
	Timeout   time.Duration // 0 is none
	MaxOutput int           // in bytes
}

var (
	// ErrTimeout says that a command was ended because its time was over.
	ErrTimeout = errors.New("not done in time")

	// ErrTooMuch says that a command printed more than MaxOutput.
	ErrTooMuch = errors.New("too much output")
)

// outputDelay is how long after a command was ended those that it started may
// keep its standard output open.
const outputDelay = time.Second

// Output runs the command and returns what it printed. Its errors are
// ErrTimeout, ErrTooMuch, the cause if ctx is done, and those of package exec.
// A command that ended well may leave something running, such as an agent.
func (c *Command) Output(ctx context.Context) ([]byte, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if c.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, c.Timeout)
	}
	defer cancel()
	output := limitedBuffer{max: c.MaxOutput}
	cmd := command(limited, c.Line, c.Environ)
	if c.Apart {
		apart(cmd)
	}
	cmd.Env = c.Environ
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be this process's
	}
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	cmd.Stdout, cmd.Stderr = &output, c.Stderr
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		return nil, ErrTimeout
	case output.full:
		return nil, ErrTooMuch
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, err
	}
	return output.buf.Bytes(), nil
}

// limitedBuffer is a buffer of up to max bytes. It does not embed the buffer,
// whose ReadFrom would go past Write.
type limitedBuffer struct {
	max  int
	buf  bytes.Buffer
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.full = true
		return 0, io.ErrShortWrite
	}
	return b.buf.Write(p)
}
