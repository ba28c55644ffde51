//go:build unix

package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

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
			helper(Run)
		case "harden":
			hardened()
			return
		case "report":
			fmt.Printf("%q %q %t\n", os.Args, os.Environ(), signal.Ignored(syscall.SIGINT))
			return
		case "signals":
			signals()
			return
		}
	}
	os.Exit(m.Run())
}

// helper runs the command in its arguments, with its own environment.
func helper(run func(context.Context, []string, []string, func() func()) (int, error)) {
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
		status = 99
	}
	os.Exit(status)
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

// signals prints the signals that it gets, up to SIGTERM.
func signals() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, forwarded()...)
	fmt.Println("ready")
	for s := range c {
		fmt.Println(s)
		if s == syscall.SIGTERM {
			return
		}
	}
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
		cmd.Env = []string{"B= x=y ", "PATH=" + tool(t), "A=\xff\n"}
		out, err := cmd.Output()
		want := fmt.Sprintf("before %q %q false\n", []string{"tool", "report", "a b", "$HOME", "*", ""}, cmd.Env)
		if string(out) != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", how, out, err, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, how := range []string{"exec", "run"} {
		for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], how, "sh", "-c", script)
			cmd.Run()
			got := cmd.ProcessState.ExitCode()
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
				got = 128 + int(status.Signal())
				if how == "run" {
					t.Errorf("run: %s ended this process, too", script)
				}
			}
			if got != want {
				t.Errorf("%s: status of %q is %d, want %d", how, script, got, want)
			}
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
			cmd.Env = []string{"PATH=" + dir}
			out, _ := cmd.Output()
			got := strings.TrimSuffix(string(out), "\n")
			if how == "run" { // package os says what it was doing
				got = strings.NewReplacer("fork/exec "+dir+"/"+command+": ", "").Replace(got)
			}
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
func TestExecKeepsIgnoredSignals(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" INT; exec "$@"`, "sh", os.Args[0], "exec", "tool", "report")
	cmd.Env = []string{"PATH=" + tool(t)}
	if out, err := cmd.Output(); !strings.HasSuffix(string(out), " true\n") || err != nil {
		t.Errorf("SIGINT is not ignored by the command: %s, %v", out, err)
	}
}

// waiting starts a command that prints signals, on a terminal if there is one.
func waiting(t *testing.T, tty *os.File) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", os.Args[0], "signals")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if tty != nil {
		cmd.ExtraFiles = []*os.File{tty}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "before ready\n" {
		t.Fatalf("the command says %q, %v", line, err)
	}
	return cmd, r
}

func TestSignalsAreForwardedOnce(t *testing.T) {
	cmd, out := waiting(t, nil)
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM} {
		cmd.Process.Signal(s)
		if line, err := out.ReadString('\n'); line != s.String()+"\n" {
			t.Errorf("after %v the command says %q, %v", s, line, err)
		}
	}
	if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
		t.Errorf("then it says %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCtrlCArrivesOnce(t *testing.T) {
	ptm, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	defer ptm.Close()
	defer tty.Close()
	cmd, out := waiting(t, tty)
	for range 10 {
		ptm.WriteString("\x03")
		if line, err := out.ReadString('\n'); line != "interrupt\n" {
			t.Errorf("after Ctrl-C the command says %q, %v", line, err)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if rest, err := io.ReadAll(out); string(rest) != "terminated\n" || err != nil {
		t.Errorf("after SIGTERM it says %q, %v", rest, err)
	}
	cmd.Wait()
}
