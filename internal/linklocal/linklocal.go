// Package linklocal listens at 169.254.169.254:80, where programs look for the
// instance metadata of EC2. Both the address and the port take root: a helper,
// which is this program run once more by sudo, gets them and hands over the
// listening socket. It does not know what is served there, and does not choose
// whom: every process of this machine can connect, so see package peer. Other
// machines can't.
//
// The helper is two processes. The first runs as root: it listens, puts the
// address on the loopback interface, starts the second and ends, and sudo with
// it. The second is of the user who has called, or nobody's if that is root, and
// has one capability, CAP_NET_ADMIN. It hands over the socket and waits until
// the process that has it closes it or ends in any way; then it removes the
// address.
//
// The address is good for half a minute, and the second process makes that
// longer again and again, as with a lease of DHCP. So the kernel removes it
// where neither process is left to do so. The listening socket, which the
// second process keeps, too, is what keeps two of them from meeting.
package linklocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Command is the argument that makes this program the helper: it must then do
// nothing but call Help.
const Command = "imds-helper"

// address is where the instance metadata service is, on every instance.
const address = "169.254.169.254:80"

var (
	// ErrUnsupported says that this system has no helper.
	ErrUnsupported = errors.New("listening at " + address + " is not possible on this system")

	// ErrNoSudo says that there is nothing to become root with.
	ErrNoSudo = errors.New("listening at " + address + " takes root, and there is no program sudo")
)

// A SudoError says that sudo did not run the helper.
type SudoError struct {
	Err    error  // how it ended
	Output string // what it said; "" where it said so on the terminal
}

func (e *SudoError) Error() string {
	text := fmt.Sprintf("listening at %s takes root, and sudo failed: %v", address, e.Err)
	if e.Output != "" {
		text += ": " + e.Output
	}
	return text
}

// Unwrap returns Err.
func (e *SudoError) Unwrap() error { return e.Err }

// A TakenError says that the address or the port is somebody else's, as on an
// instance of EC2. Nothing of theirs was changed.
type TakenError struct{ By string }

func (e *TakenError) Error() string { return address + " is taken: " + e.By }

// A TimeoutError says that the helper was not ready in time.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("not listening at %s after %v", address, e.After)
}

// Options say how root is reached by a process that is not root's.
type Options struct {
	Environ []string  // of sudo; PATH says where it is
	Ask     bool      // sudo may ask for a password on the terminal
	Stderr  io.Writer // for what it says then
}

// Listen starts the helper and returns its listener. It does not outlast the
// process: however that ends, the address goes. Errors are ErrUnsupported,
// ErrNoSudo, *SudoError, *TakenError, *TimeoutError, the cause if ctx is done,
// and those of the system.
func Listen(ctx context.Context, o Options) (*Listener, error) { return listen(ctx, o) }

// Help is what the helper does; see Command. Its standard input is the socket
// that Listen has given it, and all that it takes from who has started it. It
// works for its real user alone or, if that is root, for the one who has called
// sudo, according to the variable SUDO_UID of its environment. An error is for
// somebody who has run it by hand: what goes wrong else is told to Listen.
func Help(ctx context.Context, stdin *os.File, sudoUID string) error {
	return help(ctx, stdin, sudoUID)
}

// A Listener accepts the connections of this machine's processes, other users'
// among them.
type Listener struct {
	net.Listener
	helper *net.UnixConn
	gone   chan struct{} // closed when the helper has ended
	close  sync.Once
}

// closeTimeout is how long the helper may take to remove the address. If it is
// stopped, the kernel does, later.
const closeTimeout = 5 * time.Second

// Close removes the address and then stops listening.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.close.Do(func() {
		if err := l.helper.CloseWrite(); err == nil {
			select {
			case <-l.gone:
			case <-time.After(closeTimeout):
			}
		}
		_ = l.helper.Close()
		err = l.Listener.Close()
	})
	return err
}

// Gone is closed when the helper has ended, before Close or by it. The kernel
// then removes the address within half a minute if the helper has not.
func (l *Listener) Gone() <-chan struct{} { return l.gone }
