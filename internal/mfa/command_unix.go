//go:build unix

package mfa

import (
	"context"
	"os/exec"
)

func shell(ctx context.Context, line string, _ []string) *exec.Cmd {
	return exec.CommandContext(ctx, "/bin/sh", "-c", line)
}
