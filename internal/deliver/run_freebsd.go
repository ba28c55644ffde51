package deliver

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// continued is the state of a child that goes on after it was stopped.
const continued = 0x13

// outlived returns attributes of a child that is to get s when this process ends:
// see PROC_PDEATHSIG_CTL in procctl(2).
func outlived(s syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: s} }

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
