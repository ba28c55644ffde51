package linklocal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kura/internal/linklocal"
	"kura/internal/peer"
)

const address = "169.254.169.254:80"

// user and other are users that need not exist.
const user, other = 1001, 1002

// patience is how long the tests wait for what is to happen at once. It is less
// than the half minute after which the kernel itself removes the address.
const patience = 10 * time.Second

// TestMain makes the test binary all the programs that take part. The tests run
// in a network namespace of their own.
func TestMain(m *testing.M) {
	namespace, _ := os.Readlink("/proc/self/ns/net")
	outside := os.Getenv("TEST_OUTSIDE")
	switch {
	case filepath.Base(os.Args[0]) == "sudo":
		sudo(os.Args[1:])
	case len(os.Args) > 1 && os.Args[1] == linklocal.Command:
		lifetime := 30 * time.Second
		if filepath.Base(os.Args[0]) == "brief" {
			lifetime = 3 * time.Second
		}
		if err := linklocal.HelpFor(context.Background(), lifetime, os.Stdin, os.Getenv("SUDO_UID")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == "serve":
		serve(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "get":
		get()
	case os.Geteuid() == 0 && (outside == "" || outside == namespace):
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "TEST_OUTSIDE="+namespace)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		err := cmd.Run()
		if cmd.ProcessState != nil {
			os.Exit(cmd.ProcessState.ExitCode())
		}
		fmt.Println("SKIP: no network namespace can be made:", err)
	default:
		os.Exit(m.Run())
	}
}

// serve is the process that listens until its input ends, or wants to listen
// until then. It tells what happens, a line each.
func serve(args []string) {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if slices.Contains(args, "impatient") {
		go func() {
			<-ended
			cancel(errors.New("nobody waits any more"))
		}()
	}
	o := linklocal.Options{Environ: os.Environ(), Ask: slices.Contains(args, "ask"), Stderr: os.Stderr}
	listen := func() (*linklocal.Listener, error) { return linklocal.Listen(ctx, o) }
	if slices.Contains(args, "hurried") {
		listen = func() (*linklocal.Listener, error) { return linklocal.ListenWithin(ctx, 3*time.Second) }
	}
	l, err := listen()
	if err != nil {
		fmt.Printf("%T: %v\n", err, err)
		return
	}
	fmt.Println("listening")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if peer.SameUser(conn) == nil {
				io.WriteString(conn, "welcome")
			}
			conn.Close()
		}
	}()
	select {
	case <-l.Gone():
		fmt.Println("gone")
		<-ended
	case <-ended:
	}
	fmt.Println("closed", l.Close())
}

// get is a client.
func get() {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		fmt.Print(err)
		return
	}
	text, err := io.ReadAll(conn)
	fmt.Printf("%q %v", text, err)
}

// sudo stands in for the program. Installed setuid, it can start the helper and
// nothing else. The file policy beside it says when it does.
func sudo(args []string) {
	self, _ := os.Executable()
	dir := filepath.Dir(self)
	policy, _ := os.ReadFile(filepath.Join(dir, "policy"))
	asking := true
	if args[0] == "-n" {
		asking, args = false, args[1:]
	}
	fail := func(text string) {
		fmt.Fprintln(os.Stderr, "sudo: "+text)
		os.Exit(1)
	}
	uid := strconv.Itoa(os.Getuid())
	if err := errors.Join(syscall.Setgid(0), syscall.Setuid(0)); err != nil {
		fail(err.Error())
	}
	switch string(policy) {
	case "refuse":
		fail(uid + " is not allowed to do that")
	case "password":
		if !asking {
			fail("a password is required")
		}
	case "other":
		uid = strconv.Itoa(other)
	case "hang":
		asked, _ := os.OpenFile(filepath.Join(dir, "asked"), os.O_WRONLY, 0)
		io.Copy(io.Discard, os.Stdin)
		asked.Close()
		return
	}
	if !slices.Equal(args, []string{"--", filepath.Join(dir, "kura"), linklocal.Command}) {
		fail(fmt.Sprintf("not a command for root: %q", args))
	}
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		err = syscall.Exec(args[1], args[1:], []string{"SUDO_UID=" + uid, "GORACE=atexit_sleep_ms=0"})
	}
	fail(err.Error())
}

