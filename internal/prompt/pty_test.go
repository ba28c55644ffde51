//go:build unix

package prompt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// TestMain makes the test binary the program that asks: a terminal controls a
// whole process.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], "ask-") {
		helper(os.Args[1])
		return
	}
	os.Exit(m.Run())
}

func helper(what string) {
	ctx := context.Background()
	show := func(answer any, err error) {
		if errors.Is(err, ErrTaken) {
			answer = "taken"
		}
		fmt.Printf("%v|canceled=%t deadline=%t noterminal=%t\n", answer,
			errors.Is(err, ErrCanceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrNoTerminal))
	}
	switch what {
	case "ask-line":
		show(Line(ctx, "Name: "))
	case "ask-secret":
		show(Secret(ctx, "Name: "))
	case "ask-passphrase":
		show(Passphrase(ctx, "Name: "))
	case "ask-confirm":
		show(Confirm(ctx, "Name: "))
	case "ask-deadline":
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		show(Line(ctx, "Name: "))
	case "ask-twice":
		show(Line(ctx, "Name: "))
		show(Line(ctx, "Name: "))
	case "ask-two":
		done := make(chan bool)
		for range 2 {
			go func() {
				show(Line(ctx, "Name: "))
				done <- true
			}()
		}
		<-done
		<-done
	case "ask-under-shell": // that does not end at a hangup
		signal.Ignore(syscall.SIGHUP)
		cmd := exec.Command(os.Args[0], "ask-passphrase")
		cmd.Stdout = os.Stdout
		cmd.Run()
	case "ask-files":
		in, out, err := Files()
		if err != nil {
			show("", err)
			return
		}
		cmd := exec.Command("sh", "-c", "printf 'PIN: ' >&2; read pin; echo $pin")
		cmd.Stdin, cmd.Stderr = in, out
		answer, err := cmd.Output()
		show(strings.TrimSpace(string(answer)), err)
	case "ask-say":
		show("", Say("waiting"))
	case "ask-yielding":
		show(Line(Yielding(ctx), "Name: "))
	case "ask-background": // each in a job that does not have the terminal, and is not to print
		tty, _, err := Files()
		if err != nil {
			show("", err)
			return
		}
		before, err := unix.IoctlGetTermios(int(tty.Fd()), getTermios)
		if err != nil {
			show("", err)
			return
		}
		mode := *before
		mode.Lflag |= unix.TOSTOP
		unix.IoctlSetTermios(int(tty.Fd()), setTermios, &mode)
		defer unix.IoctlSetTermios(int(tty.Fd()), setTermios, before)
		for _, what := range []string{"ask-say", "ask-yielding"} {
			cmd := exec.Command(os.Args[0], what)
			cmd.Stdout = os.Stdout
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Run()
		}
	case "ask-beside-job": // which has the terminal when it was asked for
		usr1 := make(chan os.Signal, 1)
		signal.Notify(usr1, syscall.SIGUSR1)
		tty, _, err := Files()
		if err != nil {
			show("", err)
			return
		}
		done := make(chan error)
		go func() {
			_, err := Line(Yielding(ctx), "Name: ")
			done <- err
		}()
		<-usr1
		// A shell would set the terminal for the job. This one waits for that.
		wait, ready, err := os.Pipe()
		if err != nil {
			show("", err)
			return
		}
		cmd := exec.Command("sh", "-c", "echo ready; read line <&3; read line; echo $line")
		cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = tty, tty, []*os.File{wait}
		cmd.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: int(tty.Fd())}
		if err := cmd.Start(); err != nil {
			show("", err)
			return
		}
		err = <-done
		Say("taken back")
		ready.Close()
		cmd.Wait()
		show("", err)
	case "ask-picture", "ask-picture-line":
		var l letters
		err := Show(ctx, &l)
		show(l, err)
		if what == "ask-picture-line" {
			show(Line(ctx, "Name: "))
		}
	case "ask-note":
		erase := Note("busy")
		Note("not seen")()
		erase()
		show(Line(ctx, "Name: "))
	case "ask-long-note":
		Note(strings.Repeat("x", 80))()
		show(Line(ctx, "Name: "))
	case "ask-name":
		show(Name(), nil)
	}
}

