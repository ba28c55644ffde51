package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"kura/internal/durable"
	"kura/internal/store"
)

// The kinds of key slots. A slot of any other kind was made by a newer program:
// it is listed and can be removed, but not opened.
const (
	Passphrase = "passphrase" // opens with a passphrase, by scrypt
	Recovery   = "recovery"   // opens with a recovery key, which is on paper
	Plugin     = "plugin"     // opens with an age plugin, such as age-plugin-yubikey
)

// A Slot is one of the ways to open a store. Each wraps the same identity, so
// that adding or removing one leaves the items as they are.
type Slot struct {
	Kind    string
	Name    string    // no two slots of a store have the same
	Created time.Time // in seconds
}

var (
	// ErrLastSlot says that a slot was not removed because no other is left
	// that could open the store here.
	ErrLastSlot = errors.New("no other slot can open the store")

	// ErrSlotExists says that a slot was not added because there is one of the
	// same name.
	ErrSlotExists = errors.New("there is a slot of that name")
)

const (
	defaultWorkFactor = 18 // age's own

	// maxWorkFactor bounds what a planted slot can cost: 2^20 takes 2 seconds
	// and 1 GiB.
	maxWorkFactor = 20

	maxSlot     = 64 << 10 // bytes of a slot's file
	createdForm = "20060102150405"
)

// Slots returns the slots of the store, the oldest first. It does not unlock.
func (s *Store) Slots(ctx context.Context) ([]Slot, error) {
	if _, err := s.look(ctx); err != nil {
		return nil, err
	}
	return s.slots()
}

// AddPassphrase adds a slot that opens with another passphrase, which it asks
// for. An empty name stands for "passphrase".
func (s *Store) AddPassphrase(ctx context.Context, name string) error {
	return s.add(ctx, Slot{Kind: Passphrase, Name: name}, "", func(text []byte) ([]byte, error) {
		pass, err := s.newPassphrase(ctx)
		if err != nil {
			return nil, err
		}
		return s.sealPassphrase(text, pass)
	})
}

// AddRecovery adds a slot and returns the key that opens it: one line of
// capital letters, digits and dashes, which is an age identity. It is not
// stored anywhere and has to be shown to the user now. An empty name stands for
// "recovery".
func (s *Store) AddRecovery(ctx context.Context, name string) (key string, err error) {
	err = s.add(ctx, Slot{Kind: Recovery, Name: name}, "", func(text []byte) ([]byte, error) {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return nil, err
		}
		key = id.String()
		return seal(text, id.Recipient())
	})
	if err != nil {
		return "", err
	}
	return key, nil
}

// AddPlugin adds a slot that an age plugin opens. The recipient is one like
// age1yubikey1…, and the identity the AGE-PLUGIN-… line that belongs to it; if
// it is empty the plugin is asked to find it by itself, as by "age -j". The slot
// is opened once, so that the user sees that it works. An empty name stands for
// "plugin". If the plugin's program is missing the error wraps a
// *plugin.NotFoundError of package filippo.io/age/plugin.
func (s *Store) AddPlugin(ctx context.Context, name, recipient, identity string) error {
	to, err := plugin.NewRecipient(recipient, s.o.PluginUI)
	if err != nil {
		return fmt.Errorf("%.60q is not the recipient of an age plugin", recipient)
	}
	if identity == "" {
		identity = plugin.EncodeIdentity(to.Name(), nil)
	}
	id, err := s.pluginIdentity(identity)
	if err != nil || id.Name() != to.Name() {
		return fmt.Errorf("%.60q is not an identity of the age plugin %q", identity, to.Name())
	}
	return s.add(ctx, Slot{Kind: Plugin, Name: name}, identity, func(text []byte) ([]byte, error) {
		text = bytes.Clone(text) // as an interrupted plugin outlives the original
		return interruptible(ctx, func() ([]byte, error) {
			defer clear(text)
			sealed, err := seal(text, to)
			if err != nil {
				return nil, err
			}
			got, err := unseal(sealed, id)
			clear(got)
			if err != nil {
				return nil, fmt.Errorf("proving that the age plugin %q opens the slot: %w", to.Name(), err)
			}
			return sealed, nil
		})
	})
}

