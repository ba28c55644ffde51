package console

import "os/exec"

// launch starts a program that goes on when this process has ended, and without a
// terminal. Its streams lead nowhere: what browsers print is no news. If the
// program ends in failure, that is sent.
func launch(argv, env []string, lift func() func()) (failed <-chan error, err error) {
	cmd := exec.Cmd{Path: argv[0], Args: argv, Env: env, SysProcAttr: alone()}
	restore := lift()
	err = cmd.Start()
	restore()
	if err != nil {
		return nil, err
	}
	c := make(chan error, 1)
	go func() {
		if err := cmd.Wait(); err != nil {
			c <- err
		}
	}()
	return c, nil
}
