// Package awsconfig reads and edits the AWS shared config and credentials
// files. It knows the syntax of the files and nothing of what their settings
// mean: that is package chain.
//
// The syntax is the one that AWS's SDKs share, as their common test cases have
// it (profile-parser-tests.json, published with aws-sdk-rust). Where those are
// silent and clients differ, a file reads as it does in aws-vault and at least
// one of the AWS CLI and the SDK for Go. Edits write only what all SDKs read
// alike, but for names in quotes; see AddProfile.
package awsconfig

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A File is a parsed config file. It keeps the bytes it was parsed from, so
// that an edited copy differs from them only where it was edited. A File does
// not change: several goroutines may use it.
type File struct {
	name        string
	text        string
	credentials bool
	parts       []part // in the order of the file; the ignored ones left out
}

// A part is a header and the lines up to the next one. A section has several
// when its header is repeated.
type part struct {
	sectionID
	line             int // of the header, counted from 1
	start, body, end int // offsets of the header, the line after it, and the next header
}

type sectionID struct {
	kind sectionKind
	name string
}

type sectionKind int

const (
	kindIgnored sectionKind = iota
	kindProfile             // "[profile name]", or "[name]" of a credentials file
	kindDefault             // "[default]" of a config file, which "[profile default]" overrides
	kindSSOSession
	kindServices
)

// A Section is one profile, sso-session or services section. The zero Section
// is an empty one.
type Section struct{ settings []setting }

type setting struct {
	name  string // in lower case
	value string
	more  []string // continuation lines
	line  int
}

