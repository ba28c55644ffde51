package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kura/internal/mfa"
)

const serial = "arn:aws:iam::123456789012:mfa/jo"

// answers is a source that gives each answer once.
func answers(codes ...string) mfa.Source {
	return func(context.Context, string) (string, error) {
		if len(codes) == 0 {
			return "", errors.New("asked too often")
		}
		code := codes[0]
		codes = codes[1:]
		return code, nil
	}
}

// steps is a source of the code of the time, as a program makes it: the number
// of the step of 30 s.
func steps(context.Context, string) (string, error) {
	return time.Now().UTC().Truncate(30 * time.Second).Format("150405"), nil
}

type said struct{ lines []string }

func (s *said) say(text string) { s.lines = append(s.lines, text) }

func codes(t *testing.T, source mfa.Source, again mfa.Again, s *said) *mfa.Codes {
	return &mfa.Codes{
		Source: source,
		Again:  again,
		Guard:  mfa.Guard{Dir: t.TempDir(), Now: time.Now},
		Say:    s.say,
		Log:    slog.New(slog.DiscardHandler),
	}
}

func TestTerminalQuestion(t *testing.T) {
	source := mfa.Terminal(func(_ context.Context, question string) (string, error) {
		if want := "Enter MFA code for " + serial + ": "; question != want {
			t.Errorf("the question is %q, want %q", question, want)
		}
		return "123456", nil
	})
	var s said
	if code, err := codes(t, source, mfa.AskAgain, &s).Code(t.Context(), serial); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v", code, err)
	}
}

func TestUsedCodeAtTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s said
		c := codes(t, answers("111111", "111111", "111111", "222222"), mfa.AskAgain, &s)
		first, err1 := c.Code(t.Context(), serial)
		time.Sleep(18 * time.Second) // in a bubble it takes no time
		second, err2 := c.Code(t.Context(), serial)
		if first != "111111" || second != "222222" || err1 != nil || err2 != nil {
			t.Errorf("Code = %q, %v and then %q, %v, want 111111 and 222222", first, err1, second, err2)
		}
		line := "that token code of " + serial + " has been used; the next one comes in 12 s"
		if want := []string{line, line}; !slices.Equal(s.lines, want) {
			t.Errorf("the user is told %q, want %q", s.lines, want)
		}
	})
}

func TestUsedCodeOfAProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s said
		c := codes(t, steps, mfa.WaitAgain, &s)
		time.Sleep(5 * time.Second)
		begin := time.Now()
		first, err1 := c.Code(t.Context(), serial)
		second, err2 := c.Code(t.Context(), serial)
		if err1 != nil || err2 != nil || first == second {
			t.Errorf("Code = %q, %v and then %q, %v, want two codes", first, err1, second, err2)
		}
		if got, want := time.Since(begin), 25*time.Second; got != want {
			t.Errorf("the second code took %v, want %v", got, want)
		}
		if want := []string{"waiting 25 s for the next token code of " + serial}; !slices.Equal(s.lines, want) {
			t.Errorf("the user is told %q, want %q", s.lines, want)
		}

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		begin = time.Now()
		if _, err := c.Code(ctx, serial); err == nil || err.Error() != "enough" || time.Since(begin) != time.Second {
			t.Errorf("waiting for a code when ctx is done: %v after %v, want its cause at once", err, time.Since(begin))
		}
	})
}

func TestUsedFixedCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s said
		c := codes(t, mfa.Fixed("111111"), mfa.Never, &s)
		if code, err := c.Code(t.Context(), serial); code != "111111" || err != nil {
			t.Fatalf("Code = %q, %v", code, err)
		}
		time.Sleep(10 * time.Second)
		_, err := c.Code(t.Context(), serial)
		if used, ok := errors.AsType[*mfa.UsedError](err); !ok || used.Serial != serial || used.Wait != 20*time.Second {
			t.Errorf("Code with a used code = %v, want UsedError with 20 s", err)
		}
		if code, err := c.Code(t.Context(), "another device"); code != "111111" || err != nil {
			t.Errorf("the same code of another device = %q, %v", code, err)
		}
		// After two minutes it is another code that looks the same.
		time.Sleep(111 * time.Second)
		if code, err := c.Code(t.Context(), serial); code != "111111" || err != nil {
			t.Errorf("Code after two minutes = %q, %v", code, err)
		}
	})
}

func TestMalformedCode(t *testing.T) {
	for _, bad := range []string{"", "12345", "1234567", "12345a", "１２３４５６", "-12345"} {
		for _, again := range []mfa.Again{mfa.WaitAgain, mfa.Never} {
			var s said
			_, err := codes(t, answers(bad), again, &s).Code(t.Context(), serial)
			if !errors.Is(err, mfa.ErrMalformedCode) || bad != "" && strings.Contains(err.Error(), bad) {
				t.Errorf("Code with %q = %v, want ErrMalformedCode", bad, err)
			}
		}
	}
	var s said
	code, err := codes(t, answers("12345", "oops", "123456"), mfa.AskAgain, &s).Code(t.Context(), serial)
	if code != "123456" || err != nil || len(s.lines) != 2 {
		t.Errorf("after two slips Code = %q, %v, having said %q", code, err, s.lines)
	}
	_, err = codes(t, answers("1", "2", "3", "123456"), mfa.AskAgain, &s).Code(t.Context(), serial)
	if !errors.Is(err, mfa.ErrMalformedCode) {
		t.Errorf("after three slips Code returns %v, want ErrMalformedCode", err)
	}
}

func TestUnusableDirIsAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := mfa.Codes{
		Source: mfa.Fixed("123456"),
		Guard:  mfa.Guard{Dir: filepath.Join(file, "dir"), Now: time.Now},
		Log:    slog.New(slog.NewTextHandler(&log, nil)),
	}
	if code, err := c.Code(t.Context(), serial); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v", code, err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || strings.Contains(got, "123456") {
		t.Errorf("the log is %q, want a warning without the code", got)
	}
}
