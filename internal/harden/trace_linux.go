package harden

import "golang.org/x/sys/unix"

// refuseTracing makes this process not dumpable. The flag belongs to the memory
// of the process, so execve(2) sets it anew: see prctl(2), PR_SET_DUMPABLE.
func refuseTracing() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
