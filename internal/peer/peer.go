// Package peer tells whose process is at the other end of a TCP connection, by
// the kernel's own table of sockets. It believes nothing that the connection
// itself carries, and does not know what it is for.
//
// It works on Linux. Elsewhere nobody is known.
package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// ErrUnknown says that no process which this one can see has the other end of
// a connection. That end is on another machine or in another network namespace,
// as in a container, or it was closed, or its user has no number here.
var ErrUnknown = errors.New("whose process is at the other end of the connection is not known")

// ErrUnsupported says that this system does not tell.
var ErrUnsupported = errors.New("this system does not tell whose process is at the other end of a connection")

// An OtherUserError says that the other end of a connection is another user's.
type OtherUserError struct{ UID int }

func (e *OtherUserError) Error() string {
	return fmt.Sprintf("the process at the other end of the connection is one of user %d", e.UID)
}

// Owner returns the user whose process, on this machine, has the other end of a
// TCP connection open for reading and writing. It is the user that the process
// was of when it made the socket; to whom it has given it since is its own
// affair. The error is ErrUnknown or ErrUnsupported, or wraps one of them.
func Owner(conn net.Conn) (uid int, err error) { return owner(conn) }

// SameUser returns nil if the process at the other end of a TCP connection is
// of this process's user. Root is another user, unless it is root that asks:
// root can read all there is, but services that run as root also fetch what
// others tell them to. The error is an *OtherUserError or that of Owner.
func SameUser(conn net.Conn) error {
	uid, err := Owner(conn)
	if err == nil && uid != os.Geteuid() {
		err = &OtherUserError{uid}
	}
	return err
}
