//go:build unix

package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kura/internal/harden"
)

// TestMain makes the test binary the program that runs a command, and the
// command too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "exec":
			helper(Exec)
		case "run":
			// From any thread but the first, to which most signals go.
			runtime.LockOSThread()
			go helper(Run)
			select {}
		case "harden":
			hardened()
			return
		case "threads":
			threads()
		case "cleanup":
			cleanup()
		case "early":
			early()
		case "broken-pipe":
			brokenPipe()
		case "report":
			fmt.Printf("%q %q %t\n", os.Args, os.Environ(), signal.Ignored(syscall.SIGINT))
			return
		case "signals":
			signals()
			return
		case "apart":
			apart()
			return
		case "full-screen":
			fullScreen()
			return
		}
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else all of these last a second with -race
	os.Exit(m.Run())
}

// helper runs the command in its arguments, with its own environment, and ends
// as that does.
func helper(run func(context.Context, []string, []string, func() func()) (Status, error)) {
	// As after a question, which listens for Ctrl-C: that must not stay with
	// the command.
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	signal.Stop(c)
	status, err := run(context.Background(), os.Args[2:], os.Environ(), func() func() {
		fmt.Print("before ")
		return func() {}
	})
	if e, ok := errors.AsType[*NotRunError](err); ok {
		fmt.Printf("%s %t: %v\n", e.Command, e.NotFound, e)
		status.Code = 99
	}
	status.Raise()
	os.Exit(status.Code)
}

// hardened protects this process and runs a command, and prints the limit on
// core files as soon as it is protected again.
func hardened() {
	undo := harden.Process()
	Run(context.Background(), os.Args[2:], os.Environ(), func() func() {
		redo := undo()
		return func() {
			redo()
			var core syscall.Rlimit
			syscall.Getrlimit(syscall.RLIMIT_CORE, &core)
			fmt.Println("again", core.Cur)
		}
	})
}

// tool makes the test binary a command of the name "tool" and returns the
// directory it is in.
func tool(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "tool")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCommandGetsArgumentsAndEnvironment(t *testing.T) {
	for _, how := range []string{"exec", "run"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], how, "tool", "report", "a b", "$HOME", "*", "")
		cmd.Env = []string{"B= x=y ", "PATH=" + tool(t), "A=\xff\n", "GORACE=" + os.Getenv("GORACE")}
		out, err := cmd.Output()
		want := fmt.Sprintf("before %q %q false\n", []string{"tool", "report", "a b", "$HOME", "*", ""}, cmd.Env)
		if string(out) != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", how, out, err, want)
		}
	}
}

// What a parent sees of a process that runs a command is what it would see of
// the command.
func TestEnd(t *testing.T) {
	for _, script := range []string{
		"exit 0", "exit 1", "exit 7", "exit 255", "kill -TERM $$", "kill -KILL $$", "kill -INT $$", "kill -HUP $$", "kill -QUIT $$",
		"kill -ABRT $$", "kill -SEGV $$", "kill -USR1 $$", "kill -PIPE $$", "kill -ALRM $$",
	} {
		var ends []string
		for _, how := range [][]string{{"sh"}, {os.Args[0], "exec", "sh"}, {os.Args[0], "run", "sh"}} {
			cmd := exec.CommandContext(t.Context(), how[0], append(how[1:], "-c", script)...)
			cmd.Dir = t.TempDir() // a core file may be written
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Run()
			end, _, _ := strings.Cut(cmd.ProcessState.String(), " (core dumped)")
			ends = append(ends, end+stderr.String())
		}
		if ends[1] != ends[0] || ends[2] != ends[0] {
			t.Errorf("%s: ends with %q, under Exec with %q, under Run with %q", script, ends[0], ends[1], ends[2])
		}
	}
}

func TestExecReplacesTheProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "exec", "sh", "-c", "echo $$")
	out, err := cmd.Output()
	if want := fmt.Sprintf("before %d\n", cmd.Process.Pid); string(out) != want || err != nil {
		t.Errorf("the command's process ID: %q, %v, want %q", out, err, want)
	}
}

