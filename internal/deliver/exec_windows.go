package deliver

import (
	"os"
	"os/exec"
)

// lookPath finds a command in the PATH of this process, which is the child's
// too: nothing here changes it. The extensions of PATHEXT are tried.
func lookPath(name string, _ []string) (string, error) { return exec.LookPath(name) }

// replace is spawn: Windows can't replace the program of a process.
func replace(path string, argv, env []string, before func() (after func())) (int, error) {
	return spawn(path, argv, env, before)
}

func describe(_ string, err error) error { return err }

// forwarded are signals to outlive: Ctrl-C and the like reach every process of
// the console, so this one only has to wait for the command.
func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

func forward(*os.Process, os.Signal) {}

func exitStatus(state *os.ProcessState) int { return state.ExitCode() }
