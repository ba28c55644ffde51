package deliver

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// continued is the state of a child that goes on after it was stopped.
const continued = 0x137f

// outlived returns attributes of a child. No child on macOS can be told that its
// parent has ended.
func outlived(_ syscall.Signal) *syscall.SysProcAttr { return nil }

// stop stops this process, all threads of it at once.
func stop() {
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP) // can't fail
}

func sigaction(s syscall.Signal, set, old *action) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old))) //nolint:staticcheck // package unix has no wrapper for it
	if errno != 0 {
		return errno
	}
	return nil
}
