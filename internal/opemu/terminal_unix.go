//go:build unix

package opemu

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// terminalSession identifies the controlling terminal and who began to use it:
// its shell, which leads the session. "" means that there is none.
func terminalSession() string {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return ""
	}
	tty.Close()
	leader, err := unix.Getsid(0)
	if err != nil {
		return ""
	}
	return strconv.Itoa(leader)
}
