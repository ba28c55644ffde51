//go:build unix

package deliver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// signals prints the signals that it gets, up to SIGTERM.
func signals() {
	time.AfterFunc(time.Minute, func() { os.Exit(1) }) // nobody may be there any more
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

// apart is a command that makes a process group of its own, as timeout(1) does.
// Another process in that prints the signals that it gets.
func apart() {
	syscall.Setpgid(0, 0)
	c := make(chan os.Signal, 16)
	signal.Notify(c, forwarded()...)
	cmd := exec.Command(os.Args[0], "signals")
	cmd.Stdout = os.Stdout
	cmd.Start()
	for s := range c {
		if s == syscall.SIGTERM {
			cmd.Process.Signal(s)
			cmd.Wait()
			return
		}
	}
}

// fullScreen stops at Ctrl-Z when it has had the time to set the terminal right.
func fullScreen() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGTSTP, syscall.SIGCONT)
	fmt.Println("ready")
	for s := range c {
		if s == syscall.SIGCONT {
			fmt.Println(s)
			continue
		}
		time.Sleep(100 * time.Millisecond)
		fmt.Println("mine:", foreground() == unix.Getpgrp())
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}

// threads runs a command while Go ends threads.
func threads() {
	status, _ := Run(context.Background(), os.Args[2:], os.Environ(), func() func() {
		return func() {
			go func() {
				for range 500 {
					locked := make(chan bool)
					go func() {
						runtime.LockOSThread() // and ends, and the thread with it
						close(locked)
					}()
					<-locked
				}
				fmt.Println("ended threads")
			}()
		}
	})
	status.Raise()
	os.Exit(status.Code)
}

// cleanup has something to do after the command, which takes until its input
// ends.
func cleanup() {
	status, _ := func() (Status, error) {
		defer func() {
			fmt.Println("cleaning")
			io.Copy(io.Discard, os.Stdin)
			fmt.Println("clean")
		}()
		return Run(context.Background(), os.Args[2:], os.Environ(), nil)
	}()
	status.Raise()
	os.Exit(status.Code)
}

// early gets a SIGINT, which might be from Ctrl-C, before there is a command.
func early() {
	status, _ := Run(context.Background(), os.Args[2:], os.Environ(), func() func() {
		syscall.Kill(os.Getpid(), syscall.SIGINT)
		time.Sleep(100 * time.Millisecond)
		return func() {}
	})
	status.Raise()
	os.Exit(status.Code)
}

// brokenPipe runs a command while standard error is a pipe that nobody reads.
func brokenPipe() {
	r, w, _ := os.Pipe()
	r.Close()
	unix.Dup2(int(w.Fd()), 2)
	status, _ := Run(context.Background(), os.Args[2:], os.Environ(), func() func() {
		return func() {
			_, err := fmt.Fprintln(os.Stderr, "hello")
			fmt.Println(err)
		}
	})
	status.Raise()
	os.Exit(status.Code)
}

// helperOn returns a command that runs this binary in a session of its own, on a
// terminal if there is one.
func helperOn(t *testing.T, tty *os.File, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if tty != nil {
		cmd.ExtraFiles = []*os.File{tty}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	}
	return cmd
}

// startHelper starts this binary in a session of its own, on a terminal if there
// is one, waits for it to be ready and returns what it prints from then on.
func startHelper(t *testing.T, tty *os.File, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := helperOn(t, tty, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.(*os.File).SetReadDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); !strings.HasSuffix(line, "ready\n") {
		t.Fatalf("the command says %q, %v", line, err)
	}
	return cmd, r
}

func openTTY(t *testing.T) (ptm, tty *os.File) {
	t.Helper()
	ptm, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { ptm.Close(); tty.Close() })
	return ptm, tty
}

