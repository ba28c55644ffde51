package prompt

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// script is a keyboard on which text has been typed, and then Ctrl-D.
type script struct {
	typed  string
	screen strings.Builder
}

func (s *script) key(context.Context) (byte, error) {
	if s.typed == "" {
		return 4, nil
	}
	b := s.typed[0]
	s.typed = s.typed[1:]
	return b, nil
}
func (s *script) flush()           { s.typed = "" }
func (s *script) show(text string) { s.screen.WriteString(text) }

func TestEditing(t *testing.T) {
	for _, c := range []struct {
		name, typed          string
		echo                 echo
		answer, screen, left string
	}{
		{"shown", "123456\n", shown, "123456", "123456", ""},
		{"starred", "abc\r", starred, "abc", "***", ""},
		{"hidden", "abc\n", hidden, "abc", "", ""},
		{"a star is a character", "aé蔵\n", starred, "aé蔵", "***", ""},
		{"backspace", "12x\x7f3\n", shown, "123", "12x\b \b3", ""},
		{"backspace of a long character", "a蔵\b\bb\n", starred, "b", "**\b \b\b \b*", ""},
		{"backspace of nothing", "\x7f\x7fa\n", shown, "a", "a", ""},
		{"Ctrl-U", "abc\x15d\n", starred, "d", "***\b \b\b \b\b \b*", ""},
		{"hidden Ctrl-U", "abc\x15d\n", hidden, "d", "", ""},
		{"keys without a character", "a\x01\x1b\n", shown, "a", "a", ""},
		{"the rest is left", "one\ntwo\n", shown, "one", "one", "two\n"},
	} {
		s := &script{typed: c.typed}
		answer, err := read(t.Context(), s, c.echo)
		if err != nil || answer != c.answer || s.screen.String() != c.screen || s.typed != c.left {
			t.Errorf("%s: read(%q) = %q, %v, screen %q, left %q, want %q, screen %q, left %q",
				c.name, c.typed, answer, err, s.screen.String(), s.typed, c.answer, c.screen, c.left)
		}
	}
}

func TestEditingEnds(t *testing.T) {
	for _, typed := range []string{"", "abc", "abc\x03\n", "\x04abc\n"} {
		if answer, err := read(t.Context(), &script{typed: typed}, hidden); !errors.Is(err, ErrCanceled) || answer != "" {
			t.Errorf("read(%q) = %q, %v, want ErrCanceled", typed, answer, err)
		}
	}
	s := &script{typed: strings.Repeat("a", maxAnswer) + "\n"}
	if answer, err := read(t.Context(), s, hidden); len(answer) != maxAnswer || err != nil {
		t.Errorf("the longest answer: %d bytes, %v", len(answer), err)
	}
	s = &script{typed: strings.Repeat("a", maxAnswer+1) + "\nrm -r x\n"}
	if _, err := read(t.Context(), s, hidden); err == nil || s.typed != "" {
		t.Errorf("an answer that is too long: error %v, %d bytes left for the shell", err, len(s.typed))
	}
}

func TestQuestionDoesNotDriveTheTerminal(t *testing.T) {
	if got, want := harmless("code for \x1b]0;x\a\u009b2J蔵: "), "code for \ufffd]0;x\ufffd\ufffd2J蔵: "; got != want {
		t.Errorf("harmless = %q, want %q", got, want)
	}
}

func FuzzEditing(f *testing.F) {
	f.Add("12x\x7f3", 0)
	f.Add("a蔵\xff\b\x15", 1)
	f.Fuzz(func(t *testing.T, typed string, e int) {
		s := &script{typed: typed + "\n"}
		answer, err := read(t.Context(), s, echo(e))
		if strings.Contains(s.screen.String(), "\x1b") {
			t.Errorf("typing %q writes an escape: %q", typed, s.screen.String())
		}
		if echo(e) == hidden && s.screen.Len() > 0 {
			t.Errorf("typing %q shows %q", typed, s.screen.String())
		}
		if err == nil && strings.ContainsAny(answer, "\n\r\x03\x04\b\x15\x1b\x7f") {
			t.Errorf("typing %q answers %q", typed, answer)
		}
	})
}
