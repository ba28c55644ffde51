package prompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sys/windows"
)

// terminal is the console of this process.
type terminal struct {
	in, out *os.File
	yields  bool   // makes no difference: nothing is stopped here
	stale   bool   // never: no other has the console
	typed   []byte // of a character that takes several bytes, those not yet returned
}

type keyResult struct {
	r   rune
	err error
}

// reading has a value while a goroutine waits for a key, which it then puts into
// pressed. Nothing ends a read of the console that waits, so that of a question which
// was taken back is the first of the next one.
var (
	reading = make(chan struct{}, 1)
	pressed = make(chan keyResult, 1)
)

func open() (*terminal, error) {
	in, out, err := files()
	if err != nil {
		return nil, err
	}
	return &terminal{in: in, out: out}, nil
}

func files() (in, out *os.File, err error) {
	in, err = os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		in.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	return in, out, nil
}

func (t *terminal) Close() error { return errors.Join(t.in.Close(), t.out.Close()) }

func (t *terminal) show(text string) { _ = t.write(text) }

func (t *terminal) write(text string) error {
	_, err := t.out.WriteString(text)
	return err
}

// typing makes the console hand over each key at once and show none, until
// restore is called. Ctrl-C is still a signal, for all that run on the console.
func (t *terminal) typing() (restore func(), err error) {
	console := windows.Handle(t.in.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	mode := before&^(windows.ENABLE_LINE_INPUT|windows.ENABLE_ECHO_INPUT) | windows.ENABLE_PROCESSED_INPUT
	if err := windows.SetConsoleMode(console, mode); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTerminal, err)
	}
	select {
	case <-pressed: // pressed when nothing was asked
		<-reading
	default:
	}
	return func() { _ = windows.SetConsoleMode(console, before) }, nil
}

// key reads in a goroutine, because nothing ends a read of the console that
// waits. See reading for one that is left behind when ctx is done.
func (t *terminal) key(ctx context.Context) (byte, error) {
	if len(t.typed) == 0 {
		select {
		case reading <- struct{}{}:
			console := windows.Handle(t.in.Fd())
			go func() {
				r, err := readRune(console)
				pressed <- keyResult{r, err}
			}()
		default: // another still waits
		}
		select {
		case k := <-pressed:
			<-reading
			if k.err != nil {
				return 0, k.err
			}
			t.typed = utf8.AppendRune(nil, k.r)
		case <-ctx.Done():
			return 0, canceled(ctx)
		}
	}
	b := t.typed[0]
	t.typed = t.typed[1:]
	return b, nil
}

// readRune waits for a character. Ctrl-C ends the wait with none.
func readRune(console windows.Handle) (rune, error) {
	var high rune
	for {
		var unit uint16
		var n uint32
		if err := windows.ReadConsole(console, &unit, 1, &n, nil); err != nil || n == 0 {
			return 0, ErrCanceled
		}
		r := rune(unit)
		switch {
		case !utf16.IsSurrogate(r):
			return r, nil
		case high == 0:
			high = r
		default:
			return utf16.DecodeRune(high, r), nil
		}
	}
}

// next implements keys, but waits for as long as it takes: nothing ends a read of
// the console. So Show is of no use here.
func (t *terminal) next(ctx context.Context, _ time.Duration) (byte, bool, error) {
	b, err := t.key(ctx)
	return b, err == nil, err
}

func (t *terminal) size() (columns, rows int) { return 80, 24 }

// Draws reports whether Show works on a terminal that TERM says so of.
func Draws(string) bool { return false }

func (t *terminal) flush() { _ = windows.FlushConsoleInputBuffer(windows.Handle(t.in.Fd())) }

// sessionID can't tell consoles apart.
func sessionID() int { return 0 }

func jobID() int { return 0 }

// isFree can't tell what other programs do with the console. Whoever runs one
// beside this process must not ask here.
func isFree() bool { return Works() }
