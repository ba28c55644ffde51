// Package kwallet is a store in a wallet of KDE's KWallet, over D-Bus:
// kwalletd6 or kwalletd5. It knows nothing of what the items mean.
//
// An item is an entry of a folder. Its name is the item's kind, a colon and the
// value of store.Escape. Its value is "base64:" and the bytes of the item in
// base64 (RFC 4648, section 4), as the kwalletd6 that keeps its wallets in a
// Secret Service cuts values at a byte that is 0
// (https://invent.kde.org/frameworks/kwallet, secretserviceclient.cpp). Values
// go over the bus in the clear, as KWallet knows nothing else, and every program
// of the user can read an open wallet.
package kwallet

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/store"
)

// Options say where a store is and how it is unlocked.
type Options struct {
	// Address is that of the session bus, as DBUS_SESSION_BUS_ADDRESS has it.
	Address string

	// Wallet is the name of a wallet; "" is the one that KWallet calls the
	// network wallet, which is "kdewallet" unless somebody has changed it. A
	// wallet that is not there is made at the first Put.
	Wallet string

	Folder string // in the wallet; "" means "kura"

	// Display says that a window can be shown to the person who waits. Without
	// it none is opened, as it might be on a screen that nobody sees.
	Display bool

	// Say is called with a line of text if a window has been waiting for an
	// answer for a second. It may be nil.
	Say func(string)

	CallTimeout   time.Duration // of each call; 0 means 10 seconds
	PromptTimeout time.Duration // of each question; 0 means 2 minutes
}

var (
	// ErrDisabled says that KWallet is switched off in the settings of the
	// desktop. The error that wraps it wraps store.ErrUnavailable too. Often
	// such a KWallet does not even start, which is a
	// *sessionbus.NoServiceError.
	ErrDisabled = errors.New("KWallet is disabled")

	// ErrDismissed says that the person closed the window without unlocking, or
	// that the settings of the wallet refuse this program.
	ErrDismissed = errors.New("the question was dismissed")

	// ErrUnanswered says that nobody answered in time.
	ErrUnanswered = errors.New("the question was not answered in time")

	// ErrNobody says that there is no display to ask for the password on.
	ErrNobody = errors.New("there is no display to ask for the password on")

	// ErrSilent says that a locked wallet does not tell the names in it. It is
	// for those that List may not ask to unlock it.
	ErrSilent = errors.New("it tells no names until it is unlocked")

	errShut = errors.New("it was locked again by another program")
)

// A LockedError says that a wallet is locked, or not there yet, and why it
// stayed so: Err is ErrDismissed, ErrUnanswered, ErrNobody, ErrSilent or another
// reason. It wraps store.ErrLocked.
type LockedError struct {
	Wallet  string
	Missing bool // it was to be made
	Err     error
}

func (e *LockedError) Error() string {
	if e.Missing {
		return fmt.Sprintf("the wallet %q is not there yet: %v", e.Wallet, e.Err)
	}
	return fmt.Sprintf("the wallet %q is locked: %v", e.Wallet, e.Err)
}

// Unwrap returns store.ErrLocked and Err.
func (e *LockedError) Unwrap() []error { return []error{store.ErrLocked, e.Err} }

// valuePrefix begins the value of each entry.
const valuePrefix = "base64:"

// maxData is the greatest size of an item in bytes. A bus takes more.
const maxData = 16 << 20

// A Store is a folder of a wallet.
type Store struct {
	o     Options
	appID string // what KWallet calls this program, before the user too

	connecting chan struct{} // held by who connects; guards client
	client     *client       // nil until first used

	using chan struct{} // held by who uses the wallet; guards client.handle
}

var _ store.Opened = (*Store)(nil)

// Open returns the store in a wallet. It connects to nothing yet and asks
// nothing.
func Open(o Options) *Store {
	if o.Folder == "" {
		o.Folder = "kura"
	}
	return open(o, "kura")
}

func open(o Options, appID string) *Store {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = 10 * time.Second
	}
	if o.PromptTimeout == 0 {
		o.PromptTimeout = 2 * time.Minute
	}
	return &Store{o: o, appID: appID, connecting: make(chan struct{}, 1), using: make(chan struct{}, 1)}
}

// entry returns the name of the entry that is an item.
func entry(key store.Key) string { return string(key.Kind) + ":" + store.Escape(key.Name) }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (data []byte, err error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	data, err = s.get(ctx, entry(key), func(c *client) (bool, error) { return c.has(ctx, entry(key)) })
	if errors.Is(err, store.ErrNotFound) {
		return nil, key.NotFound()
	}
	if err == nil {
		if data, err = decode(data); err != nil {
			err = fmt.Errorf("%s %q: %w", key.Kind, key.Name, err)
		}
	}
	return data, err
}