// add unlocks the store and adds a slot, for which wrap seals the text of the
// identity. What a plugin needs to know goes in a file beside it.
func (s *Store) add(ctx context.Context, slot Slot, pluginIdentity string, wrap func(text []byte) ([]byte, error)) error {
	if slot.Name == "" {
		slot.Name = slot.Kind
	}
	slot.Created = s.o.Now()
	if len(slotFile(slot)) > maxFileName {
		return fmt.Errorf("slot %.20q…: the name is too long", slot.Name)
	}
	id, err := s.unlock(ctx)
	if err != nil {
		return err
	}
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	slots, err := s.slots()
	if err != nil {
		return err
	}
	if _, ok := find(slots, slot.Name); ok {
		return fmt.Errorf("slot %q: %w", slot.Name, ErrSlotExists)
	}
	text := []byte(id.age.String() + "\n")
	defer clear(text)
	sealed, err := wrap(text)
	if err != nil {
		return err
	}
	if pluginIdentity != "" {
		if err := s.write(s.identityPath(slot), []byte(pluginIdentity+"\n")); err != nil {
			return err
		}
	}
	return s.write(s.slotPath(slot), sealed)
}

// RemoveSlot removes a slot, or returns an error wrapping store.ErrNotFound, or
// ErrLastSlot. What it opened with then is of no use, unless somebody has a copy
// of the slot: who may have seen both can open the store for ever.
func (s *Store) RemoveSlot(ctx context.Context, name string) error {
	recipient, err := s.recipient(ctx)
	if err != nil {
		return err
	}
	if recipient == "" {
		return fmt.Errorf("slot %q: %w", name, store.ErrNotFound)
	}
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	slots, err := s.slots()
	if err != nil {
		return err
	}
	slot, ok := find(slots, name)
	if !ok {
		return fmt.Errorf("slot %q: %w", name, store.ErrNotFound)
	}
	if !slices.ContainsFunc(slots, func(other Slot) bool { return other.Name != name && s.canOpen(other) }) {
		return fmt.Errorf("slot %q: %w", name, ErrLastSlot)
	}
	if err := durable.Remove(s.slotPath(slot)); err != nil {
		return err
	}
	if err := durable.Remove(s.identityPath(slot)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ChangePassphrase asks for a passphrase and puts a new one in its place. With
// a recovery key instead it replaces that of the oldest passphrase slot, or adds
// one if there is none.
func (s *Store) ChangePassphrase(ctx context.Context) error {
	recipient, err := s.recipient(ctx)
	if err != nil {
		return err
	}
	if recipient == "" {
		return fmt.Errorf("%w: there is no store in %s yet", store.ErrNotFound, s.o.Dir)
	}
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	slots, err := s.slots()
	if err != nil {
		return err
	}
	if len(slots) == 0 {
		return s.noSlots()
	}
	text, slot, err := s.ask(ctx, slots, recipient)
	if err != nil {
		return err
	}
	defer clear(text)
	if slot.Kind != Passphrase {
		i := slices.IndexFunc(slots, func(s Slot) bool { return s.Kind == Passphrase })
		slot = Slot{Kind: Passphrase, Name: Passphrase, Created: s.o.Now()}
		if i >= 0 {
			slot = slots[i]
		}
	}
	pass, err := s.newPassphrase(ctx)
	if err != nil {
		return err
	}
	sealed, err := s.sealPassphrase(text, pass)
	if err != nil {
		return err
	}
	return s.write(s.slotPath(slot), sealed)
}

// canOpen reports whether a slot is whole, as far as can be seen from outside,
// and of a kind that works on this machine.
func (s *Store) canOpen(slot Slot) bool {
	sealed, err := readFile(s.slotPath(slot), maxSlot)
	if err != nil {
		return false
	}
	if _, err := age.ExtractHeader(bytes.NewReader(sealed)); err != nil {
		return false
	}
	switch slot.Kind {
	case Passphrase, Recovery:
		return true
	case Plugin:
		line, err := readFile(s.identityPath(slot), maxSlot)
		if err != nil {
			return false
		}
		id, err := s.pluginIdentity(string(line))
		if err != nil {
			return false
		}
		_, err = exec.LookPath("age-plugin-" + id.Name())
		return err == nil
	}
	return false
}

func (s *Store) noSlots() error {
	return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, s.path("slots"), ErrNoSlots)
}

func find(slots []Slot, name string) (Slot, bool) {
	i := slices.IndexFunc(slots, func(s Slot) bool { return s.Name == name })
	if i < 0 {
		return Slot{}, false
	}
	return slots[i], true
}

// slots returns the slots, the oldest first. Files that are none are left out.
func (s *Store) slots() ([]Slot, error) {
	files, err := readDir(s.path("slots"))
	if err != nil {
		return nil, err
	}
	var slots []Slot
	for _, file := range files {
		if slot, ok := parseSlotFile(file); ok {
			slots = append(slots, slot)
		}
	}
	slices.SortStableFunc(slots, func(a, b Slot) int { return a.Created.Compare(b.Created) })
	return slots, nil
}

func (s *Store) slotPath(slot Slot) string { return s.path("slots", slotFile(slot)) }

// identityPath returns the path of the file that tells a plugin which key it
// needs. It is no secret.
func (s *Store) identityPath(slot Slot) string {
	return strings.TrimSuffix(s.slotPath(slot), suffix) + ".identity"
}

// slotFile returns the name of a slot's file:
//
//	passphrase.20260131235959.dev%2feu.age     kind, creation in UTC, escaped name
func slotFile(slot Slot) string {
	return slot.Kind + "." + slot.Created.UTC().Format(createdForm) + "." + store.Escape(slot.Name) + suffix
}

// parseSlotFile is the inverse of slotFile.
func parseSlotFile(file string) (slot Slot, ok bool) {
	stem, ok := strings.CutSuffix(file, suffix)
	parts := strings.SplitN(stem, ".", 3)
	if !ok || len(parts) != 3 || !isKind(parts[0]) {
		return Slot{}, false
	}
	created, err := time.Parse(createdForm, parts[1])
	name, ok := store.Unescape(parts[2])
	slot = Slot{parts[0], name, created}
	return slot, err == nil && ok && name != "" && slotFile(slot) == file
}

// sealPassphrase returns the file of a passphrase slot.
func (s *Store) sealPassphrase(text []byte, pass string) ([]byte, error) {
	if s.o.WorkFactor < 1 || s.o.WorkFactor > maxWorkFactor {
		return nil, fmt.Errorf("a work factor of %d, want 1 to %d", s.o.WorkFactor, maxWorkFactor)
	}
	to, err := age.NewScryptRecipient(pass)
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(s.o.WorkFactor)
	return seal(text, to)
}

func passphraseIdentity(pass string) (age.Identity, error) {
	id, err := age.NewScryptIdentity(pass)
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	return id, nil
}

// recoveryIdentity reads a recovery key as people type it: in any case, and
// with white space where they like.
func recoveryIdentity(typed string) (age.Identity, error) {
	key := strings.ToUpper(strings.Join(strings.FieldsFunc(typed, unicode.IsSpace), ""))
	return age.ParseHybridIdentity(key)
}

func (s *Store) pluginIdentity(line string) (*plugin.Identity, error) {
	return plugin.NewIdentity(strings.TrimSpace(line), s.o.PluginUI)
}
