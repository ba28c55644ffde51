//go:build unix

package mfa_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kura/internal/mfa"
)

func noTerminal() (in, out *os.File, err error) { return nil, nil, errors.New("none") }

func TestCommand(t *testing.T) {
	c := mfa.Command{
		Line:     `printf ' %s\n\n' "$CODE" | cat; echo noise >&2; read line || true`,
		Environ:  []string{"CODE=123456", "PATH=/usr/bin:/bin"},
		Terminal: noTerminal,
		Stderr:   new(strings.Builder),
	}
	code, err := c.Code(t.Context(), serial)
	if code != "123456" || err != nil {
		t.Errorf("Code = %q, %v, want 123456", code, err)
	}
	if got := c.Stderr.(*strings.Builder).String(); got != "noise\n" {
		t.Errorf("standard error is %q", got)
	}
}

func TestCommandTalksToTheTerminal(t *testing.T) {
	typed, screen := filepath.Join(t.TempDir(), "typed"), filepath.Join(t.TempDir(), "screen")
	if err := os.WriteFile(typed, []byte("654321\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mfa.Command{
		Line: `echo 'PIN?' >&2; read code; echo $code`,
		Terminal: func() (in, out *os.File, err error) {
			in, err1 := os.Open(typed)
			out, err2 := os.Create(screen)
			return in, out, errors.Join(err1, err2)
		},
	}
	if code, err := c.Code(t.Context(), serial); code != "654321" || err != nil {
		t.Errorf("Code = %q, %v, want 654321", code, err)
	}
	if got, _ := os.ReadFile(screen); string(got) != "PIN?\n" {
		t.Errorf("the terminal shows %q", got)
	}
}

func TestCommandFails(t *testing.T) {
	for line, want := range map[string]string{
		"echo 123456; exit 3":           "mfa_process: exit status 3",
		"kill -9 $$":                    "mfa_process: signal: killed",
		"while :; do echo 123456; done": "mfa_process: it printed more than a token code",
		"sleep 10":                      "mfa_process: no token code after 300ms",
		"sleep 10 & sleep 10":           "mfa_process: no token code after 300ms",
	} {
		c := mfa.Command{Line: line, Environ: []string{"PATH=/usr/bin:/bin"}, Terminal: noTerminal}
		if strings.Contains(line, "sleep") {
			c.Timeout = 300 * time.Millisecond
		}
		begin := time.Now()
		code, err := c.Code(t.Context(), serial)
		if code != "" || err == nil || err.Error() != want {
			t.Errorf("%s: Code = %q, %v, want %s", line, code, err, want)
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("%s: Code waits %v for what the command left behind", line, took)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	c := mfa.Command{Line: "echo 123456", Terminal: noTerminal}
	if _, err := c.Code(ctx, serial); err == nil || err.Error() != "enough" {
		t.Errorf("Code when ctx is done = %v, want its cause", err)
	}
}

// A program such as gpg may leave an agent behind that holds on to the pipe.
func TestCommandLeavesAnAgent(t *testing.T) {
	c := mfa.Command{Line: "echo 123456; sleep 3 &", Environ: []string{"PATH=/usr/bin:/bin"}, Terminal: noTerminal}
	if code, err := c.Code(t.Context(), serial); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v, want 123456", code, err)
	}
}