const answered = "|canceled=false deadline=false noterminal=false\n"
const refused = "|canceled=true deadline=false noterminal=false\n"

// session is a helper on a terminal of its own. Its standard input is empty and
// its standard output a buffer: neither may play a part in a question.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	ptm    *os.File // what a person has before them
	tty    *os.File
	before *term.State
	screen bytes.Buffer
	stdout bytes.Buffer
}

func startSession(t *testing.T, what, typedAhead string) *session {
	t.Helper()
	ptm, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	// Package pty leaves the file blocking, and that knows no deadlines.
	fd, err := unix.Dup(int(ptm.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	unix.SetNonblock(fd, true)
	ptm.Close()
	ptm = os.NewFile(uintptr(fd), "ptm")
	t.Cleanup(func() { ptm.Close(); tty.Close() })
	s := &session{t: t, ptm: ptm, tty: tty}
	if s.before, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	ptm.WriteString(typedAhead)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	s.cmd = exec.CommandContext(ctx, os.Args[0], what)
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	s.cmd.ExtraFiles = []*os.File{tty}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	s.cmd.Stdout = &s.stdout
	s.cmd.Stderr = &s.stdout
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := ptm.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s
}

// see waits until text has been shown n times.
func (s *session) see(text string, n int) {
	s.t.Helper()
	var b [256]byte
	for strings.Count(s.screen.String(), text) < n {
		k, err := s.ptm.Read(b[:])
		s.screen.Write(b[:k])
		if err != nil {
			s.t.Fatalf("%q was not shown %d times: %v; screen %q", text, n, err, s.screen.String())
		}
	}
}

func (s *session) enter(keys string) { s.ptm.WriteString(keys) }

// end waits for the program and checks what it answered and that the terminal
// is as it was.
func (s *session) end(stdout, screen string) {
	s.t.Helper()
	s.endShowing(stdout, "")
	if s.screen.String() != screen {
		s.t.Errorf("screen %q, want %q", s.screen.String(), screen)
	}
}

// endShowing is end for a screen of which only the last is of interest.
func (s *session) endShowing(stdout, last string) {
	s.t.Helper()
	s.cmd.Wait()
	after, err := term.GetState(int(s.tty.Fd()))
	if err != nil || !reflect.DeepEqual(after, s.before) {
		s.t.Errorf("the terminal was %v and is %v, %v", s.before, after, err)
	}
	s.tty.Close()
	s.cmd.ExtraFiles[0].Close()
	var b [256]byte
	for {
		k, err := s.ptm.Read(b[:])
		s.screen.Write(b[:k])
		if err != nil {
			break
		}
	}
	if s.stdout.String() != stdout || !strings.HasSuffix(s.screen.String(), last) {
		s.t.Errorf("answer %q, screen %q, want %q, %q", s.stdout.String(), s.screen.String(), stdout, last)
	}
}

// Only Linux tells; there the name has to be that of the terminal.
func TestName(t *testing.T) {
	s := startSession(t, "ask-name", "")
	name := s.tty.Name()
	if runtime.GOOS != "linux" {
		name = ""
	}
	s.end(name+answered, "")
}

func TestAsk(t *testing.T) {
	for _, c := range []struct{ what, typed, stdout, screen string }{
		{"ask-line", "123456\n", "123456" + answered, "Name: 123456\r\n"},
		{"ask-line", "  a b \r", "a b" + answered, "Name:   a b \r\n"},
		{"ask-secret", "s3cret\n", "s3cret" + answered, "Name: ******\r\n"},
		{"ask-passphrase", " open sesame \n", " open sesame " + answered, "Name: \r\n"},
		{"ask-confirm", "Yes\n", "true" + answered, "Name: Yes\r\n"},
		{"ask-confirm", "y\n", "true" + answered, "Name: y\r\n"},
		{"ask-confirm", "\n", "false" + answered, "Name: \r\n"},
		{"ask-confirm", "yep\n", "false" + answered, "Name: yep\r\n"},
		{"ask-secret", "abc\x04", refused, "Name: ***\r\n"}, // Ctrl-D
		{"ask-secret", "abc\x03", refused, "Name: ***\r\n"}, // Ctrl-C
		{"ask-confirm", "\x03", "false" + refused, "Name: \r\n"},
	} {
		t.Run(fmt.Sprintf("%s %q", c.what, c.typed), func(t *testing.T) {
			s := startSession(t, c.what, "")
			s.see("Name: ", 1)
			// A control key is pressed when what was typed before it has been
			// read; the system drops what is unread at a Ctrl-C.
			plain := strings.TrimRight(c.typed, "\x03")
			s.enter(plain)
			if plain != c.typed {
				s.see(strings.TrimSuffix(c.screen, "\r\n"), 1)
				s.enter("\x03")
			}
			s.end(c.stdout, c.screen)
		})
	}
}

func TestSignalsRestoreTheTerminal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := startSession(t, "ask-passphrase", "")
			s.see("Name: ", 1)
			s.cmd.Process.Signal(sig)
			s.end(refused, "Name: \r\n")
		})
	}
}

