package awsconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// ErrNoProfile is wrapped by the error for setting something in a profile that
// has no section.
var ErrNoProfile = errors.New("no such profile")

// ErrProfileExists is wrapped by the error for adding a profile that has a
// section already.
var ErrProfileExists = errors.New("profile exists already")

// An UnwritableError says why a name or a value can't be written such that
// every AWS SDK reads it back as it is. It does not show the value.
type UnwritableError struct {
	Profile string
	Setting string // "" when the profile's name is at fault
	Msg     string
}

func (e *UnwritableError) Error() string {
	if e.Setting == "" {
		return fmt.Sprintf("profile name %q: %s", e.Profile, e.Msg)
	}
	return fmt.Sprintf("profile %q: %s: %s", e.Profile, e.Setting, e.Msg)
}

// A Setting is one to be written.
type Setting struct{ Name, Value string }

// Set returns f with a setting of a profile changed or, after the last setting
// of the section, added. All else stays as it is, the comment after a changed
// value included. The continuation lines of a changed value go. Of settings
// that occur twice it changes the one that counts.
//
// Errors are an *UnwritableError, also for a nested block, or wrap
// ErrNoProfile.
func (f *File) Set(profile, name, value string) (*File, error) {
	parts := f.profile(profile)
	if parts == nil {
		return nil, fmt.Errorf("%s: profile %q: %w", f.name, profile, ErrNoProfile)
	}
	if err := checkSetting(profile, name, value); err != nil {
		return nil, err
	}
	for _, p := range slices.Backward(parts) {
		for _, e := range slices.Backward(f.entries(p)) {
			if !strings.EqualFold(e.name, name) {
				continue
			}
			if e.value == "" && e.more != nil {
				return nil, &UnwritableError{profile, name, "is a nested block"}
			}
			return f.splice(f.replace(e, value)...)
		}
	}
	return f.splice(f.insert(parts[len(parts)-1], name, value))
}

// replace returns the changes that give e another value.
func (f *File) replace(e entry, value string) []change {
	if e.value == "" && isBlank(f.text[e.at-2]) {
		value = " " + value // keeps to the style of "name ="
	}
	changes := []change{{e.at, e.at + len(e.value), value}}
	for _, t := range e.more {
		changes = append(changes, change{t.start, t.end, ""})
	}
	return changes
}

// insert returns the change that adds a setting to p, spaced like the one
// before it.
func (f *File) insert(p part, name, value string) change {
	at, indent, equals := p.body, "", " = "
	entries := f.entries(p)
	for _, e := range entries {
		if e.value != "" {
			equals = f.text[e.start+e.indent+len(e.name) : e.at]
		}
	}
	if len(entries) > 0 {
		last := entries[len(entries)-1]
		at = last.end()
		if last.value != "" { // else the SDK for Go would take it into the block
			indent = f.text[last.start : last.start+last.indent]
		}
	}
	return change{at, at, f.lineBreak(at) + indent + strings.ToLower(name) + equals + value + f.eol()}
}

// Unset returns f without a setting, or nested block, of a profile. Without
// such a setting or profile it returns f itself.
func (f *File) Unset(profile, name string) (*File, error) {
	var changes []change
	for _, p := range f.profile(profile) {
		for _, e := range f.entries(p) {
			if !strings.EqualFold(e.name, name) {
				continue
			}
			changes = append(changes, change{e.start, e.token.end, ""})
			for _, t := range e.more {
				changes = append(changes, change{t.start, t.end, ""})
			}
		}
	}
	return f.splice(changes...)
}

// AddProfile returns f with a profile appended after an empty line. Not every
// SDK sees a profile without settings. Errors are an *UnwritableError or wrap
// ErrProfileExists.
//
// A name with spaces or other characters than letters, digits and "_-/.%@:+"
// is written in quotes, which of AWS's clients only the CLI and boto3 read. A
// credentials file can't have such a name.
func (f *File) AddProfile(name string, settings ...Setting) (*File, error) {
	if f.profile(name) != nil {
		return nil, fmt.Errorf("%s: profile %q: %w", f.name, name, ErrProfileExists)
	}
	head := ""
	switch {
	case identifier(name) && (f.credentials || name == "default"):
		head = "[" + name + "]"
	case identifier(name):
		head = "[profile " + name + "]"
	case quotable(name) && !f.credentials:
		head = `[profile "` + name + `"]`
	default:
		return nil, &UnwritableError{name, "", "no AWS SDK reads such a name"}
	}

	eol := f.eol()
	var b strings.Builder
	if rest := f.text[len(f.bom()):]; rest != "" {
		b.WriteString(f.lineBreak(len(f.text)))
		rest = strings.TrimSuffix(rest, "\n")
		if trimEnd(rest[strings.LastIndexByte(rest, '\n')+1:]) != "" {
			b.WriteString(eol)
		}
	}
	b.WriteString(head + eol)
	for i, s := range settings {
		if err := checkSetting(name, s.Name, s.Value); err != nil {
			return nil, err
		}
		same := func(t Setting) bool { return strings.EqualFold(s.Name, t.Name) }
		if slices.ContainsFunc(settings[:i], same) {
			return nil, &UnwritableError{name, s.Name, "is given twice"}
		}
		b.WriteString(strings.ToLower(s.Name) + " = " + s.Value + eol)
	}
	return f.splice(change{len(f.text), len(f.text), b.String()})
}