// A world has the programs, and watches the address.
type world struct {
	t       *testing.T
	dir     string
	netlink int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the program ip")
	}
	ip(t, "link set lo up")
	w := &world{t: t, dir: t.TempDir()}
	for d := w.dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kura", "brief", "sudo"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), binary, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.netlink, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.netlink) })
	timeout := unix.NsecToTimeval(int64(patience))
	err = errors.Join(
		unix.Bind(w.netlink, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR}),
		unix.SetsockoptTimeval(w.netlink, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nothingLeft)
	return w
}

// allow installs the stand-in for sudo with a policy.
func (w *world) allow(policy string) {
	w.t.Helper()
	// Its group is that of the one user who is to run it.
	sudo := filepath.Join(w.dir, "sudo")
	err := errors.Join(
		os.WriteFile(filepath.Join(w.dir, "policy"), []byte(policy), 0o644),
		os.Chown(sudo, 0, user),
		unix.Chmod(sudo, unix.S_ISUID|0o750))
	if err != nil {
		w.t.Fatal(err)
	}
}

func ip(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// wait waits until the address is added or made to last (RTM_NEWADDR), or is
// removed (RTM_DELADDR).
func (w *world) wait(kind uint16) {
	w.t.Helper()
	buf := make([]byte, 8192)
	for {
		n, _, err := unix.Recvfrom(w.netlink, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			w.t.Fatalf("waiting for a change of the address, %d: %v", kind, err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range messages {
			if m.Header.Type == kind && strings.Contains(string(m.Data), "lo:kura\x00") {
				return
			}
		}
	}
}

// addresses returns what "ip address" shows of the address.
func (w *world) addresses() string {
	w.t.Helper()
	out, err := exec.Command("ip", "-o", "address", "show", "to", "169.254.169.254").Output()
	if err != nil {
		w.t.Error(err)
	}
	return string(out)
}

func (w *world) wantAddress() {
	w.t.Helper()
	got := w.addresses()
	if !strings.Contains(got, "169.254.169.254/32 scope host dynamic lo:kura") || strings.Count(got, "\n") != 1 {
		w.t.Errorf("the address is %q, want it on lo alone, as lo:kura, and to end by itself", got)
	}
}

// helpers returns the processes of helpers in this network namespace.
func (w *world) helpers() (pids []int) {
	w.t.Helper()
	here, _ := os.Readlink("/proc/self/ns/net")
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		there, _ := os.Readlink(filepath.Join(filepath.Dir(name), "ns/net"))
		if strings.HasSuffix(string(line), "\x00"+linklocal.Command+"\x00") && there == here {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// helper returns the one process of the helper that stays.
func (w *world) helper() int {
	w.t.Helper()
	pids := w.helpers()
	for len(pids) > 1 { // the first process ends
		w.waitFor(slices.Min(pids))
		pids = w.helpers()
	}
	if len(pids) != 1 {
		w.t.Fatalf("%d helpers, want 1", len(pids))
	}
	return pids[0]
}

// waitFor waits for the end of a process.
func (w *world) waitFor(pid int) {
	w.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer unix.Close(fd)
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ended, int(patience.Milliseconds()))
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(ended, int(patience.Milliseconds()))
	}
	if n != 1 || err != nil {
		w.t.Fatalf("process %d does not end: %v", pid, err)
	}
}

func (w *world) nothingLeft() {
	w.t.Helper()
	for _, pid := range w.helpers() {
		if w.t.Failed() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		w.waitFor(pid)
	}
	if got := w.addresses(); strings.Contains(got, "lo:kura") {
		w.t.Errorf("left: %s", got)
		exec.Command("ip", "address", "delete", "169.254.169.254/32", "dev", "lo").Run()
	}
}

// A server is a process that listens, or wants to.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	pipe  *os.File
	out   *bufio.Reader // of the pipe
}

func (w *world) command(uid int, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(w.dir, name), args...)
	cmd.Env = []string{"PATH=" + w.dir, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	return cmd
}

func (w *world) start(cmd *exec.Cmd) *server {
	w.t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Stderr = w.t.Output()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		stdin.Close()
		if w.t.Failed() {
			cmd.Process.Kill()
		}
		cmd.Wait()
	})
	pipe := stdout.(*os.File)
	return &server{w.t, cmd, stdin, pipe, bufio.NewReader(pipe)}
}

