//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// caseless says that names of environment variables differ in more than case.
const caseless = false

func executable(path string) (string, bool) {
	info, ok := isFile(path)
	return path, ok && info.Mode()&0o111 != 0
}

func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
