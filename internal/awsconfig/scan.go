package awsconfig

import "strings"

type tokenKind int

const (
	header       tokenKind = iota
	assignment             // "name = value"
	continuation           // an indented line that belongs to the assignment before it
)

// A token is a line of the file that is neither empty nor a comment.
type token struct {
	kind       tokenKind
	line       int    // counted from 1
	start, end int    // offsets of the line, its line ending included
	indent     int    // bytes of space before the text
	name       string // header: what stands between the brackets; assignment: the name
	value      string // assignment: without comment; continuation: the text
	at         int    // offset of the value; of an empty one, that after "="
}

// An entry is an assignment with its continuation lines.
type entry struct {
	token
	more []token
}

// end returns the offset after the last line of e.
func (e entry) end() int {
	if n := len(e.more); n > 0 {
		return e.more[n-1].end
	}
	return e.token.end
}

// entries returns what p assigns, names that can't be included.
func (f *File) entries(p part) []entry {
	var list []entry
	s := scanner{file: f.name, text: f.text[:p.end], pos: p.body, n: p.line, inSection: true}
	for s.next() {
		if s.kind == assignment {
			list = append(list, entry{token: s.token})
			continue
		}
		last := &list[len(list)-1]
		last.more = append(last.more, s.token)
	}
	// There is no error: parse has read these lines already, and a section
	// starts afresh at its header.
	return list
}

// A scanner reads a file line by line.
type scanner struct {
	token // the last one read
	err   *SyntaxError

	// skim leaves plain assignments out. They are looked at no more than it
	// takes to know that they are well formed: a file of a thousand profiles
	// is read at each command, which needs two of them.
	skim bool

	file string // for errors
	text string
	pos  int // offset of the next line
	n    int // number of the line before it

	inSection bool
	inSetting bool // there has been an assignment in the section; the last one
	base      int  // had this indent
	block     bool // and an empty value
}

// next reads the next token. It returns false at the end of the file and when
// the line is malformed, which sets err.
func (s *scanner) next() bool {
	for s.pos < len(s.text) {
		s.start, s.end = s.pos, len(s.text)
		if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
			s.end = s.pos + i + 1
		}
		s.pos = s.end
		s.n++
		line := trimEnd(s.text[s.start:s.end])
		text := trimLeft(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		if s.skim && s.inSection && len(text) == len(line) && s.skimmed(text) {
			continue
		}
		s.line = s.n
		s.indent = len(line) - len(text)
		msg := ""
		switch {
		case text[0] == '[':
			msg = s.readHeader(text)
		case !s.inSection:
			msg = "expected a profile definition"
		case s.inSetting && s.indent > s.base:
			msg = s.readContinuation(text)
		default:
			msg = s.readAssignment(text)
		}
		if msg != "" {
			s.err = &SyntaxError{s.file, s.line, msg}
			return false
		}
		return true
	}
	return false
}

// skimmed reports whether an unindented line is an assignment of a value that
// is not empty, and takes note of it. It leaves what could be anything else to
// readAssignment.
func (s *scanner) skimmed(text string) bool {
	i := strings.IndexByte(text, '=')
	if text[0] == '[' || i <= 0 || indexEither(text[:i], '#', ';') >= 0 {
		return false
	}
	value := trimLeft(text[i+1:])
	if value == "" || value[0] == '#' || value[0] == ';' {
		return false
	}
	s.inSetting, s.base, s.block = true, 0, false
	return true
}

// readHeader reads "[type name]". A comment may follow at once, so that "#"
// and ";" can't be part of a name.
func (s *scanner) readHeader(text string) string {
	if i := indexEither(text, '#', ';'); i >= 0 {
		text = trimRight(text[:i])
	}
	if !strings.HasSuffix(text, "]") {
		return "profile definition must end with ']'"
	}
	s.kind = header
	s.name = trimLeft(trimRight(text[1 : len(text)-1]))
	s.inSection, s.inSetting = true, false
	return ""
}

// readAssignment reads "name = value". The first of a section may be indented,
// and then those indented no further are assignments too. AWS's test cases
// don't have this, but the AWS CLI, the SDK for Go and aws-vault read it.
func (s *scanner) readAssignment(text string) string {
	text = cutComment(text)
	name, at, ok := splitAssignment(text)
	switch {
	case !ok && !s.inSetting && s.indent > 0:
		return "expected a property definition, found continuation"
	case !ok:
		return "expected an '=' sign defining a property"
	case name == "":
		return "property did not have a name"
	}
	s.kind, s.name, s.value, s.at = assignment, name, text[at:], s.start+s.indent+at
	s.inSetting, s.base, s.block = true, s.indent, s.value == ""
	return ""
}

// readContinuation reads a further line of a value, or a setting of a nested
// block. Comments after either are part of it.
func (s *scanner) readContinuation(text string) string {
	if s.block {
		name, _, ok := splitAssignment(cutComment(text))
		switch {
		case !ok:
			return "expected an '=' sign defining a sub-property"
		case name == "":
			return "sub-property did not have a name"
		}
	}
	s.kind, s.value, s.at = continuation, text, s.start+s.indent
	return ""
}

// splitAssignment returns the name before the first "=" of text and where the
// value after it starts.
func splitAssignment(text string) (name string, at int, ok bool) {
	i := strings.IndexByte(text, '=')
	if i < 0 {
		return "", 0, false
	}
	if value := trimLeft(text[i+1:]); value != "" {
		return trimRight(text[:i]), len(text) - len(value), true
	}
	return trimRight(text[:i]), i + 1, true
}

// cutComment removes a comment, which starts at a "#" or ";" after a space,
// and the space before it.
func cutComment(text string) string {
	if strings.IndexByte(text, '#') < 0 && strings.IndexByte(text, ';') < 0 {
		return text
	}
	for i := 1; i < len(text); i++ {
		if (text[i] == '#' || text[i] == ';') && isBlank(text[i-1]) {
			return trimRight(text[:i])
		}
	}
	return text
}

// indexEither is strings.IndexAny for two bytes of a short text, and quicker.
func indexEither(s string, a, b byte) int {
	for i := range len(s) {
		if s[i] == a || s[i] == b {
			return i
		}
	}
	return -1
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func trimLeft(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// trimEnd removes the line ending and the space before it.
func trimEnd(s string) string {
	for s != "" && (isBlank(s[len(s)-1]) || s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}
