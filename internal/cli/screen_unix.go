//go:build unix

package cli

import "os"

// movesCursor reports whether a terminal understands escape sequences. What has
// none of them says so by its TERM.
func movesCursor(*os.File) bool { return true }
