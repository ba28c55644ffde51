package peer_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kura/internal/peer"
)

// TestMain makes the test binary a client, too. As root all tests run in a
// network namespace of their own.
func TestMain(m *testing.M) {
	namespace, _ := os.Readlink("/proc/self/ns/net")
	outside := os.Getenv("TEST_OUTSIDE")
	switch {
	case len(os.Args) == 3 && os.Args[1] == "dial":
		dial(os.Args[2])
		return
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
	case os.Geteuid() == 0:
		if err := up(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fallthrough
	default:
		os.Exit(m.Run())
	}
}

// up switches on lo, in a new namespace.
func up() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// dial connects to an address and keeps the connection until its input ends.
func dial(address string) {
	conn, err := net.Dial("tcp", address)
	fmt.Println(err)
	if err == nil {
		defer conn.Close()
		io.Copy(io.Discard, os.Stdin)
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("the address is not to be had: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// startClient connects a process of a user to a listener, by an address.
func startClient(t *testing.T, uid int, l net.Listener, address string) net.Conn {
	t.Helper()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := exec.CommandContext(t.Context(), os.Args[0], "dial", net.JoinHostPort(address, port))
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0"}
	if uid != os.Geteuid() {
		cmd.Path = readable(t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
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
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "<nil>\n" {
		t.Fatalf("the client says %q, %v", line, err)
	}
	return accept(t, l)
}

// readable returns a copy of the test binary that other users may run.
func readable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "client")
	if err := os.WriteFile(name, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func wantUnknown(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	if uid, err := peer.Owner(conn); !errors.Is(err, peer.ErrUnknown) {
		t.Errorf("%s: Owner = %d, %v, want ErrUnknown", what, uid, err)
	}
	if err := peer.SameUser(conn); !errors.Is(err, peer.ErrUnknown) {
		t.Errorf("%s: SameUser = %v, want ErrUnknown", what, err)
	}
}

// ways are the ways in which a client and a server may name the same address.
var ways = []struct{ network, listen, dial string }{
	{"tcp4", "127.0.0.1:0", "127.0.0.1"},
	{"tcp4", "0.0.0.0:0", "127.0.0.3"},
	{"tcp6", "[::1]:0", "::1"},
	{"tcp", "[::]:0", "127.0.0.1"},
	{"tcp", "[::]:0", "::1"},
}

func TestOwner(t *testing.T) {
	uids := []int{os.Geteuid()}
	if os.Geteuid() == 0 {
		uids = append(uids, 1001, 1002)
	}
	for _, way := range ways {
		for _, uid := range uids {
			t.Run(fmt.Sprintf("%s by %s, user %d", way.listen, way.dial, uid), func(t *testing.T) {
				conn := startClient(t, uid, listen(t, way.network, way.listen), way.dial)
				if got, err := peer.Owner(conn); got != uid || err != nil {
					t.Errorf("Owner = %d, %v, want %d", got, err, uid)
				}
				err := peer.SameUser(conn)
				if e, ok := errors.AsType[*peer.OtherUserError](err); uid == os.Geteuid() && err != nil ||
					uid != os.Geteuid() && (!ok || e.UID != uid) {
					t.Errorf("SameUser = %v", err)
				}
			})
		}
	}
}

// A client may have an IPv6 socket for an IPv4 address, and may have bound it to
// a device.
func TestUnusualClients(t *testing.T) {
	for name, prepare := range map[string]func(fd int) error{
		"mapped": func(fd int) error { return nil },
		"bound to lo": func(fd int) error {
			return unix.BindToDevice(fd, "lo")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, "tcp4", "127.0.0.1:0")
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Skip("no IPv6: ", err)
			}
			defer unix.Close(fd)
			to := &unix.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port}
			copy(to.Addr[:], net.ParseIP("127.0.0.1").To16())
			if err := errors.Join(prepare(fd), unix.Connect(fd, to)); err != nil {
				t.Fatal(err)
			}
			if err := peer.SameUser(accept(t, l)); err != nil {
				t.Errorf("SameUser = %v", err)
			}
		})
	}
}

// Where a client has gone there is nobody to be admitted, whose user the kernel
// may take for root.
func TestClosed(t *testing.T) {
	for name, leave := range map[string]func(c *net.TCPConn) error{
		"closed":            (*net.TCPConn).Close,
		"finished sending":  (*net.TCPConn).CloseWrite,
		"reset":             func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"closed with words": func(c *net.TCPConn) error { _, err := c.Write([]byte("GET")); return errors.Join(err, c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, "tcp4", "127.0.0.1:0")
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			conn := accept(t, l)
			if err := peer.SameUser(conn); err != nil {
				t.Fatal(err)
			}
			if err := leave(client.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, conn) // until the news is here
			wantUnknown(t, name, conn)
		})
	}
}

// The kernel says the same of all users that it has no number for.
func TestNoNumber(t *testing.T) {
	needsRoot(t)
	conn := startClient(t, 65534, listen(t, "tcp4", "127.0.0.1:0"), "127.0.0.1")
	wantUnknown(t, "the overflow user", conn)
}

func TestNotTCP(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	wantUnknown(t, "a pipe", a)
	l := listen(t, "unix", filepath.Join(t.TempDir(), "socket"))
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wantUnknown(t, "a Unix socket", accept(t, l))
}

// otherHost returns a function that runs others on a host in another network
// namespace, 10.9.0.2, to which this one is 10.9.0.1.
func otherHost(t *testing.T) (on func(f func() error) error) {
	t.Helper()
	needsRoot(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the program ip is not here")
	}
	calls, results := make(chan func() error), make(chan error)
	t.Cleanup(func() { close(calls) })
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
	if err == nil {
		err = ip("link add cable type veth peer name other netns "+strconv.Itoa(thread),
			"address add 10.9.0.1/24 dev cable", "link set cable up")
	}
	if err == nil {
		err = on(func() error {
			return ip("address add 10.9.0.2/24 dev other", "link set other up", "link set lo up")
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ip("link delete cable") })
	return on
}

func ip(commands ...string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}

func TestOtherHost(t *testing.T) {
	on := otherHost(t)
	l := listen(t, "tcp4", "0.0.0.0:0")
	from := &net.Dialer{LocalAddr: &net.TCPAddr{Port: 5555}}
	var client net.Conn
	err := on(func() (err error) {
		client, err = from.Dial("tcp4", net.JoinHostPort("10.9.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn := accept(t, l)
	wantUnknown(t, "another host", conn)

	// The kernel gives this one in place of the socket that it does not have.
	listen(t, "tcp4", "0.0.0.0:5555")
	wantUnknown(t, "another host, from a port at which somebody listens here", conn)
}

// A connection of another namespace is not taken for one of this namespace that
// has the same addresses.
func TestOtherNamespace(t *testing.T) {
	on := otherHost(t)
	dialed := func() (conn net.Conn, err error) {
		l, err := net.Listen("tcp4", "127.0.0.1:4444")
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { l.Close() })
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5555}}
		client, err := from.Dial("tcp4", "127.0.0.1:4444")
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { client.Close() })
		return l.Accept()
	}
	here, err := dialed()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := peer.SameUser(here); err != nil {
		t.Errorf("SameUser = %v", err)
	}
	var there net.Conn
	if err := on(func() (err error) { there, err = dialed(); return err }); err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	wantUnknown(t, "another namespace", there)
	err = on(func() error { return peer.SameUser(there) })
	if err != nil {
		t.Errorf("in its own namespace: SameUser = %v", err)
	}
}