func (w *world) serve(uid int, args ...string) *server {
	w.t.Helper()
	return w.start(w.command(uid, "kura", append([]string{"serve"}, args...)...))
}

func (s *server) says() string {
	s.t.Helper()
	s.pipe.SetReadDeadline(time.Now().Add(patience))
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatal("the server is silent: ", err)
	}
	return strings.TrimSpace(line)
}

func (s *server) want(line string) {
	s.t.Helper()
	if got := s.says(); got != line {
		s.t.Fatalf("the server says %q, want %q", got, line)
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) close() {
	s.t.Helper()
	s.stdin.Close()
	s.want("closed <nil>")
	s.cmd.Wait()
}

func (w *world) get(uid int) string {
	w.t.Helper()
	out, err := w.command(uid, "kura", "get").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

func (w *world) wantServed(uid int) {
	w.t.Helper()
	if got := w.get(uid); got != `"welcome" <nil>` {
		w.t.Errorf("user %d gets %s, want a welcome", uid, got)
	}
}

// signal sends a signal to a process that the test's own processes have started.
func (w *world) signal(pid int, s syscall.Signal) {
	w.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		w.t.Fatal(err)
	}
}

func TestListen(t *testing.T) {
	for _, uid := range []int{0, user} {
		t.Run(fmt.Sprint("user ", uid), func(t *testing.T) {
			w := newWorld(t)
			w.allow("yes")
			s := w.serve(uid)
			s.want("listening")
			w.wantAddress()
			w.wantServed(uid)
			if got := w.get(other); strings.Contains(got, "welcome") {
				t.Errorf("another user gets %s", got)
			}
			s.close()
		})
	}
}

// What stays of the helper is not root's, and has one capability.
func TestPrivilege(t *testing.T) {
	for uid, want := range map[int]string{0: "65534", user: "1001"} {
		w := newWorld(t)
		w.allow("yes")
		s := w.serve(uid)
		s.want("listening")
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.helper()))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			"Uid:\t" + strings.Join([]string{want, want, want, want}, "\t") + "\n",
			"Gid:\t" + strings.Join([]string{want, want, want, want}, "\t") + "\n",
			"Groups:\t \n",
			fmt.Sprintf("CapPrm:\t%016x\n", 1<<unix.CAP_NET_ADMIN),
			fmt.Sprintf("CapEff:\t%016x\n", 1<<unix.CAP_NET_ADMIN),
		} {
			if !strings.Contains(string(status), line) {
				t.Errorf("listening for user %d: want %q in\n%s", uid, line, status)
			}
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.helper()))
		if len(environ) > 0 || err != nil {
			t.Errorf("the environment is %q, %v, want none", environ, err)
		}
		s.close()
	}
}

// The address lasts while it is needed, which is longer than it would by itself,
// and longer than the helper may take to begin.
func TestProlonged(t *testing.T) {
	w := newWorld(t)
	s := w.start(w.command(0, "brief", "serve", "hurried"))
	s.want("listening")
	for range 7 { // two when it is added, then one a second
		w.wait(unix.RTM_NEWADDR)
	}
	w.wantAddress()
	w.wantServed(0)
	s.close()
}

// A killed helper leaves the address to the kernel.
func TestHelperKilled(t *testing.T) {
	w := newWorld(t)
	s := w.start(w.command(0, "brief", "serve"))
	s.want("listening")
	w.signal(w.helper(), syscall.SIGKILL)
	s.want("gone")
	w.wait(unix.RTM_DELADDR)
	s.close()
}

// Whoever tells the helper to end is obeyed, after the address is removed.
func TestHelperSignalled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		w := newWorld(t)
		s := w.serve(0)
		s.want("listening")
		w.signal(w.helper(), sig)
		s.want("gone")
		if got := w.addresses(); got != "" {
			t.Errorf("after %v the address is %s", sig, got)
		}
		s.close()
	}
}

// The helper is in no session that a terminal could end.
func TestSession(t *testing.T) {
	w := newWorld(t)
	s := w.serve(0)
	s.want("listening")
	pid := w.helper()
	if sid, err := unix.Getsid(pid); sid != pid || err != nil {
		t.Errorf("the helper's session is %d, %v, want its own, %d", sid, err, pid)
	}
	s.close()
}

