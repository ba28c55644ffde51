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
