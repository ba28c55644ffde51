package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"kura/internal/chain"
)

// findProcesses notes which profiles have a credential_process that asks this
// program for a profile, and for which.
func (s *Setup) findProcesses() {
	s.asked = map[string]string{}
	if s.Config == nil {
		return
	}
	for _, name := range s.Config.Profiles() {
		section, _ := s.Config.Profile(name)
		words, ok := split(section.Raw("credential_process"))
		if !ok || len(words) == 0 || !s.isThis(words[0].text) {
			continue
		}
		var args []string
		for _, w := range words[1:] {
			args = append(args, w.text)
		}
		if profile := s.Asked(args); profile != "" {
			s.asked[name] = profile
		}
	}
}

// isThis reports whether a command is this program, by its name or by a link.
func (s *Setup) isThis(command string) bool {
	names := []string{command}
	if path, err := s.LookPath(command); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			names = append(names, real)
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.TrimSuffix(filepath.Base(name), ".exe") == "kura"
	})
}

// process returns what is wrong with the credential_process of a profile, as
// those who run it read it: most SDKs by a shell, the AWS CLI and boto3 split
// into words as by a shell but without one, awsume and some others split at
// every space. What they have in common is an absolute path and plain words.
func (s *Setup) process(name string) []Finding {
	section, _ := s.Config.Profile(name)
	line := section.Raw("credential_process")
	if line == "" {
		return nil
	}
	where := at(s.Config, name, "credential_process")
	of := fmt.Sprintf("the credential_process of profile %q", name)
	words, ok := split(line)
	if !ok || len(words) == 0 {
		return []Finding{{Problem, of + " has a quote that is not closed", where, "correct that line"}}
	}
	var list []Finding
	add := func(level Level, fix, format string, args ...any) {
		list = append(list, Finding{level, of + " " + fmt.Sprintf(format, args...), where, fix})
	}

	program := words[0]
	path, err := s.LookPath(program.text)
	switch {
	case strings.Contains(program.text, "="):
		// It may be a secret, so it is not quoted.
		add(Problem, "put the command into a script, and write that script's path", "begins by setting a variable, which takes a shell: the AWS CLI and boto3 use none")
	case program.expanded:
		add(Problem, "write the path in full", "begins with %s, which the AWS CLI and boto3 do not expand", program.text)
	case !strings.ContainsAny(program.text, `/\`) && err != nil:
		add(Problem, "install it, or write its path", "runs %s, which is not in PATH", program.text)
	case !strings.ContainsAny(program.text, `/\`):
		add(Warning, "write "+path, "runs %s without its path: awsume refuses that, and programs with another PATH do not find it", program.text)
	case !filepath.IsAbs(program.text):
		add(Problem, "write the path in full", "runs %s, whose place depends on the directory one is in", program.text)
	case err != nil && s.unquoted(line) != "":
		add(Problem, "make a link to it at a path without spaces, and write that", "runs %s, which has a space and no quotes", s.unquoted(line))
	case err != nil:
		add(Problem, "correct the path, or install the program", "runs %s, which is no program", program.text)
	case strings.ContainsAny(program.text, " \t"):
		add(Warning, "make a link to it at a path without spaces, and write that", "has a path with a space, at which awsume splits it")
	}
	quoted, expanded := false, false
	for i, w := range words {
		quoted = quoted || w.quoted && (i > 0 || !strings.ContainsAny(w.text, " \t"))
		expanded = expanded || i > 0 && w.expanded
	}
	if quoted {
		add(Warning, "write it without quotes", "has quotes, which awsume takes for a part of the words")
	}
	if expanded {
		add(Warning, "put the command into a script, and write that script's path", "needs a shell, which the AWS CLI, boto3 and awsume do not use")
	}
	return append(list, s.asking(name, of, where)...)
}

// unquoted returns the program with spaces in its path that a command line
// without quotes begins with, if there is one.
func (s *Setup) unquoted(line string) string {
	for i := range len(line) {
		if line[i] == ' ' && i > 0 {
			if _, err := s.LookPath(line[:i]); err == nil {
				return line[:i]
			}
		}
	}
	if _, err := s.LookPath(line); err == nil {
		return line
	}
	return ""
}

// asking returns what is wrong with a credential_process that asks this program
// for a profile: there must be one, and not the one that asks.
func (s *Setup) asking(name, of, where string) []Finding {
	asked := s.asked[name]
	if asked == "" {
		return nil
	}
	_, sure, err := s.resolve(asked)
	if e, ok := errors.AsType[*chain.NotFoundError](err); ok && e.Via == "" && sure {
		return []Finding{{Problem, fmt.Sprintf("%s asks for profile %q, which is not configured and has no access key", of, asked), where, s.Explain(err)}}
	}
	if !s.comesBack(name) {
		return nil
	}
	fix := "@kura add " + s.Quote(asked)
	if s.isPlain(asked) {
		fix = "@kura import credentials --strip " + s.Quote(asked)
	}
	return []Finding{{Problem, fmt.Sprintf("%s asks for profile %q, which has no access key in the store and so runs that command again", of, asked), where, fix}}
}

// comesBack reports whether the process of a profile asks for a profile whose
// credentials come from that process.
func (s *Setup) comesBack(name string) bool {
	seen := map[string]bool{}
	for at := name; s.asked[at] != "" && !seen[at]; {
		seen[at] = true
		c, sure, err := s.resolve(s.asked[at])
		if err != nil || !sure || c.Source.Process == nil {
			return false
		}
		if at = c.Source.Process.Profile; at == name {
			return true
		}
	}
	return false
}

// A word is one of a command line.
type word struct {
	text     string // without quotes
	quoted   bool   // there were quotes or backslashes
	expanded bool   // a shell would make something else of it
}

// split splits a command line as the AWS CLI does, which is as a POSIX shell
// does but without its operators and variables: shlex.split of Python. It
// reports whether all quotes are closed.
func split(line string) (words []word, ok bool) {
	var w word
	var text strings.Builder
	inWord := false
	end := func() {
		if inWord {
			w.text = text.String()
			words = append(words, w)
		}
		w, inWord = word{}, false
		text.Reset()
	}
	var quote byte // in whose quotes we are
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			end()
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote, w.quoted = c, true
		case c == quote && quote != 0:
			quote = 0
		case c == '\\' && quote != '\'' && runtime.GOOS != "windows": // where it stands in paths
			if i++; i == len(line) {
				return nil, false
			}
			if quote == '"' && line[i] != '"' && line[i] != '\\' {
				text.WriteByte(c)
			}
			w.quoted = true
			text.WriteByte(line[i])
		default:
			text.WriteByte(c)
			shell := quote == 0 && strings.IndexByte("|&;<>()*?", c) >= 0 || quote != '\'' && strings.IndexByte("$`", c) >= 0
			w.expanded = w.expanded || shell || c == '~' && !inWord
		}
		inWord = true
	}
	end()
	return words, quote == 0
}