func TestServerKilled(t *testing.T) {
	w := newWorld(t)
	w.allow("yes")
	s := w.serve(user)
	s.want("listening")
	s.kill()
	w.wait(unix.RTM_DELADDR)
}

// What two killed processes have left is taken over.
func TestBothKilled(t *testing.T) {
	w := newWorld(t)
	s := w.serve(0)
	s.want("listening")
	helper := w.helper()
	w.signal(helper, syscall.SIGSTOP) // it is not to see the server's end
	s.kill()
	w.signal(helper, syscall.SIGKILL)
	w.waitFor(helper)
	w.wantAddress()

	s = w.serve(0)
	s.want("listening")
	w.wantAddress()
	w.wantServed(0)
	s.close()
}

// A helper that is yet to remove the address keeps the next one from adding it.
func TestHelperStopped(t *testing.T) {
	w := newWorld(t)
	s := w.serve(0)
	s.want("listening")
	helper := w.helper()
	w.signal(helper, syscall.SIGSTOP)
	s.kill()
	w.wantTaken("a program listens there, or at that port of all addresses")
	w.signal(helper, syscall.SIGCONT)
	w.wait(unix.RTM_DELADDR)
	w.waitFor(helper)

	s = w.serve(0)
	s.want("listening")
	s.close()
}