// encode returns an item's data as the value of an entry. That is never empty.
func encode(data []byte) []byte {
	return base64.StdEncoding.AppendEncode([]byte(valuePrefix), data)
}

// decode is the inverse of encode, and takes nothing else.
func decode(value []byte) ([]byte, error) {
	text := bytes.TrimPrefix(value, []byte(valuePrefix))
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	if err != nil || !bytes.Equal(encode(data[:n]), value) {
		return nil, store.ErrDamaged // err could quote the value
	}
	return data[:n], nil
}

// get returns the value of an entry. The wallet is not opened, nor anybody asked,
// if maybe says that there is none.
func (s *Store) get(ctx context.Context, entry string, maybe func(*client) (bool, error)) (data []byte, err error) {
	err = s.do(ctx, func(c *client) error {
		if may, err := maybe(c); !may || err != nil {
			return orNotFound(err)
		}
		found, err := s.use(ctx, c, true, func(h handle) (found bool, err error) {
			// An empty answer is an empty value, which only others write, or
			// none. What was put between two calls is read by the third.
			if data, err = c.readEntry(ctx, h, entry); len(data) > 0 || err != nil {
				return true, err
			}
			if found, err = c.hasEntry(ctx, h, entry); !found || err != nil {
				return false, err
			}
			data, err = c.readEntry(ctx, h, entry)
			return true, err
		})
		if !found {
			return orNotFound(err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// orNotFound returns err, or store.ErrNotFound if it is nil.
func orNotFound(err error) error {
	if err == nil {
		return store.ErrNotFound
	}
	return err
}

// Put implements store.Store. Nil means that KWallet has the item and was told
// to write the wallet to disk at once. It does not say whether it could: on a
// full disk it has the item until it ends, and no longer. A KWallet that can't
// be told so writes within seconds.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := key.Check(); err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	return s.do(ctx, func(c *client) error {
		written, err := s.use(ctx, c, true, func(h handle) (bool, error) {
			// Without it the entry would not be told of while the wallet is
			// locked. It is no error that the folder is there already.
			if err := c.createFolder(ctx, h); err != nil {
				return false, err
			}
			return c.writeEntry(ctx, h, entry(key), encode(data))
		})
		if err == nil && !written {
			err = fmt.Errorf("%w: KWallet did not write the entry", store.ErrUnavailable)
		}
		return err
	})
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	err := s.do(ctx, func(c *client) error {
		if has, err := c.has(ctx, entry(key)); !has || err != nil {
			return orNotFound(err)
		}
		removed, err := s.use(ctx, c, true, func(h handle) (bool, error) { return c.removeEntry(ctx, h, entry(key)) })
		if removed || err != nil {
			return err
		}
		// Another process was quicker, or KWallet can't.
		has, err := c.has(ctx, entry(key))
		if has && err == nil {
			err = fmt.Errorf("%w: KWallet did not remove the entry", store.ErrUnavailable)
		}
		return orNotFound(err)
	})
	if errors.Is(err, store.ErrNotFound) {
		return key.NotFound()
	}
	return err
}

// List implements store.Store. A locked wallet is a *LockedError with ErrSilent.
// Entries in the folder that are no items are left out.
func (s *Store) List(ctx context.Context, kind store.Kind) (names []string, err error) {
	entries, err := s.list(ctx, false, func(c *client) (bool, error) { return c.hasFolder(ctx) })
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		escaped, ok := strings.CutPrefix(entry, string(kind)+":")
		if !ok {
			continue
		}
		if name, ok := store.Unescape(escaped); ok && store.Escape(name) == escaped {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// list returns the entries of the folder, and unlocks the wallet for that if
// ask says so. The wallet is not opened if maybe says that there are none.
func (s *Store) list(ctx context.Context, ask bool, maybe func(*client) (bool, error)) (entries []string, err error) {
	err = s.do(ctx, func(c *client) error {
		if may, err := maybe(c); !may || err != nil {
			return err
		}
		_, err := s.use(ctx, c, ask, func(h handle) (found bool, err error) {
			entries, err = c.entryList(ctx, h)
			return len(entries) > 0, err
		})
		return err
	})
	return entries, err
}

// Has implements store.Opened. A locked wallet keeps hashes of the names outside
// of what the password protects. To look at a locked wallet that is encrypted
// with GnuPG KWallet opens it, so that GnuPG may ask: that can't be helped.
func (s *Store) Has(ctx context.Context, key store.Key) (has bool, err error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	err = s.do(ctx, func(c *client) error {
		has, err = c.has(ctx, entry(key))
		return err
	})
	return has, err
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) {
	return "wallet:" + store.Escape(s.o.Wallet) + "/" + store.Escape(s.o.Folder), nil
}

// Check implements store.Opened.
func (s *Store) Check(ctx context.Context) (note string, err error) {
	err = s.do(ctx, func(c *client) error {
		made, err := c.isMade(ctx)
		if err != nil {
			return err
		}
		open, err := c.isOpen(ctx)
		switch {
		case !made:
			note = "not made yet"
		case open:
			note = "unlocked"
		default:
			note = "locked"
		}
		return err
	})
	return note, err
}

// Unlock implements store.Opened.
func (s *Store) Unlock(ctx context.Context) error {
	return s.do(ctx, func(c *client) error {
		if made, err := c.isMade(ctx); !made || err != nil {
			return err
		}
		_, err := s.use(ctx, c, true, func(h handle) (bool, error) { return c.isValid(ctx, h) })
		return err
	})
}

// do connects, unless that was done before, and calls f.
func (s *Store) do(ctx context.Context, f func(*client) error) error {
	c, err := s.connect(ctx)
	if err == nil {
		err = f(c)
	}
	return explain(err)
}

func (s *Store) connect(ctx context.Context) (*client, error) {
	if err := acquire(ctx, s.connecting); err != nil {
		return nil, err
	}
	defer release(s.connecting)
	if s.client != nil && s.client.Conn.Connected() {
		return s.client, nil
	}
	c, err := newClient(ctx, s.o, s.appID)
	if err != nil {
		return nil, err
	}
	s.client = c
	return c, nil
}

// use opens the wallet, unless that was done before, and calls f until it finds
// what it looks for or there is no doubt: to one who uses a handle after the
// wallet was locked KWallet says that there is nothing. After six such calls in
// a row it shows a window that complains, so it is one goroutine's turn to try.
func (s *Store) use(ctx context.Context, c *client, ask bool, f func(handle) (found bool, err error)) (bool, error) {
	if !ask {
		// Nor wait for the turn of one who asks.
		if open, err := c.isOpen(ctx); err != nil {
			return false, err
		} else if !open {
			return false, &LockedError{c.wallet, false, ErrSilent}
		}
	}
	if err := acquire(ctx, s.using); err != nil {
		return false, err
	}
	defer release(s.using)
	for range 2 {
		h, err := s.open(ctx, c, ask)
		if err != nil {
			return false, err
		}
		if found, err := f(h); found || err != nil {
			return found, err
		}
		if valid, err := c.isValid(ctx, h); valid || err != nil {
			return false, err
		}
		c.handle = none
	}
	return false, &LockedError{c.wallet, false, errShut}
}

// open returns the handle of the wallet, and unlocks it if ask says so.
func (s *Store) open(ctx context.Context, c *client, ask bool) (handle, error) {
	if c.handle != none {
		return c.handle, nil
	}
	made, err := c.isMade(ctx)
	if err != nil {
		return none, err
	}
	isOpen, err := c.isOpen(ctx)
	switch {
	case err != nil:
		return none, err
	case !isOpen && !ask:
		return none, &LockedError{c.wallet, !made, ErrSilent}
	case !isOpen && !s.o.Display:
		return none, &LockedError{c.wallet, !made, ErrNobody}
	}
	// A window may be shown even so, if the user wants to be asked for each
	// program or if another program is asking.
	timeout := s.o.CallTimeout
	if s.o.Display {
		timeout = s.o.PromptTimeout
	}
	// Nor can KWallet be told to close a window that is not waited for any more.
	asking, cancel := context.WithTimeoutCause(ctx, timeout, ErrUnanswered)
	defer cancel()
	say := time.AfterFunc(time.Second, func() { s.o.Say("waiting for an answer in the window of KWallet") })
	defer say.Stop()
	h, err := c.open(asking)
	switch {
	case errors.Is(err, ErrUnanswered):
		return none, &LockedError{c.wallet, !made, ErrUnanswered}
	case err != nil:
		return none, err
	case h < 0:
		return none, &LockedError{c.wallet, !made, ErrDismissed}
	}
	c.handle = h
	return h, nil
}

// acquire takes a turn, until release.
func acquire(ctx context.Context, turn chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func release(turn chan struct{}) { <-turn }

// explain makes an error that is KWallet's own one of package store.
func explain(err error) error {
	if _, ok := errors.AsType[dbus.Error](err); !ok || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied) {
		return err
	}
	return fmt.Errorf("%w: KWallet: %w", store.ErrUnavailable, err)
}
