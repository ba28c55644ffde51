package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documented returns a command and those below it that have a page.
func documented(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			all = append(all, documented(sub)...)
		}
	}
	return all
}

// A page is what the manual says of a command, in terms that Markdown and roff
// have in common.
type page struct {
	command  *cobra.Command
	file     string // without its extension
	flags    []option
	exit     []row // what each status means
	variable []row // environment variables that are not a flag's
	more     []*cobra.Command
}

// An option is a flag as pages show it.
type option struct {
	flag      string // such as "-d, --duration"
	argument  string // such as "duration"; "" for one that is on or off
	usage     string
	variables []string
}

// A row is a term and what it means.
type row struct{ term, text string }

func pageOf(c *cobra.Command) page {
	p := page{command: c, file: strings.ReplaceAll(c.CommandPath(), " ", "-")}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" && f.Name != "version" {
			p.flags = append(p.flags, optionOf(f))
		}
	})
	for _, sub := range documented(c)[1:] {
		if sub.Parent() == c {
			p.more = append(p.more, sub)
		}
	}
	if c.HasParent() {
		p.more = append(p.more, c.Parent())
	}
	p.exit = []row{
		{"0", "it is done"},
		{fmt.Sprint(exitFailure), "it could not be done; standard error says why"},
		{fmt.Sprint(exitUsage), "the command line, or a setting, is not understood"},
	}
	if c.Name() == "exec" {
		p.exit = append(p.exit[1:],
			row{fmt.Sprint(exitCantRun), "COMMAND can't be run"},
			row{fmt.Sprint(exitNotFound), "COMMAND is not found"},
			row{"other", "that of COMMAND"})
	}
	p.exit = append(p.exit, row{fmt.Sprint(exitInterrupt), "a question was answered with Ctrl-C or Ctrl-D"})
	if !c.HasParent() {
		p.variable = []row{
			{strings.Join(passphraseVariables, ", "), "the passphrase of the file backend, in place of a question"},
			{"AWS_CONFIG_FILE", "the config file, in place of ~/.aws/config"},
			{"AWS_PROFILE", "the profile that exec and login take without an argument"},
			{"AWS_MIN_TTL", "how long cached sessions must last to be used, such as 5m"},
		}
	}
	return p
}

func optionOf(f *pflag.Flag) option {
	o := option{flag: "--" + f.Name, variables: envNames(f)}
	if f.Shorthand != "" {
		o.flag = "-" + f.Shorthand + ", " + o.flag
	}
	o.argument, o.usage = pflag.UnquoteUsage(f)
	switch {
	case f.Value.Type() == "bool" && f.DefValue == "true":
		o.flag = "--[no-]" + f.Name
	case f.Value.Type() != "bool" && f.DefValue != "":
		o.usage += fmt.Sprintf(" (default %s)", strings.TrimSuffix(f.DefValue, "0m0s"))
	}
	return o
}

// usage returns the line that says how a command is called.
func (p page) usage() string {
	line := p.command.UseLine()
	if len(p.flags) > 0 && !strings.Contains(line, "[flags]") {
		line = strings.Replace(line, p.command.CommandPath(), p.command.CommandPath()+" [flags]", 1)
	}
	takesCommand := !strings.Contains(p.command.Use, " ") // or an argument of its own
	if takesCommand && slices.ContainsFunc(p.more, func(c *cobra.Command) bool { return c.Parent() == p.command }) {
		line = p.command.CommandPath() + " [flags] COMMAND"
	}
	return line
}

// variables returns the environment variables of a page.
func (p page) variables() []row {
	var rows []row
	for _, o := range p.flags {
		if len(o.variables) == 0 {
			continue
		}
		long := o.flag[strings.Index(o.flag, "--"):]
		rows = append(rows, row{strings.Join(o.variables, ", "), "the value of " + long})
	}
	return append(rows, p.variable...)
}

// manDate is the day of the last change that readers of the manual notice.
const manDate = "2026-11-21"

func (p page) roff() []byte {
	var b bytes.Buffer
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	table := func(title string, rows []row) {
		if len(rows) == 0 {
			return
		}
		section(title)
		for _, r := range rows {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", escapeRoff(r.term), escapeRoff(r.text))
		}
	}
	fmt.Fprintf(&b, ".\\\" Made by \"make docs\".\n.TH %s 1 %s kura \"kura manual\"\n", strings.ToUpper(escapeRoff(p.file)), manDate)
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", escapeRoff(p.file), escapeRoff(p.command.Short))
	section("SYNOPSIS")
	path, arguments, _ := strings.Cut(p.usage(), " [flags]")
	fmt.Fprintf(&b, "\\fB%s\\fR", escapeRoff(path))
	if len(p.flags) > 0 {
		b.WriteString(" [\\fIflags\\fR]")
	}
	b.WriteString(escapeRoff(arguments) + "\n")
	section("DESCRIPTION")
	b.WriteString(strings.ReplaceAll(escapeRoff(p.command.Long), "\n\n", "\n.PP\n") + "\n")
	if p.command.Example != "" {
		section("EXAMPLES")
		fmt.Fprintf(&b, ".EX\n%s\n.EE\n", escapeRoff(unindent(p.command.Example)))
	}
	if len(p.flags) > 0 {
		section("OPTIONS")
	}
	for _, o := range p.flags {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR", escapeRoff(o.flag))
		if o.argument != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", escapeRoff(o.argument))
		}
		fmt.Fprintf(&b, "\n%s\n", escapeRoff(o.usage))
	}
	table("ENVIRONMENT", p.variables())
	table("EXIT STATUS", p.exit)
	if len(p.more) > 0 {
		section("SEE ALSO")
	}
	for i, c := range p.more {
		comma := ","
		if i == len(p.more)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "\\fB%s\\fR(1)%s\n", escapeRoff(strings.ReplaceAll(c.CommandPath(), " ", "-")), comma)
	}
	return b.Bytes()
}

// escapeRoff keeps text from being taken for requests, and dashes from being
// set as hyphens.
func escapeRoff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// unindent takes the indentation off that examples have in help.
func unindent(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  ")
}
