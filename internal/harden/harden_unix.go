//go:build unix

package harden

import "syscall"

func process() (undo func()) {
	refuseTracing()
	var before syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &before) != nil {
		return func() {}
	}
	// The hard limit stays: without privilege it could not be raised again.
	none := before
	none.Cur = 0
	if syscall.Setrlimit(syscall.RLIMIT_CORE, &none) != nil {
		return func() {}
	}
	return func() {
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &before) // below the maximum: can't fail
	}
}
