//go:build unix

// Bench measures what kura costs, side by side with an empty Go program in one
// run, and prints the table of docs/performance.md. It judges ratios and
// counts; times of one machine say nothing about another. With -check it fails
// where a budget is exceeded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"kura/internal/store/live"
)

func main() {
	runs := flag.Int("runs", 300, "how often each command is timed")
	check := flag.Bool("check", false, "fail if a budget is exceeded")
	loaded := flag.Bool("servers", false, "measure the credential servers under load, and nothing else")
	requests := flag.Int("requests", 200_000, "how many requests each server gets over one connection, and over 16")
	served := flag.String("serve", "", "be one of the servers that -servers measures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var over bool
	var err error
	switch {
	case *served != "":
		err = serveUntilEOF(ctx, *served)
	case *loaded:
		over, err = printServers(ctx, *requests)
	default:
		over, err = printCommands(ctx, *runs)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx) // not that a command was killed
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if over && *check {
		os.Exit(1)
	}
}

// printCommands prints what commands cost, and reports whether a budget is
// exceeded.
func printCommands(ctx context.Context, runs int) (over bool, err error) {
	rows, left, err := measure(ctx, runs)
	if err != nil {
		return false, err
	}
	fmt.Printf("%s/%s, %d CPUs, %s, %d runs of each, interleaved; medians\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), runs)
	fmt.Println("| what | measured | budget | |\n|---|---|---|---|")
	for _, r := range rows {
		verdict := "ok"
		if r.measured > r.budget && r.budget > 0 {
			verdict, over = "OVER", true
		}
		budget := "-"
		if r.budget > 0 {
			budget = fmt.Sprintf("≤ "+r.form, r.budget)
		}
		fmt.Printf("| %s | %s%s | %s | %s |\n", r.what, fmt.Sprintf(r.form, r.measured), r.note, budget, verdict)
	}
	for _, line := range left {
		fmt.Println("\nLeft out:", line)
	}
	return over, nil
}

// A row is a line of the table. A budget of 0 is none.
type row struct {
	what             string
	measured, budget float64
	form, note       string
}

// measure returns the rows of the table, and what is left out of it and why.
func measure(ctx context.Context, runs int) (rows []row, left []string, err error) {
	r, err := newRig(ctx)
	defer r.end()
	if err != nil {
		return nil, nil, err
	}
	file, err := r.file(ctx)
	if err != nil {
		return nil, nil, err
	}
	crowded, err := file.crowded()
	if err != nil {
		return nil, nil, err
	}
	few, err := crowded.looking(10)
	if err != nil {
		return nil, nil, err
	}
	many, err := crowded.looking(100)
	if err != nil {
		return nil, nil, err
	}
	prompting := file.prompting()
	exec, export := []string{r.kura, "exec", "it", "--", "true"}, []string{r.kura, "export", "--format=json", "it"}
	commands := []timed{
		{"an empty Go program", 0, file, []string{r.empty}},
		{"cached `exec -- true`, file store", 3.0, file, exec},
		{"cached credential process, file store", 2.5, file, export},
		{"the same with 1000 profiles", 3.0, crowded, export},
		{"`status --prompt-segment`, in `exec`", 0, prompting, []string{r.kura, "status", "--prompt-segment"}},
		{"`explain`, 1000 profiles", 0, crowded, []string{r.kura, "explain", "it"}},
	}
	looks := len(commands)
	for _, command := range []string{"list", "status"} {
		for _, h := range []*home{few, many} {
			what := fmt.Sprintf("`%s`, 1000 profiles, %d sessions", command, h.sessions)
			commands = append(commands, timed{what, 0, h, []string{r.kura, command}})
		}
	}
	cold := []timed{{"cold `exec -- true`, file store", 0, file, exec}}
	for _, s := range []struct {
		name string
		make func(context.Context) (*home, error)
		list float64 // the budget of list
	}{
		{fmt.Sprintf("Secret Service holding %d items", items), r.secretService, 10},
		{"pass", r.pass, 0},
	} {
		h, err := s.make(ctx)
		if missing, ok := errors.AsType[*live.MissingError](err); ok {
			left = append(left, fmt.Sprintf("%s: %v", s.name, missing))
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.name, err)
		}
		commands = append(commands, timed{"cached `exec -- true`, " + s.name, 3.5, h, exec})
		if s.list > 0 {
			commands = append(commands, timed{"`list`, " + s.name, s.list, h, []string{r.kura, "list"}})
		}
		cold = append(cold, timed{"cold `exec -- true`, " + s.name, 0, h, exec})
	}
	// It comes last, so that no service is busy any more when the empty program
	// runs, by which all are measured.
	commands = append(commands, timed{"`true`, which each `exec` includes", 0, file, []string{"true"}})

	times, err := medians(ctx, runs, commands, func(*home) error { return nil })
	if err != nil {
		return nil, nil, err
	}
	coldTimes, err := medians(ctx, coldRuns, cold, func(h *home) error { return h.cool(ctx) })
	if err != nil {
		return nil, nil, err
	}
	unit := times[0]
	times = append(times, coldTimes...)
	for i, c := range slices.Concat(commands, cold) {
		ms := fmt.Sprintf(" (%.2f ms)", times[i].Seconds()*1000)
		rows = append(rows, row{c.what, float64(times[i]) / float64(unit), c.budget, "%.2f", ms})
	}
	for i, command := range []string{"list", "status"} {
		ratio := float64(times[looks+2*i+1]) / float64(times[looks+2*i])
		rows = append(rows, row{fmt.Sprintf("`%s` with 100 sessions, to that with 10", command), ratio, 1.5, "%.2f", ""})
	}
	rows = append(rows,
		row{"`explain`, 1000 profiles, ms", times[looks-1].Seconds() * 1000, 50, "%.2f", ""},
		row{"`status --prompt-segment`, ms", times[looks-2].Seconds() * 1000, 5, "%.2f", ""},
	)
	crowd, err := file.crowd(ctx, 100)
	if err != nil {
		return nil, nil, err
	}
	peak, err := file.peak(ctx)
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(r.kura)
	if err != nil {
		return nil, nil, err
	}
	rows = append(rows, crowd...)
	return append(rows,
		row{"peak memory, cached exec, MiB", peak, 10, "%.1f", ""},
		row{"binary, MB", float64(info.Size()) / 1e6, 16, "%.1f", ""},
	), left, nil
}
