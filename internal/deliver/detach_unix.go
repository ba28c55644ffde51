//go:build unix

package deliver

import "syscall"

// detached makes a process group of its own: the keys of the terminal do not
// reach it, and 1Password still takes it for a part of the terminal's session.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
