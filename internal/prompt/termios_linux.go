package prompt

import "golang.org/x/sys/unix"

// setTermios waits for what was written and keeps what was typed (TCSADRAIN).
const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETSW
)

func flushInput(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }
