// Package onepassword is a store in the items of a vault of 1Password, which the
// program op reads and writes. Unlike others this backend knows what it keeps: an
// access key is in fields of its own, those of 1Password's AWS plugin, so that one
// item serves both.
//
// The item of a key is titled "kura: NAME", escaped as package store does, and
// has the tag kura. One key can be in an item of the user's own instead. A rotation
// is an item titled "kura rotation: NAME", with the tag kura-rotation and one field
// of base64.
package onepassword

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kura/internal/cred"
	"kura/internal/onepassword"
	"kura/internal/store"
)

// A class is what the items of a kind have in common.
type class struct{ tag, titlePrefix string }

// classOf returns the class of a kind, and whether its items are kept here.
func classOf(kind store.Kind) (class, bool) {
	switch kind {
	case store.AccessKey:
		return class{"kura", "kura: "}, true
	case store.Rotation:
		return class{"kura-rotation", "kura rotation: "}, true
	}
	return class{}, false
}

// Options say which items are meant. All but Client may be left out.
type Options struct {
	// Client is shared with what else reads the items in one command, such as a
	// source of token codes: what one has read the other need not read again.
	Client *onepassword.Client

	Account string // ID, address or shorthand; "" leaves it to op
	Vault   string // ID or name; "" leaves it to op

	// Item is the ID or title of an item that holds the key of that Name, in
	// place of one of kura's.
	Item, Name string
}

var (
	// ErrAccessKeysOnly says that an item was to be stored that is no access
	// key, nor the rotation of one. The error that wraps it wraps store.ErrUnavailable too.
	ErrAccessKeysOnly = errors.New("1Password keeps access keys only")

	// ErrNotOurs says that an item was to be removed that is the user's own: it
	// may hold more than the key. The error that wraps it wraps store.ErrDenied
	// too.
	ErrNotOurs = errors.New("the item in 1Password was not made by kura")

	// ErrNoName says that Options.Item was set without Options.Name, or the
	// other way round. The error that wraps it wraps store.ErrUnavailable too.
	ErrNoName = errors.New("an item of 1Password needs the name of the key that it holds")

	// errWouldAsk is what there is to say of a store that is locked.
	errWouldAsk = errors.New("1Password has to ask for approval first")
)

// A Store is the part of a vault that is kura's.
type Store struct {
	o     Options
	fresh bool
}

var (
	_ store.Opened = (*Store)(nil)
	_ store.Dated  = (*Store)(nil)
)

// Open returns the store that the options say. It looks at nothing yet.
func Open(o Options) *Store { return &Store{o: o} }

// Fresh returns the store with a Get that asks 1Password's server each time.
func (s *Store) Fresh() store.Opened { return &Store{s.o, true} }

// ID implements store.Opened. It is made of what the options say, so a vault has
// another one by its name than by its ID.
func (s *Store) ID(context.Context) (string, error) {
	id := "vault:" + store.Escape(s.o.Account) + "/" + store.Escape(s.o.Vault)
	if s.o.Item != "" {
		id += "/" + store.Escape(s.o.Item) + "/" + store.Escape(s.o.Name)
	}
	return id, nil
}

// Ref returns which item of 1Password holds the access key of that name.
func (s *Store) Ref(name string) onepassword.Ref {
	return s.ref(store.Key{Kind: store.AccessKey, Name: name})
}

func (s *Store) ref(key store.Key) onepassword.Ref {
	c, _ := classOf(key.Kind)
	ref := onepassword.Ref{Account: s.o.Account, Vault: s.o.Vault, Item: c.titlePrefix + store.Escape(key.Name)}
	if s.isAdopted(key) {
		ref.Item = s.o.Item
	}
	return ref
}

// isAdopted reports whether an access key is in an item of the user's own.
func (s *Store) isAdopted(key store.Key) bool {
	return s.o.Item != "" && key == store.Key{Kind: store.AccessKey, Name: s.o.Name}
}

// check returns an error if there can be no item of that key, or the options
// contradict themselves.
func (s *Store) check(ctx context.Context, key store.Key) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if (s.o.Item == "") != (s.o.Name == "") {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ErrNoName)
	}
	return key.Check()
}

// Get implements store.Store. It calls op once; an item that this process has
// read in the last minute it need not call op for.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	class, ok := classOf(key.Kind)
	if !ok {
		return nil, key.NotFound()
	}
	ref := s.ref(key)
	get := s.o.Client.Item
	if s.fresh {
		get = s.o.Client.Fresh
	}
	it, err := get(ctx, ref)
	if err != nil {
		return nil, s.explain(key, err)
	}
	isOurs := it.Title == ref.Item && slices.Contains(it.Tags, class.tag)
	if !isOurs && !s.isAdopted(key) {
		return nil, key.NotFound() // somebody else's
	}
	if key.Kind != store.AccessKey {
		data, err := it.Data()
		return data, explain(key, err)
	}
	k, err := it.Key()
	switch {
	case err != nil && !it.HasKey(): // still to be filled, or its fields have other labels
		return nil, fmt.Errorf("%w: %w", key.NotFound(), err)
	case err != nil:
		return nil, explain(key, err)
	}
	return cred.Encode(k)
}

// Put implements store.Store. The data of an access key must be what cred.Encode
// returns for a long-term one. Other fields of the item stay as they are, but for a
// session cache, which is emptied: it belongs to the former key.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	made := onepassword.NewItem{Title: s.ref(key).Item}
	set := func(it *onepassword.Item) error { return it.SetData(data) }
	if key.Kind == store.Rotation {
		made.Data = append([]byte{}, data...)
	} else {
		var err error
		if made.Key, err = accessKey(key, data); err != nil {
			return err
		}
		set = func(it *onepassword.Item) error { return it.SetKey(made.Key) }
	}
	class, _ := classOf(key.Kind)
	made.Tags = []string{class.tag}
	if s.isAdopted(key) {
		_, err := s.o.Client.Edit(ctx, s.ref(key), set)
		return s.explain(key, err)
	}
	// In one turn, so that two processes do not make two items.
	return explain(key, s.o.Client.Turn(ctx, func(ctx context.Context) error {
		var failed error
		for try := 0; ; try++ {
			ref, err := s.lookup(ctx, key)
			if err == nil { // be it that only the reply was lost
				_, err = s.o.Client.Edit(ctx, ref, set)
			}
			if onepassword.KindOf(err) != onepassword.NotFound {
				return err
			}
			if failed != nil && (onepassword.KindOf(failed) != onepassword.Conflict || try == maxTries) {
				return failed
			}
			_, failed = s.o.Client.Create(ctx, s.o.Account, s.o.Vault, made)
			if failed == nil || !onepassword.MayBeDone(failed) {
				return failed
			}
		}
	}))
}

// maxTries is how often an item is made that conflicts with what others do.
const maxTries = 4

// accessKey reads what is to be put, and refuses what would not come back as it
// is.
func accessKey(key store.Key, data []byte) (cred.Credentials, error) {
	refused := fmt.Errorf("%s %q: %w: %w", key.Kind, key.Name, store.ErrUnavailable, ErrAccessKeysOnly)
	if key.Kind != store.AccessKey {
		return cred.Credentials{}, refused
	}
	k, err := cred.Decode(data)
	if err != nil || !k.LongTerm() || !k.Expires.IsZero() {
		return cred.Credentials{}, refused
	}
	if again, err := cred.Encode(k); err != nil || string(again) != string(data) {
		return cred.Credentials{}, refused
	}
	return k, nil
}

