package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"kura/internal/durable"
	"kura/internal/store"
)

// Lock makes this process and the system forget what unlocks the store, so that
// the next one to need it asks again. It forgets all that is in Options.Keep.
func (s *Store) Lock() error {
	s.turn <- struct{}{}
	s.opened = nil
	<-s.turn
	return s.o.Keep.Forget()
}

// unlock returns the identity of the store, which is made if it was never used.
//
// However many goroutines and processes need it at once, one of them asks and
// the others wait: goroutines for turn, and then one of each process for the
// lock file. Whoever gets it looks first whether there is still need to ask.
func (s *Store) unlock(ctx context.Context) (*identity, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	recipient, err := s.recipient(ctx)
	if err != nil {
		return nil, err
	}
	if s.isOpen(recipient) {
		return s.opened, nil
	}
	if recipient == "" {
		if err := durable.MkdirAll(s.o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	release, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if recipient, err = s.recipient(ctx); err != nil {
		return nil, err
	}
	if s.isOpen(recipient) {
		return s.opened, nil
	}

	var text []byte
	if recipient == "" {
		text, err = s.initialise(ctx)
	} else {
		text, err = s.openSlots(ctx, recipient)
	}
	defer clear(text)
	if err != nil {
		return nil, err
	}
	id, err := parseIdentity(text)
	if err != nil {
		return nil, err
	}
	s.opened = id
	// To keep it is a convenience. Where it fails the user is asked again.
	_ = s.o.Keep.Put(keepName(id.recipient), text, s.o.TTL)
	return id, nil
}

// isOpen reports whether s.opened is the identity that belongs to a recipient.
// If another process has kept it, it is now.
func (s *Store) isOpen(recipient string) bool {
	if s.opened != nil && s.opened.recipient == recipient {
		return true
	}
	text, ok := s.o.Keep.Get(keepName(recipient))
	if !ok {
		return false
	}
	defer clear(text)
	id, err := parseIdentity(text)
	if err != nil || id.recipient != recipient {
		return false // something else has taken the name
	}
	s.opened = id
	return true
}

// isKept reports whether something is kept that may open the store.
func (s *Store) isKept(recipient string) bool {
	text, ok := s.o.Keep.Get(keepName(recipient))
	clear(text)
	return ok
}

// keepName returns the name by which an identity is kept.
func keepName(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return "identity " + hex.EncodeToString(sum[:16])
}

// lock waits for the lock file, which is held while somebody is asked for the
// passphrase or the slots are changed. Items need no lock.
func (s *Store) lock(ctx context.Context) (release func(), err error) {
	t := time.AfterFunc(time.Second, s.o.Waiting)
	defer t.Stop()
	release, err = durable.Lock(ctx, s.path("lock"))
	if errors.Is(err, durable.ErrReadOnly) {
		return func() {}, nil // nobody can change it, but it can be read
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("waiting for another process that uses the store: %w", err)
	}
	return release, err
}

// initialise makes a store and returns the text of its identity. The file
// format comes last: without it there is no store yet. Slots that are there all
// the same are of a process that died before, or of a copy that is not complete
// yet, so one of them is opened: nothing is ever made anew over a slot.
func (s *Store) initialise(ctx context.Context) ([]byte, error) {
	slots, err := s.slots()
	if err != nil {
		return nil, err
	}
	var text []byte
	if len(slots) == 0 {
		text, err = s.firstSlot(ctx)
	} else {
		text, err = s.openSlots(ctx, "")
	}
	if err != nil {
		return nil, err
	}
	id, err := parseIdentity(text)
	if err != nil {
		return nil, err
	}
	if err := s.write(s.path("recipient"), []byte(id.recipient+"\n")); err != nil {
		return nil, err
	}
	return text, s.write(s.path("format"), fmt.Appendf(nil, "kura-store %d\n", version))
}

// firstSlot makes an identity, wraps it in a passphrase slot, and returns its
// text.
func (s *Store) firstSlot(ctx context.Context) ([]byte, error) {
	pass, err := s.newPassphrase(ctx)
	if err != nil {
		return nil, err
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, err
	}
	text := []byte(id.String() + "\n")
	sealed, err := s.sealPassphrase(text, pass)
	if err != nil {
		return nil, err
	}
	slot := Slot{Kind: Passphrase, Name: Passphrase, Created: s.o.Now()}
	return text, s.write(s.slotPath(slot), sealed)
}

// newPassphrase asks for a passphrase to be.
func (s *Store) newPassphrase(ctx context.Context) (string, error) {
	if s.o.NewPassphrase == nil {
		return "", fmt.Errorf("%w: there is nobody to ask for a new passphrase", store.ErrLocked)
	}
	pass, err := s.o.NewPassphrase(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %w", store.ErrLocked, err)
	}
	if pass == "" {
		return "", ErrEmptyPassphrase
	}
	return pass, nil
}

// maxAttempts is how often a passphrase is asked for.
const maxAttempts = 3

// openSlots returns the text of the identity that belongs to a recipient, or of
// any if that is "". Each slot will do. Plugins come first, as with them there
// may be nothing to type.
func (s *Store) openSlots(ctx context.Context, recipient string) ([]byte, error) {
	slots, err := s.slots()
	if err != nil {
		return nil, err
	}
	if len(slots) == 0 {
		return nil, s.noSlots()
	}
	why := store.ErrLocked // and then what came of each slot
	typed := false         // some slot opens with what one can type
	for _, slot := range slots {
		switch slot.Kind {
		case Passphrase, Recovery:
			typed = true
		case Plugin:
			text, err := s.openPlugin(ctx, slot, recipient)
			if err == nil {
				return text, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			why = fmt.Errorf("%w; slot %q: %w", why, slot.Name, err)
		default:
			why = fmt.Errorf("%w; slot %q: this program does not know its kind, %q", why, slot.Name, slot.Kind)
		}
	}
	if !typed {
		return nil, why
	}
	text, _, err := s.ask(ctx, slots, recipient)
	return text, err
}

// ask asks for a passphrase or a recovery key until it opens one of slots, and
// returns the text of the identity and that slot.
func (s *Store) ask(ctx context.Context, slots []Slot, recipient string) ([]byte, Slot, error) {
	if s.o.Passphrase == nil {
		return nil, Slot{}, fmt.Errorf("%w: there is nobody to ask for the passphrase", store.ErrLocked)
	}
	var last string
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		pass, err := s.o.Passphrase(ctx, attempt)
		if err != nil {
			return nil, Slot{}, fmt.Errorf("%w: %w", store.ErrLocked, err)
		}
		if attempt > 1 && pass == last {
			break
		}
		last = pass
		text, slot, err := s.try(ctx, slots, recipient, pass)
		if !errors.Is(err, ErrWrongPassphrase) {
			return text, slot, err
		}
	}
	return nil, Slot{}, fmt.Errorf("%w: %w", store.ErrLocked, ErrWrongPassphrase)
}

// try opens one of slots with a passphrase or a recovery key, or returns
// ErrWrongPassphrase. A slot that is damaged is an error only if there is no
// other to try.
func (s *Store) try(ctx context.Context, slots []Slot, recipient, pass string) ([]byte, Slot, error) {
	damaged, tried := error(nil), false
	for _, slot := range slots {
		var id age.Identity
		var err error
		switch slot.Kind {
		case Passphrase:
			id, err = passphraseIdentity(pass)
		case Recovery:
			id, err = recoveryIdentity(pass)
		default:
			continue
		}
		if err != nil {
			tried = true // it is none for this slot
			continue
		}
		if ctx.Err() != nil { // each one costs half a second
			return nil, Slot{}, context.Cause(ctx)
		}
		text, err := s.openSlot(slot, id, recipient)
		if err == nil {
			return text, slot, nil
		}
		if errors.Is(err, age.ErrIncorrectIdentity) {
			tried = true
		} else if damaged == nil {
			damaged = err
		}
	}
	if damaged != nil && !tried {
		return nil, Slot{}, damaged
	}
	return nil, Slot{}, ErrWrongPassphrase
}

// openSlot returns the text of the identity that a slot holds, checked to be
// that of the store.
func (s *Store) openSlot(slot Slot, with age.Identity, recipient string) ([]byte, error) {
	path := s.slotPath(slot)
	sealed, err := readFile(path, maxSlot)
	if err != nil {
		return nil, unusable(err)
	}
	text, err := unseal(sealed, with)
	_, isPlugin := with.(*plugin.Identity)
	if isPlugin && err != nil || errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, err // the file is not to blame, as far as one can tell
	}
	if err != nil {
		return nil, &FileError{path, false, err}
	}
	if err := checkIdentity(text, recipient); err != nil {
		clear(text)
		return nil, &FileError{path, true, err}
	}
	return text, nil
}

func checkIdentity(text []byte, recipient string) error {
	id, err := parseIdentity(text)
	if err != nil {
		return err
	}
	if recipient != "" && id.recipient != recipient {
		return errors.New("it opens another store")
	}
	return nil
}

// openPlugin is openSlot with the help of an age plugin.
func (s *Store) openPlugin(ctx context.Context, slot Slot, recipient string) ([]byte, error) {
	line, err := durable.ReadFile(s.identityPath(slot), maxSlot)
	if err != nil {
		return nil, unusable(err)
	}
	id, err := s.pluginIdentity(string(line))
	if err != nil {
		return nil, &FileError{s.identityPath(slot), false, err}
	}
	return interruptible(ctx, func() ([]byte, error) { return s.openSlot(slot, id, recipient) })
}

// interruptible calls f, but returns when ctx is done, leaving f to end in its
// own time: age's plugins know no context. The program is about to end then,
// and the plugin with it, as its pipes are closed.
func interruptible(ctx context.Context, f func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := f()
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
