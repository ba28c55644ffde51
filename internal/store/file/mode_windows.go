package file

import "io/fs"

// isOpenToOthers is false: the home directory's access control list is
// inherited, and a mode says nothing of it.
func isOpenToOthers(fs.FileInfo) bool { return false }
