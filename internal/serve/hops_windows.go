package serve

import "golang.org/x/sys/windows"

const (
	ipv4, ipv4Hops = windows.IPPROTO_IP, windows.IP_TTL
	ipv6, ipv6Hops = windows.IPPROTO_IPV6, windows.IPV6_UNICAST_HOPS
)

func setsockopt(fd uintptr, level, name, value int) error {
	return windows.SetsockoptInt(windows.Handle(fd), level, name, value)
}

// unread is for systems that tell without waiting.
func unread(uintptr) bool { return false }
