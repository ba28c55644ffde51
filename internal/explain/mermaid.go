package explain

import (
	"fmt"
	"io"
	"strings"
)

// WriteMermaid draws p as a flowchart in the language of Mermaid, as pages on
// GitHub show it in a code block: https://mermaid.js.org/syntax/flowchart.html
func (p *Picture) WriteMermaid(w io.Writer) error {
	d := p.diagram()
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for i, box := range d.boxes {
		fmt.Fprintf(&b, "    n%d[\"%s\"]\n", i, mermaidLabel(box))
	}
	for i, arrow := range d.arrows {
		fmt.Fprintf(&b, "    n%d -->|\"%s\"| n%d\n", i, mermaidLabel(arrow), i+1)
	}
	for i, note := range d.notes {
		fmt.Fprintf(&b, "    note%d[\"%s\"]\n", i, mermaidText("note: "+oneLine(note)))
	}
	for i, box := range d.boxes {
		if box.bad {
			fmt.Fprintf(&b, "    style n%d stroke:#d73a49,stroke-width:2px\n", i)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mermaidLabel(b box) string {
	parts := []string{"<b>" + mermaidText(oneLine(b.title)) + "</b>"}
	for _, r := range b.rows {
		text := r.value
		if r.label != "" {
			text = r.label + ": " + text
		}
		if r.where != "" {
			text += " (" + r.where + ")"
		}
		parts = append(parts, mermaidText(text))
	}
	return strings.Join(parts, "<br/>")
}

// mermaidText writes what means something to Mermaid as it wants it: entities
// that begin with a number sign.
func mermaidText(s string) string {
	return strings.NewReplacer("#", "#35;", "&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "\\", "#92;").Replace(s)
}
