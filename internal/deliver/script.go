package deliver

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// A Change is what becomes of an environment variable.
type Change struct {
	Name, Value string
	Unset       bool // it is removed, and has no value
}

// Changes returns what makes one environment the other, sorted by name. Entries
// whose names no shell can write are left out.
func Changes(from, to []string) []Change {
	return changes(from, to, runtime.GOOS == "windows")
}

func changes(from, to []string, fold bool) []Change {
	before, after := valuesOf(from, fold), valuesOf(to, fold)
	var list []Change
	for name, value := range after {
		if old, ok := before[name]; !ok || old != value {
			list = append(list, Change{Name: name, Value: value})
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			list = append(list, Change{Name: name, Unset: true})
		}
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// valuesOf returns the variables of an environment of which the names are words.
func valuesOf(env []string, fold bool) map[string]string {
	values := make(map[string]string, len(env))
	for _, entry := range env {
		name := nameOf(entry, fold)
		if _, seen := values[name]; !seen && isWord(name) {
			values[name] = entry[len(name)+1:]
		}
	}
	return values
}

func isWord(name string) bool {
	for i, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r == '_', i > 0 && '0' <= r && r <= '9':
		default:
			return false
		}
	}
	return name != ""
}

// Script returns what makes changes in a shell that evaluates it: bash, zsh, fish
// or powershell. Values may be of any characters; each is quoted as a whole.
func Script(shell string, changes []Change) ([]byte, error) {
	var set, unset func(name, value string) string
	switch shell {
	case "bash", "zsh":
		set = func(name, value string) string {
			return "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		unset = func(name, _ string) string { return "unset -v " + name }
	case "fish":
		set = func(name, value string) string { return "set -gx " + name + " '" + fishQuoted(value) + "'" }
		// A universal variable, which all sessions share, is hidden and not erased.
		unset = func(name, _ string) string {
			return "set -eg " + name + "; set -q " + name + "; and set -gu " + name
		}
	case "powershell":
		set = func(name, value string) string { return "$Env:" + name + " = '" + powerShellQuoted(value) + "'" }
		unset = func(name, _ string) string { return "Remove-Item -ErrorAction SilentlyContinue Env:" + name }
	default:
		return nil, fmt.Errorf("unknown shell %q", shell)
	}
	var b bytes.Buffer
	for _, c := range changes {
		write := set
		if c.Unset {
			write = unset
		}
		b.WriteString(write(c.Name, c.Value) + "\n")
	}
	return b.Bytes(), nil
}

// fishQuoted returns a text as it stands between single quotes in fish.
func fishQuoted(text string) string { return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) }

// powerShellQuoted returns a text as it stands between single quotes in
// PowerShell, which ends it at a typographic quote, too.
func powerShellQuoted(text string) string {
	return strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛").Replace(text)
}
