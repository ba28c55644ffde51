//go:build unix

package serve

import "golang.org/x/sys/unix"

const (
	ipv4, ipv4Hops = unix.IPPROTO_IP, unix.IP_TTL
	ipv6, ipv6Hops = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
)

func setsockopt(fd uintptr, level, name, value int) error {
	return unix.SetsockoptInt(int(fd), level, name, value)
}

// unread reports whether a socket has something to read.
func unread(fd uintptr) bool {
	n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil && n > 0
}
