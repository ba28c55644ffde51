//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// coldRuns is how often each cold command is timed. Few will do: such a command
// takes long, and each takes a token code.
const coldRuns = 5

// A timed is a command whose time is taken, and its budget.
type timed struct {
	what   string
	budget float64
	home   *home
	argv   []string
}

// medians runs the commands in turn, each after prepare, and returns the median
// time of each. The first turn is not counted.
func medians(ctx context.Context, runs int, commands []timed, prepare func(*home) error) ([]time.Duration, error) {
	taken := make([][]time.Duration, len(commands))
	for run := range runs + 1 {
		for i, t := range commands {
			if err := prepare(t.home); err != nil {
				return nil, err
			}
			c := t.home.command(ctx, t.argv[0], t.argv[1:]...)
			began := time.Now()
			err := c.Run()
			d := time.Since(began)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.what, err)
			}
			if run > 0 {
				taken[i] = append(taken[i], d)
			}
		}
	}
	times := make([]time.Duration, len(commands))
	for i, all := range taken {
		slices.Sort(all)
		times[i] = all[len(all)/2]
	}
	return times, nil
}

// peak returns the peak memory of a cached command in MiB. The figure that a
// parent gets at the end of its child starts at the parent's own, so it is
// taken from a child that stands still: it writes into a pipe that is full.
func (h *home) peak(ctx context.Context) (float64, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out.SetWriteDeadline(time.Now().Add(time.Second / 2))
	out.Write(make([]byte, 1<<20)) // until it is full
	c := h.command(ctx, h.kura, "export", "--format=json", "it")
	c.Stdout = out
	if err := c.Start(); err != nil {
		return 0, err
	}
	out.Close()
	var kib, before float64 = 0, -1
	for kib == 0 || kib != before {
		time.Sleep(200 * time.Millisecond)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		before = kib
		if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
			return 0, fmt.Errorf("the peak memory is not in /proc: %w", err)
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return 0, err
	}
	return kib / 1024, c.Wait()
}

// crowd starts n processes at once that find nothing cached.
func (h *home) crowd(ctx context.Context, n int) ([]row, error) {
	const rounds = 3
	var times []time.Duration
	calls := 0
	for range rounds {
		if err := h.run(ctx, h.kura, "clear"); err != nil {
			return nil, err
		}
		if err := h.newCode(); err != nil {
			return nil, err
		}
		h.cloud.ResetCalls()
		taken, err := h.atOnce(ctx, n, h.kura, "exec", "it", "--", "true")
		if err != nil {
			return nil, err
		}
		times = append(times, taken)
		calls = max(calls, h.cloud.Count("GetSessionToken"), h.cloud.Count("AssumeRole"))
	}
	slices.Sort(times)
	floor, err := h.atOnce(ctx, n, "true")
	if err != nil {
		return nil, err
	}
	return []row{
		{fmt.Sprintf("%d cold processes at once: calls of GetSessionToken, of AssumeRole", n), float64(calls), 1, "%.0f", ""},
		{fmt.Sprintf("%d cold processes at once, s", n), times[rounds/2].Seconds(), 0.25, "%.2f", ""},
		{fmt.Sprintf("%d times `true` at once, s", n), floor.Seconds(), 0, "%.2f", ""},
	}, nil
}

// atOnce starts a command n times and returns how long it takes until all have
// ended well.
func (h *home) atOnce(ctx context.Context, n int, argv ...string) (time.Duration, error) {
	messages, err := os.Create(filepath.Join(h.dir, "messages"))
	if err != nil {
		return 0, err
	}
	defer messages.Close()
	began := time.Now()
	var started []*exec.Cmd
	for range n {
		c := h.command(ctx, argv[0], argv[1:]...)
		c.Stderr = messages
		if err := c.Start(); err != nil {
			return 0, err
		}
		started = append(started, c)
	}
	var errs []error
	for _, c := range started {
		errs = append(errs, c.Wait())
	}
	taken := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		text, _ := os.ReadFile(messages.Name()) // the error counts
		return 0, fmt.Errorf("%w\n%s", err, text)
	}
	return taken, nil
}
