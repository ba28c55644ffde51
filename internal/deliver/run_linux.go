package deliver

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// continued is the state of a child that goes on after it was stopped.
const continued = 0xffff

// outlived returns attributes of a child that is to get s when the thread ends
// that starts it: see PR_SET_PDEATHSIG in prctl(2).
func outlived(s syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: s} }

// stop stops this process. The goroutine must be locked to its thread: a SIGSTOP
// for the process could find another one while this one runs on, and takes a
// SIGCONT that came before for the one that came after.
func stop() {
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP) // can't fail
}

func sigaction(s syscall.Signal, set, old *action) error {
	const maskSize = 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), maskSize, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
