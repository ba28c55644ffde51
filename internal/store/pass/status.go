package pass

import (
	"slices"
	"strings"

	"kura/internal/store/program"
)

// A status is what gpg has said on standard error with --status-fd=2: lines for
// programs, which don't depend on the user's language, among those for people.
// See doc/DETAILS of GnuPG.
type status struct {
	used    bool // there was a line for programs
	lines   [][]string
	message string // the last line for people
}

const statusPrefix = "[GNUPG:] "

func readStatus(stderr []byte) status {
	var st status
	for line := range strings.Lines(string(stderr)) {
		rest, ok := strings.CutPrefix(line, statusPrefix)
		if fields := strings.Fields(rest); ok && len(fields) > 0 {
			st.used = true
			st.lines = append(st.lines, fields)
		} else if text := program.Line([]byte(line)); text != "" {
			st.message = text
		}
	}
	return st
}

// has reports whether there is a line of that keyword.
func (st status) has(keyword string) bool {
	return slices.ContainsFunc(st.lines, func(fields []string) bool { return fields[0] == keyword })
}

// values returns the first arguments of all lines of a keyword.
func (st status) values(keyword string) []string {
	var values []string
	for _, fields := range st.lines {
		if fields[0] == keyword && len(fields) > 1 {
			values = append(values, fields[1])
		}
	}
	return values
}

// badRecipient returns the key that gpg would not encrypt to.
func (st status) badRecipient() (id, reason string, ok bool) {
	for _, fields := range st.lines {
		if fields[0] == "INV_RECP" && len(fields) > 2 {
			return strings.Join(fields[2:], " "), recipientReason(fields[1]), true
		}
	}
	return "", "", false
}

// recipientReason says what a reason of INV_RECP means, as of doc/DETAILS.
func recipientReason(code string) string {
	switch code {
	case "1":
		return "there is no such public key"
	case "2":
		return "several keys match"
	case "3":
		return "it is not a key for encryption"
	case "4":
		return "it is revoked"
	case "5":
		return "it has expired"
	case "10":
		return "it is not trusted"
	}
	return "there is no public key that can be used"
}
