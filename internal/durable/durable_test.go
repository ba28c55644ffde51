package durable_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kura/internal/durable"
)

// TestMain lets the test run itself as another process that takes a lock, says
// so, and holds it until it is killed.
func TestMain(m *testing.M) {
	if name := os.Getenv("TEST_HOLD_LOCK"); name != "" {
		if _, err := durable.Lock(context.Background(), name); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, want := range []string{"one", "", "three"} {
		if err := durable.WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("contents = %q, %v, want %q", got, err, want)
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if os.PathSeparator == '/' && info.Mode() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode())
	}
	wantFiles(t, dir, "f")
}

func TestWriteFileVia(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	if err := durable.WriteFileVia(temp, filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "f")
	wantFiles(t, temp)
	err := durable.WriteFileVia(filepath.Join(temp, "missing"), filepath.Join(dir, "g"), nil, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a missing directory: %v, want ErrNotExist", err)
	}
}

// A file can't be renamed over a directory: the last step fails.
func TestWriteFileFailsAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "f", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	wantFiles(t, dir, "f")
}

func TestMkdirAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.WriteFile(filepath.Join(name, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(filepath.Join(name, "f"), 0o700); err == nil {
		t.Error("MkdirAll of a file succeeded")
	}
}

func TestRemove(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := durable.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of a missing file: %v, want ErrNotExist", err)
	}
	if err := durable.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(name); err != nil {
		t.Error(err)
	}
	wantFiles(t, filepath.Dir(name))
}

func TestLockExcludes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := durable.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if unlock, err := durable.TryLock(name); unlock != nil || err != nil {
		t.Errorf("TryLock of a held lock = %t, %v, want nil, nil", unlock != nil, err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, why)
	defer cancel()
	if _, err := durable.Lock(ctx, name); !errors.Is(err, why) {
		t.Errorf("Lock of a held lock: %v, want the cause of the cancellation", err)
	}
	unlock()
	unlock, err = durable.TryLock(name)
	if unlock == nil || err != nil {
		t.Fatalf("TryLock of a free lock = %t, %v", unlock != nil, err)
	}
	unlock()
	wantFiles(t, filepath.Dir(name), "lock")
}

func TestLockEndsWithItsProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_HOLD_LOCK="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if unlock, err := durable.TryLock(name); unlock != nil || err != nil {
		t.Errorf("TryLock of another process's lock = %t, %v, want nil, nil", unlock != nil, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	unlock, err := durable.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// wantFiles checks that dir holds just these files.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ok := len(entries) == len(want)
	for i, e := range entries {
		ok = ok && e.Name() == want[i]
	}
	if !ok {
		t.Errorf("%s holds %v, want %v", dir, entries, want)
	}
}

func TestReadFileOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := durable.ReadFile(name, 5); string(data) != "12345" || err != nil {
		t.Errorf("ReadFile = %q, %v", data, err)
	}
	if _, err := durable.ReadFile(name, 4); !errors.Is(err, durable.ErrTooLarge) {
		t.Errorf("ReadFile of a file over the limit: %v, want ErrTooLarge", err)
	}
	if _, err := durable.ReadFile(dir, 5); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("ReadFile of a directory: %v, want ErrNotRegular", err)
	}
}

func TestAppendLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
	for i := range 7 {
		if err := durable.AppendLog(name, fmt.Sprintf("line %d\n", i), 20); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read(durable.Former(name))+"|"+read(name), "line 3\nline 4\nline 5\n|line 6\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
	if err := durable.AppendLog(t.TempDir(), "line\n", 20); err == nil {
		t.Error("a line was added to a directory")
	}
	if err := durable.AppendLog(filepath.Join(name, "none"), "line\n", 20); err == nil {
		t.Error("a line was added below a file")
	}
}
