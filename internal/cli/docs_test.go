package cli

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the generated pages of docs/ anew")

// TestDocs checks that docs/commands and docs/man say what the commands
// themselves say. With -update it writes them.
func TestDocs(t *testing.T) {
	want := map[string][]byte{}
	for _, c := range documented(testRoot()) {
		p := pageOf(c)
		want[filepath.Join("commands", p.file+".md")] = p.markdown()
		want[filepath.Join("man", p.file+".1")] = p.roff()
	}
	const docs = "../../docs"
	for _, pattern := range []string{"commands/*", "man/*"} {
		files, err := filepath.Glob(filepath.Join(docs, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name, _ := filepath.Rel(docs, file)
			if _, ok := want[name]; ok {
				continue
			}
			if !*update {
				t.Errorf("docs/%s is about no command; \"make docs\" removes it", name)
			} else if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, page := range want {
		file := filepath.Join(docs, name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, page, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, page) {
			t.Errorf("docs/%s is out of date; \"make docs\" writes it anew", name)
		}
	}
}

// testRoot returns the tree of all commands.
func testRoot() *cobra.Command {
	a := &app{Env: Env{Stdout: io.Discard, Stderr: io.Discard}, name: "kura"}
	return a.root(nil)
}

func (p page) markdown() []byte {
	var b bytes.Buffer
	table := func(title string, rows []row) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n| | |\n|---|---|\n", title)
		for _, r := range rows {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(r.term, ", ", "`, `"), strings.ReplaceAll(r.text, "|", `\|`))
		}
	}
	fmt.Fprintf(&b, "<!-- Made by \"make docs\". -->\n# %s\n\n%s\n\n```\n%s\n```\n", p.command.CommandPath(), p.command.Long, p.usage())
	if p.command.Example != "" {
		fmt.Fprintf(&b, "\n## Examples\n\n```sh\n%s\n```\n", unindent(p.command.Example))
	}
	var flags []row
	for _, o := range p.flags {
		flags = append(flags, row{strings.TrimSpace(o.flag + " " + o.argument), o.usage})
	}
	table("Flags", flags)
	if p.command.HasParent() {
		b.WriteString("\nThe [flags of all commands](kura.md#flags) may stand here too.\n")
	} else {
		b.WriteString("\nThese may stand anywhere before `--`, and each that is on or off has an\nopposite, `--no-` and its name. They can be set for good, under their names\nwithout the dashes, in `kura/config.toml` of the user's configuration directory.\n")
	}
	table("Environment", p.variables())
	table("Exit status", p.exit)
	if len(p.more) > 0 {
		b.WriteString("\n## See also\n\n")
	}
	for _, c := range p.more {
		fmt.Fprintf(&b, "- [%s](%s.md): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	return b.Bytes()
}