// finish ends the command by SIGTERM and checks that it has had no signal that
// was not expected.
func finish(t *testing.T, cmd *exec.Cmd, out *bufio.Reader) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	if rest, err := io.ReadAll(out); string(rest) != "terminated\n" || err != nil {
		t.Errorf("after SIGTERM the command says %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSignalsAreForwardedOnce(t *testing.T) {
	cmd, out := startHelper(t, nil, "run", os.Args[0], "signals")
	for _, s := range forwarded() {
		if s == syscall.SIGTERM {
			continue
		}
		cmd.Process.Signal(s)
		if line, err := out.ReadString('\n'); line != s.String()+"\n" {
			t.Errorf("after %v the command says %q, %v", s, line, err)
		}
	}
	finish(t, cmd, out)
}

// Keys reach a command once, whether the terminal sends it their signals or only
// the process that runs it; and both go on.
func TestKeysArriveOnce(t *testing.T) {
	for _, args := range [][]string{
		{"run", os.Args[0], "signals"},
		{"run", os.Args[0], "run", os.Args[0], "signals"},
		{"run", os.Args[0], "apart"},
	} {
		ptm, tty := openTTY(t)
		cmd, out := startHelper(t, tty, args...)
		for i := range 5 {
			for key, want := range map[string]string{"\x03": "interrupt", "\x1c": "quit", "\x1a": "stopped"} {
				ptm.WriteString(key)
				if line, err := out.ReadString('\n'); line != want+"\n" {
					t.Errorf("%q: after %q the command says %q, %v", args, key, line, err)
				}
			}
			pty.Setsize(ptm, &pty.Winsize{Rows: 20 + uint16(i), Cols: 70})
			if line, err := out.ReadString('\n'); line != "window changed\n" {
				t.Errorf("%q: when the window changes its size the command says %q, %v", args, line, err)
			}
		}
		finish(t, cmd, out)
	}
}

// A signal for the process that runs a command is one for the command, on a
// terminal too.
func TestSignalsAreForwardedOnATerminal(t *testing.T) {
	_, tty := openTTY(t)
	cmd, out := startHelper(t, tty, "run", os.Args[0], "run", os.Args[0], "signals")
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		cmd.Process.Signal(s)
		if line, err := out.ReadString('\n'); line != s.String()+"\n" {
			t.Errorf("after %v the command says %q, %v", s, line, err)
		}
	}
	finish(t, cmd, out)
}

// Ctrl-C before there is a command is for the command.
func TestEarlyKeyArrives(t *testing.T) {
	_, tty := openTTY(t)
	cmd := helperOn(t, tty, "early", "sh", "-c", "read end; exit 7")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if got := cmd.ProcessState.String(); got != "signal: interrupt" {
		t.Errorf("the command ends with %s, want SIGINT", got)
	}
}

func TestCommandIsToldOfOurDeath(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS has nothing for it")
	}
	cmd, out := startHelper(t, nil, "run", os.Args[0], "signals")
	cmd.Process.Kill()
	if rest, err := io.ReadAll(out); string(rest) != "terminated\n" || err != nil {
		t.Errorf("when the process that runs it is killed the command says %q, %v", rest, err)
	}
	cmd.Wait()
}

// The system takes the end of a thread for that of the process.
func TestEndOfAThreadIsNotOurDeath(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "threads", "sh", "-c", "read end; exit 7")
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
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Errorf("the process says %q, %v", line, err)
	}
	stdin.Close()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("the command ends with %v, want exit status 7", cmd.ProcessState)
	}
}

// Signals that come while the caller cleans up don't keep it from doing so; then
// it ends as the command did.
func TestCleanUpIsNotInterrupted(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "cleanup", "sh", "-c", "kill -INT $$")
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
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "cleaning\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	for _, s := range forwarded() {
		cmd.Process.Signal(s)
	}
	stdin.Close()
	if line, err := out.ReadString('\n'); line != "clean\n" {
		t.Errorf("the process says %q, %v", line, err)
	}
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("the process ends with %v, want SIGINT", cmd.ProcessState)
	}
}

func TestBrokenPipeEndsNothing(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "broken-pipe", "sh", "-c", "exit 7")
	out, _ := cmd.Output()
	if !strings.HasSuffix(string(out), "broken pipe\n") || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("the process says %q and ends with %v, want exit status 7", out, cmd.ProcessState)
	}
}

