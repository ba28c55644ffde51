//go:build unix

package file

import "io/fs"

func isOpenToOthers(info fs.FileInfo) bool { return info.Mode()&0o077 != 0 }
