package shell

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// command hands line to cmd.exe as it is: the quoting of Go is for programs that
// parse their command line as C programs do. The path is written out, so that
// no cmd.exe of the current directory is run.
func command(ctx context.Context, line string, environ []string) *exec.Cmd {
	root := `C:\Windows`
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.EqualFold(name, "SystemRoot") {
			root = value
		}
	}
	program := filepath.Join(root, "System32", "cmd.exe")
	cmd := exec.CommandContext(ctx, program)
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `"` + program + `" /S /C "` + line + `"`}
	return cmd
}

// apart gives a command a console of its own, which nobody sees.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr.CreationFlags |= windows.CREATE_NO_WINDOW }
