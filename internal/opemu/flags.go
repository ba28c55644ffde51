package opemu

import (
	"slices"
	"strings"
)

// A command is one of op's.
type command struct {
	words    string // "item get"
	operands string // for the usage
	flags    string // beside the global ones; "=" after those that take a value
	run      func(*call) error

	open     bool // asks 1Password nothing, so nobody need be signed in
	template bool // reads a pipe
	needs    int  // operands, at least
}

// globalFlags may stand anywhere, as may all others [R].
const globalFlags = "account= cache config= debug encoding= format= help iso-timestamps no-color session= version"

func commands() []command {
	return []command{
		{words: "item get", operands: "[{ <itemName> | <itemID> | <shareLink> | - }]", flags: "vault= fields= otp reveal include-archive share-link", run: itemGet, needs: 1},
		{words: "item list", flags: "vault= categories= tags= favorite long include-archive", run: itemList},
		{words: "item create", operands: "[ - ] [<assignment>...]", flags: "category= title= vault= tags= url= template= dry-run generate-password favorite reveal", run: itemCreate, template: true},
		{words: "item edit", operands: "{ <itemName> | <itemID> | <shareLink> } [<assignment>...]", flags: "title= vault= tags= url= template= dry-run generate-password favorite reveal", run: itemEdit, template: true, needs: 1},
		{words: "item delete", operands: "[{ <itemName> | <itemID> | <shareLink> | - }]", flags: "vault= archive", run: itemDelete, needs: 1},
		{words: "item template get", operands: "<category>", run: templateGet, open: true, needs: 1},
		{words: "vault list", run: vaultList},
		{words: "vault get", operands: "{ <vaultName> | <vaultID> }", run: vaultGet, needs: 1},
		{words: "whoami", run: whoami, open: true},
		{words: "account list", run: accountList, open: true},
		{words: "account get", run: accountGet},
		{words: "read", operands: "<reference>", flags: "no-newline out-file= force file-mode=", run: read, needs: 1},
		{words: "signin", flags: "raw force", run: signin, open: true},
		{words: "service-account ratelimit", run: rateLimit},
	}
}

// arguments are a command line, taken apart.
type arguments struct {
	operands []string
	flags    map[string]string // "true" for one without a value
}

// isSet reports whether a flag without a value is given.
func (a arguments) isSet(flag string) bool { return a.flags[flag] == "true" }

// parse finds the command of a command line, or says what op would. It is nil
// without an error where op prints its help.
func parse(argv []string) (*command, arguments, error) {
	a := arguments{flags: map[string]string{}}
	all := commands()
	var words, given []string
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--" {
			words = append(words, argv[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			words = append(words, arg)
			continue
		}
		name, value, hasValue := strings.Cut(arg, "=")
		name = longName(name)
		if !hasValue {
			value = "true"
			if takesValue(all, name) {
				if i++; i == len(argv) {
					return nil, a, failUsage("flag needs an argument: "+arg, "")
				}
				value = argv[i]
			}
		}
		given = append(given, name)
		a.flags[name] = value
	}
	cmd := findCommand(all, words)
	if cmd == nil {
		if len(words) == 0 || isGroup(all, strings.Join(words, " ")) {
			return nil, a, nil
		}
		under := "op"
		if isGroup(all, words[0]) {
			under, words = "op "+words[0], words[1:]
		}
		return nil, a, failUsage("unknown command \""+words[0]+"\" for \""+under+"\"", "")
	}
	for _, name := range given {
		if !slices.Contains(strings.Fields(strings.ReplaceAll(cmd.flags+" "+globalFlags, "=", " ")), name) {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			return nil, a, failUsage("unknown flag: "+dashes+name, cmd.usage())
		}
	}
	a.operands = words[len(strings.Fields(cmd.words)):]
	return cmd, a, nil
}

// longName returns the name of a flag without its dashes.
func longName(arg string) string {
	switch arg {
	case "-n":
		return "no-newline"
	case "-o":
		return "out-file"
	case "-f":
		return "force"
	case "-h":
		return "help"
	case "-v":
		return "version"
	}
	return strings.TrimLeft(arg, "-")
}

// takesValue reports whether any command has a flag of that name with a value:
// flags can come before it is known which command it is.
func takesValue(all []command, name string) bool {
	for _, cmd := range all {
		if slices.Contains(strings.Fields(cmd.flags+" "+globalFlags), name+"=") {
			return true
		}
	}
	return false
}

// findCommand returns the command that words begin with.
func findCommand(all []command, words []string) *command {
	for i, cmd := range all {
		own := strings.Fields(cmd.words)
		if len(words) >= len(own) && slices.Equal(words[:len(own)], own) {
			return &all[i]
		}
	}
	return nil
}

// isGroup reports whether words are the beginning of commands.
func isGroup(all []command, words string) bool {
	return slices.ContainsFunc(all, func(cmd command) bool { return strings.HasPrefix(cmd.words, words+" ") })
}

func (cmd *command) usage() string {
	return strings.TrimSpace("Usage:  op "+cmd.words+" "+cmd.operands) + " [flags]\n\nFlags: " +
		strings.ReplaceAll(cmd.flags, "=", "") + "\nGlobal Flags: " + strings.ReplaceAll(globalFlags, "=", "") + "\n"
}
