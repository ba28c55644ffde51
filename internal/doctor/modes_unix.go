//go:build unix

package doctor

import (
	"io/fs"
	"os"
	"syscall"
)

// permissions returns the permission bits of a file.
func permissions(info fs.FileInfo) fs.FileMode { return info.Mode().Perm() }

// isForeign reports whether a file is neither this user's nor root's, who can
// change all files anyway.
func isForeign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
