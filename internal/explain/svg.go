package explain

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"kura/internal/ink"
	"kura/internal/width"
)

// Measures of the drawing in pixels. A column is what a character takes in the
// common fonts of one width at the 14 pixels of svgStyle, and a little room.
const (
	column     = 8.6
	lineHeight = 20
	padding    = 12 // inside a box
	margin     = 16 // around the drawing
	stem       = 28 // from the left of a box to the arrow below it

	beside = margin + stem + padding + 4 // where text begins that stands beside an arrow
)

// svgStyle has colours for light pages and for dark ones.
const svgStyle = `
text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono","Noto Sans Mono CJK JP",monospace;fill:#1f2328;white-space:pre}
.t{font-weight:bold}.l,.w{fill:#59636e}.bad{fill:#cf222e}.ok{fill:#1a7f37}.warn{fill:#9a6700}.mfa{fill:#0969da}
.p{fill:#fff}.b{fill:#f6f8fa;stroke:#818b98}.e{fill:#ffebe9;stroke:#cf222e}.a{stroke:#818b98;stroke-width:1.5;fill:none}.h{fill:#818b98}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.l,.w{fill:#9198a1}.bad{fill:#f85149}.ok{fill:#3fb950}.warn{fill:#d29922}.mfa{fill:#4493f8}
.p{fill:#0d1117}.b{fill:#151b23;stroke:#656c76}.e{fill:#25171c;stroke:#f85149}.a{stroke:#656c76}.h{fill:#656c76}}
`

// WriteSVG draws p as a picture that needs nothing else: no script, no font, no
// other file.
func (p *Picture) WriteSVG(w io.Writer) error {
	d := p.diagram()
	s := svg{labels: labels * column}
	values, places, inner := 0, 0, 60
	for _, b := range append(d.boxes[:len(d.boxes):len(d.boxes)], d.arrows...) {
		inner = max(inner, width.Of(b.title))
		for _, r := range b.rows {
			if r.wide {
				inner = max(inner, width.Of(r.value))
				continue
			}
			values, places = max(values, width.Of(r.value)), max(places, width.Of(r.where))
		}
	}
	for _, note := range d.notes {
		inner = max(inner, width.Of(note)+6)
	}
	s.places = beside + s.labels + float64(values+gap)*column
	s.width = max(s.places-margin+float64(places)*column+padding, float64(inner)*column+2*padding)
	s.y = margin
	for i, b := range d.boxes {
		s.box(b)
		if i < len(d.arrows) {
			s.arrow(d.arrows[i])
		}
	}
	for _, note := range d.notes {
		s.y += lineHeight
		s.text(margin, "", "note: "+note)
	}
	total, height := s.width+2*margin, s.y+margin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">
<title>%s</title>
<style>%s</style>
<rect class="p" width="100%%" height="100%%"/>
%s</svg>
`, total, height, total, height, escape(fmt.Sprintf("How profile %q gets its credentials", p.Profile)), svgStyle, s.b.String())
	return err
}

// svg draws a diagram from top to bottom.
type svg struct {
	b      strings.Builder
	y      float64 // how far it has come
	width  float64 // of the boxes
	labels float64 // from the left of text to the values
	places float64 // where it says where settings stand
}

func (s *svg) box(b box) {
	class := "b"
	if b.bad {
		class = "e"
	}
	height := float64(len(b.rows)+1)*lineHeight + padding
	fmt.Fprintf(&s.b, `<rect class="%s" x="%d" y="%.0f" width="%.0f" height="%.0f" rx="6"/>`+"\n", class, margin, s.y, s.width, height)
	end := s.y + height
	s.y += 3
	s.rows(b, margin+padding)
	s.y = end
}

func (s *svg) arrow(a box) {
	x, top := float64(margin+stem), s.y
	s.y += padding / 2
	s.rows(a, beside)
	s.y += padding
	fmt.Fprintf(&s.b, `<path class="a" d="M%.0f %.0fV%.0f"/><path class="h" d="M%.0f %.0fl-5 -9h10z"/>`+"\n", x, top, s.y-6, x, s.y)
}

func (s *svg) rows(b box, x float64) {
	s.y += lineHeight - 2
	s.text(x, "t", b.title)
	for _, r := range b.rows {
		s.y += lineHeight
		value := x + s.labels
		if r.wide {
			value = x
		}
		s.text(x, "l", r.label)
		s.text(value, svgClass(r.style), r.value)
		s.text(s.places, "w", r.where)
	}
	s.y += 2
}

func (s *svg) text(x float64, class, text string) {
	if text == "" {
		return
	}
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(&s.b, `<text%s x="%.1f" y="%.0f">%s</text>`+"\n", class, x, s.y, escape(oneLine(text)))
}

func svgClass(style string) string {
	switch style {
	case ink.Red:
		return "bad"
	case ink.Green:
		return "ok"
	case ink.Yellow:
		return "warn"
	case ink.Cyan:
		return "mfa"
	}
	return ""
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
