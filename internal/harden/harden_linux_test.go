package harden

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The secret is put together at run time, so that it is not in the memory of
// every process that runs this binary.
func secret() string { return strings.Join([]string{"correct", "horse", "battery"}, "-") }

// TestMain makes the test binary a process that holds a secret, and one that
// is after it.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "hold":
			hold(os.Args[2] == "hardened")
		case "attack":
			attack(os.Args[2])
			return
		case "exec":
			undo := Process()
			undo()
			err := syscall.Exec(os.Args[0], []string{os.Args[0], "report", "self"}, os.Environ())
			fmt.Println(err)
			os.Exit(1)
		case "report":
			report()
			return
		}
	}
	os.Exit(m.Run())
}

// hold keeps a secret until its input ends, and then dumps core.
func hold(hardened bool) {
	// Where the kernel lets a process be traced by its parents only (Yama),
	// it may be traced by others now. Elsewhere this is an error.
	unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0)
	if hardened {
		Process()
	}
	kept := []byte(secret())
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(kept)
	syscall.Kill(syscall.Getpid(), syscall.SIGABRT)
	select {}
}

// attack prints how far it gets with another process.
func attack(pid string) {
	_, err := os.ReadFile("/proc/" + pid + "/environ")
	fmt.Println("environ", outcome(err))

	found, err := searchMemory(pid, []byte(secret()))
	if err == nil && !found {
		err = errors.New("not found")
	}
	fmt.Println("memory", outcome(err))

	runtime.LockOSThread()
	n, _ := strconv.Atoi(pid)
	err = syscall.PtraceAttach(n)
	if err == nil {
		syscall.Wait4(n, nil, 0, nil)
		syscall.PtraceDetach(n)
	}
	fmt.Println("trace", outcome(err))
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "open"
	case errors.Is(err, fs.ErrPermission):
		return "refused"
	}
	return err.Error()
}

// searchMemory looks for text in the writable memory of a process.
func searchMemory(pid string, text []byte) (bool, error) {
	mem, err := os.Open("/proc/" + pid + "/mem")
	if err != nil {
		return false, err
	}
	defer mem.Close()
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		data := make([]byte, min(to-from, 64<<20))
		n, _ := mem.ReadAt(data, from)
		if bytes.Contains(data[:n], text) {
			return true, nil
		}
	}
	return false, nil
}

// report prints what this process has inherited.
func report() {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var core unix.Rlimit
	err = errors.Join(err, unix.Getrlimit(unix.RLIMIT_CORE, &core))
	_, readable := os.ReadFile("/proc/self/environ")
	fmt.Println(dumpable, core.Cur == core.Max, core.Max > 0, outcome(readable), err)
}

// command returns a command that runs this binary without privilege: root may
// read everything. Its directory is returned, too; core files go there.
func command(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = []string{"GOTRACEBACK=crash", "GORACE=atexit_sleep_ms=0"}
	if os.Getuid() != 0 {
		return cmd, dir
	}
	const nobody = 65534
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "holder")
	cmd.Args[0] = cmd.Path
	if err := errors.Join(os.WriteFile(cmd.Path, binary, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd, dir
}

// allowCore raises the limit on core files, which children inherit.
func allowCore(t *testing.T) {
	t.Helper()
	var before, most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if before.Max == 0 {
		t.Skip("core files are not allowed")
	}
	most = before
	most.Cur = most.Max
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &most); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_CORE, &before) })
}

// Both processes are shown the same attacks: that they succeed against the one
// that is not hardened is what makes their failure mean something.
func TestSecretIsOutOfReach(t *testing.T) {
	allowCore(t)
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.ContainsAny(string(pattern), "|/") {
		t.Skip("core files are not written to the working directory")
	}
	for how, want := range map[string]string{
		"plain":    "environ open\nmemory open\ntrace open\n",
		"hardened": "environ refused\nmemory refused\ntrace refused\n",
	} {
		holder, dir := command(t, "hold", how)
		stdin, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
			t.Fatalf("%s: the process says %q, %v", how, line, err)
		}
		attacker, _ := command(t, "attack", strconv.Itoa(holder.Process.Pid))
		if out, err := attacker.CombinedOutput(); string(out) != want || err != nil {
			t.Errorf("%s: the attacks end with\n%s%v, want\n%s", how, out, err, want)
		}

		stdin.Close()
		holder.Wait()
		if status := holder.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGABRT {
			t.Errorf("%s: the process ended with %v, want SIGABRT", how, holder.ProcessState)
		}
		cores, err := filepath.Glob(filepath.Join(dir, "core*"))
		if wrote := len(cores) > 0; wrote != (how == "plain") || err != nil {
			t.Errorf("%s: a core file was written: %t, %v", how, wrote, err)
		}
	}
}

func TestCommandInheritsNothing(t *testing.T) {
	allowCore(t)
	cmd, _ := command(t, "exec", "self")
	out, err := cmd.CombinedOutput()
	if want := "1 true true open <nil>\n"; string(out) != want || err != nil {
		t.Errorf("after exec: dumpable, core limit as before, is there one, own environment: %s%v, want %s", out, err, want)
	}
}

func TestUndoRestoresTheLimit(t *testing.T) {
	allowCore(t)
	var before, during, undone, redone unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &before)
	undo := Process()
	unix.Getrlimit(unix.RLIMIT_CORE, &during)
	redo := undo()
	unix.Getrlimit(unix.RLIMIT_CORE, &undone)
	redo()
	unix.Getrlimit(unix.RLIMIT_CORE, &redone)
	undo()
	if during.Cur != 0 || during.Max != before.Max || undone != before || redone != during {
		t.Errorf("the limit was %v, then %v, %v and %v; want 0 with the same maximum, the first again, and 0 again", before, during, undone, redone)
	}
}
