package mfa_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kura/internal/mfa"
)

// TestMain makes the test binary a process that claims a code, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "claim" {
		io.Copy(io.Discard, os.Stdin) // until all are there
		g := mfa.Guard{Dir: os.Args[2], Now: time.Now}
		wait, err := g.Claim(context.Background(), serial, "123456")
		fmt.Println(wait == 0, err)
		return
	}
	os.Exit(m.Run())
}

func TestOneOfTwentyProcessesGetsACode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when needed")
	ready, begin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	var all []*exec.Cmd
	var outputs []*strings.Builder
	for range 20 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "claim", dir)
		out := new(strings.Builder)
		cmd.Stdin, cmd.Stdout = ready, out
		all, outputs = append(all, cmd), append(outputs, out)
	}
	for _, cmd := range all {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	begin.Close()
	won := 0
	for i, cmd := range all {
		cmd.Wait()
		switch out := outputs[i].String(); out {
		case "true <nil>\n":
			won++
		case "false <nil>\n":
		default:
			t.Errorf("a process ends with %q", out)
		}
	}
	if won != 1 {
		t.Errorf("%d processes of 20 got the code, want 1", won)
	}
}

func TestRecord(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC)
	g := mfa.Guard{Dir: t.TempDir(), Now: func() time.Time { return now }}
	claim := func(code string, want time.Duration) {
		t.Helper()
		if wait, err := g.Claim(t.Context(), serial, code); wait != want || err != nil {
			t.Errorf("Claim(%s) at %v = %v, %v, want %v", code, now, wait, err, want)
		}
	}
	name := filepath.Join(g.Dir, "token-codes")
	claim("111111", 0)
	claim("222222", 0)
	claim("111111", 24500*time.Millisecond)

	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the record is open to others: %v, %v", info, err)
	}
	data, _ := os.ReadFile(name)
	if strings.Contains(string(data), "111111") || strings.Contains(string(data), serial) {
		t.Errorf("the record shows a code or a device: %q", data)
	}

	// What can't be read is no reason to refuse a code.
	if err := os.WriteFile(name, append([]byte("garbage\n1 2\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	claim("222222", 24500*time.Millisecond)
	now = now.Add(121 * time.Second)
	claim("333333", 0)
	if data, _ := os.ReadFile(name); strings.Count(string(data), "\n") != 1 {
		t.Errorf("old records are kept: %q", data)
	}
	now = now.Add(-time.Hour) // the clock was set
	claim("333333", 0)
}