// A SyntaxError says where a file is malformed.
type SyntaxError struct {
	File string
	Line int // counted from 1
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// Parse reads a config file (~/.aws/config). The name is used only in errors.
// The whole file is checked: an error is a *SyntaxError for its first fault,
// wherever that stands. Sections of unknown types and settings with
// impossible names are no faults but left out, as in AWS's SDKs.
func Parse[Text string | []byte](name string, data Text) (*File, error) {
	return parse(name, string(data), false)
}

// ParseCredentials reads a credentials file (~/.aws/credentials), where every
// section is a profile and its header the bare name. Errors are as in Parse.
func ParseCredentials[Text string | []byte](name string, data Text) (*File, error) {
	return parse(name, string(data), true)
}

func parse(name, text string, credentials bool) (*File, error) {
	f := &File{name: name, text: text, credentials: credentials}
	f.parts = make([]part, 0, strings.Count(text, "["))
	var open *part // its end is known only when the next header is
	s := scanner{file: name, text: text, pos: len(f.bom()), skim: true}
	for s.next() {
		if s.kind != header {
			continue
		}
		if open != nil {
			open.end = s.start
			open = nil
		}
		if id := f.sectionID(s.name); id.kind != kindIgnored {
			f.parts = append(f.parts, part{id, s.line, s.start, s.token.end, len(text)})
			open = &f.parts[len(f.parts)-1]
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return f, nil
}

// bom returns the byte order mark that Windows editors put before UTF-8 text.
func (f *File) bom() string {
	if strings.HasPrefix(f.text, "\ufeff") {
		return "\ufeff"
	}
	return ""
}

// sectionID returns what the text between the brackets of a header stands for.
func (f *File) sectionID(text string) sectionID {
	first, rest := text, ""
	if i := indexEither(text, ' ', '\t'); i >= 0 {
		first, rest = text[:i], trimLeft(text[i:])
	}
	switch {
	case f.credentials && rest == "" && sectionName(first):
		return sectionID{kindProfile, first}
	case f.credentials:
		return sectionID{}
	case first == "default" && rest == "":
		return sectionID{kindDefault, "default"}
	}

	name, quoted := cutQuotes(rest)
	if !sectionName(name) && !(quoted && quotable(name)) {
		return sectionID{}
	}
	switch first {
	case "profile":
		return sectionID{kindProfile, name}
	case "sso-session":
		return sectionID{kindSSOSession, name}
	case "services":
		return sectionID{kindServices, name}
	}
	return sectionID{}
}

// identifier reports whether s can name a section or a setting everywhere: AWS's
// SDKs ignore those with other names.
func identifier(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_-/.%@:+", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// sectionName reports whether s can name a section without quotes. The AWS CLI
// and aws-vault take more for one than SDKs do, letters of other scripts above all:
// who has such a profile there has it here.
func sectionName(s string) bool {
	letters := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII && unicode.In(r, unicode.L, unicode.M, unicode.N) {
			return 'a'
		}
		return r
	}, s)
	return identifier(letters)
}

// quotable reports whether the AWS CLI reads s in quotes as the name of a
// section. It splits a header as a shell does, so quotes and backslashes would
// need escapes that nobody else understands.
func quotable(s string) bool {
	return s != "" && s == strings.TrimSpace(s) && !strings.ContainsAny(s, "\"'\\[]#;") && printable(s)
}

// printable reports whether s is UTF-8 without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// cutQuotes returns s without the quotes around it, and whether it had any.
// Text that has the same quote inside is not quoted as a whole.
func cutQuotes(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' && s[0] != '\'' || strings.IndexByte(s[1:], s[0]) != len(s)-2 {
		return s, false
	}
	return s[1 : len(s)-1], true
}

// Name returns the name that f was parsed with.
func (f *File) Name() string { return f.name }

// Bytes returns the text of the file.
func (f *File) Bytes() []byte { return []byte(f.text) }

// Profiles returns the names of the profiles in the order of the file.
func (f *File) Profiles() []string {
	var names []string
	seen := make(map[string]bool)
	for _, p := range f.parts {
		if (p.kind == kindProfile || p.kind == kindDefault) && !seen[p.name] {
			seen[p.name] = true
			names = append(names, p.name)
		}
	}
	return names
}

// Values returns the values that a setting has in profiles, each once, in the
// order of the file.
func (f *File) Values(name string) []string {
	var values []string
	for _, p := range f.parts {
		if p.kind != kindProfile && p.kind != kindDefault {
			continue
		}
		section, _ := f.read([]part{p})
		if value := section.Get(name); value != "" && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// Profile returns the section of a profile, and whether there is one. Sections
// of one name are merged and the last value of a setting counts, but
// "[profile default]" replaces "[default]" as a whole.
func (f *File) Profile(name string) (Section, bool) { return f.read(f.profile(name)) }

// ProfileLine returns the line at which a profile begins, counted from 1, or 0
// when there is none. Of several sections it is the first.
func (f *File) ProfileLine(name string) int {
	if parts := f.profile(name); parts != nil {
		return parts[0].line
	}
	return 0
}

// SSOSession returns the section "[sso-session name]".
func (f *File) SSOSession(name string) (Section, bool) { return f.read(f.find(kindSSOSession, name)) }

// Services returns the section "[services name]".
func (f *File) Services(name string) (Section, bool) { return f.read(f.find(kindServices, name)) }

// profile returns the parts of a profile that count.
func (f *File) profile(name string) []part {
	if parts := f.find(kindProfile, name); parts != nil {
		return parts
	}
	return f.find(kindDefault, name)
}

// find returns the parts of a section. It looks through all of them, which for
// the few sections that a command needs is less than what an index costs.
func (f *File) find(kind sectionKind, name string) []part {
	var parts []part
	for i := range f.parts {
		if p := &f.parts[i]; p.kind == kind && p.name == name {
			parts = append(parts, *p)
		}
	}
	return parts
}

// read returns the section that consists of some parts, and whether there are
// any. Settings are read here and not by parse, since a command looks at two
// or three sections of hundreds.
func (f *File) read(parts []part) (Section, bool) {
	var settings []setting
	for _, p := range parts {
		for _, e := range f.entries(p) {
			if !identifier(e.name) {
				continue
			}
			st := setting{name: strings.ToLower(e.name), value: e.value, line: e.line}
			for _, t := range e.more {
				st.more = append(st.more, t.value)
			}
			if old := lookUp(settings, st.name); old != nil {
				*old = st
			} else {
				settings = append(settings, st)
			}
		}
	}
	return Section{settings}, parts != nil
}

func lookUp(settings []setting, name string) *setting {
	for i := range settings {
		if strings.EqualFold(settings[i].name, name) {
			return &settings[i]
		}
	}
	return nil
}

// Get returns the value of a setting, or "" when it is not set. Names of
// settings are compared without regard to case. Quotes around the whole value
// are left out, as the AWS SDK for Go and aws-vault do. Continuation lines
// follow after a newline each, so the value of a nested block starts with one.
func (s Section) Get(name string) string {
	value, _ := cutQuotes(s.Raw(name))
	return value
}

// Raw is Get with the quotes left on. A command line needs them: AWS's
// documentation of credential_process has a path with spaces quoted, and the
// AWS CLI and most SDKs read it so.
func (s Section) Raw(name string) string {
	st := lookUp(s.settings, name)
	switch {
	case st == nil:
		return ""
	case st.more == nil:
		return st.value
	}
	return st.value + "\n" + strings.Join(st.more, "\n")
}

// Nested returns a setting of a block such as
//
//	s3 =
//	  endpoint_url = https://s3.example
//
// where block is "s3" and name "endpoint_url". It is "" when there is none.
// Names are compared and quotes left out as in Get, but "#" and ";" start no
// comment within a block.
func (s Section) Nested(block, name string) string {
	st := lookUp(s.settings, block)
	if st == nil || !st.isBlock() {
		return ""
	}
	found := ""
	for _, line := range st.more {
		key, value, _ := strings.Cut(line, "=")
		if strings.EqualFold(trimRight(key), name) {
			found, _ = cutQuotes(trimLeft(value))
		}
	}
	return found
}

// isBlock reports whether st is a nested block rather than a value.
func (st *setting) isBlock() bool { return st.value == "" && st.more != nil }

// Blocks returns the names of the nested blocks of s, in lower case and the
// order of the file.
func (s Section) Blocks() []string {
	var names []string
	for _, st := range s.settings {
		if st.isBlock() {
			names = append(names, st.name)
		}
	}
	return names
}

// Names returns the names of the settings of s, nested blocks included, in
// lower case and the order of the file.
func (s Section) Names() []string {
	var names []string
	for _, st := range s.settings {
		names = append(names, st.name)
	}
	return names
}

// Line returns the line of the file where a setting stands, counted from 1, or
// 0 when it is not set. Of several it is the one that counts, the last.
func (s Section) Line(name string) int {
	if st := lookUp(s.settings, name); st != nil {
		return st.line
	}
	return 0
}
