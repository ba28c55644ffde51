package serve

import "golang.org/x/sys/windows"

func getsockopt(fd uintptr, level, name int) (int, error) {
	return windows.GetsockoptInt(windows.Handle(fd), level, name)
}
