package cli

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// forgetPages has the kernel take the pages of the program's file from this
// process, which has needed most of them to start and does not again. They stay
// in the kernel's cache of the file, and come back as they are touched.
//
// That is for what can be read again from the file: mappings that nobody may
// write to, and no page of which was written to before, as by a dynamic linker.
func forgetPages() {
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return // then it is as large as it is
	}
	var start, end uintptr
	var mode string
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		var inode, anonymous int
		if n, _ := fmt.Sscanf(string(line), "%x-%x %s %s %s %d", &from, &to, &mode, new(string), new(string), &inode); n == 6 {
			if start, end = from, to; inode == 0 || mode[0] != 'r' || mode[1] == 'w' {
				start, end = 0, 0
			}
		} else if n, _ := fmt.Sscanf(string(line), "Anonymous: %d kB", &anonymous); n == 1 && anonymous == 0 && start < end {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}
