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
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"kura/internal/awstest"
)

func main() {
	runs := flag.Int("runs", 300, "how often each command is timed")
	check := flag.Bool("check", false, "fail if a budget is exceeded")
	flag.Parse()
	rows, err := measure(context.Background(), *runs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Printf("%s/%s, %d CPUs, %s, %d runs of each, interleaved; medians\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), *runs)
	fmt.Println("| what | measured | budget | |\n|---|---|---|---|")
	over := false
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
	if over && *check {
		os.Exit(1)
	}
}

// A row is a line of the table. A budget of 0 is none.
type row struct {
	what             string
	measured, budget float64
	form, note       string
}

// A rig is a scratch home with a store, and an emulated AWS.
type rig struct {
	dir, kura, empty string
	cloud            *awstest.Cloud
	env              []string
}

func measure(ctx context.Context, runs int) ([]row, error) {
	dir, err := os.MkdirTemp("", "kura-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &rig{dir: dir, kura: filepath.Join(dir, "kura"), empty: filepath.Join(dir, "empty"), cloud: awstest.New(awstest.Config{})}
	defer r.cloud.Close()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	defer r.run(ctx, r.kura, "lock") // leaves nothing in the kernel

	commands := [][]string{
		{r.empty},
		{r.kura, "exec", "it", "--", "true"},
		{r.kura, "export", "--format=json", "it"},
		{r.kura, "export", "--format=json", "it"}, // with 1000 profiles
		{"true"},
	}
	times, err := r.times(ctx, commands, runs)
	if err != nil {
		return nil, err
	}
	peak, err := r.peak(ctx)
	if err != nil {
		return nil, err
	}
	unit := times[0]
	ratio := func(i int) float64 { return float64(times[i]) / float64(unit) }
	ms := func(i int) string { return fmt.Sprintf(" (%.2f ms)", times[i].Seconds()*1000) }
	rows := []row{
		{"an empty Go program", 1, 0, "%.2f", ms(0)},
		{"`true`, which the first of kura's includes", ratio(4), 0, "%.2f", ms(4)},
		{"cached `exec -- true`, file store", ratio(1), 3.0, "%.2f", ms(1)},
		{"cached credential process, file store", ratio(2), 2.5, "%.2f", ms(2)},
		{"the same with 1000 profiles", ratio(3), 3.0, "%.2f", ms(3)},
	}
	crowd, err := r.crowd(ctx, 100)
	if err != nil {
		return nil, err
	}
	rows = append(rows, crowd...)
	info, err := os.Stat(r.kura)
	if err != nil {
		return nil, err
	}
	return append(rows,
		row{"peak memory, cached exec, MiB", peak, 10, "%.1f", ""},
		row{"binary, MB", float64(info.Size()) / 1e6, 16, "%.1f", ""},
	), nil
}

func (r *rig) setUp(ctx context.Context) error {
	source := filepath.Join(r.dir, "src")
	if err := os.Mkdir(source, 0o700); err != nil {
		return err
	}
	main := filepath.Join(source, "main.go")
	if err := os.WriteFile(main, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return err
	}
	for out, pkg := range map[string]string{r.kura: "./cmd/kura", r.empty: main} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
		}
	}
	profile := func(name string) string {
		return fmt.Sprintf("[profile %s]\nregion = eu-west-1\nsource_profile = base\nrole_arn = arn:aws:iam::%s:role/admin\nmfa_serial = %s\nmfa_process = cat %s\n\n",
			name, awstest.Account, awstest.MFASerial, filepath.Join(r.dir, "code"))
	}
	small := "[profile base]\n\n" + profile("it")
	var big strings.Builder
	big.WriteString(small)
	for i := range 998 {
		big.WriteString(profile(fmt.Sprintf("p%d", i)))
	}
	for name, text := range map[string]string{"config": small, "big": big.String()} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	r.env = []string{
		"HOME=" + r.dir, "PATH=" + os.Getenv("PATH"), "USER=ann", "KURA_BACKEND=file", "KURA_FILE_PASSPHRASE=bench",
		"AWS_CONFIG_FILE=" + filepath.Join(r.dir, "config"), "AWS_ENDPOINT_URL=" + r.cloud.URL,
	}
	add := r.command(ctx, r.kura, "add", "--env", "base")
	add.Env = append(add.Env, "AWS_ACCESS_KEY_ID="+awstest.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+awstest.SecretAccessKey)
	if text, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("kura add: %w\n%s", err, text)
	}
	if err := r.newCode(); err != nil {
		return err
	}
	return r.run(ctx, r.kura, "exec", "it", "--", "true")
}

