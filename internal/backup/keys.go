package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

var (
	// ErrNoRecipients says that nobody was named who could open a backup.
	ErrNoRecipients = errors.New("no recipient to encrypt to")

	// ErrNoIdentities says that there is nothing that could open a backup.
	ErrNoIdentities = errors.New("no identity to decrypt with")

	// ErrIsIdentity says that an identity stands where a recipient should:
	// what is secret in place of what is not.
	ErrIsIdentity = errors.New("that is an identity, which is secret, and not a recipient")

	// ErrIsRecipient says that a recipient stands where an identity should.
	ErrIsRecipient = errors.New("that is a recipient, which can't decrypt, and not an identity")

	// ErrUnknownKey says that a text is no recipient, or no identity, of any
	// kind that this program knows.
	ErrUnknownKey = errors.New("no recipient or identity that this program knows")
)

// A LineError says which line of a text is wrong. It does not quote the line,
// which may be secret.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns Err.
func (e *LineError) Unwrap() error { return e.Err }

// Questions are what has to be asked to use identities. Any may be left out.
type Questions struct {
	Plugin *plugin.ClientUI // of age plugins

	// Passphrase asks for a passphrase of what is given by name: "backup"
	// or "identity file". It is asked up to three times, attempt
	// being 1, 2 and 3; the same wrong answer twice ends it early, as where it
	// comes from a file.
	Passphrase func(of string, attempt int) (string, error)
}

// ErrNobody says that there was nobody to ask for a passphrase.
var ErrNobody = errors.New("there is nobody to ask for the passphrase")

// ask asks for a passphrase until try takes it, which says by
// ErrWrongPassphrase that it does not.
func (q Questions) ask(of string, try func(pass string) error) error {
	if q.Passphrase == nil {
		return fmt.Errorf("%s: %w", of, ErrNobody)
	}
	var former string
	for attempt := 1; attempt <= 3; attempt++ {
		pass, err := q.Passphrase(of, attempt)
		if err != nil {
			return err
		}
		if attempt > 1 && pass == former {
			break
		}
		if err := try(pass); !errors.Is(err, ErrWrongPassphrase) {
			return err
		}
		former = pass
	}
	return fmt.Errorf("%s: %w", of, ErrWrongPassphrase)
}

// ParseRecipients reads recipients, one on each line, as a recipients file of
// age has them: age1…, age1pq1… and those of plugins (age1NAME1…). Empty lines,
// and those that begin with "#", are skipped. SSH keys are not among them: the
// package that knows them does as much at each start of a program as this one
// may take. An error is ErrNoRecipients or a *LineError.
func ParseRecipients(text string, q Questions) ([]age.Recipient, error) {
	var list []age.Recipient
	err := eachLine(text, func(line string) error {
		r, err := parseRecipient(line, q)
		list = append(list, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNoRecipients
	}
	return list, nil
}

func parseRecipient(line string, q Questions) (r age.Recipient, err error) {
	switch {
	case strings.HasPrefix(line, "AGE-"), strings.HasPrefix(line, "-----BEGIN"):
		return nil, ErrIsIdentity
	case strings.HasPrefix(line, "age1pq1"):
		r, err = age.ParseHybridRecipient(line)
	case strings.HasPrefix(line, "age1") && strings.Count(line, "1") > 1:
		// X25519 recipients are in bech32, whose digits are without a 1.
		r, err = plugin.NewRecipient(line, q.ui())
	default:
		r, err = age.ParseX25519Recipient(line)
	}
	if err != nil {
		return nil, ErrUnknownKey // age's error quotes the line
	}
	return r, nil
}

// ParseIdentities reads a file of identities of age and its plugins, one on each
// line, with lines that are empty or begin with "#" skipped; or such a file
// encrypted with a passphrase, which is asked for. An error is ErrNoIdentities,
// a *LineError, one of Questions, or says what is wrong with the file.
func ParseIdentities(file []byte, q Questions) ([]age.Identity, error) {
	if is, _ := isAge(file); !is {
		return parseIdentities(file, q)
	}
	text, err := openIdentities(file, q)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return parseIdentities(text, q)
}

func openIdentities(file []byte, q Questions) ([]byte, error) {
	src, err := intro(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(src, marked{&passphrase{"identity file", q}})
	if failed, ok := errors.AsType[*identityError](err); ok {
		return nil, failed.err
	}
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, errors.New("it is encrypted, and not with a passphrase")
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

func parseIdentities(text []byte, q Questions) ([]age.Identity, error) {
	var list []age.Identity
	err := eachLine(string(text), func(line string) error {
		id, err := parseIdentity(line, q)
		list = append(list, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNoIdentities
	}
	return list, nil
}

func parseIdentity(line string, q Questions) (id age.Identity, err error) {
	switch {
	case strings.HasPrefix(line, "age1"), strings.HasPrefix(line, "ssh-"):
		return nil, ErrIsRecipient
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		id, err = plugin.NewIdentity(line, q.ui())
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err = age.ParseHybridIdentity(line)
	default:
		id, err = age.ParseX25519Identity(line)
	}
	if err != nil {
		return nil, ErrUnknownKey // age's error may quote a part of it
	}
	return id, nil
}

func (q Questions) ui() *plugin.ClientUI {
	if q.Plugin == nil {
		return new(plugin.ClientUI)
	}
	return q.Plugin
}

// eachLine calls do for the lines that say something. Errors are *LineError.
func eachLine(text string, do func(line string) error) error {
	lines := bufio.NewScanner(strings.NewReader(text))
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := do(line); err != nil {
			return &LineError{n, err}
		}
	}
	if err := lines.Err(); err != nil { // a line of more than 64 KiB
		return &LineError{n, err}
	}
	return nil
}

// maxWorkFactor is the base-2 logarithm of the greatest cost of scrypt that is
// accepted, as a file may come from anywhere: 2^20 takes 2 seconds and 1 GiB.
const maxWorkFactor = 20

// Passphrase returns an identity that asks for a passphrase, if that is what
// opens the file.
func Passphrase(q Questions) age.Identity { return &passphrase{"backup", q} }

type passphrase struct {
	of string
	q  Questions
}

func (p *passphrase) Unwrap(stanzas []*age.Stanza) (key []byte, err error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	err = p.q.ask(p.of, func(pass string) error {
		if pass == "" {
			return ErrWrongPassphrase // age knows no empty ones
		}
		id, err := age.NewScryptIdentity(pass)
		if err != nil {
			return err
		}
		id.SetMaxWorkFactor(maxWorkFactor)
		key, err = id.Unwrap(stanzas)
		if errors.Is(err, age.ErrIncorrectIdentity) {
			return ErrWrongPassphrase
		}
		return err
	})
	return key, err
}
