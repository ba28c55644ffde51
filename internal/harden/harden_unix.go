//go:build unix

package harden

import "syscall"

func process() (undo func() (redo func())) {
	refuseTracing()
	nothing := func() func() { return func() {} }
	var before syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &before) != nil {
		return nothing
	}
	// The hard limit stays: without privilege it could not be raised again.
	none := before
	none.Cur = 0
	if syscall.Setrlimit(syscall.RLIMIT_CORE, &none) != nil {
		return nothing
	}
	return func() func() {
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &before) // below the maximum: can't fail
		return func() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &none) }
	}
}
