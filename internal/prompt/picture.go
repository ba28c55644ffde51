package prompt

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A Picture is drawn on the terminal and changed by keys.
type Picture interface {
	// Lines returns the picture for a terminal of that size: fewer lines than
	// rows, each with fewer columns. They are printed as they are. The cursor
	// stands at the end of the first.
	Lines(columns, rows int) []string

	// Key is given what the terminal sends for a key: a character, or an
	// escape sequence. It returns true when the picture has served its turn,
	// or an error that is to be returned.
	Key(key string) (done bool, err error)
}

// Show draws a picture below what is on the terminal, hands it what is typed,
// and erases it in the end. It asks the terminal nothing, and reads nothing that
// is typed after the last key. Errors are those of a question.
func Show(ctx context.Context, p Picture) error {
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return canceled(ctx)
	}
	t, err := open()
	if err != nil {
		return err
	}
	defer t.Close()
	restore, err := t.typing()
	if err != nil {
		return err
	}
	defer restore()
	defer t.show("\r\x1b[J")
	for columns, rows := 0, 0; ; {
		if c, r := t.size(); c != columns || r != rows || t.stale {
			columns, rows, t.stale = c, r, false
			t.show(drawn(p.Lines(columns, rows)))
		}
		key, err := readKey(ctx, t)
		if err != nil {
			return err
		}
		if key == "" {
			continue
		}
		done, err := p.Key(key)
		if done || err != nil {
			return err
		}
		t.show(drawn(p.Lines(columns, rows)))
	}
}

// drawn returns what draws lines over those that were drawn before, and leaves
// the cursor in the first.
func drawn(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("\r" + line + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	if n := len(lines); n > 1 {
		fmt.Fprintf(&b, "\x1b[%dA", n-1)
	}
	b.WriteString("\r" + lines[0])
	return b.String()
}

// keys is a terminal that is read key by key without waiting for ever.
type keys interface {
	// next returns the next byte that is typed, or false after a while, at the
	// latest a tenth of a second.
	next(ctx context.Context, while time.Duration) (b byte, ok bool, err error)
}

// escapeTime is how long the rest of an escape sequence may take. A person takes
// longer to press another key after Esc.
const escapeTime = 50 * time.Millisecond

// readKey returns what the terminal sends for one key, and no byte more. It is
// "" if none is pressed for a while.
func readKey(ctx context.Context, t keys) (string, error) {
	b, ok, err := t.next(ctx, 100*time.Millisecond)
	if err != nil || !ok {
		return "", err
	}
	key := []byte{b}
	for !complete(key) {
		b, ok, err := t.next(ctx, escapeTime)
		if err != nil {
			return "", err
		}
		if !ok {
			break // Esc itself, or a terminal that stopped in the middle
		}
		key = append(key, b)
	}
	return string(key), nil
}

// complete reports whether bytes are all that is sent for a key: a character in
// UTF-8, or ESC with one character or a sequence (ECMA-48, 5.4) after it.
func complete(key []byte) bool {
	const longest = 32
	switch {
	case len(key) >= longest:
		return true
	case key[0] != '\x1b':
		return utf8.FullRune(key)
	case len(key) == 1:
		return false
	case key[1] == 'O':
		return len(key) == 3
	case key[1] != '[':
		return true
	}
	last := key[len(key)-1]
	return len(key) > 2 && '@' <= last && last <= '~'
}
