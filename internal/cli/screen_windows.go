package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// movesCursor makes a terminal understand escape sequences, and reports whether
// it does: a console of Windows has to be told.
func movesCursor(screen *os.File) bool {
	var mode uint32
	console := windows.Handle(screen.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