func TestDoneContextEndsAQuestion(t *testing.T) {
	s := startSession(t, "ask-deadline", "")
	s.end("|canceled=true deadline=true noterminal=false\n", "Name: \r\n")
}

func TestTypedAheadIsKept(t *testing.T) {
	s := startSession(t, "ask-twice", "alice\nbob\n")
	s.see("bob", 2) // echoed by the terminal when typed, and by the question
	s.end("alice"+answered+"bob"+answered, "alice\r\nbob\r\nName: alice\r\nName: bob\r\n")
}

func TestQuestionsDoNotOverlap(t *testing.T) {
	s := startSession(t, "ask-two", "")
	s.see("Name: ", 1)
	s.ptm.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := s.ptm.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("something is shown while a question waits for its answer, %v", err)
	}
	s.ptm.SetReadDeadline(time.Now().Add(20 * time.Second))
	s.enter("x\n")
	s.see("Name: ", 2)
	s.enter("x\n")
	s.end("x"+answered+"x"+answered, "Name: x\r\nName: x\r\n")
}

// A shell that continues a stopped program may have set the terminal to show
// what is typed.
func TestContinueHidesAgain(t *testing.T) {
	s := startSession(t, "ask-passphrase", "")
	s.see("Name: ", 1)
	if err := term.Restore(int(s.tty.Fd()), s.before); err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
	for hidden, end := false, time.Now().Add(10*time.Second); !hidden; {
		mode, err := unix.IoctlGetTermios(int(s.tty.Fd()), getTermios)
		if err != nil || time.Now().After(end) {
			t.Fatalf("the terminal still shows what is typed, %v", err)
		}
		hidden = mode.Lflag&unix.ECHO == 0
	}
	s.enter("x\n")
	s.end("x"+answered, "Name: \r\n")
}

func TestHangup(t *testing.T) {
	for _, what := range []string{"ask-passphrase", "ask-under-shell"} {
		s := startSession(t, what, "")
		s.see("Name: ", 1)
		s.tty.Close()
		s.ptm.Close()
		s.cmd.Wait()
		if got := s.stdout.String(); got != refused {
			t.Errorf("%s: after a hangup the answer is %q, want %q", what, got, refused)
		}
	}
}

func TestCommandOnTheTerminal(t *testing.T) {
	s := startSession(t, "ask-files", "")
	s.see("PIN: ", 1)
	s.enter("1234\n")
	s.end("1234"+answered, "PIN: 1234\r\n")
}

func TestSay(t *testing.T) {
	s := startSession(t, "ask-say", "")
	s.see("waiting", 1)
	s.end(answered, "waiting\r\n")
}

func TestYielding(t *testing.T) {
	s := startSession(t, "ask-yielding", "")
	s.see("Name: ", 1)
	s.enter("x\n")
	s.end("x"+answered, "Name: x\r\n")
}

const taken = "taken" + answered

