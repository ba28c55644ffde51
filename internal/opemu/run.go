package opemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// stateVar names the environment variable with the path of the state.
const stateVar = "OPEMU_STATE"

// An Env is what a call of op finds around itself.
type Env struct {
	Args           []string // without the program's name
	Environ        []string
	Stdin          Stdin
	Stdout, Stderr io.Writer
	PID, PPID      int
	TTY            string // identifies the terminal session; "" for none

	// Process says that the call is all there is to this process, so that a
	// call that hangs may ignore signals.
	Process bool
}

// Stdin is the standard input of a call. The zero Stdin is the null device.
type Stdin struct {
	Kind   StdinKind
	Reader io.Reader // nil: empty
}

// A StdinKind is what the standard input is. Op reads a pipe and ignores,
// silently, everything else [F].
type StdinKind string

// The kinds of standard input.
const (
	Null     StdinKind = "null" // also ""
	Pipe     StdinKind = "pipe"
	Regular  StdinKind = "file"
	Socket   StdinKind = "socket"
	Terminal StdinKind = "terminal"
)

// StdinOf says what a file is as standard input.
func StdinOf(f *os.File) Stdin {
	info, err := f.Stat()
	if err != nil {
		return Stdin{} // it is closed
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeNamedPipe != 0:
		return Stdin{Pipe, f}
	case mode&fs.ModeSocket != 0:
		return Stdin{Socket, f}
	case mode.IsRegular():
		return Stdin{Regular, f}
	case mode&fs.ModeCharDevice != 0 && !isNull(info):
		return Stdin{Terminal, f}
	}
	return Stdin{Null, f}
}

// isNull reports whether a character device is the null device.
func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(null, info)
}

// OS returns the Env of this process.
func OS() Env {
	return Env{
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdin:   StdinOf(os.Stdin),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		PID:     os.Getpid(),
		PPID:    os.Getppid(),
		TTY:     terminalSession(),
		Process: true,
	}
}

// A failure is what op says when a call fails.
type failure struct {
	text  string
	usage string // follows the text
	bare  bool   // no [ERROR] and time before it
	exit  int
}

func (f *failure) Error() string { return f.text }

// message is what op prints, with the local time [S].
func (f *failure) message(now time.Time) string {
	if f.bare {
		return f.text + "\n"
	}
	return "[ERROR] " + now.Local().Format("2006/01/02 15:04:05") + " " + f.text + "\n" + f.usage
}

func fail(format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), exit: 1}
}

func failUsage(text, usage string) error {
	return &failure{text: text, usage: orElse(usage, "Usage:  op [command] [flags]\n"), exit: 1}
}

// A panicked call ends as a Go program does that panics [R].
const panicked = "panic: runtime error: invalid memory address or nil pointer dereference\n" +
	"[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x0]\n\ngoroutine 1 [running]:\nmain.main()\n"

func failPanic() error {
	return &failure{text: strings.TrimSuffix(panicked, "\n"), bare: true, exit: 2}
}

// A call is one run of op.
type call struct {
	Env
	ctx    context.Context
	state  string // path
	cmd    *command
	args   arguments
	input  []byte // of a pipe
	fault  Fault
	record Call
	out    bytes.Buffer // standard output, until it is known what becomes of it
}

// Run carries out a call of op and returns its exit status. It returns early,
// with 137, when ctx is done, as if the process had been killed.
func Run(ctx context.Context, e Env) int {
	c := &call{Env: e, ctx: ctx}
	c.state = c.getenv(stateVar)
	if c.state == "" {
		fmt.Fprintf(e.Stderr, "opemu: %s is not set\n", stateVar)
		return exitEmulator
	}
	err := c.begin()
	if err == nil {
		err = c.carryOut()
	}
	if err == nil && c.fault.Mode == KilledDone {
		err = c.die()
	}
	if ctx.Err() != nil || errors.Is(err, errKilled) {
		return exitKilled // nothing is written, as nobody is there any more
	}
	return c.finish(err)
}

const (
	exitKilled   = 137
	exitEmulator = 70 // the emulator itself is in trouble: not op's doing
)