// newCode puts a token code that AWS accepts where mfa_process finds it.
func (r *rig) newCode() error {
	code, err := r.cloud.Code(awstest.MFASerial)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dir, "code"), []byte(code), 0o600)
}

func (r *rig) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = slices.Clone(r.env)
	return c
}

func (r *rig) run(ctx context.Context, name string, args ...string) error {
	if text, err := r.command(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, text)
	}
	return nil
}

// times runs the commands in turn and returns the median time of each. The
// fourth gets the large config file.
func (r *rig) times(ctx context.Context, commands [][]string, runs int) ([]time.Duration, error) {
	taken := make([][]time.Duration, len(commands))
	const warmUp = 5
	for run := range runs + warmUp {
		for i, argv := range commands {
			c := r.command(ctx, argv[0], argv[1:]...)
			if i == 3 {
				c.Env = append(c.Env, "AWS_CONFIG_FILE="+filepath.Join(r.dir, "big"))
			}
			began := time.Now()
			err := c.Run()
			d := time.Since(began)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", argv, err)
			}
			if run >= warmUp {
				taken[i] = append(taken[i], d)
			}
		}
	}
	medians := make([]time.Duration, len(commands))
	for i, all := range taken {
		slices.Sort(all)
		medians[i] = all[len(all)/2]
	}
	return medians, nil
}

// peak returns the peak memory of a cached command in MiB. The figure that a
// parent gets at the end of its child starts at the parent's own, so it is
// taken from a child that stands still: it writes into a pipe that is full.
func (r *rig) peak(ctx context.Context) (float64, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out.SetWriteDeadline(time.Now().Add(time.Second / 2))
	out.Write(make([]byte, 1<<20)) // until it is full
	c := r.command(ctx, r.kura, "export", "--format=json", "it")
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
func (r *rig) crowd(ctx context.Context, n int) ([]row, error) {
	const rounds = 3
	var times []time.Duration
	calls := 0
	for range rounds {
		if err := r.run(ctx, r.kura, "clear"); err != nil {
			return nil, err
		}
		if err := r.nextCode(ctx); err != nil {
			return nil, err
		}
		r.cloud.ResetCalls()
		taken, err := r.atOnce(ctx, n, r.kura, "exec", "it", "--", "true")
		if err != nil {
			return nil, err
		}
		times = append(times, taken)
		calls = max(calls, r.cloud.Count("GetSessionToken"), r.cloud.Count("AssumeRole"))
	}
	slices.Sort(times)
	floor, err := r.atOnce(ctx, n, "true")
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
func (r *rig) atOnce(ctx context.Context, n int, argv ...string) (time.Duration, error) {
	messages, err := os.Create(filepath.Join(r.dir, "messages"))
	if err != nil {
		return 0, err
	}
	defer messages.Close()
	began := time.Now()
	var started []*exec.Cmd
	for range n {
		c := r.command(ctx, argv[0], argv[1:]...)
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

// nextCode waits for a token code that was not used.
func (r *rig) nextCode(ctx context.Context) error {
	for {
		err := r.newCode()
		if _, used := errors.AsType[*awstest.NoCodeError](err); !used {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