// RemoveProfile returns f without the sections of a profile, or f itself when
// there is none. The comments within a section go, those before it and before
// the next one stay: a comment belongs to the lines that it touches, and to
// those after it rather than those before.
func (f *File) RemoveProfile(name string) (*File, error) {
	var changes []change
	for _, p := range f.parts {
		if p.name != name || p.kind != kindProfile && p.kind != kindDefault {
			continue
		}
		c := change{p.start, f.partEnd(p), ""}
		if c.end == len(f.text) {
			// What was empty before the section would now end the file.
			for c.start > len(f.bom()) {
				before := f.text[:c.start-1]
				line := max(len(f.bom()), strings.LastIndexByte(before, '\n')+1)
				if trimEnd(f.text[line:c.start]) != "" {
					break
				}
				c.start = line
			}
			if n := len(changes); n > 0 {
				c.start = max(c.start, changes[n-1].end)
			}
		}
		changes = append(changes, c)
	}
	return f.splice(changes...)
}

// partEnd returns the offset up to which p goes when it is removed: its last
// setting, comments that touch it and nothing else, and empty lines.
func (f *File) partEnd(p part) int {
	end := p.body
	if entries := f.entries(p); len(entries) > 0 {
		end = entries[len(entries)-1].end()
	}
	comments := f.skipLines(end, p.end, false)
	empty := f.skipLines(comments, p.end, true)
	if empty == comments && comments < len(f.text) {
		return end // the comments touch the next header
	}
	return empty
}

// skipLines returns the offset after the empty lines at a given offset, or
// after those that are not empty, but not beyond end.
func (f *File) skipLines(at, end int, empty bool) int {
	for at < end {
		next := end
		if i := strings.IndexByte(f.text[at:end], '\n'); i >= 0 {
			next = at + i + 1
		}
		if (trimEnd(f.text[at:next]) == "") != empty {
			break
		}
		at = next
	}
	return at
}

// A change replaces the bytes from start to end with text.
type change struct {
	start, end int
	text       string
}

// splice returns f with changes made, which are in order and don't overlap.
func (f *File) splice(changes ...change) (*File, error) {
	if len(changes) == 0 {
		return f, nil
	}
	var b strings.Builder
	at := 0
	for _, c := range changes {
		b.WriteString(f.text[at:c.start])
		b.WriteString(c.text)
		at = c.end
	}
	b.WriteString(f.text[at:])
	return parse(f.name, b.String(), f.credentials)
}

// eol returns the line ending of the file: that of its first line.
func (f *File) eol() string {
	if i := strings.IndexByte(f.text, '\n'); i > 0 && f.text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// lineBreak returns what must precede a line that is to be inserted at a given
// offset: a line ending, where the last line of the file has none.
func (f *File) lineBreak(at int) string {
	if at == len(f.bom()) || f.text[at-1] == '\n' {
		return ""
	}
	return f.eol()
}

// checkSetting returns an error unless every AWS SDK reads "name = value" as
// just that.
func checkSetting(profile, name, value string) error {
	msg := ""
	switch {
	case !identifier(name):
		msg = "no AWS SDK reads a setting of such a name"
	case strings.Contains(name, ":"):
		msg = `some AWS SDKs end the name of a setting at ":"`
	case value == "":
		msg = "empty value"
	case strings.TrimSpace(value) != value:
		msg = "value begins or ends with space"
	case !printable(strings.ReplaceAll(value, "\t", "")):
		msg = "value has a line break or other control character, or is not UTF-8"
	case hasComment(value):
		msg = `value has a "#" or ";" that would start a comment`
	case wrapped(value):
		msg = "value begins and ends with a quote, which some AWS SDKs leave out"
	}
	if msg == "" {
		return nil
	}
	return &UnwritableError{profile, name, msg}
}

// hasComment reports whether some SDK finds a comment in a value: where "#" or
// ";" stands first or after any space, that of other scripts included.
func hasComment(value string) bool {
	before := ' '
	for _, r := range value {
		if (r == '#' || r == ';') && unicode.IsSpace(before) {
			return true
		}
		before = r
	}
	return false
}

// wrapped reports whether the SDK for Go takes quotes off a value. It does so
// even where they are not a pair, as in `"a b" "c"`.
func wrapped(value string) bool {
	return (value[0] == '"' || value[0] == '\'') && value[0] == value[len(value)-1]
}
