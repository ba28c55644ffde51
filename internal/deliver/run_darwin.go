package deliver

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outlived returns attributes of a child. No child on macOS can be told that its
// parent has ended.
func outlived(_ syscall.Signal) *syscall.SysProcAttr { return nil }

// stop stops this process, all threads of it at once.
func stop() {
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP) // can't fail
}

func sigaction(s syscall.Signal, set, old *action) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)))
	if errno != 0 {
		return errno
	}
	return nil
}