// lookup returns an item of kura's by its ID, from 1Password's server. The error
// is of the kind NotFound or Ambiguous if there is none, or more than one.
func (s *Store) lookup(ctx context.Context, key store.Key) (onepassword.Ref, error) {
	ref := s.ref(key)
	class, _ := classOf(key.Kind)
	all, err := s.o.Client.FreshItems(ctx, s.o.Account, s.o.Vault, class.tag)
	if err != nil {
		return ref, err
	}
	failure := &onepassword.Error{Kind: onepassword.NotFound, Command: "op item list"}
	for _, it := range all {
		if it.Title == ref.Item && slices.Contains(it.Tags, class.tag) {
			failure.Matches = append(failure.Matches, onepassword.Match{Title: it.Title, Vault: it.Vault.Name, ID: it.ID})
			ref.Vault = it.Vault.ID
		}
	}
	switch len(failure.Matches) {
	case 0:
		return ref, failure
	case 1:
		ref.Item = failure.Matches[0].ID
		return ref, nil
	}
	failure.Kind = onepassword.Ambiguous
	return ref, failure
}

// Delete implements store.Store. The item of an access key goes to the archive,
// where the app can bring it back from; a rotation is deleted, as it holds a key
// that is in use. The item of a user's own is left alone: ErrNotOurs.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	remove := s.o.Client.Archive
	switch _, ok := classOf(key.Kind); {
	case !ok:
		return key.NotFound()
	case key.Kind == store.Rotation:
		remove = s.o.Client.Delete
	case s.isAdopted(key):
		return fmt.Errorf("%s %q: %w: %w", key.Kind, key.Name, store.ErrDenied, ErrNotOurs)
	}
	err := s.o.Client.Turn(ctx, func(ctx context.Context) error {
		ref, err := s.lookup(ctx, key)
		if err == nil {
			err = remove(ctx, ref)
		}
		return err
	})
	return explain(key, err)
}

// List implements store.Store. If 1Password would ask for approval the error
// wraps store.ErrLocked.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	if err := s.check(ctx, store.Key{Kind: kind, Name: "any"}); err != nil {
		return nil, err
	}
	class, ok := classOf(kind)
	if !ok {
		return nil, nil
	}
	key := store.Key{Kind: kind}
	if err := s.o.Client.SignedIn(ctx, s.o.Account); err != nil {
		return nil, wouldAsk(key, err)
	}
	all, err := s.o.Client.Items(ctx, s.o.Account, s.o.Vault, class.tag)
	if err != nil {
		return nil, explain(key, err)
	}
	var names []string
	if s.o.Item != "" && kind == store.AccessKey {
		names = append(names, s.o.Name)
	}
	for _, it := range all {
		if name, ok := class.nameOf(it); ok && !(kind == store.AccessKey && s.isOwn(it)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Written implements store.Dated. It is when anything of an item was changed
// last, a session cache included. If 1Password would ask for approval the error
// wraps store.ErrLocked.
func (s *Store) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	class, ok := classOf(kind)
	if err := s.check(ctx, store.Key{Kind: kind, Name: "any"}); err != nil || !ok {
		return nil, err
	}
	key := store.Key{Kind: kind}
	if err := s.o.Client.SignedIn(ctx, s.o.Account); err != nil {
		return nil, wouldAsk(key, err)
	}
	with := class.tag
	if s.o.Item != "" && kind == store.AccessKey {
		with = "" // the user's own need not have it
	}
	all, err := s.o.Client.Items(ctx, s.o.Account, s.o.Vault, with)
	if err != nil {
		return nil, explain(key, err)
	}
	written := map[string]time.Time{}
	for _, it := range all {
		name, ok := class.nameOf(it)
		if kind == store.AccessKey && s.isOwn(it) {
			name, ok = s.o.Name, true
		}
		if at, err := time.Parse(time.RFC3339, it.Changed); ok && err == nil && at.After(written[name]) {
			written[name] = at
		}
	}
	return written, nil
}

// isOwn reports whether an item is the user's own.
func (s *Store) isOwn(it onepassword.Summary) bool {
	return s.o.Item != "" && (it.ID == s.o.Item || strings.EqualFold(it.Title, s.o.Item))
}

// nameOf returns the name of what is in an item of kura's.
func (c class) nameOf(it onepassword.Summary) (string, bool) {
	escaped, ok := strings.CutPrefix(it.Title, c.titlePrefix)
	if !ok || !slices.Contains(it.Tags, c.tag) {
		return "", false
	}
	name, ok := store.Unescape(escaped)
	return name, ok && store.Escape(name) == escaped && name != ""
}

// Has implements store.Opened. An item of the user's own is taken to be there,
// as it was when it was chosen. For others it is List that knows.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	if valid := key.Check() == nil; !valid {
		return false, nil // there can be none of that name
	}
	if s.isAdopted(key) {
		return true, s.check(ctx, key)
	}
	names, err := s.List(ctx, key.Kind)
	return slices.Contains(names, key.Name), err
}

