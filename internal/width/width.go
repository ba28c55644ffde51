// Package width measures text in the columns that it takes up on a terminal,
// where a Japanese character takes two and an accent of its own none.
package width

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Of returns the columns of s, which holds no control characters. Characters
// whose width depends on the font (East Asian Width "Ambiguous", Unicode's Annex
// 11) count as one, as terminals count them outside of East Asian locales.
func Of(s string) int {
	n := 0
	for _, r := range s {
		n += ofRune(r)
	}
	return n
}

func ofRune(r rune) int {
	if r < 0x300 { // before the first combining character
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Pad returns s with spaces after it up to n columns. It is s if it has as many.
func Pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-Of(s), 0))
}

// Cut returns s, or as much of its beginning as fits n columns with an ellipsis.
func Cut(s string, n int) string {
	if Of(s) <= n {
		return s
	}
	room := n - 1 // for the ellipsis
	for i, r := range s {
		room -= ofRune(r)
		if room < 0 {
			return s[:i] + strings.Repeat("…", min(n, 1))
		}
	}
	return s
}
