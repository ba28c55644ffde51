package program_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/program"
)

func TestFind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("made of scripts of Unix")
	}
	dir, other := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{
		filepath.Join(dir, "tool"): 0o700, filepath.Join(other, "tool"): 0o700,
		filepath.Join(dir, "text"): 0o600, filepath.Join(dir, "dir", "x"): 0o700,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct{ name, path, want string }{
		{"tool", dir + ":" + other, dir + "/tool"},
		{"tool", "/nonexistent:" + other, other + "/tool"},
		{"tool", ".::" + other, other + "/tool"},
		{"tool", ".:", ""},
		{"tool", "", ""},
		{"text", dir, ""},
		{"dir", dir, ""},
		{"dir/x", dir, ""},
		{"./tool", dir, ""},
		{dir + "/tool", "", dir + "/tool"},
		{dir + "/text", "", ""},
		{dir + "/none", dir, ""},
	} {
		got, err := program.Find(c.name, []string{"PATH=/ignored", "PATH=" + c.path})
		if got != c.want {
			t.Errorf("Find(%q) in %q = %q, %v, want %q", c.name, c.path, got, err, c.want)
		}
		if e, ok := errors.AsType[*program.MissingError](err); c.want == "" && (!ok || e.Program != c.name || !errors.Is(err, store.ErrUnavailable)) {
			t.Errorf("Find(%q) in %q: %v, want a MissingError", c.name, c.path, err)
		}
	}
}

// shell returns a command that runs a line of sh.
func shell(t *testing.T, line string) *program.Command {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	return &program.Command{Path: sh, Args: []string{"-c", line}, Timeout: 10 * time.Second, MaxOutput: 100}
}

func TestRun(t *testing.T) {
	c := shell(t, `read -r a; echo "$a $V $HOME"; echo message >&2; exit 3`)
	c.Stdin, c.Environ = []byte("in\n"), []string{"V=v"}
	r, err := c.Run(t.Context())
	if err != nil || string(r.Stdout) != "in v \n" || string(r.Stderr) != "message\n" || r.Code != 3 {
		t.Errorf("Run = %q, %q, %d, %v", r.Stdout, r.Stderr, r.Code, err)
	}
	// It has no environment but what it is given, and no input.
	c = shell(t, `cat; echo "$HOME"`)
	if r, err := c.Run(t.Context()); err != nil || string(r.Stdout) != "\n" {
		t.Errorf("Run = %q, %q, %d, %v", r.Stdout, r.Stderr, r.Code, err)
	}
	c = shell(t, "yes")
	if _, err := c.Run(t.Context()); !errors.Is(err, program.ErrTooMuch) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Run of endless output: %v, want ErrTooMuch", err)
	}
	c = shell(t, "yes | head -c 200000 >&2; echo end >&2")
	if r, err := c.Run(t.Context()); err != nil || len(r.Stderr) != 64<<10 || !strings.HasSuffix(string(r.Stderr), "\nend\n") {
		t.Errorf("Run of many messages = %d bytes, %v", len(r.Stderr), err)
	}
	c.Path = "/nonexistent"
	if _, err := c.Run(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Run of nothing: %v, want ErrUnavailable", err)
	}
}

// What a program has started is ended with it, and in time.
func TestTimeout(t *testing.T) {
	c := shell(t, "echo asking >&2; sleep 60 & wait")
	c.Timeout = 100 * time.Millisecond
	start := time.Now()
	r, err := c.Run(t.Context())
	if e, ok := errors.AsType[*program.TimeoutError](err); !ok || e.After != c.Timeout || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Run: %v, want a TimeoutError", err)
	}
	if string(r.Stderr) != "asking\n" {
		t.Errorf("stderr = %q, want what was said until then", r.Stderr)
	}
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	c.Timeout = 10 * time.Second
	if _, err := c.Run(ctx); !errors.Is(err, cause) {
		t.Errorf("Run with a ctx that is done: %v, want its cause", err)
	}
	if _, err := c.Run(ctx); !errors.Is(err, cause) {
		t.Errorf("Run with a ctx that was done before: %v, want its cause", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("three calls took %v, as if what was started were waited for", took)
	}
}

// Who waits is told that he does.
func TestWaiting(t *testing.T) {
	dir := t.TempDir()
	c := shell(t, "until test -e told; do /bin/sleep 0.05; done; echo done")
	c.Args[1] = "cd '" + dir + "'; " + c.Args[1]
	c.Waiting = func() { os.WriteFile(filepath.Join(dir, "told"), nil, 0o600) }
	if r, err := c.Run(t.Context()); err != nil || string(r.Stdout) != "done\n" {
		t.Errorf("Run = %q, %q, %d, %v", r.Stdout, r.Stderr, r.Code, err)
	}
}

// A program may leave an agent running, which has its output open.
func TestAgent(t *testing.T) {
	c := shell(t, "sleep 5 & echo done")
	start := time.Now()
	if r, err := c.Run(t.Context()); err != nil || string(r.Stdout) != "done\n" {
		t.Errorf("Run = %q, %q, %d, %v", r.Stdout, r.Stderr, r.Code, err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Run took %v", took)
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"one\ntwo\n\n":           "two",
		"a\tb\x1b[31m\xff":       "a?b?[31m?",
		strings.Repeat("x", 300): strings.Repeat("x", 200) + "...",
	} {
		if got := program.Line([]byte(text)); got != want {
			t.Errorf("Line(%q) = %q, want %q", text, got, want)
		}
	}
}
