package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// overflowUID is what the kernel says in place of a user who has no number in
// the user namespace of who asks: see user_namespaces(7).
const overflowUID = 65534

func owner(conn net.Conn) (int, error) {
	here, there, err := ends(conn)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	inode, err := inodeOf(conn)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	// Another network namespace has addresses like these, too: that our own
	// end is found says that this is the right one.
	own, err := find(here, there)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if own.inode != inode {
		return 0, fmt.Errorf("%w: this end of it is not in the table of this network namespace", ErrUnknown)
	}
	other, err := find(there, here)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	case other.state != tcpEstablished || other.inode == 0:
		// Where nothing is so connected the kernel gives what listens at the port,
		// which may be anybody's. What no process has open any more is given as
		// root's by some kernels.
		return 0, fmt.Errorf("%w: it is elsewhere, or was closed", ErrUnknown)
	case other.uid == overflowUID:
		return 0, fmt.Errorf("%w: its user has no number in this user namespace", ErrUnknown)
	}
	return int(other.uid), nil
}

// ends returns the addresses of the two ends of a TCP connection.
func ends(conn net.Conn) (here, there netip.AddrPort, err error) {
	local, ok1 := conn.LocalAddr().(*net.TCPAddr)
	remote, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return here, there, fmt.Errorf("a connection of %T has no owner", conn)
	}
	return local.AddrPort(), remote.AddrPort(), nil
}

func inodeOf(conn net.Conn) (uint32, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a connection of %T has no socket", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	var statErr error
	if err := raw.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &stat) }); err != nil {
		return 0, err
	}
	return uint32(stat.Ino), statErr // the table has no more of it
}

// A socket is what the kernel's table has of one.
type socket struct {
	state byte
	uid   uint32
	inode uint32 // 0 if no process has it open
}

// From the kernel's include/uapi/linux/inet_diag.h and include/net/tcp_states.h.
// See sock_diag(7).
const (
	tcpEstablished = 1

	idSize  = 48 // struct inet_diag_sockid
	reqSize = 8 + idSize
	msgSize = 4 + idSize + 20 // struct inet_diag_msg
	loIndex = 1               // of lo, in every network namespace
)

// find returns the TCP socket of this network namespace that is connected from
// one address to the other, else one that listens at the first, else none: the
// zero socket.
func find(from, to netip.AddrPort) (socket, error) {
	request := make([]byte, 0, unix.SizeofNlMsghdr+reqSize)
	request = binary.NativeEndian.AppendUint32(request, unix.SizeofNlMsghdr+reqSize)
	request = binary.NativeEndian.AppendUint16(request, unix.SOCK_DIAG_BY_FAMILY)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST)
	request = append(request, make([]byte, 8)...) // sequence number and sender
	family := byte(unix.AF_INET)
	if from.Addr().Unmap().Is6() {
		family = unix.AF_INET6
	}
	request = append(request, family, unix.IPPROTO_TCP, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, 1<<tcpEstablished)
	request = binary.BigEndian.AppendUint16(request, from.Port())
	request = binary.BigEndian.AppendUint16(request, to.Port())
	request = appendAddr(request, from.Addr().Unmap())
	request = appendAddr(request, to.Addr().Unmap())
	// What this machine sends to itself comes in by lo. A socket that is bound
	// to a device is found by that device alone.
	request = binary.NativeEndian.AppendUint32(request, loIndex)
	for range 2 {
		request = binary.NativeEndian.AppendUint32(request, 0xffffffff) // INET_DIAG_NOCOOKIE
	}
	reply, err := ask(request)
	if errors.Is(err, unix.ENOENT) {
		return socket{}, nil
	}
	if err != nil {
		return socket{}, err
	}
	tail := reply[4+idSize:]
	return socket{
		state: reply[1],
		uid:   binary.NativeEndian.Uint32(tail[12:]),
		inode: binary.NativeEndian.Uint32(tail[16:]),
	}, nil
}

// appendAddr appends an address in 16 bytes, which an IPv4 address begins.
func appendAddr(b []byte, a netip.Addr) []byte {
	b = append(b, a.AsSlice()...)
	if a.Is4() {
		b = append(b, make([]byte, 12)...)
	}
	return b
}

// ask sends a request about one socket and returns the struct inet_diag_msg
// that answers it.
func ask(request []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	// The kernel has answered by the time the request is sent.
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
			return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
		case m.Header.Type == unix.SOCK_DIAG_BY_FAMILY && len(m.Data) >= msgSize:
			return m.Data, nil
		}
	}
	return nil, unix.EBADMSG
}
