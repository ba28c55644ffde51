package prompt

import (
	"bytes"
	"fmt"
	"os"
)

// terminalName reads the number of the terminal from /proc: see proc_pid_stat(5)
// and, for the numbers, devices.txt of the kernel.
func terminalName() string {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return ""
	}
	// The name of the program may have spaces and parentheses in it.
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	var state string
	var parent, group, session, tty int
	if _, err := fmt.Sscan(string(rest), &state, &parent, &group, &session, &tty); err != nil {
		return ""
	}
	major, minor := tty>>8&0xfff, tty&0xff|tty>>12&0xfff00
	switch {
	case 136 <= major && major <= 143:
		return fmt.Sprintf("/dev/pts/%d", minor|(major-136)<<20)
	case major == 4 && minor < 64:
		return fmt.Sprintf("/dev/tty%d", minor)
	case major == 4:
		return fmt.Sprintf("/dev/ttyS%d", minor-64)
	}
	return ""
}
