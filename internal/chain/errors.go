package chain

import (
	"fmt"
	"slices"
	"strings"
)

// A NotFoundError says that there is no such profile: no section of the config
// file, and no access key in the store where that would do.
type NotFoundError struct {
	Profile string
	Via     string   // the profile that refers to it, if any
	Setting string   // how it refers to it: "source_profile" or "include_profile"
	Near    []string // configured profiles with a similar name, best first
}

func (e *NotFoundError) Error() string {
	if e.Via != "" {
		return fmt.Sprintf("profile %q, the %s of %q, is not configured", e.Profile, e.Setting, e.Via)
	}
	return fmt.Sprintf("profile %q is not configured", e.Profile)
}

// A CycleError says that settings lead back to a profile that they came from.
type CycleError struct {
	Setting string   // "source_profile" or "include_profile"
	Path    []string // the last is among those before it
}

func (e *CycleError) Error() string { return e.Setting + " cycle: " + strings.Join(e.Path, " -> ") }

// A ConflictError says that two settings of one section exclude each other.
type ConflictError struct{ Profile, Setting, Other string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("profile %q has both %s and %s", e.Profile, e.Setting, e.Other)
}

// A NoSourceError says that a profile has a role_arn but nothing to assume the
// role from: no source_profile, no web identity, and no access key in the
// store.
type NoSourceError struct{ Profile string }

func (e *NoSourceError) Error() string {
	return fmt.Sprintf("profile %q has a role_arn but no source_profile and no access key", e.Profile)
}

// A SettingError says what is wrong with a setting, a flag or an environment
// variable.
type SettingError struct {
	File    string // where a setting stands, "" for any other
	Line    int    // counted from 1, 0 when not known
	Profile string // "" for a flag or variable
	Setting string // such as "duration_seconds", "--duration" or "AWS_MFA_SERIAL"
	Value   string // "" when it is missing
	Msg     string
}

func (e *SettingError) Error() string {
	var b strings.Builder
	if e.File != "" && e.Line > 0 {
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	}
	b.WriteString(e.Setting)
	if e.Value != "" {
		fmt.Fprintf(&b, " %q", e.Value)
	}
	if e.Profile != "" {
		fmt.Fprintf(&b, " of profile %q", e.Profile)
	}
	return b.String() + ": " + e.Msg
}

// bad returns an error about s.
func (s setting) bad(format string, args ...any) error {
	return &SettingError{s.file, s.section.Line(s.lineOf), s.profile, s.name, s.value, fmt.Sprintf(format, args...)}
}

// missing returns an error about a setting that p lacks.
func (p *profile) missing(name string) error {
	return &SettingError{Profile: p.name, Setting: name, Msg: "not set"}
}

// Near returns up to three of names that someone may have meant by name, best
// first: those that differ in case, in an edit or two, or in their ending.
func Near(names []string, name string) []string {
	type candidate struct {
		name string
		cost int
	}
	var found []candidate
	typed := strings.ToLower(name)
	for _, n := range names {
		lower := strings.ToLower(n)
		cost := distance(typed, lower)
		switch {
		case cost <= 2 && cost < len(typed):
		case len(typed) >= 2 && strings.HasPrefix(lower, typed),
			len(lower) >= 2 && strings.HasPrefix(typed, lower):
			cost = 3
		default:
			continue
		}
		found = append(found, candidate{n, cost})
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.cost - b.cost })
	var best []string
	for _, c := range found[:min(3, len(found))] {
		best = append(best, c.name)
	}
	return best
}

// distance returns how many bytes must be inserted, deleted or replaced to make
// b from a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the table of prefixes of a by prefixes of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