// Check implements store.Opened. It runs op, and asks nobody.
func (s *Store) Check(ctx context.Context) (string, error) {
	key := store.Key{Kind: store.AccessKey}
	if err := s.check(ctx, store.Key{Kind: key.Kind, Name: "any"}); err != nil {
		return "", err
	}
	version, err := s.o.Client.Version(ctx)
	if err != nil {
		return "", explain(key, err)
	}
	note := "op " + version
	if !onepassword.Since(version, onepassword.LeastVersion) {
		note += ", which can't change items"
	}
	asks, err := s.o.Client.Ready(ctx, s.o.Account)
	if err != nil {
		return "", explain(key, err)
	}
	if asks {
		note += ", locked"
	}
	return note, nil
}

// Unlock implements store.Opened. 1Password asks for approval, if it has to.
func (s *Store) Unlock(ctx context.Context) error {
	if err := s.check(ctx, store.Key{Kind: store.AccessKey, Name: "any"}); err != nil {
		return err
	}
	_, err := s.o.Client.Vaults(ctx, s.o.Account)
	return explain(store.Key{Kind: store.AccessKey}, err)
}

// wouldAsk is explain for a call that was to ask nobody.
func wouldAsk(key store.Key, err error) error {
	if onepassword.KindOf(err) == onepassword.NotSignedIn {
		return fmt.Errorf("%w: %w: %w", store.ErrLocked, errWouldAsk, err)
	}
	return explain(key, err)
}

// explain is explain for the item of a key, as it is called. If it is the user's
// own and is not there, no key can be put there, either.
func (s *Store) explain(key store.Key, err error) error {
	kind := onepassword.KindOf(err)
	switch {
	case kind != onepassword.NotFound && kind != onepassword.Archived:
		return explain(key, err)
	case s.isAdopted(key):
		return fmt.Errorf("%s %q: %w: %w", key.Kind, key.Name, store.ErrUnavailable, err)
	}
	return key.NotFound()
}

// explain returns an error with the one of package store that it amounts to.
func explain(key store.Key, err error) error {
	if err == nil {
		return nil
	}
	var what error
	_, field := errors.AsType[*onepassword.FieldError](err)
	_, unwritable := errors.AsType[*onepassword.UnwritableError](err)
	_, lost := errors.AsType[*onepassword.LostError](err)
	_, failed := errors.AsType[*onepassword.Error](err)
	switch {
	case field, lost:
		what = store.ErrDamaged
	case unwritable:
		what = store.ErrDenied
	case !failed:
		return err // that of ctx
	default:
		what = explainKind(onepassword.KindOf(err))
	}
	if key.Name == "" {
		return fmt.Errorf("%w: %w", what, err)
	}
	return fmt.Errorf("%s %q: %w: %w", key.Kind, key.Name, what, err)
}

func explainKind(kind onepassword.Kind) error {
	switch kind {
	case onepassword.NotFound, onepassword.Archived:
		return store.ErrNotFound
	case onepassword.NotSignedIn, onepassword.SessionExpired, onepassword.Locked, onepassword.Unanswered:
		return store.ErrLocked
	case onepassword.Dismissed, onepassword.Forbidden, onepassword.TokenDeleted, onepassword.TokenRefused:
		return store.ErrDenied
	case onepassword.Ambiguous:
		return store.ErrDamaged
	}
	return store.ErrUnavailable
}
