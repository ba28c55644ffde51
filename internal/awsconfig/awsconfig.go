// Package awsconfig reads and edits the AWS shared config and credentials
// files. It knows the syntax of the files and nothing of what their settings
// mean: that is package chain.
package awsconfig

import "fmt"

// A File is a parsed config file. It keeps the bytes it was parsed from, so
// that an edited copy differs from them only where it was edited.
type File struct{ name string }

// A Section is one profile, sso-session or services section. The zero Section
// is an empty one.
type Section struct{}

// A SyntaxError says where a file is malformed.
type SyntaxError struct {
	File string
	Line int // counted from 1
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// Parse reads a config file (~/.aws/config). The name is used only in errors.
func Parse(name string, data []byte) (*File, error) { return &File{name}, nil }

// ParseCredentials reads a credentials file (~/.aws/credentials), where every
// section is a profile and its header the bare name.
func ParseCredentials(name string, data []byte) (*File, error) { return &File{name}, nil }

// Profiles returns the names of the profiles in the order of the file.
func (f *File) Profiles() []string { return nil }

// Profile returns the section of a profile, and whether there is one.
func (f *File) Profile(name string) (Section, bool) { return Section{}, false }

// SSOSession returns the section "[sso-session name]".
func (f *File) SSOSession(name string) (Section, bool) { return Section{}, false }

// Services returns the section "[services name]".
func (f *File) Services(name string) (Section, bool) { return Section{}, false }

// Get returns the value of a setting, or "" when it is not set. Names of
// settings are compared without regard to case.
func (s Section) Get(name string) string { return "" }

// Nested returns a setting of a block such as
//
//	s3 =
//	  endpoint_url = https://s3.example
//
// where block is "s3" and name "endpoint_url".
func (s Section) Nested(block, name string) string { return "" }

// Blocks returns the names of the nested blocks of s, in the order of the file.
func (s Section) Blocks() []string { return nil }

// Line returns the line of the file where a setting stands, or 0.
func (s Section) Line(name string) int { return 0 }
