//go:build unix && !linux

package prompt

import "golang.org/x/sys/unix"

// setTermios waits for what was written and keeps what was typed (TCSADRAIN).
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETAW
)

func flushInput(fd int) {
	const fread = 1 // FREAD of <sys/fcntl.h>
	_ = unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, fread)
}
