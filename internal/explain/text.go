package explain

import (
	"cmp"
	"io"
	"strings"

	"kura/internal/ink"
	"kura/internal/width"
)

// glyphs are what boxes and arrows are drawn with.
type glyphs struct{ topLeft, topRight, bottomLeft, bottomRight, across, down, leave, head string }

var (
	lines = glyphs{"╭", "╮", "╰", "╯", "─", "│", "┬", "▼"}
	ascii = glyphs{"+", "+", "+", "+", "-", "|", "+", "v"}
)

// The columns of a row: what is left of the value, and between value and place.
const (
	labels = 12
	gap    = 2
)

// WriteText draws p for people: as wide as it gets or, where the pen says how
// wide lines may be, no wider. What does not fit goes on in the next line.
func (p *Picture) WriteText(w io.Writer, pen ink.Pen) error {
	d := p.diagram()
	t := text{pen: pen, glyphs: ascii}
	if pen.Unicode {
		t.glyphs = lines
	}
	t.measure(d)
	for i, b := range d.boxes {
		t.box(b, i < len(d.arrows))
		if i < len(d.arrows) {
			t.arrow(d.arrows[i])
		}
	}
	for _, note := range d.notes {
		note = "note: " + oneLine(note)
		t.b.WriteString("\n" + strings.Join(wrap(note, cmp.Or(pen.Columns, len(note))), "\n") + "\n")
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// frame is what the frame of a box takes on either side, and what stands left of
// the text beside an arrow.
const (
	frame  = 2
	indent = 6
	shift  = indent - frame
)

// text draws a diagram.
type text struct {
	b      strings.Builder
	pen    ink.Pen
	glyphs glyphs
	inner  int  // columns inside a box
	values int  // columns of the values beside an arrow; in a box there are more
	below  bool // places stand below values, for want of room
}

// measure works out what is how wide.
func (t *text) measure(d *diagram) {
	values, places, titles := 0, 0, 0
	for _, b := range append(d.boxes[:len(d.boxes):len(d.boxes)], d.arrows...) {
		titles = max(titles, width.Of(b.title)+3)
		for _, r := range b.rows {
			if !r.wide {
				values, places = max(values, width.Of(r.value)), max(places, width.Of(r.where))
			}
		}
	}
	t.inner, t.values = max(shift+labels+values+gap+places, titles, 60), values
	if limit := t.pen.Columns; limit > 0 && t.inner+2*frame > limit {
		t.inner = max(limit-2*frame, shift+labels+8)
		t.values = t.inner - shift - labels - gap - places
		if t.values < 45 {
			t.below, t.values = true, t.inner-shift-labels
		}
	}
}

func (t *text) box(b box, leave bool) {
	g := t.glyphs
	style, edge := ink.Bold, ""
	if b.bad {
		style, edge = ink.Bold+";"+ink.Red, ink.Red
	}
	outer := t.inner + 2*frame
	title := t.pen.Cut(oneLine(b.title), t.inner-3)
	t.b.WriteString(t.pen.Paint(edge, g.topLeft+g.across) + " " + t.pen.Paint(style, title) + " " +
		t.pen.Paint(edge, strings.Repeat(g.across, outer-5-width.Of(title))+g.topRight) + "\n")
	for _, r := range b.rows {
		for _, line := range t.row(r, t.values+shift) {
			t.b.WriteString(t.pen.Paint(edge, g.down) + " " + line.painted + strings.Repeat(" ", max(t.inner-line.columns, 0)) + " " + t.pen.Paint(edge, g.down) + "\n")
		}
	}
	bottom := g.bottomLeft + strings.Repeat(g.across, outer-2) + g.bottomRight
	if leave {
		bottom = g.bottomLeft + g.across + g.across + g.leave + strings.Repeat(g.across, outer-5) + g.bottomRight
	}
	t.b.WriteString(t.pen.Paint(edge, bottom) + "\n")
}

func (t *text) arrow(a box) {
	stem := "   " + t.glyphs.down + "  "
	t.b.WriteString(stem + t.pen.Paint(ink.Bold, t.pen.Cut(oneLine(a.title), t.inner)) + "\n")
	for _, r := range a.rows {
		for _, line := range t.row(r, t.values) {
			t.b.WriteString(stem + line.painted + "\n")
		}
	}
	t.b.WriteString("   " + t.glyphs.head + "\n")
}

// A line is text with its colours, and how many columns it takes.
type line struct {
	painted string
	columns int
}

// row returns the lines of a fact whose value has so many columns.
func (t *text) row(r row, values int) []line {
	var all []line
	if r.wide {
		for _, part := range wrap(r.value, t.inner) {
			all = append(all, line{t.pen.Paint(r.style, part), width.Of(part)})
		}
		return all
	}
	for i, part := range wrap(r.value, values) {
		label := ""
		if i == 0 {
			label = t.pen.Cut(r.label, labels-1)
		}
		first := width.Pad(label, labels)
		l := line{t.pen.Paint(ink.Dim, first) + t.pen.Paint(r.style, part), labels + width.Of(part)}
		if i == 0 && r.where != "" && !t.below {
			room := strings.Repeat(" ", values-width.Of(part)+gap)
			l.painted += room + t.pen.Paint(ink.Dim, r.where)
			l.columns += len(room) + width.Of(r.where)
		}
		all = append(all, l)
	}
	if t.below && r.where != "" && r.where != byDefault {
		for _, part := range wrap("("+r.where+")", values) {
			all = append(all, line{strings.Repeat(" ", labels) + t.pen.Paint(ink.Dim, part), labels + width.Of(part)})
		}
	}
	return all
}

// wrap breaks text into lines of so many columns: at spaces where there are any,
// else wherever it must.
func wrap(s string, columns int) []string {
	var parts []string
	for width.Of(s) > columns {
		end, space, n := 0, 0, 0
		for i, r := range s {
			if n += width.Of(string(r)); n > columns && i > 0 {
				break
			}
			end = i + len(string(r))
			if r == ' ' {
				space = i
			}
		}
		if end < len(s) && s[end] == ' ' {
			space = end
		}
		if space > 0 {
			end = space
		}
		parts = append(parts, s[:end])
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(parts, s)
}