// A question that yields does not stop its process, and takes no key of the job
// that has the terminal.
func TestYieldingToAnotherJob(t *testing.T) {
	s := startSession(t, "ask-beside-job", "")
	s.see("Name: ", 1)
	s.cmd.Process.Signal(syscall.SIGUSR1)
	s.see("ready", 1)
	s.see("taken back", 1)
	s.enter("for the job\n")
	s.end(taken, "Name: ready\r\ntaken back\r\nfor the job\r\nfor the job\r\n")
}

// Nor does it touch what another program has set.
func TestYieldingToAnotherMode(t *testing.T) {
	s := startSession(t, "ask-yielding", "")
	s.see("Name: ", 1)
	if _, err := term.MakeRaw(int(s.tty.Fd())); err != nil {
		t.Fatal(err)
	}
	raw, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s.before = raw
	s.end(taken, "Name: ")
}

// In the background it prints, whatever the terminal is set to, and asks nothing.
func TestYieldingInBackground(t *testing.T) {
	s := startSession(t, "ask-background", "")
	s.see("waiting", 1)
	s.end(answered+taken, "waiting\r\n")
}

func TestNote(t *testing.T) {
	s := startSession(t, "ask-note", "")
	s.see("Name: ", 1)
	s.enter("x\n")
	s.end("x"+answered, "busy\b\b\b\b    \b\b\b\bName: x\r\n")
}

// What is as long as the line could not be taken back.
func TestLongNote(t *testing.T) {
	s := startSession(t, "ask-long-note", "")
	s.see("Name: ", 1)
	s.enter("x\n")
	back := strings.Repeat("\b", 79)
	s.end("x"+answered, strings.Repeat("x", 78)+"…"+back+strings.Repeat(" ", 79)+back+"Name: x\r\n")
}

func TestNoTerminal(t *testing.T) {
	for _, what := range []string{"ask-line", "ask-secret", "ask-passphrase", "ask-say", "ask-files"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], what)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.CombinedOutput()
		if want := "|canceled=false deadline=false noterminal=true\n"; string(out) != want || err != nil {
			t.Errorf("%s without a terminal: %q, %v, want %q", what, out, err, want)
		}
	}
}

// letters is a picture of what was typed, a line a key.
type letters []string

func (l *letters) Lines(columns, rows int) []string {
	return append([]string{fmt.Sprintf("%dx%d", columns, rows)}, *l...)
}

func (l *letters) Key(key string) (bool, error) {
	if key == "x" {
		return false, ErrCanceled
	}
	*l = append(*l, fmt.Sprintf("%q", key))
	return key == "\n", nil
}

func TestShow(t *testing.T) {
	first := "\r80x24\x1b[K\x1b[J\r80x24"
	for _, c := range []struct{ typed, stdout string }{
		{"a\r", `["a" "\n"]` + answered},
		{"本\x1b[A\x1bOB\x1b[15~\x1bq\r", `["本" "\x1b[A" "\x1bOB" "\x1b[15~" "\x1bq" "\n"]` + answered},
		{"\xff\r", `["\xff" "\n"]` + answered},
		{"ax", `["a"]` + refused},
	} {
		s := startSession(t, "ask-picture", "")
		s.see(first, 1)
		s.enter(c.typed)
		s.endShowing(c.stdout, "\r\x1b[J")
	}

	// Esc alone is a key when nothing follows for a while, and what is typed
	// after the last key is another's.
	s := startSession(t, "ask-picture-line", "")
	s.see(first, 1)
	s.enter("\x1b")
	s.see(`"\x1b"`, 1)
	s.enter("[A\rrest\n")
	s.endShowing(`["\x1b" "[" "A" "\n"]`+answered+"rest"+answered, "\r\x1b[JName: rest\r\n")

	// A signal, and another size.
	s = startSession(t, "ask-picture", "")
	s.see(first, 1)
	if err := pty.Setsize(s.tty, &pty.Winsize{Cols: 40, Rows: 10}); err != nil {
		t.Fatal(err)
	}
	s.see("\r40x10", 1)
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.see("\r40x10", 3)
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.endShowing("[]"+refused, "\r\x1b[J")
}
