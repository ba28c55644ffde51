package passage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"kura/internal/durable"
	"kura/internal/store"
)

// maxKeys is the greatest size of a file of identities or recipients in bytes.
const maxKeys = 1 << 20

var (
	errSSH     = errors.New("keys of ssh can't be used here")
	errUnknown = errors.New("not an age identity or recipient")
	errNoKeys  = errors.New("there are no keys in the file")
)

// unlock returns the identities, and asks for the passphrase of their file once
// if it has one.
func (s *Store) unlock(ctx context.Context) ([]age.Identity, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.identities != nil {
		return s.identities, nil
	}
	text, err := s.readKeys(s.o.IdentitiesFile)
	if err != nil {
		return nil, err
	}
	if isSealed(text) {
		if text, err = s.openIdentities(ctx, text); err != nil {
			return nil, err
		}
	}
	defer clear(text)
	identities, err := s.parseIdentities(text)
	if err != nil {
		return nil, err
	}
	s.identities = identities
	return identities, nil
}

// isSealed reports whether an identities file is an age file itself.
func isSealed(text []byte) bool {
	return bytes.HasPrefix(text, []byte("age-encryption.org/")) ||
		bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header))
}

// openIdentities decrypts an identities file that has a passphrase.
func (s *Store) openIdentities(ctx context.Context, sealed []byte) ([]byte, error) {
	if s.o.Passphrase == nil {
		return nil, fmt.Errorf("%w: %s: %w", store.ErrLocked, s.o.IdentitiesFile, ErrNobody)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.PromptTimeout,
		fmt.Errorf("%w: no passphrase after %v", store.ErrLocked, s.o.PromptTimeout))
	defer cancel()
	last := ""
	for try := range tries {
		pass, err := s.o.Passphrase(ctx, "Passphrase of "+s.o.IdentitiesFile)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrLocked, err)
		}
		if pass == last && try > 0 {
			break // as where it comes from a file
		}
		last = pass
		id, err := age.NewScryptIdentity(pass)
		if err != nil {
			continue // an empty one
		}
		id.SetMaxWorkFactor(maxWorkFactor)
		r, err := age.Decrypt(unarmored(sealed), id)
		if err == nil {
			text, err := io.ReadAll(io.LimitReader(r, maxKeys))
			if err != nil {
				return nil, &KeyError{s.o.IdentitiesFile, 0, err}
			}
			return text, nil
		}
		if _, ok := errors.AsType[*age.NoIdentityMatchError](err); !ok {
			return nil, &KeyError{s.o.IdentitiesFile, 0, err}
		}
	}
	return nil, fmt.Errorf("%w: %s: %w", store.ErrLocked, s.o.IdentitiesFile, ErrWrongPassphrase)
}

// parseIdentities reads the lines of an identities file. Errors don't quote it.
func (s *Store) parseIdentities(text []byte) ([]age.Identity, error) {
	var identities []age.Identity
	err := eachLine(s.o.IdentitiesFile, text, func(line string) error {
		id, err := s.parseIdentity(line)
		identities = append(identities, id)
		return err
	})
	return identities, err
}

func (s *Store) parseIdentity(line string) (age.Identity, error) {
	var id age.Identity
	var err error
	switch {
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		var p *plugin.Identity
		if p, err = plugin.NewIdentity(line, s.o.PluginUI); err == nil {
			return pluginIdentity{p}, nil
		}
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err = age.ParseHybridIdentity(line)
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err = age.ParseX25519Identity(line)
	case strings.HasPrefix(line, "-----BEGIN"):
		return nil, errSSH
	default:
		err = errUnknown
	}
	if err != nil {
		return nil, errUnknown // err might quote the line
	}
	return id, nil
}

// A pluginIdentity tells errors of a plugin from those of the file.
type pluginIdentity struct{ *plugin.Identity }

func (p pluginIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	fileKey, err := p.Identity.Unwrap(stanzas)
	if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
		err = &PluginError{p.Name(), err}
	}
	return fileKey, err
}

// recipients returns whom the entries of a directory are encrypted to.
func (s *Store) recipients(ctx context.Context, dir string) ([]age.Recipient, error) {
	if s.o.RecipientsFile == "" && s.o.Recipients != "" {
		return s.parseRecipients("PASSAGE_RECIPIENTS", []byte(strings.Join(strings.Fields(s.o.Recipients), "\n")))
	}
	if file := s.recipientsFile(dir); file != "" {
		return s.readRecipients(file)
	}
	identities, err := s.unlock(ctx)
	if err != nil {
		return nil, err
	}
	var recipients []age.Recipient
	for _, id := range identities {
		switch id := id.(type) {
		case *age.X25519Identity:
			recipients = append(recipients, id.Recipient())
		case *age.HybridIdentity:
			recipients = append(recipients, id.Recipient())
		case pluginIdentity:
			recipients = append(recipients, id.Recipient())
		}
	}
	return recipients, nil
}

// recipientsFile returns the file that says whom the entries of a directory are
// encrypted to, or "".
func (s *Store) recipientsFile(dir string) string {
	if s.o.RecipientsFile != "" || s.o.Recipients != "" {
		return s.o.RecipientsFile
	}
	for {
		file := filepath.Join(dir, ".age-recipients")
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
		if len(dir) <= len(filepath.Clean(s.o.Dir)) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

func (s *Store) readRecipients(file string) ([]age.Recipient, error) {
	text, err := s.readKeys(file)
	if err != nil {
		return nil, err
	}
	return s.parseRecipients(file, text)
}

func (s *Store) parseRecipients(file string, text []byte) ([]age.Recipient, error) {
	var recipients []age.Recipient
	err := eachLine(file, text, func(line string) error {
		r, err := s.parseRecipient(line)
		recipients = append(recipients, r)
		return err
	})
	return recipients, err
}

// parseRecipient tells recipients apart as the age program does, but for those
// of ssh and of age-plugin-tag, which needs to be installed.
func (s *Store) parseRecipient(line string) (age.Recipient, error) {
	switch {
	case strings.HasPrefix(line, "age1pq1"):
		return age.ParseHybridRecipient(line)
	case strings.HasPrefix(line, "age1") && strings.Count(line, "1") > 1:
		return plugin.NewRecipient(line, s.o.PluginUI)
	case strings.HasPrefix(line, "age1"):
		return age.ParseX25519Recipient(line)
	case strings.HasPrefix(line, "ssh-"):
		return nil, errSSH
	}
	return nil, errUnknown
}

// readKeys reads a file of identities or recipients.
func (s *Store) readKeys(file string) ([]byte, error) {
	text, err := durable.ReadFile(file, maxKeys)
	if err != nil {
		return nil, &KeyError{file, 0, err}
	}
	return text, nil
}

// eachLine calls parse with the lines of a file of keys but comments. One at
// least must be there.
func eachLine(file string, text []byte, parse func(line string) error) error {
	n := 0
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		n++
		if err := parse(line); err != nil {
			return &KeyError{file, i + 1, err}
		}
	}
	if n == 0 {
		return &KeyError{file, 0, errNoKeys}
	}
	return nil
}