// What is closed is no more, and the next one can begin at once.
func TestQuickSuccession(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		s := w.serve(0)
		s.want("listening")
		w.wantServed(0)
		s.close()
		if got := w.addresses(); got != "" {
			t.Errorf("after Close the address is %s", got)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var wait sync.WaitGroup
	servers, said := make([]*server, 8), make([]string, 8)
	for i := range servers {
		servers[i] = w.serve(0)
	}
	for i, s := range servers {
		wait.Go(func() {
			line, _ := s.out.ReadString('\n')
			said[i] = line
		})
	}
	wait.Wait()
	winner := slices.Index(said, "listening\n")
	if winner < 0 {
		t.Fatalf("nobody listens: %q", said)
	}
	for i, line := range said {
		if i != winner && !strings.HasPrefix(line, "*linklocal.TakenError: 169.254.169.254:80 is taken: a program listens there") {
			t.Errorf("server %d says %q beside %d, who listens", i, line, winner)
		}
	}
	w.wantAddress()
	w.wantServed(0)
	servers[winner].close()
}

// wantTaken tries to listen where somebody else is, and sees that they stay.
func (w *world) wantTaken(by string) {
	w.t.Helper()
	before := w.addresses()
	w.serve(0).want("*linklocal.TakenError: 169.254.169.254:80 is taken: " + by)
	if after := w.addresses(); after != before {
		w.t.Errorf("the address was %q, and is %q", before, after)
	}
}

func TestTaken(t *testing.T) {
	t.Run("all addresses", func(t *testing.T) {
		w := newWorld(t)
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.wantTaken("a program listens there, or at that port of all addresses")
	})
	t.Run("another interface", func(t *testing.T) {
		w := newWorld(t)
		ip(t, "link add card type veth peer name end")
		defer ip(t, "link delete card")
		ip(t, "address add 169.254.169.254/16 dev card")
		w.wantTaken("the interface card has the address")
	})
	t.Run("another label", func(t *testing.T) {
		w := newWorld(t)
		ip(t, "address add 169.254.169.254/24 dev lo label lo:0")
		defer ip(t, "address delete 169.254.169.254/24 dev lo")
		w.wantTaken("the interface lo:0 has the address")
	})
	t.Run("another interface and a former helper", func(t *testing.T) {
		w := newWorld(t)
		ip(t, "address add 169.254.169.254/32 dev lo label lo:kura")
		defer ip(t, "address delete 169.254.169.254/32 dev lo")
		ip(t, "link add card type veth peer name end")
		defer ip(t, "link delete card")
		ip(t, "address add 169.254.169.254/16 dev card")
		w.wantTaken("the interface card has the address")
	})
	t.Run("a metadata service", func(t *testing.T) {
		w := newWorld(t)
		on := w.otherHost()
		ip(t, "route add 169.254.169.254 via 10.9.0.2")
		var l net.Listener
		err := on(func() (err error) {
			ip(t, "address add 169.254.169.254/32 dev lo")
			l, err = net.Listen("tcp4", address)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w.wantTaken("a metadata service answers there")
	})
}

// otherHost returns a function that runs others on a host in another network
// namespace, 10.9.0.2, to which this one is 10.9.0.1.
func (w *world) otherHost() (on func(f func() error) error) {
	w.t.Helper()
	calls, results := make(chan func() error), make(chan error)
	w.t.Cleanup(func() { close(calls) })
	go func() {
		runtime.LockOSThread() // which ends with the goroutine
		for call := range calls {
			results <- call()
		}
	}()
	on = func(f func() error) error {
		calls <- f
		return <-results
	}
	var thread int
	err := on(func() error {
		thread = unix.Gettid()
		return unix.Unshare(unix.CLONE_NEWNET)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ip(w.t, fmt.Sprint("link add cable type veth peer name other netns ", thread))
	w.t.Cleanup(func() { exec.Command("ip", "link", "delete", "cable").Run() })
	ip(w.t, "address add 10.9.0.1/24 dev cable")
	ip(w.t, "link set cable up")
	_ = on(func() error {
		ip(w.t, "address add 10.9.0.2/24 dev other")
		ip(w.t, "link set other up")
		ip(w.t, "link set lo up")
		return nil
	})
	// It takes a moment until packets go through.
	if _, err := net.DialTimeout("tcp4", "10.9.0.2:9", patience); !errors.Is(err, unix.ECONNREFUSED) {
		w.t.Fatal(err)
	}
	return on
}

// A host that routes the address to this machine finds nobody there.
func TestOtherHost(t *testing.T) {
	w := newWorld(t)
	on := w.otherHost()
	s := w.serve(0)
	s.want("listening")
	w.wantServed(0)
	err := on(func() error {
		ip(t, "route add 169.254.169.254 via 10.9.0.1")
		conn, err := net.DialTimeout("tcp4", address, patience)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("another host: %v, want ECONNREFUSED", err)
	}
	s.close()
}

func TestSudo(t *testing.T) {
	for _, test := range []struct {
		policy string // "" is no sudo
		ask    bool
		want   string
	}{
		{"", true, "*errors.errorString: listening at 169.254.169.254:80 takes root, and there is no program sudo"},
		{"yes", false, "listening"},
		{"password", true, "listening"},
		{"password", false, "*linklocal.SudoError: listening at 169.254.169.254:80 takes root, and sudo failed: exit status 1: sudo: a password is required"},
		{"refuse", false, "*linklocal.SudoError: listening at 169.254.169.254:80 takes root, and sudo failed: exit status 1: sudo: 1001 is not allowed to do that"},
		{"refuse", true, "*linklocal.SudoError: listening at 169.254.169.254:80 takes root, and sudo failed: exit status 1"},
		{"other", false, "*errors.errorString: the helper: the socket is of user 1001, and not of 1002, who has called"},
	} {
		t.Run(fmt.Sprintf("%s, ask %t", test.policy, test.ask), func(t *testing.T) {
			w := newWorld(t)
			if test.policy == "" {
				os.Remove(filepath.Join(w.dir, "sudo"))
			} else {
				w.allow(test.policy)
			}
			cmd := w.command(user, "kura", "serve")
			if test.ask {
				cmd.Args = append(cmd.Args, "ask")
			}
			s := w.start(cmd)
			s.want(test.want)
			if test.want == "listening" {
				w.wantServed(user)
				s.close()
			}
		})
	}
}

// The helper can't be made to wait for what never ends.
func TestHelpWithOtherInput(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []*os.File{null}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[0])
		inputs = append(inputs, os.NewFile(uintptr(fds[1]), "socket"))
	}
	for _, input := range inputs {
		err := linklocal.HelpFor(t.Context(), time.Minute, input, "")
		if err == nil || !strings.Contains(err.Error(), "standard input is not a socket") {
			t.Errorf("error = %v, want one about standard input", err)
		}
	}
}

// A password that nobody types is not waited for longer than the caller likes.
func TestCanceled(t *testing.T) {
	w := newWorld(t)
	w.allow("hang")
	fifo := filepath.Join(w.dir, "asked")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := w.serve(user, "impatient")
	asked, err := os.Open(fifo) // when sudo has
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	s.stdin.Close()
	s.want("*errors.errorString: nobody waits any more")
	io.Copy(io.Discard, asked) // until it ends
}
