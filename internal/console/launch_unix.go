//go:build unix

package console

import "syscall"

// alone makes a session of its own: neither the terminal's keys nor its end reach
// the program.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
