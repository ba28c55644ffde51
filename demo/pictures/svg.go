//go:build unix

package main

import (
	"encoding/xml"
	"fmt"
	"strings"

	"kura/internal/width"
)

// A piece is text in a style, in one line of a terminal. Its characters are all
// as wide as each other.
type piece struct {
	column int
	text   string
	style  string // parameters of the escape sequence, see package ink
}

// parse returns the pieces of each line that a command shows, which moves no
// cursor but with line ends.
func parse(shown string) [][]piece {
	var lines [][]piece
	style := ""
	for line := range strings.SplitSeq(strings.TrimRight(shown, "\r\n"), "\n") {
		var pieces []piece
		column := 0
		for line = strings.TrimRight(line, "\r"); line != ""; {
			if rest, ok := strings.CutPrefix(line, "\x1b["); ok {
				style, line, _ = strings.Cut(rest, "m")
				if style == "0" {
					style = ""
				}
				continue
			}
			for _, r := range line {
				text := string(r)
				line = line[len(text):]
				w := width.Of(text)
				last := len(pieces) - 1
				if last >= 0 && pieces[last].style == style && continues(pieces[last], r, w) {
					pieces[last].text += text
				} else {
					pieces = append(pieces, piece{column, text, style})
				}
				column += w
				break
			}
		}
		lines = append(lines, pieces)
	}
	return lines
}

// continues reports whether a character of that width goes on a piece: drawn ones
// and typed ones do not mix, nor do narrow and wide ones.
func continues(p piece, r rune, w int) bool {
	first := []rune(p.text)[0]
	return isDrawn(first) == isDrawn(r) && (w == 0 || width.Of(string(first)) == w)
}

// isDrawn reports whether a character is one of those that are lines and bars,
// which fonts do not join without gaps.
func isDrawn(r rune) bool { return r >= 0x2500 && r < 0x25c0 }

// Measures in pixels.
const (
	cellWidth  = 8.4
	cellHeight = 18
	baseline   = 13 // below the top of a cell
	margin     = 16
)

// colors are those of a dark terminal, which pages of any colour can show.
var colors = map[string]string{
	"31": "#ff7b72", "32": "#56d364", "33": "#e3b341", "36": "#76e3ea",
}

// render draws a command and what it shows.
func render(command string, lines [][]piece) []byte {
	lines = append([][]piece{parse("\x1b[32m$\x1b[0m \x1b[1m" + command + "\x1b[0m")[0], nil}, lines...)
	across := 0
	for _, line := range lines {
		for _, p := range line {
			across = max(across, p.column+width.Of(p.text))
		}
	}
	w, h := float64(across)*cellWidth+2*margin, len(lines)*cellHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" role="img">
<title>%s</title>
<style>text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono","Noto Sans Mono CJK JP",monospace}.b{font-weight:bold}</style>
<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>
`, w, h, w, h, escape(command))
	for i, line := range lines {
		for _, p := range line {
			drawPiece(&b, p, margin+float64(p.column)*cellWidth, float64(margin+i*cellHeight))
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// drawPiece draws a piece whose first cell has its upper left corner there.
func drawPiece(b *strings.Builder, p piece, x, y float64) {
	color, bold, opacity := "#e6edf3", "", ""
	for style := range strings.SplitSeq(p.style, ";") {
		switch {
		case style == "1":
			bold = ` class="b"`
		case style == "2":
			opacity = ` opacity="0.65"`
		case colors[style] != "":
			color = colors[style]
		}
	}
	if strings.TrimSpace(p.text) == "" {
		return
	}
	if isDrawn([]rune(p.text)[0]) {
		drawLines(b, p.text, x, y, color)
		return
	}
	// Not all that shows pictures keeps more than one space between words.
	const gap = "  "
	for rest := p.text; rest != ""; {
		before := len(rest) - len(strings.TrimLeft(rest, " "))
		x, rest = x+float64(before)*cellWidth, rest[before:]
		text, after, _ := strings.Cut(rest, gap)
		if text = strings.TrimRight(text, " "); text == "" {
			return
		}
		w := float64(width.Of(text)) * cellWidth
		fmt.Fprintf(b, `<text x="%.1f" y="%.0f" fill="%s"%s%s textLength="%.1f" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n",
			x, y+baseline, color, bold, opacity, w, escape(text))
		x, rest = x+w+float64(len(gap))*cellWidth, after
	}
}

// drawLines draws characters that are made of lines or are filled. Runs of one of
// them are one path.
func drawLines(b *strings.Builder, text string, x, y float64, color string) {
	const cx, cy, r = cellWidth / 2, cellHeight / 2, 4
	runes := []rune(text)
	for i := 0; i < len(runes); {
		n := 1
		for i+n < len(runes) && runes[i+n] == runes[i] {
			n++
		}
		left, right := x+float64(i)*cellWidth, x+float64(i+n)*cellWidth
		stroke := func(format string, args ...any) {
			fmt.Fprintf(b, `<path fill="none" stroke="%s" d="`+format+`"/>`+"\n", append([]any{color}, args...)...)
		}
		switch runes[i] {
		case '─':
			stroke("M%.1f %.1fH%.1f", left, y+cy, right)
		case '│':
			stroke("M%.1f %.1fv%d", left+cx, y, cellHeight)
		case '┬':
			stroke("M%.1f %.1fH%.1fM%.1f %.1fv%.1f", left, y+cy, right, left+cx, y+cy, float64(cy))
		case '╭':
			stroke("M%.1f %.1fv-%.1fq0 -%d %d -%dH%.1f", left+cx, y+cellHeight, float64(cy-r), r, r, r, right)
		case '╮':
			stroke("M%.1f %.1fH%.1fq%d 0 %d %dv%.1f", left, y+cy, left+cx-r, r, r, r, float64(cy-r))
		case '╰':
			stroke("M%.1f %.1fv%.1fq0 %d %d %dH%.1f", left+cx, y, float64(cy-r), r, r, r, right)
		case '╯':
			stroke("M%.1f %.1fH%.1fq%d 0 %d -%dv-%.1f", left, y+cy, left+cx-r, r, r, r, float64(cy-r))
		case '▼':
			fmt.Fprintf(b, `<path fill="%s" d="M%.1f %.1fh8l-4 8z"/>`+"\n", color, left+cx-4, y+3)
		case '█', '░':
			opacity := ""
			if runes[i] == '░' {
				opacity = ` opacity="0.3"`
			}
			fmt.Fprintf(b, `<rect fill="%s"%s x="%.1f" y="%.1f" width="%.1f" height="%d"/>`+"\n", color, opacity, left, y+3, right-left, cellHeight-6)
		default:
			panic(fmt.Sprintf("no drawing of %q", runes[i]))
		}
		i += n
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
