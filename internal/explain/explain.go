// Package explain draws how a profile gets its credentials: who holds the key,
// what is asked of whom, with which setting from which line, and what is cached.
// It is told all of that; it reads nothing and decides nothing.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// A Picture is how the credentials of a profile come about. Its form in JSON is
// for programs: what is there keeps its name and meaning, and more may come.
type Picture struct {
	Profile string   `json:"profile"`
	Path    []Link   `json:"path"`              // from the profile, by source_profile, to that of the source
	Source  *Source  `json:"source,omitempty"`  // nil if it did not come to that
	Steps   []Step   `json:"steps"`             // in the order they are taken
	Command *Command `json:"command,omitempty"` // that the credentials are for
	Notes   []string `json:"notes"`
	Error   *Error   `json:"error,omitempty"` // why the profile gets no credentials

	Now  time.Time `json:"-"`
	Home string    `json:"-"` // which is written ~ where people read
}

// A Link is a profile on the way to the source.
type Link struct {
	Profile  string    `json:"profile"`
	Settings []Setting `json:"settings"`
}

// A Setting is one that counts, and where it stands.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`   // left out where it may hold a secret
	By      string `json:"by,omitempty"`      // the flag or variable that sets it
	Profile string `json:"profile,omitempty"` // in whose section it stands
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
}

// A Source is what credentials are made from. The fields that do not concern its
// kind are zero.
type Source struct {
	Kind     string    `json:"kind"` // AccessKey and its like
	Profile  string    `json:"profile"`
	Settings []Setting `json:"settings"`
	Key      *Key      `json:"key,omitempty"`
	Call     *Step     `json:"call,omitempty"`   // of a web identity
	Cached   *Cached   `json:"cached,omitempty"` // what a process has supplied
}

// The kinds of sources.
const (
	AccessKey   = "access-key"
	Process     = "credential-process"
	WebIdentity = "web-identity"
	SSO         = "identity-center"
)

// A Key is an access key in a store.
type Key struct {
	Backend  string   `json:"backend"`
	Place    string   `json:"place,omitempty"` // of the store, for people
	Item     string   `json:"item"`
	Stored   *bool    `json:"stored"`              // null where the store does not tell
	Unknown  string   `json:"unknown,omitempty"`   // why it does not
	ChosenBy *Setting `json:"chosen_by,omitempty"` // nil: nothing says which backend
}

// A Step is a call that exchanges credentials for others.
type Step struct {
	Operation   string    `json:"operation"` // such as "sts:AssumeRole"
	Profile     string    `json:"profile"`
	Endpoint    string    `json:"endpoint"` // a URL
	Region      string    `json:"region"`   // that it is signed for
	RoleARN     string    `json:"role_arn,omitempty"`
	SessionName string    `json:"session_name,omitempty"`
	Seconds     int64     `json:"seconds"`                  // that the session lasts when it is new
	Wanted      int64     `json:"wanted_seconds,omitempty"` // seconds that were asked for, where AWS allows less
	MFA         *MFA      `json:"mfa,omitempty"`
	Settings    []Setting `json:"settings"`
	Cached      *Cached   `json:"cached,omitempty"` // what the call has led to
}

// An MFA is a device that a step shows, and what tells its codes.
type MFA struct {
	Serial   string   `json:"serial"`
	Codes    string   `json:"codes"`               // where they come from
	ChosenBy *Setting `json:"chosen_by,omitempty"` // nil: nothing says so
}

// A Cached is a session in the cache.
type Cached struct {
	Expires time.Time `json:"expires"`
	Left    int64     `json:"seconds_left"` // seconds; negative when expired
	Usable  bool      `json:"usable"`
}

// A Command is what the credentials are for.
type Command struct {
	Variables []Variable `json:"variables"` // that it finds in its environment
	Settings  []Setting  `json:"settings"`
	Bare      bool       `json:"bare"` // it gets the access key itself
}

// A Variable is one of the environment. The value of a secret is left out.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// An Error is what is wrong, and what to do about it.
type Error struct {
	Message string   `json:"message"`
	Hints   []string `json:"hints"`
}

// WriteJSON prints p for programs.
func (p *Picture) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(p)
}

// where says where a setting stands, for people.
func (p *Picture) where(s *Setting) string {
	switch {
	case s == nil:
		return ""
	case s.By != "":
		return s.By
	case s.File == "":
		return ""
	case s.Line == 0:
		return p.short(s.File)
	}
	return fmt.Sprintf("%s:%d", p.short(s.File), s.Line)
}

func (p *Picture) short(file string) string { return Short(p.Home, file) }

// Short writes a file below the home directory as a shell does.
func Short(home, file string) string {
	if rest, ok := strings.CutPrefix(file, home+string(filepath.Separator)); ok && home != "" {
		return "~" + string(filepath.Separator) + rest
	}
	return file
}

func find(settings []Setting, name string) *Setting {
	for i := range settings {
		if settings[i].Name == name {
			return &settings[i]
		}
	}
	return nil
}

// oneLine keeps text from a file from moving the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// lasting writes a duration without the units that are zero at its end.
func lasting(seconds int64) string {
	d := (time.Duration(seconds) * time.Second).String()
	d = strings.Replace(d, "m0s", "m", 1)
	return strings.Replace(d, "h0m", "h", 1)
}
