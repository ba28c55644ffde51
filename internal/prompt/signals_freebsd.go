package prompt

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// blockJobSignals blocks SIGTTIN and SIGTTOU for this thread.
func blockJobSignals() (unblock func(), err error) {
	const block, set = 1, 3                                      // SIG_BLOCK, SIG_SETMASK
	mask := [4]uint32{1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)} // at least as long as sigset_t
	var old [4]uint32
	_, _, errno := unix.RawSyscall(unix.SYS_SIGPROCMASK, block, uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&old)))
	if errno != 0 {
		return nil, errno
	}
	return func() {
		_, _, _ = unix.RawSyscall(unix.SYS_SIGPROCMASK, set, uintptr(unsafe.Pointer(&old)), 0) // can't fail
	}, nil
}
