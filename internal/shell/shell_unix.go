//go:build unix

package shell

import (
	"context"
	"os/exec"
	"syscall"
)

func command(ctx context.Context, line string, _ []string) *exec.Cmd {
	return exec.CommandContext(ctx, "/bin/sh", "-c", line)
}

// apart has a command run in a job of its own in the background. It stays in the
// session, by which 1Password knows whom it has to do with. To read from the
// terminal fails there for those who ignore that it would stop them.
func apart(cmd *exec.Cmd) {
	cmd.Args[2] = "trap '' TTIN TTOU\n" + cmd.Args[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