// begin takes the command line apart, enters the call in the journal and finds
// out what is to go wrong with it.
func (c *call) begin() error {
	cmd, args, err := parse(c.Args)
	c.cmd, c.args = cmd, args
	c.record = Call{PID: c.PID, PPID: c.PPID, Args: c.Args, Stdin: c.Stdin.Kind, Environ: c.Environ, Exit: -1}
	if c.record.Stdin == "" {
		c.record.Stdin = Null
	}
	if cmd != nil {
		c.record.Command = cmd.words
	}
	updated := c.update(func(s *State) error {
		s.Calls++
		c.record.ID, c.record.Began = s.Calls, s.now()
		if cmd != nil {
			c.fault = s.strike(cmd.words)
			c.record.Fault = c.fault.Mode
		}
		return c.enter(s)
	})
	if updated != nil {
		return updated
	}
	return err
}

// update changes the state.
func (c *call) update(change func(*State) error) error { return update(c.ctx, c.state, change) }

// look reads the state.
func (c *call) look(read func(*State) error) error {
	return c.update(func(s *State) error {
		if err := read(s); err != nil {
			return err
		}
		return errDiscard
	})
}

// carryOut does what the command line says, or what the fault does.
func (c *call) carryOut() error {
	if c.args.isSet("version") && c.cmd == nil {
		return c.look(func(s *State) error {
			_, err := fmt.Fprintln(&c.out, s.Version)
			return err
		})
	}
	if c.cmd == nil || c.args.isSet("help") {
		usage := "1Password CLI brings 1Password to your terminal.\n"
		if c.cmd != nil {
			usage = c.cmd.usage()
		}
		_, err := io.WriteString(&c.out, usage)
		return err
	}
	if c.fault.Mode != HangChild {
		c.wait(time.Duration(c.fault.Delay))
	}
	switch c.fault.Mode {
	case Before:
		return c.faultFailure()
	case HangCall, HangChild:
		return c.hang()
	case Panic:
		return failPanic()
	case Exit0Empty:
		return c.exit0Empty()
	case Silent:
		return nil
	case Killed:
		return c.die()
	case CallerKilled:
		c.killCaller()
	case BothKilled:
		c.killCaller()
		return c.die()
	}
	if err := c.readInput(); err != nil {
		return err
	}
	if len(c.args.operands) < c.cmd.needs {
		return failUsage(fmt.Sprintf("accepts at least %d arg(s), received %d", c.cmd.needs, len(c.args.operands)), c.cmd.usage()) // [I]
	}
	if format := c.format(); format != "json" && format != "human-readable" {
		return fail("invalid output format %q", format) // [I]
	}
	if !c.cmd.open {
		if err := c.authorize(); err != nil {
			return err
		}
	}
	if c.cmd.words != "item edit" { // which takes its time in the middle
		if err := c.takeTime(); err != nil {
			return err
		}
	}
	return c.cmd.run(c)
}

// faultFailure is the failure that a fault makes.
func (c *call) faultFailure() *failure {
	return &failure{text: orElse(c.fault.Stderr, "(500) Internal Server Error"), exit: max(c.fault.Exit, 1)}
}

// exit0Empty fails with the exit status 0, as op did up to 2.32.0 after some
// errors of the server [D].
func (c *call) exit0Empty() error {
	err := c.faultFailure()
	return c.look(func(s *State) error {
		if !s.since("2.32.1") {
			err.exit = 0
		}
		return err
	})
}

// errKilled ends a call that is not a process of its own, as if it had been one
// that was killed.
var errKilled = errors.New("killed")

// die ends the process by SIGKILL, or what Windows has for it.
func (c *call) die() error {
	if c.Process {
		if self, err := os.FindProcess(os.Getpid()); err == nil && self.Kill() == nil {
			select {} // it takes a moment
		}
	}
	return errKilled
}

// killCaller ends the process that has started this one, as die does.
func (c *call) killCaller() {
	if !c.Process {
		return
	}
	if parent, err := os.FindProcess(c.PPID); err == nil {
		parent.Kill()
	}
}

