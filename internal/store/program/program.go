// Package program runs the programs that stores are kept by, so that none of
// them can make kura wait for ever, fill its memory or be a file of the current
// directory. It does not know what they print.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"kura/internal/store"
)

// A MissingError says that a program is not installed: no directory of PATH has
// it. It wraps store.ErrUnavailable.
type MissingError struct{ Program string }

func (e *MissingError) Error() string { return "there is no program " + e.Program }

// Unwrap returns store.ErrUnavailable.
func (e *MissingError) Unwrap() error { return store.ErrUnavailable }

// A TimeoutError says that a program was ended because it had not done its work
// after some time. It wraps store.ErrUnavailable.
type TimeoutError struct {
	Program string
	After   time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s was not done after %v", e.Program, e.After)
}

// Unwrap returns store.ErrUnavailable.
func (e *TimeoutError) Unwrap() error { return store.ErrUnavailable }

// Find returns the absolute path of a program. A name without a slash is looked
// for in the directories of PATH in environ, of which those count that don't
// depend on the current directory. The error is a *MissingError.
func Find(name string, environ []string) (string, error) {
	if filepath.IsAbs(name) {
		if path, ok := executable(name); ok {
			return path, nil
		}
		return "", &MissingError{name}
	}
	if strings.ContainsAny(name, `/\`) {
		return "", &MissingError{name}
	}
	for _, dir := range filepath.SplitList(Getenv(environ, "PATH")) {
		if path, ok := executable(filepath.Join(dir, name)); ok && filepath.IsAbs(dir) {
			return path, nil
		}
	}
	return "", &MissingError{name}
}

// Getenv returns the value of a variable in environ, where the last entry
// counts, or "".
func Getenv(environ []string, name string) string {
	value := ""
	for _, entry := range environ {
		if n, v, _ := strings.Cut(entry, "="); n == name || caseless && strings.EqualFold(n, name) {
			value = v
		}
	}
	return value
}

// A Command is a program and what it runs with.
type Command struct {
	Path    string // absolute
	Args    []string
	Environ []string
	Stdin   []byte // nil is an empty input

	// Timeout is how long it may take; then it is killed.
	Timeout time.Duration

	// MaxOutput is how many bytes it may print.
	MaxOutput int

	// Terminal says that the program may ask the user on the terminal. Otherwise
	// it runs in a process group of its own, so that those it has started are
	// killed along with it; such a one must not touch the terminal.
	Terminal bool

	// Started is called with the number of the process. It may be nil.
	Started func(pid int)

	// Waiting is called if the program has run for a second. It may be nil.
	Waiting func()
}

// A Result is what has become of a Command.
type Result struct {
	Stdout []byte
	Stderr []byte // its last 64 KiB
	Code   int    // exit status; -1 for a signal
}

// ErrTooMuch says that a program printed more than it may.
var ErrTooMuch = errors.New("too much output")

// maxStderr is how much of a program's standard error is kept.
const maxStderr = 64 << 10

// outputDelay is how long after a program ended those that it started may keep
// its output open.
const outputDelay = time.Second

// Run runs a program until it ends. That it ends with an exit status other than
// 0 is no error. Errors are the cause if ctx is done, *TimeoutError, with which
// the result has Stderr, and others that wrap store.ErrUnavailable, such as
// ErrTooMuch.
func (c *Command) Run(ctx context.Context) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	stdout, stderr := output{max: c.MaxOutput}, tail{}
	cmd := exec.CommandContext(limited, c.Path, c.Args...)
	cmd.Env = c.Environ
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be this process's
	}
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = outputDelay
	if !c.Terminal {
		isolate(cmd)
	}
	if c.Waiting != nil {
		defer time.AfterFunc(time.Second, c.Waiting).Stop()
	}
	err := cmd.Start()
	if err == nil {
		if c.Started != nil {
			c.Started(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	name := filepath.Base(c.Path)
	result := Result{stdout.buf.Bytes(), stderr.text, cmd.ProcessState.ExitCode()}
	_, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	case limited.Err() != nil:
		return Result{Stderr: stderr.text, Code: -1}, &TimeoutError{name, c.Timeout}
	case stdout.full:
		return Result{}, fmt.Errorf("%w: %s: %w", store.ErrUnavailable, name, ErrTooMuch)
	case err != nil && !exited && !errors.Is(err, exec.ErrWaitDelay):
		return Result{}, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return result, nil
}

// Line returns the last line of a program's messages in a form that can be part
// of an error: printable, and not long.
func Line(text []byte) string {
	text = bytes.TrimRightFunc(text, unicode.IsSpace)
	text = text[bytes.LastIndexByte(text, '\n')+1:]
	if len(text) > 200 {
		text = append(bytes.Clone(text[:200]), "..."...)
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
}

// output is a buffer of up to max bytes. It does not embed the buffer, whose
// ReadFrom would go past Write.
type output struct {
	max  int
	buf  bytes.Buffer
	full bool
}

func (o *output) Write(p []byte) (int, error) {
	if o.buf.Len()+len(p) > o.max {
		o.full = true
		return 0, io.ErrShortWrite
	}
	return o.buf.Write(p)
}

// tail keeps the last maxStderr bytes.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - maxStderr; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(p), nil
}

// isFile reports whether a path leads to a file.
func isFile(path string) (os.FileInfo, bool) {
	info, err := os.Stat(path)
	return info, err == nil && info.Mode().IsRegular()
}
