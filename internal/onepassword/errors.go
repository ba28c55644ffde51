package onepassword

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"kura/internal/store/program"
)

// A Kind is a class of failures of op, by what can be done about them.
type Kind string

// The kinds of failures. Most are told by what op says, which is not documented:
// the texts are from recordings of op, from programs of 1Password's and from
// reports of users.
const (
	Unknown        Kind = ""                // see Error.Text
	Missing        Kind = "missing"         // op is not installed, or does not start
	Outdated       Kind = "outdated"        // op is too old: see Error.Version
	NoAnswer       Kind = "no-answer"       // op was ended, as it had not answered in time
	Busy           Kind = "busy"            // other processes have used op all the time
	BadOutput      Kind = "bad-output"      // op says that it has succeeded, and prints something else
	Crashed        Kind = "crashed"         // op has panicked
	NoAccounts     Kind = "no-accounts"     // op is set up for none
	NotSignedIn    Kind = "not-signed-in"   // or nothing was approved yet
	SessionExpired Kind = "session-expired" // one that was begun by hand
	NoAccount      Kind = "no-account"      // op has no account that is called so
	Dismissed      Kind = "dismissed"       // the person, or time, has closed the app's question
	Unanswered     Kind = "unanswered"      // the app's question was not answered in time
	Locked         Kind = "locked"          // the app is, and does not ask
	NoApp          Kind = "no-app"          // the app does not run
	AppTrouble     Kind = "app-trouble"     // the app runs and does not talk to op
	NotFound       Kind = "not-found"       // no such item, as far as the account may see
	Archived       Kind = "archived"        // the item was archived or deleted
	Ambiguous      Kind = "ambiguous"       // several items: see Error.Matches
	NoVault        Kind = "no-vault"        // no such vault
	NeedsVault     Kind = "needs-vault"     // a service account must be told the vault
	Forbidden      Kind = "forbidden"       // no permission, such as to write
	TokenDeleted   Kind = "token-deleted"   // of a service account that was deleted
	TokenRefused   Kind = "token-refused"   // of a service account, or a Connect server
	RateLimited    Kind = "rate-limited"    // too many requests
	Conflict       Kind = "conflict"        // somebody else is changing the vault
	Hidden         Kind = "hidden"          // the server has no such thing, or not for this account
	BadRequest     Kind = "bad-request"     // the server does not take what op asks
	Server         Kind = "server"          // the server answers with another error
	Unreachable    Kind = "unreachable"     // the server can't be reached
)

// An Error is a failure of op.
type Error struct {
	Kind    Kind
	Command string // such as "op item get"

	// Text is the first line of what op said, without what may be secret. It
	// may name the item or the vault.
	Text    string
	Matches []Match // of an Ambiguous title
	Version string  // of an Outdated op; "" where it is not known
	PID     int     // of the process that a question was dismissed to, unless it is this one
	Err     error   // of running op, where there is one
}

// A Match is one of the items that a title stands for.
type Match struct{ Title, Vault, ID string }

func (e *Error) Error() string {
	text := e.describe()
	if e.PID != 0 {
		text = fmt.Sprintf("%s, in process %d", text, e.PID)
	}
	return e.Command + ": " + text
}

// describe says what is wrong, in op's words where those name something.
func (e *Error) describe() string {
	switch e.Kind {
	case Outdated:
		if e.Version != "" {
			return fmt.Sprintf("op is %s, and changes items by their JSON since %s only", e.Version, LeastVersion)
		}
	case Busy:
		return "another process has been using 1Password all the time"
	case NoAccounts:
		return "op is set up for no account of 1Password"
	case NotSignedIn:
		return "not signed in to 1Password"
	case SessionExpired:
		return "the session with 1Password has expired"
	case Dismissed:
		return "1Password's question was dismissed, or closed itself"
	case Unanswered:
		return "1Password's question was not answered in time"
	case Locked:
		return "1Password is locked"
	case NoApp:
		return "the 1Password app does not run"
	case NeedsVault:
		return "a service account must be told the vault"
	case TokenDeleted:
		return "the service account was deleted"
	case RateLimited:
		return "1Password has had too many requests"
	case Crashed:
		return "op has crashed"
	case Ambiguous:
		var b strings.Builder
		fmt.Fprintf(&b, "%d items match", len(e.Matches))
		for _, m := range e.Matches {
			fmt.Fprintf(&b, ", %s in the vault %q", m.ID, m.Vault)
		}
		return strings.Replace(b.String(), ",", ":", 1)
	}
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Text != "":
		return e.Text
	case e.Kind == NotFound:
		return "that names no item"
	}
	return "op gave no reason"
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error if it is an *Error, and Unknown if not.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Unknown
}

const errorPrefix = "[ERROR] "

