package live

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes a command end when the process that starts it dies, which
// may have no time left to end it.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