// A command gets the limit that this process had before it protected itself,
// and the protection is there again while the command runs.
func TestCommandInheritsNoProtection(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `ulimit -Sc "$(ulimit -Hc)"; ulimit -c; exec "$@"`, "sh",
		os.Args[0], "harden", "sh", "-c", "ulimit -c; read end; exit")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for out := bufio.NewScanner(stdout); len(lines) < 3 && out.Scan(); {
		lines = append(lines, out.Text())
	}
	stdin.Close() // the command has been running up to here
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 3 {
		t.Fatalf("there are no limits in %q", lines)
	}
	before := lines[0]
	if before == "0" {
		t.Skip("core files are not allowed")
	}
	if slices.Sort(lines); !slices.Equal(lines, slices.Sorted(slices.Values([]string{before, before, "again 0"}))) {
		t.Errorf("the limit on core files before, of the command, and of this process beside it: %q", lines)
	}
}

func TestNotRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "x", "garbage": "\x01\x02", "script": "#!/no/such/interpreter\n"} {
		mode := os.FileMode(0o755)
		if name == "plain" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, "directory"), 0o755)
	for command, want := range map[string]string{
		"nosuch":           "nosuch true: running nosuch: executable file not found in $PATH",
		dir + "/nosuch":    dir + "/nosuch true: running " + dir + "/nosuch: no such file or directory",
		dir + "/plain/x":   dir + "/plain/x true: running " + dir + "/plain/x: file does not exist",
		"":                 " true: running : executable file not found in $PATH",
		"plain":            "plain false: running plain: permission denied",
		"directory":        "directory false: running directory: permission denied",
		dir + "/directory": dir + "/directory false: running " + dir + "/directory: permission denied",
		"garbage":          "before garbage false: running garbage: exec format error",
		"script":           "before script false: running script: its interpreter is missing: exec format error",
	} {
		for _, how := range []string{"exec", "run"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], how, command)
			cmd.Env = []string{"PATH=" + dir, "GORACE=" + os.Getenv("GORACE")}
			out, _ := cmd.Output()
			got := strings.TrimSuffix(string(out), "\n")
			if got != want || cmd.ProcessState.ExitCode() != 99 {
				t.Errorf("%s %q: got %q, want %q", how, command, got, want)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := Run(ctx, []string{"true"}, nil, nil); err == nil || err.Error() != "enough" {
		t.Errorf("Run when ctx is done = %v, want its cause", err)
	}
}

func TestLookPath(t *testing.T) {
	first, second := t.TempDir(), tool(t)
	if err := os.WriteFile(filepath.Join(first, "tool"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"OTHERPATH=/nosuch", "PATH=/nosuch:" + first + ":" + second}
	if got, err := lookPath("tool", env); got != filepath.Join(second, "tool") || err != nil {
		t.Errorf("lookPath = %q, %v, want the one that can be run", got, err)
	}
	if err := Look("tool", env); err != nil {
		t.Errorf("Look = %v", err)
	}
	if e, ok := errors.AsType[*NotRunError](Look("tool", env[:1])); !ok || !e.NotFound || e.Command != "tool" {
		t.Errorf("Look without a PATH = %v, want a NotRunError that says it is not found", e)
	}
	t.Chdir(second)
	if got, err := lookPath("tool", []string{"PATH="}); err == nil {
		t.Errorf("lookPath with an empty PATH = %q", got)
	}
	if got, err := lookPath("./tool", nil); got != "./tool" || err != nil {
		t.Errorf("lookPath(./tool) = %q, %v", got, err)
	}
}

// A command that is to outlive its terminal, as under nohup, still does.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	for _, how := range []string{"exec", "run"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" INT; exec "$@"`, "sh", os.Args[0], how, "tool", "report")
		cmd.Env = []string{"PATH=" + tool(t), "GORACE=" + os.Getenv("GORACE")}
		if out, err := cmd.Output(); !strings.HasSuffix(string(out), " true\n") || err != nil {
			t.Errorf("%s: SIGINT is not ignored by the command: %s, %v", how, out, err)
		}
	}
}
