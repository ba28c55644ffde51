package deliver

import (
	"os"
	"os/exec"
)

// Detach starts a program that goes on after this process has ended, in the
// background of the same terminal, and does not wait for it. It gets argv as it
// is, env as its whole environment, and input on its standard input; its other
// streams lead nowhere, so that whoever reads ours does not wait for it.
//
// Input that does not fit into a pipe (64 KiB on Linux) is waited for to be read.
func Detach(path string, argv, env []string, input []byte) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	defer write.Close()
	cmd := exec.Cmd{Path: path, Args: argv, Env: env, Stdin: read, SysProcAttr: detached()}
	if err := cmd.Start(); err != nil {
		return err
	}
	read.Close() // else a program that ends at once would be waited for
	if _, err := write.Write(input); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // or it would stay a zombie where this process goes on
	return nil
}
