// Package doctor finds what keeps profiles, access keys and the programs around
// them from working, or from being safe, and says what to type. It looks at
// files and variables and changes nothing, runs nothing and asks nothing. It
// doesn't know how stores are reached: what is in them it is told.
//
// Other packages state facts and leave the advice to package cli. Here the
// advice is what the package is for.
package doctor

import (
	"fmt"
	"slices"

	"kura/internal/awsconfig"
)

// A Level says how much a finding matters.
type Level string

// The levels, the gravest first.
const (
	Problem Level = "problem" // something does not work, or is open to others
	Warning Level = "warning" // it works, but not with every program or not as it may be meant
	Note    Level = "note"    // good to know
)

// A Finding is something found, and what to do about it.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"`  // the fact
	Where string `json:"where"` // FILE:LINE, a file, a variable or a store; "" if there is no such place
	Fix   string `json:"fix"`   // what to type or to change; @kura stands for this program
}

// A Setup is what is examined, and what helps to do it.
type Setup struct {
	// Only is the profile to examine, with those that its credentials depend
	// on; "" means all. What concerns no profile is examined in any case.
	Only string

	// The two files of the AWS CLI: empty if they do not exist, nil if they
	// can't be read, which is another's finding.
	Config, Credentials *awsconfig.File

	Home     string              // the user's home directory
	Getenv   func(string) string // looks up a variable, "" when it is not set
	Own      []string            // files and directories of this program that others must not change
	Terminal bool                // whether there is a terminal to ask on

	// Stored reports whether there is an access key of that name in the store
	// that the profile has. That is not known where the store does not work.
	Stored func(name string) (has, known bool)

	// LookPath is that of package exec.
	LookPath func(program string) (string, error)

	// Asked returns the profile that this program is asked for by arguments,
	// "" if it is none or not said.
	Asked func(args []string) (profile string)

	// MFASource returns what is wrong with a value of mfa_source, or nil.
	MFASource func(value string) error

	Explain func(error) (advice string) // what to do about an error of package chain
	Quote   func(word string) string    // writes a word as shells take it

	asked map[string]string // see findProcesses
}

// Examine returns what is found, the gravest first.
func (s *Setup) Examine() []Finding {
	s.findProcesses()
	return Sorted(slices.Concat(
		s.duplicates(s.Config),
		s.duplicates(s.Credentials),
		s.keysInFiles(s.Credentials),
		s.keysInFiles(s.Config),
		s.profiles(),
		s.environment(),
		s.aliases(),
		s.modes(),
	))
}

// Sorted returns findings with the gravest first, otherwise in their order, and
// each once.
func Sorted(findings []Finding) []Finding {
	var sorted []Finding
	for _, level := range []Level{Problem, Warning, Note} {
		for _, f := range findings {
			if f.Level == level && !slices.Contains(sorted, f) {
				sorted = append(sorted, f)
			}
		}
	}
	return sorted
}

// Scope returns the profiles that Examine has examined: all of the config file
// or, of a single one, those that its settings and its credentials come from.
func (s *Setup) Scope() []string {
	if s.Config == nil {
		return nil
	}
	if s.Only == "" {
		return s.Config.Profiles()
	}
	names := []string{s.Only}
	for i := 0; i < len(names); i++ {
		section, _ := s.Config.Profile(names[i])
		// What a profile does not say it has from those that it includes, or
		// else from [default].
		for _, next := range []string{section.Get("source_profile"), section.Get("include_profile"), s.asked[names[i]], "default"} {
			if _, ok := s.Config.Profile(next); ok && !slices.Contains(names, next) {
				names = append(names, next)
			}
		}
	}
	return names
}

// inScope reports whether a profile is one of those to examine.
func (s *Setup) inScope(profile string) bool {
	return s.Only == "" || profile == s.Only || slices.Contains(s.Scope(), profile)
}

// at returns where a setting of a profile stands in a file, or the file if it
// does not.
func at(f *awsconfig.File, profile, setting string) string {
	section, _ := f.Profile(profile)
	if line := section.Line(setting); line > 0 {
		return fmt.Sprintf("%s:%d", f.Name(), line)
	}
	return f.Name()
}
