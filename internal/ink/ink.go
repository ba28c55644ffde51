// Package ink knows what can be shown in the place that a command writes to:
// colours, lines and bars on a terminal that has them, plain text elsewhere. It
// does not know what it is used for.
package ink

import (
	"math"
	"runtime"
	"strings"

	"kura/internal/width"
)

// A Pen is what there is to write with. The zero Pen writes ASCII without colour
// on lines of any length.
type Pen struct {
	Columns int  // that a line may take, 0 for any number
	Color   bool // escape sequences for colours are understood
	Unicode bool // characters beyond ASCII are shown
}

// New returns the Pen for a terminal of so many columns or, with none, for what
// is not a terminal: a file or a pipe gets no colour and lines of any length.
// The environment says which characters are understood, by the locale, and
// whether colours are wanted (https://no-color.org).
func New(getenv func(string) string, columns int) Pen {
	return Pen{
		Columns: columns,
		Color:   columns > 0 && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb",
		Unicode: isUTF8(getenv),
	}
}

// isUTF8 reports whether the locale's characters are UTF-8, as POSIX has it:
// https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
func isUTF8(getenv func(string) string) bool {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := getenv(name); locale != "" {
			locale = strings.ToLower(locale)
			return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
		}
	}
	return runtime.GOOS == "windows" // whose console takes them all
}

// Styles of text, as parameters of the escape sequence "Select Graphic
// Rendition" (ECMA-48, 8.3.117).
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Cyan   = "36"
)

// Paint returns text in a style, "" for none.
func (p Pen) Paint(style, text string) string {
	if !p.Color || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// Cut is width.Cut with a character that can be shown for what is left out.
func (p Pen) Cut(text string, columns int) string {
	cut := width.Cut(text, columns)
	if !p.Unicode && cut != text {
		cut = strings.TrimSuffix(cut, "…") + "~"
	}
	return cut
}

// Bar returns a bar of so many columns of which a part, from 0 to 1, is full.
// Neither a rest nor a lack is rounded away.
func (p Pen) Bar(part float64, columns int) string {
	full, empty := "█", "░"
	before, after := "", ""
	if !p.Unicode {
		full, empty, before, after = "#", "-", "[", "]"
		columns -= 2
	}
	n := int(math.Round(part * float64(columns)))
	switch {
	case part <= 0:
		n = 0
	case part >= 1:
		n = columns
	default:
		n = min(max(n, 1), columns-1)
	}
	return before + strings.Repeat(full, n) + strings.Repeat(empty, columns-n) + after
}
