package linklocal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// label is how "ip address" shows the address, and how a helper knows what
	// a former one has left.
	label = "lo:kura"

	loIndex = 1 // of lo, in every network namespace
)

// addAddress puts the address on lo for some time, or gives it that much time
// anew.
func (h helper) addAddress() error {
	err := changeAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, h.lifetime)
	if err != nil {
		return fmt.Errorf("adding the address to lo: %w", err)
	}
	return nil
}

// removeAddress removes the address if it is ours.
func removeAddress() error {
	err := changeAddress(unix.RTM_DELADDR, 0, 0)
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing the address from lo: %w", err)
	}
	return nil
}

// changeAddress sends a request about the address: see rtnetlink(7).
func changeAddress(kind, flags uint16, lifetime time.Duration) error {
	ip := netip.MustParseAddrPort(address).Addr().As4()
	body := []byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_HOST} // struct ifaddrmsg
	body = binary.NativeEndian.AppendUint32(body, loIndex)
	body = appendAttribute(body, unix.IFA_LOCAL, ip[:])
	body = appendAttribute(body, unix.IFA_ADDRESS, ip[:])
	body = appendAttribute(body, unix.IFA_LABEL, []byte(label+"\x00"))
	seconds := binary.NativeEndian.AppendUint32(nil, uint32(lifetime/time.Second))
	times := append(append(seconds, seconds...), make([]byte, 8)...) // struct ifa_cacheinfo
	body = appendAttribute(body, unix.IFA_CACHEINFO, times)

	request := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	request = binary.NativeEndian.AppendUint16(request, kind)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	request = append(request, make([]byte, 8)...) // sequence number and sender
	return ask(append(request, body...))
}

// appendAttribute appends a struct rtattr and its value.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// ask sends a request and returns the error that the kernel answers with.
func ask(request []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	// The kernel has answered by the time the request is sent.
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return err
	}
	for _, m := range messages {
		if m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4 {
			if code := -int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return unix.Errno(code)
			}
			return nil
		}
	}
	return unix.EBADMSG
}

// holders returns whether a former helper has left the address, and the name of
// another interface, or label of one, that has it, or "".
func holders() (left bool, other string, err error) {
	want := netip.MustParseAddrPort(address).Addr()
	table, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_INET)
	if err != nil {
		return false, "", fmt.Errorf("the addresses of this machine: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return false, "", fmt.Errorf("the addresses of this machine: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWADDR {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return false, "", fmt.Errorf("the addresses of this machine: %w", err)
		}
		var ip netip.Addr
		var name string // of the interface, unless somebody has chosen another
		for _, a := range attributes {
			switch a.Attr.Type {
			case unix.IFA_LOCAL:
				ip, _ = netip.AddrFromSlice(a.Value)
			case unix.IFA_LABEL:
				name = strings.TrimRight(string(a.Value), "\x00")
			}
		}
		switch {
		case ip != want:
		case name == label && binary.NativeEndian.Uint32(m.Data[4:]) == loIndex:
			left = true
		default:
			other = name
		}
	}
	return left, other, nil
}
