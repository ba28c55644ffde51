//go:build unix

package shell

import (
	"context"
	"os/exec"
)

func command(ctx context.Context, line string, _ []string) *exec.Cmd {
	return exec.CommandContext(ctx, "/bin/sh", "-c", line)
}
