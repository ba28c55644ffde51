//go:build unix

package serve

import "golang.org/x/sys/unix"

func getsockopt(fd uintptr, level, name int) (int, error) {
	return unix.GetsockoptInt(int(fd), level, name)
}
