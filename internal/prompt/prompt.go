// Package prompt asks the user. It talks to the controlling terminal, never to
// standard input or output, which belong to the command being run. It does not
// know what the answers are for.
package prompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"kura/internal/width"
)

var (
	// ErrNoTerminal says that there is nobody to ask.
	ErrNoTerminal = errors.New("there is no terminal to ask on")

	// ErrCanceled says that a question was not answered: the user pressed
	// Ctrl-C or Ctrl-D, the terminal went away, or ctx was done, in which case
	// the error wraps the cause too.
	ErrCanceled = errors.New("canceled")

	// ErrTaken says that a question can't be asked, or was taken back, because
	// another program has the terminal: see Yielding.
	ErrTaken = errors.New("the terminal is in use by another program")
)

// maxAnswer is the greatest length of an answer in bytes.
const maxAnswer = 64 << 10

// turn is taken by a question while it is asked: there is one terminal, and no
// two questions of this process overlap on it.
var turn = make(chan struct{}, 1)

// Line asks for a line of text, which is shown as it is typed. The question is
// printed as it is, without a space or a colon added. White space around the
// answer is removed.
func Line(ctx context.Context, question string) (string, error) {
	answer, err := ask(ctx, question, shown)
	return strings.TrimSpace(answer), err
}

// Secret is Line with a star shown for each character, so that the user can see
// that a paste has arrived.
func Secret(ctx context.Context, question string) (string, error) {
	answer, err := ask(ctx, question, starred)
	return strings.TrimSpace(answer), err
}

// Passphrase asks for a text that is not shown at all. It is returned as typed:
// a passphrase may begin or end in a space.
func Passphrase(ctx context.Context, question string) (string, error) {
	return ask(ctx, question, hidden)
}

// Confirm asks a question and reports whether the answer is "y" or "yes".
func Confirm(ctx context.Context, question string) (bool, error) {
	answer, err := Line(ctx, question)
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"), err
}

// Say prints a line on the terminal, or returns ErrNoTerminal. It does not wait
// for a question that is being asked, and does not have this process stopped where
// those in the background are not to print (stty tostop).
func Say(text string) error {
	t, err := open()
	if err != nil {
		return err
	}
	defer t.Close()
	t.yields = true
	return t.write(harmless(text) + "\n")
}

// Yielding returns a context for the questions of a process that lives in the
// background of others. Of an ordinary one the system makes a stopped job when it
// asks while another job has the terminal, and the person has to bring it back.
// This one is never stopped by its question, which ends with ErrTaken when the
// terminal passes to another job, or is set by another program; it is left as
// that has it.
func Yielding(ctx context.Context) context.Context {
	return context.WithValue(ctx, yieldingKey{}, true)
}

type yieldingKey struct{}

// Note shows a text in the line that the terminal is at until erase is called,
// which must be done. Questions wait so long. It shows as much as fits one line, as
// no way back leads over its end, and nothing where a question is open, or the
// terminal is not Free.
func Note(text string) (erase func()) {
	select {
	case turn <- struct{}{}:
	default:
		return func() {}
	}
	t, err := open()
	if err != nil || !isFree() {
		if err == nil {
			t.Close()
		}
		<-turn
		return func() {}
	}
	text = harmless(text)
	if columns, _ := t.size(); utf8.RuneCountInString(text) >= columns {
		text = string([]rune(text)[:max(columns-2, 0)]) + "…"
	}
	t.show(text)
	return func() {
		n := width.Of(text)
		back := strings.Repeat("\b", n)
		t.show(back + strings.Repeat(" ", n) + back)
		t.Close()
		<-turn
	}
}

// Session is the same in all processes that have the same terminal.
func Session() int { return sessionID() }

// Job is the same in all processes of one job of a shell: of a command that was
// typed, and all that it runs. It is 0 where the system has no such thing.
func Job() int { return jobID() }

// Free reports whether the terminal belongs to this job and is in the mode in
// which lines are typed. A shell takes it for its other jobs, an editor for its
// screen. That another program of the job is about to read a line can't be seen.
func Free() bool { return isFree() }

// Works reports whether there is a terminal to ask on.
func Works() bool {
	t, err := open()
	if err != nil {
		return false
	}
	t.Close()
	return true
}

// Name returns the name of the controlling terminal, which programs without one
// of their own (gpg-agent's pinentry) can open, or "" if there is none or the
// system doesn't tell.
func Name() string { return terminalName() }

// Files opens the terminal for a command that is to talk to the user: in to
// read from and out to write to, which may be the same file. The caller closes
// both.
func Files() (in, out *os.File, err error) { return files() }

// echo is what is shown of an answer as it is typed.
type echo int

const (
	shown echo = iota
	starred
	hidden
)

func ask(ctx context.Context, question string, e echo) (string, error) {
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return "", canceled(ctx)
	}
	t, err := open()
	if err != nil {
		return "", err
	}
	defer t.Close()
	t.yields = ctx.Value(yieldingKey{}) != nil
	restore, err := t.typing()
	if err != nil {
		return "", err
	}
	defer restore()
	t.show(harmless(question))
	answer, err := read(ctx, t, e)
	if !errors.Is(err, ErrTaken) {
		t.show("\n") // however the question was answered
	}
	return answer, err
}

// keyboard is the terminal, read key by key and without echo.
type keyboard interface {
	// key waits for the next byte that is typed. It returns an error that
	// wraps ErrCanceled or ErrTaken when none is to come.
	key(ctx context.Context) (byte, error)

	// flush throws away what was typed and not yet read.
	flush()

	// show prints text. Where that fails, key does too.
	show(text string)
}

// read reads a line, which it lets the user edit, and no byte more: what was
// typed ahead is left for the next question or the command.
func read(ctx context.Context, t keyboard, e echo) (string, error) {
	const (
		ctrlC     = 3
		ctrlD     = 4
		backspace = 8
		ctrlU     = 21
		del       = 127
	)
	line := make([]byte, 0, 256)
	defer func() { clear(line[:cap(line)]) }()
	for {
		b, err := t.key(ctx)
		if err != nil {
			return "", err
		}
		switch b {
		case '\r', '\n':
			return string(line), nil
		case ctrlC, ctrlD:
			return "", ErrCanceled
		case backspace, del:
			line = erase(t, line, 1, e)
			continue
		case ctrlU:
			line = erase(t, line, utf8.RuneCount(line), e)
			continue
		}
		if b < ' ' && b != '\t' {
			continue // keys such as arrows, which do nothing here
		}
		if len(line) == maxAnswer {
			t.flush()
			return "", fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
		}
		line = append(line, b)
		switch {
		case e == shown:
			t.show(string([]byte{b}))
		case e == starred && utf8.RuneStart(b):
			t.show("*")
		}
	}
}

// erase removes the last n characters of line, from the screen too.
func erase(t keyboard, line []byte, n int, e echo) []byte {
	for ; n > 0 && len(line) > 0; n-- {
		_, size := utf8.DecodeLastRune(line)
		line = line[:len(line)-size]
		if e != hidden {
			t.show("\b \b")
		}
	}
	return line
}

// canceled is the error of a question that ctx ended.
func canceled(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ErrCanceled, context.Cause(ctx))
}

// harmless replaces control characters, with which a name in a config file
// could otherwise drive the terminal.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
