package harden

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// refuseTracing disables tracing and core files until the next execve(2): see
// procctl(2), PROC_TRACE_CTL.
func refuseTracing() {
	const (
		pid          = 0 // P_PID
		traceCtl     = 7 // PROC_TRACE_CTL
		traceDisable = 2 // PROC_TRACE_CTL_DISABLE
	)
	if unsafe.Sizeof(uintptr(0)) < 8 {
		return // an ID takes two words there, laid out differently by machine
	}
	how := int32(traceDisable)
	_, _, _ = unix.Syscall6(unix.SYS_PROCCTL, pid, uintptr(unix.Getpid()), traceCtl, uintptr(unsafe.Pointer(&how)), 0, 0)
}