// classify returns the error of a call that failed.
func classify(command string, result program.Result) error {
	text := strings.ToValidUTF8(string(result.Stderr), "?")
	if i := strings.Index(text, errorPrefix); i >= 0 {
		text = text[i+len(errorPrefix):]
		const layout = "2006/01/02 15:04:05 "
		if len(text) > len(layout) {
			if _, err := time.Parse(layout, text[:len(layout)]); err == nil {
				text = text[len(layout):]
			}
		}
	}
	text = strings.TrimSpace(text)
	line, rest, _ := strings.Cut(text, "\n")
	e := &Error{Kind: kindOf(line), Command: command, Text: redact(strings.TrimSpace(line))}
	switch {
	case result.Code == 2 && strings.HasPrefix(text, "panic:"):
		e.Kind = Crashed
	case result.Code < 0 && line == "":
		e.Kind, e.Text = Crashed, "op was killed"
	case e.Kind == Ambiguous:
		e.Matches = matches(rest)
	}
	return e
}

// kindOf finds out what a line of op's means. More telling texts come first.
func kindOf(line string) Kind {
	line = strings.ToLower(outsideQuotes(line))
	has := func(texts ...string) bool {
		for _, text := range texts {
			if strings.Contains(line, text) {
				return true
			}
		}
		return false
	}
	switch {
	case has("no account found for filter"):
		return NoAccount
	case has("deleted or archived"):
		return Archived
	case has("more than one item matches"):
		return Ambiguous
	case has("isn't an item"):
		return NotFound
	case has("isn't a vault"):
		return NoVault
	case has("vault query must be provided"):
		return NeedsVault
	case has("prompt dismissed"):
		return Dismissed
	case has("authorization timeout"):
		return Unanswered
	case has("session expired"):
		return SessionExpired
	case has("no accounts configured"):
		return NoAccounts
	case has("not currently signed in", "not signed in"):
		return NotSignedIn
	case has("app is locked"):
		return Locked
	case has("cannot connect to 1password app"):
		return NoApp
	case has("connecting to desktop app"):
		return AppTrouble
	case has("service account deleted"):
		return TokenDeleted
	case has("not authenticated yet", "(401)"):
		return TokenRefused
	case has("(409)", "conflict"):
		return Conflict
	case has("(429)", "too many requests", "rate-limited"):
		return RateLimited
	case has("(101)", "(403)", "permission"):
		return Forbidden
	case has("unknown flag", "unknown command"):
		return Outdated
	case has("(404)"):
		return Hidden
	case has("(400)"):
		return BadRequest
	case has("(500)", "(502)", "(503)", "(504)"):
		return Server
	case has("dial tcp", "no such host", "connection refused", "network is unreachable", "i/o timeout", "tls handshake", "no internet"):
		return Unreachable
	}
	return Unknown
}

// outsideQuotes returns a line without what is in double quotes in it: names
// that the user has given, which must not be taken for a message.
func outsideQuotes(line string) string {
	var b strings.Builder
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// matches reads the lines that follow on "More than one item matches":
//
//   - for the item "TITLE" in vault VAULT: ID
func matches(text string) []Match {
	var list []Match
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), `* for the item "`)
		colon := strings.LastIndex(line, ": ")
		if !ok || colon < 0 {
			continue
		}
		title, vault, ok := strings.Cut(line[:colon], `" in vault `)
		if ok {
			list = append(list, Match{title, vault, line[colon+2:]})
		}
	}
	return list
}

// redact returns a line of op's in a form that can be shown: printable, not
// long, and without secret references and what looks like a key or a token.
func redact(line string) string {
	if i := strings.Index(line, "op://"); i >= 0 {
		line = line[:i] + "op://[...]" // a reference can have blanks in it
	}
	if i := strings.Index(line, "otpauth://"); i >= 0 {
		line = line[:i] + "otpauth://[...]"
	}
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, line)
	var b strings.Builder
	for line != "" {
		n := strings.IndexFunc(line, func(r rune) bool { return !isTokenRune(r) })
		if n < 0 {
			n = len(line)
		}
		if word := line[:n]; looksSecret(word) {
			b.WriteString("[...]")
		} else {
			b.WriteString(word)
		}
		line = line[n:]
		if n := strings.IndexFunc(line, isTokenRune); n >= 0 {
			b.WriteString(line[:n])
			line = line[n:]
		} else {
			b.WriteString(line)
			line = ""
		}
	}
	text := []rune(b.String())
	if len(text) > 300 {
		text = append(text[:300], []rune("...")...)
	}
	return string(text)
}

func isTokenRune(r rune) bool {
	return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("+/=_-", r))
}

// looksSecret reports whether a word may be a secret. IDs of 1Password have 26
// characters and are none.
func looksSecret(word string) bool {
	return len(word) > 30 || strings.HasPrefix(word, "ops_") && len(word) > 8 ||
		len(word) >= 16 && (strings.HasPrefix(word, "AKIA") || strings.HasPrefix(word, "ASIA"))
}