// Under nohup, and for what a shell without job control puts in the background,
// SIGHUP and SIGINT are nothing to either process.
func TestIgnoredSignalsEndNothing(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP INT; exec "$@"`, "sh", os.Args[0], "run", "sh", "-c", "echo; read end; exit 7")
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
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Errorf("the command says %q, %v", line, err)
	}
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGINT)
	stdin.Close()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("the command ends with %v, want exit status 7", cmd.ProcessState)
	}
}

// The first process of a container can't end by a signal.
func TestFirstProcess(t *testing.T) {
	unshare := []string{"unshare", "--user", "--map-root-user", "--pid", "--fork"}
	if exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], "true")...).Run() != nil {
		t.Skip("no namespaces can be made")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for script, want := range map[string]int{"kill -TERM $$": 143, "kill -SEGV $$": 139, "exit 7": 7} {
		cmd := exec.CommandContext(ctx, unshare[0], append(unshare[1:], os.Args[0], "run", "sh", "-c", script)...)
		cmd.Dir = t.TempDir() // a core file may be written
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: ends with %v, want exit status %d", script, cmd.ProcessState, want)
		}
	}
}

// Without a terminal nobody continues a job: what runs a command that has stopped
// does not stop as well, and continues the command when it is continued.
func TestStopWithoutATerminal(t *testing.T) {
	cmd, out := startHelper(t, nil, "run", "sh", "-c", "echo ready; echo $$; kill -STOP $$; echo again; kill -STOP $$; echo and again")
	line, err := out.ReadString('\n')
	command, _ := strconv.Atoi(strings.TrimSpace(line))
	if command == 0 {
		t.Fatalf("the command says %q, %v", line, err)
	}
	for _, c := range []struct {
		to   int
		says string
	}{{command, "again\n"}, {cmd.Process.Pid, "and again\n"}} {
		waitForStates(t, "T", strconv.Itoa(command))
		time.Sleep(50 * time.Millisecond)
		syscall.Kill(c.to, syscall.SIGCONT)
		if line, err := out.ReadString('\n'); line != c.says {
			t.Errorf("the command says %q, %v, want %q", line, err, c.says)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// states returns the states of processes: T for each that is stopped, and S for
// each that is not.
func states(t *testing.T, pids ...string) string {
	t.Helper()
	all := ""
	for _, pid := range pids {
		out, err := exec.CommandContext(t.Context(), "ps", "-o", "state=", "-p", pid).Output()
		if err != nil {
			t.Fatal(err)
		}
		state := "S"
		if strings.HasPrefix(string(out), "T") {
			state = "T"
		}
		all += state
	}
	return all
}

// waitForStates waits until processes have these states, as of now or soon.
func waitForStates(t *testing.T, want string, pids ...string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := states(t, pids...)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the states are %s, want %s", got, want)
		}
	}
}

// A desk is a terminal at which a person works with a shell that has job
// control.
type desk struct {
	t      *testing.T
	ptm    *os.File
	screen []byte // what was shown and not yet seen
}

func startShell(t *testing.T) *desk {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	ptm, tty := openTTY(t)
	// Package pty leaves the file blocking, and that knows no deadlines.
	fd, err := unix.Dup(int(ptm.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	unix.SetNonblock(fd, true)
	d := &desk{t: t, ptm: os.NewFile(uintptr(fd), "ptm")}
	cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile", "--noediting", "-i")
	cmd.Dir = t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(cmd.Dir, "tool")); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+cmd.Dir+":"+os.Getenv("PATH"), "PS1=> ", "TERM=dumb", "HISTFILE=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	ptm.Close()
	d.ptm.SetReadDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() {
		d.ptm.Close() // which hangs up
		cmd.Process.Kill()
		cmd.Wait()
	})
	return d
}

func (d *desk) enter(keys string) { d.ptm.WriteString(keys) }

// see waits until what is shown after what was seen last matches a pattern, and
// returns the groups of the match.
func (d *desk) see(pattern string) []string {
	d.t.Helper()
	re := regexp.MustCompile(pattern)
	var b [256]byte
	for {
		if loc := re.FindSubmatchIndex(d.screen); loc != nil {
			groups := re.FindStringSubmatch(string(d.screen))
			d.screen = d.screen[loc[1]:]
			return groups[1:]
		}
		n, err := d.ptm.Read(b[:])
		d.screen = append(d.screen, b[:n]...)
		if err != nil {
			d.t.Fatalf("%s is not shown: %v; screen %q", pattern, err, d.screen)
		}
	}
}

// Ctrl-Z stops a command and what runs it; fg continues both.
func TestStopAndContinue(t *testing.T) {
	for _, how := range []string{"tool run", "tool run tool run"} {
		d := startShell(t)
		d.enter(how + " sh -c 'echo PID $PPID $$ up; exec cat'\n")
		pids := d.see(`PID (\d+) (\d+) up`)
		for range 3 {
			d.enter("\x1a")
			d.see("Stopped")
			if got := states(t, pids...); got != "TT" {
				t.Errorf("%s: when the shell has the terminal the states are %s, want TT", how, got)
			}
			d.enter("fg\nline\n")
			d.see(`line\s+(.*\s+)?line\s`) // the second is cat's
		}
		d.enter("\x04")
		d.see("> ")
		d.enter("echo status=$?\n")
		d.see("status=0")
	}
}

// A command that stops again as soon as it was continued is stopped, as is what
// runs it.
func TestStopAgain(t *testing.T) {
	d := startShell(t)
	d.enter("tool run sh -c 'echo PID $PPID $$ up; exec sleep 60'\n")
	pids := d.see(`PID (\d+) (\d+) up`)
	d.enter("\x1a")
	d.see("Stopped")
	job, _ := strconv.Atoi(pids[0])
	command, _ := strconv.Atoi(pids[1])
	for i := range 20 {
		syscall.Kill(-job, syscall.SIGCONT)
		time.Sleep(time.Duration(i) * 10 * time.Microsecond)
		syscall.Kill(command, syscall.SIGTSTP)
		waitForStates(t, "TT", pids...)
	}
}

// A command that sets the terminal right before it stops has it until then.
func TestShellWaitsForTheCommandToStop(t *testing.T) {
	d := startShell(t)
	d.enter("tool run tool full-screen\n")
	d.see("ready")
	for range 3 {
		d.enter("\x1a")
		if got := d.see("mine: (true|false)"); got[0] != "true" {
			t.Error("the shell has taken the terminal before the command stopped")
		}
		d.see("Stopped")
		d.enter("fg\n")
		d.see("continued")
	}
}

// One that ignores Ctrl-Z goes on, and so does one that ignores Ctrl-C.
func TestCommandIgnoresKeys(t *testing.T) {
	d := startShell(t)
	d.enter(`tool run sh -c 'trap "" TSTP INT; echo up $$; exec cat'` + "\n")
	d.see(`up \d`)
	d.enter("\x1a\x03")
	d.see(`\^C`)
	d.enter("line\n")
	d.see("line\r\nline\r\n")
	d.enter("\x04")
	d.see("> ")
	d.enter("echo status=$?\n")
	d.see("status=0")
}

func TestCtrlCEndsTheJob(t *testing.T) {
	d := startShell(t)
	// A shell goes on with its list when a command has handled Ctrl-C, and ends
	// it when it sees that it died of that.
	d.enter(`bash -c 'tool run sh -c "echo up $$; exec cat"; echo went o''n'` + "\n")
	d.see(`up \d`)
	d.enter("\x03")
	d.see("> ")
	d.enter("echo status=$?\n")
	if got := d.see(`(went on|status=\d+)`); got[0] != "status=130" {
		t.Errorf("the shell says %s, want status=130", got[0])
	}
}

// A shell with job control has its jobs to itself, and stops and ends like any
// other command.
func TestShellInside(t *testing.T) {
	d := startShell(t)
	d.enter("tool run bash --norc --noprofile --noediting -i\n")
	d.see("> ")
	inside := func() string {
		t.Helper()
		d.enter("echo PID $PPID $$ is\n")
		return strings.Join(d.see(`PID (\d+) (\d+) is`), " ")
	}
	pids := inside()
	still := func(after string) {
		t.Helper()
		if got := inside(); got != pids {
			t.Fatalf("after %s the shell and its parent are %s, want %s", after, got, pids)
		}
	}
	d.enter("sh -c 'echo PID $$ up; exec cat'\n")
	job := d.see(`PID (\d+) up`)
	d.enter("\x1a")
	d.see("Stopped")
	still("Ctrl-Z")
	if got := states(t, append(job, strings.Fields(pids)...)...); got != "TSS" {
		t.Errorf("the job, the process that runs the shell, and the shell are %s, want TSS", got)
	}
	d.enter("fg\nline\n")
	d.see(`line\s+(.*\s+)?line\s`) // the second is cat's
	d.enter("\x03")
	d.see(`\^C\s+> `)
	still("Ctrl-C")
	d.enter("\x03")
	d.see(`\^C\s+> `)
	still("another at the prompt")
	for _, stop := range []string{"suspend", "kill -STOP $$"} {
		d.enter(stop + "\n")
		d.see(`Stopped`)
		if got := states(t, strings.Fields(pids)...); got != "TT" {
			t.Errorf("after %s the states are %s, want TT", stop, got)
		}
		d.enter("echo PID $$ is\n")
		if outer := d.see(`PID (\d+) is`)[0]; strings.HasSuffix(pids, " "+outer) {
			t.Fatalf("after %s the shell has not stopped", stop)
		}
		d.enter("fg\n")
		d.see("fg\r\n.*-i\r\n")
		still(stop + " and fg")
	}
	d.enter("exit 3\n")
	d.see("> ")
	d.enter("echo status=$?\n")
	d.see("status=3")
}
