package cli

import (
	"os"
	"strconv"

	"golang.org/x/term"

	"kura/internal/ink"
)

// screen returns the terminal that standard output is, or nil.
func (a *app) screen() *os.File {
	if f, ok := a.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// size returns the columns and rows of a terminal. COLUMNS wins, as for other
// programs; a terminal that does not know its size is as small as the first were.
func (a *app) size(screen *os.File) (columns, rows int) {
	columns, rows, err := term.GetSize(int(screen.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		columns, rows = 80, 24
	}
	if n, err := strconv.Atoi(a.Getenv("COLUMNS")); err == nil && n > 0 {
		columns = n
	}
	return columns, rows
}

// pen returns what there is to write with on standard output.
func (a *app) pen() ink.Pen {
	screen := a.screen()
	if screen == nil {
		return ink.New(a.Getenv, 0)
	}
	columns, _ := a.size(screen)
	pen := ink.New(a.Getenv, columns)
	pen.Color = pen.Color && movesCursor(screen)
	return pen
}