// readInput reads a pipe, as op does wherever it can take input from one. Where
// it can't, the pipe is somebody else's: op leaves it alone, or waits for its
// end.
func (c *call) readInput() error {
	if c.record.Stdin != Pipe {
		return nil
	}
	reads := c.cmd.template
	if len(c.args.operands) > 0 && c.args.operands[0] == "-" {
		reads = true
	}
	hangs := false
	err := c.update(func(s *State) error {
		if c.cmd.words == "item edit" && !s.since("2.23.0") {
			reads = false
			c.mark(MarkIgnored)
			return c.enter(s)
		}
		if !reads {
			hangs = s.HangOnPipe
			c.mark(MarkInherited)
			return c.enter(s)
		}
		return nil
	})
	if err != nil || !reads && !hangs || c.Stdin.Reader == nil {
		return err
	}
	data, err := c.readAll()
	if reads {
		c.input = data
	}
	return err
}

// readAll reads standard input to its end, or until ctx is done.
func (c *call) readAll() ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(c.Stdin.Reader)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-c.ctx.Done():
		return nil, context.Cause(c.ctx)
	}
}

// hang waits until the process is killed or ctx is done.
func (c *call) hang() error {
	if c.Process {
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
		if c.fault.Mode == HangChild {
			c.leaveChild()
		}
	}
	c.mark(MarkHangs)
	if err := c.update(c.enter); err != nil {
		return err
	}
	c.wait(math.MaxInt64)
	return c.ctx.Err()
}

// leaveChild starts a process that holds standard output and error open for
// the fault's delay, or a minute, whatever becomes of this one.
func (c *call) leaveChild() {
	seconds := time.Duration(c.fault.Delay).Seconds()
	if seconds == 0 {
		seconds = 60
	}
	cmd := exec.CommandContext(c.ctx, "sleep", fmt.Sprint(seconds)) // without the program, it is a plain hang
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Start()
}

// finish says what became of a call, on standard output and error and in the
// journal.
func (c *call) finish(err error) int {
	text := c.out.String()
	switch {
	case err != nil:
	case c.fault.Mode == AfterCommit:
		err = c.faultFailure()
	case c.fault.Mode == TruncateStdout:
		text = text[:len(text)/2]
	}
	f, failed := errors.AsType[*failure](err)
	if err != nil && !failed {
		fmt.Fprintln(c.Stderr, "opemu:", err)
		return exitEmulator
	}
	c.record.Exit = 0
	if failed {
		text, c.record.Exit = "", f.exit
	}
	err = c.update(func(s *State) error {
		c.record.Ended = s.now()
		return c.enter(s)
	})
	if err != nil {
		fmt.Fprintln(c.Stderr, "opemu:", err)
		return exitEmulator
	}
	if failed {
		io.WriteString(c.Stderr, f.message(c.record.Ended))
	}
	io.WriteString(c.Stdout, text)
	return c.record.Exit
}

// wait returns after a time, or when ctx is done.
func (c *call) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
	}
}

// takeTime waits for as long as the command takes this time.
func (c *call) takeTime() error {
	var d float64
	err := c.look(func(s *State) error {
		d = float64(s.Latency.Commands[c.cmd.words])
		if s.Latency.Scale != 0 {
			d *= s.Latency.Scale
		}
		d *= 1 + s.Latency.Jitter*(2*rand.Float64()-1)
		return nil
	})
	if err != nil {
		return err
	}
	c.wait(time.Duration(d))
	return c.ctx.Err()
}

// getenv returns an environment variable of the call; the last one wins.
func (c *call) getenv(name string) string {
	value := ""
	for _, kv := range c.Environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// format returns how to print: "json" or "human-readable".
func (c *call) format() string {
	if f, ok := c.args.flags["format"]; ok {
		return f
	}
	return orElse(c.getenv("OP_FORMAT"), "human-readable")
}

// cached reports whether op's daemon may answer.
func (c *call) cached() bool {
	if v, ok := c.args.flags["cache"]; ok {
		return v != "false"
	}
	return c.getenv("OP_CACHE") != "false"
}
