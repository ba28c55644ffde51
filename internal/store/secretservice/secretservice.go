// Package secretservice is a store in the Secret Service of the desktop, over
// D-Bus: gnome-keyring, KeePassXC, KDE's ksecretd, oo7. It knows nothing of
// what the items mean. Secrets go over the bus encrypted, never in the clear.
//
// An item has the attributes "application" (always "kura"), "kind" and "name",
// whose value is that of store.Escape, and one whose own name is "kura-name:"
// and that value. gnome-keyring keeps only hashes of the values outside of what
// the password protects, but the names of attributes as they are: so items can
// be listed while they are locked.
package secretservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
)

// Options say where a store is and how it is unlocked.
type Options struct {
	// Address is that of the session bus, as DBUS_SESSION_BUS_ADDRESS has it.
	Address string

	// Collection is the label, the name or the object path of a collection. ""
	// is the one that the service calls "default". It is made at the first Put
	// if it is not there.
	Collection string

	// Display says that a window can be shown to the person who waits. Without
	// it none is opened, as it might be on a screen that nobody sees.
	Display bool

	// Ask asks for a password on the terminal where there is no display; only
	// gnome-keyring can be unlocked so. If it is nil there is nobody to ask. An
	// error of Ask ends the asking.
	Ask func(ctx context.Context, question string) (string, error)

	// Say is called with a line of text if a window has been waiting for an
	// answer for a second. It may be nil.
	Say func(string)

	CallTimeout   time.Duration // of each call; 0 means 10 seconds
	PromptTimeout time.Duration // of each question; 0 means 2 minutes
}

var (
	// ErrNoEncryption says that the service takes secrets in the clear only,
	// where other programs of the user could read them on the bus. The error
	// that wraps it wraps store.ErrUnavailable too.
	ErrNoEncryption = errors.New("the Secret Service knows no encrypted session")

	// ErrDismissed says that the person closed the window without unlocking, or
	// that the service could not show one.
	ErrDismissed = errors.New("the question was dismissed")

	// ErrUnanswered says that nobody answered in time.
	ErrUnanswered = errors.New("the question was not answered in time")

	// ErrWrongPassword says that the password was wrong three times, or that
	// no two answers of those to be the same were.
	ErrWrongPassword = errors.New("wrong password")

	// ErrEmptyPassword says that a new password was refused.
	ErrEmptyPassword = errors.New("an empty password protects nothing")

	// ErrNobody says that there is nobody to ask: no display, and no terminal
	// or a service that can ask in a window only.
	ErrNobody = errors.New("there is nobody to ask for the password")

	// ErrNoDisplay says that the service wants to be allowed in a window to
	// change something, as KeePassXC does, and there is none. The error that
	// wraps it wraps store.ErrLocked too.
	ErrNoDisplay = errors.New("the Secret Service asks in a window, and there is no display")

	// ErrShared is what Lock returns for the default collection.
	ErrShared = errors.New("the default collection belongs to the desktop, and other programs use it")
)

// maxData is the greatest size of an item in bytes. A bus takes more.
const maxData = 16 << 20

// A Store is a collection of the Secret Service, or rather the items in it that
// this program has made.
type Store struct {
	o Options

	connecting chan struct{} // held by who connects; guards client
	client     *client       // nil until first used

	asking chan struct{} // held by the one who asks the person
}

var (
	_ store.Opened = (*Store)(nil)
	_ store.Dated  = (*Store)(nil)
)

// Open returns the store in a collection. It connects to nothing yet and asks
// nothing.
func Open(o Options) *Store {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.PromptTimeout == 0 {
		o.PromptTimeout = 2 * time.Minute
	}
	return &Store{o: o, connecting: make(chan struct{}, 1), asking: make(chan struct{}, 1)}
}

// do connects, unless that was done before, and calls f. It calls f again if
// the service was started anew since and has forgotten the session.
func (s *Store) do(ctx context.Context, f func(*client) error) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	if err = f(c); sessionbus.IsError(err, errorNoSession) {
		if err := c.forgetSession(ctx); err != nil {
			return err
		}
		err = f(c)
	}
	return explain(err)
}

func (s *Store) connect(ctx context.Context) (*client, error) {
	if err := acquire(ctx, s.connecting); err != nil {
		return nil, err
	}
	defer func() { <-s.connecting }()
	if s.client != nil && s.client.Conn.Connected() {
		return s.client, nil
	}
	c, err := newClient(ctx, s.o)
	if err != nil {
		return nil, err
	}
	s.client = c
	return c, nil
}

const (
	nameAttribute = "kura-name:"

	// hashed is what gnome-keyring puts before the names of attributes whose
	// values it does not know while they are locked.
	hashed = "gkr:compat:hashed:"
)

// attributes are those that tell an item from all others.
func attributes(key store.Key) map[string]string {
	name := store.Escape(key.Name)
	return map[string]string{"application": "kura", "kind": string(key.Kind), "name": name, nameAttribute + name: ""}
}

// name returns the name of the item that has some attributes.
func name(attributes map[string]string) (string, bool) {
	for attribute := range attributes {
		escaped, ok := strings.CutPrefix(strings.TrimPrefix(attribute, hashed), nameAttribute)
		if !ok {
			continue
		}
		name, ok := store.Unescape(escaped)
		return name, ok && store.Key{Name: name}.Check() == nil
	}
	return "", false
}

// find returns the items with some attributes: there may be several of one key
// where a service has let two programs make one at once. The collection is ""
// if it is not there. A locked one that does not tell what it holds is unlocked
// if ask says so, and else is an error.
func (s *Store) find(ctx context.Context, c *client, attributes map[string]string, ask bool) (collection dbus.ObjectPath, items []dbus.ObjectPath, err error) {
	collection, err = c.collection(ctx, s.o.Collection)
	if collection == "" || err != nil {
		return "", nil, err
	}
	items, err = c.search(ctx, collection, attributes)
	if err != nil || len(items) > 0 {
		return collection, items, err
	}
	sure, err := c.isSure(ctx, collection)
	switch {
	case sure || err != nil:
		return collection, nil, err
	case !ask:
		return "", nil, &LockedError{s.o.Collection, false, errors.New("it does not tell what it holds")}
	}
	if err := s.unlock(ctx, c, collection, collection); err != nil {
		return "", nil, err
	}
	items, err = c.search(ctx, collection, attributes)
	return collection, items, err
}

// unlocking calls f, and once more if something was locked and is not any more.
func (s *Store) unlocking(ctx context.Context, c *client, collection, object dbus.ObjectPath, f func() error) error {
	err := f()
	if !sessionbus.IsError(err, errorIsLocked) {
		return err
	}
	if err := s.unlock(ctx, c, collection, object); err != nil {
		return err
	}
	return f()
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (data []byte, err error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	err = s.do(ctx, func(c *client) error {
		data, err = s.get(ctx, c, attributes(key))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, key.NotFound()
	}
	return data, err
}

// get returns the value of the newest item with some attributes.
func (s *Store) get(ctx context.Context, c *client, attributes map[string]string) (data []byte, err error) {
	collection, items, err := s.find(ctx, c, attributes, true)
	if err != nil {
		return nil, err
	}
	if items, err = c.newest(ctx, items); err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, store.ErrNotFound
	}
	err = s.unlocking(ctx, c, collection, items[0], func() error {
		data, err = c.getSecret(ctx, items[0])
		return err
	})
	if isGone(err) {
		return nil, store.ErrNotFound // deleted since
	}
	return data, err
}

// Put implements store.Store. The first Put makes the collection if there is
// none.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := key.Check(); err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	return s.do(ctx, func(c *client) error {
		collection, items, err := s.find(ctx, c, attributes(key), true)
		if err != nil {
			return err
		}
		if collection == "" {
			if collection, err = s.makeCollection(ctx, c); err != nil {
				return err
			}
		}
		if items, err = c.newest(ctx, items); err != nil {
			return err
		}
		if len(items) > 0 {
			err := s.replace(ctx, c, collection, items, data)
			if !isGone(err) {
				return err
			}
			// Somebody has deleted it in the meantime.
		}
		return s.create(ctx, c, collection, key, data)
	})
}

// replace gives the first item a new value, and removes the other ones.
func (s *Store) replace(ctx context.Context, c *client, collection dbus.ObjectPath, items []dbus.ObjectPath, data []byte) error {
	value, err := c.seal(ctx, data, contentType)
	if err != nil {
		return err
	}
	err = s.unlocking(ctx, c, collection, items[0], func() error {
		return c.Call(ctx, items[0], itemInterface+".SetSecret", []any{value})
	})
	if err != nil {
		return err
	}
	return s.remove(ctx, c, collection, items[1:])
}

// contentType says that a value is any bytes. KeePassXC keeps what is not text
// as an attachment, so all of them arrive.
const contentType = "application/octet-stream"

func (s *Store) create(ctx context.Context, c *client, collection dbus.ObjectPath, key store.Key, data []byte) error {
	value, err := c.seal(ctx, data, contentType)
	if err != nil {
		return err
	}
	properties := map[string]dbus.Variant{
		itemInterface + ".Label":      dbus.MakeVariant(fmt.Sprintf("kura %s %q", strings.ReplaceAll(string(key.Kind), "-", " "), key.Name)),
		itemInterface + ".Attributes": dbus.MakeVariant(attributes(key)),
	}
	var item, prompt dbus.ObjectPath
	err = s.unlocking(ctx, c, collection, collection, func() error {
		return c.Call(ctx, collection, collectionInterface+".CreateItem", []any{properties, value, true}, &item, &prompt)
	})
	if err != nil {
		return err
	}
	return s.confirm(ctx, c, prompt)
}

// confirm carries out a prompt that a service wants for a change.
func (s *Store) confirm(ctx context.Context, c *client, prompt dbus.ObjectPath) error {
	if prompt == nothing {
		return nil
	}
	if !s.o.Display {
		return fmt.Errorf("%w: %w", store.ErrLocked, ErrNoDisplay)
	}
	if err := acquire(ctx, s.asking); err != nil {
		return err
	}
	defer func() { <-s.asking }()
	err := s.prompt(ctx, c, question{path: prompt})
	if errors.Is(err, ErrDismissed) {
		return fmt.Errorf("%w: %w", store.ErrDenied, ErrDismissed)
	}
	return s.locked(err, false)
}

// remove deletes items, the first one last, so that an older one never takes
// its place.
func (s *Store) remove(ctx context.Context, c *client, collection dbus.ObjectPath, items []dbus.ObjectPath) error {
	for _, item := range slices.Backward(items) {
		var prompt dbus.ObjectPath
		err := s.unlocking(ctx, c, collection, item, func() error {
			return c.Call(ctx, item, itemInterface+".Delete", nil, &prompt)
		})
		if isGone(err) {
			continue
		}
		if err == nil {
			err = s.confirm(ctx, c, prompt)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	return s.do(ctx, func(c *client) error {
		collection, items, err := s.find(ctx, c, attributes(key), true)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return key.NotFound()
		}
		if items, err = c.newest(ctx, items); err != nil {
			return err
		}
		return s.remove(ctx, c, collection, items)
	})
}

// Has implements store.Opened.
func (s *Store) Has(ctx context.Context, key store.Key) (found bool, err error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	err = s.do(ctx, func(c *client) error {
		_, items, err := s.find(ctx, c, attributes(key), false)
		found = len(items) > 0
		return err
	})
	return found, err
}

// List implements store.Store. A locked collection of a service that does not
// tell what is in it, as KeePassXC, is an error.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	var names []string
	err := s.do(ctx, func(c *client) error {
		_, items, err := s.find(ctx, c, map[string]string{"application": "kura", "kind": string(kind)}, false)
		if err != nil {
			return err
		}
		all := make([]map[string]string, len(items))
		err = each(items, func(i int, item dbus.ObjectPath) (err error) {
			all[i], err = c.attributes(ctx, item)
			return err
		})
		names = nil
		for _, attributes := range all {
			if name, ok := name(attributes); ok {
				names = append(names, name)
			}
		}
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// Written implements store.Dated.
func (s *Store) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	written := map[string]time.Time{}
	err := s.do(ctx, func(c *client) error {
		_, items, err := s.find(ctx, c, map[string]string{"application": "kura", "kind": string(kind)}, false)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		return each(items, func(_ int, item dbus.ObjectPath) error {
			attributes, err := c.attributes(ctx, item)
			if err != nil {
				return err
			}
			var modified uint64 // in seconds
			if err := c.property(ctx, item, itemInterface+".Modified", &modified); err != nil {
				return ignoreGone(err)
			}
			mu.Lock()
			defer mu.Unlock()
			at := time.Unix(int64(modified), 0)
			if name, ok := name(attributes); ok && modified > 0 && at.After(written[name]) {
				written[name] = at
			}
			return nil
		})
	})
	return written, err
}

// Version returns a text that is another one whenever the names of the items
// are: it is made of the paths of all items in the collection and of the time of
// the last change. It takes three calls, and List one for each item.
func (s *Store) Version(ctx context.Context) (string, error) {
	var version string
	err := s.do(ctx, func(c *client) error {
		collection, err := c.collection(ctx, s.o.Collection)
		if err != nil || collection == "" {
			return err
		}
		locked, err := c.isLocked(ctx, collection, collection)
		if err != nil {
			return err
		}
		items, err := c.items(ctx, collection)
		if err != nil {
			return err
		}
		var modified uint64
		if err := c.property(ctx, collection, collectionInterface+".Modified", &modified); err != nil {
			return err
		}
		slices.Sort(items)
		version = fmt.Sprint(collection, locked, modified, items)
		return nil
	})
	return version, err
}

// ID implements store.Opened. It is made of the collection as Options name it.
func (s *Store) ID(context.Context) (string, error) { return "collection:" + s.o.Collection, nil }

// Check implements store.Opened. A locked collection, or one to be made, is an
// error if there is nobody who can be asked for its password.
func (s *Store) Check(ctx context.Context) (note string, err error) {
	err = s.do(ctx, func(c *client) error {
		if _, err := c.openSession(ctx); err != nil {
			return err
		}
		collection, err := c.collection(ctx, s.o.Collection)
		if err != nil {
			return err
		}
		note = "not made yet"
		if collection != "" {
			locked, err := c.isLocked(ctx, collection, collection)
			if err != nil || !locked {
				note = "unlocked"
				return err
			}
			note = "locked"
		}
		if s.o.Display {
			return nil
		}
		return s.locked(s.canAskHere(ctx, c), collection == "")
	})
	if err != nil {
		return "", err
	}
	return note, nil
}

// Unlock implements store.Opened.
func (s *Store) Unlock(ctx context.Context) error {
	return s.do(ctx, func(c *client) error {
		collection, err := c.collection(ctx, s.o.Collection)
		if collection == "" || err != nil {
			return err
		}
		locked, err := c.isLocked(ctx, collection, collection)
		if !locked || err != nil {
			return err
		}
		return s.unlock(ctx, c, collection, collection)
	})
}

// Lock locks the collection, so that the next one who reads an item is asked for
// the password. It does not lock the default collection: it returns ErrShared.
func (s *Store) Lock(ctx context.Context) error {
	if s.o.Collection == "" {
		return ErrShared
	}
	return s.do(ctx, func(c *client) error {
		collection, err := c.collection(ctx, s.o.Collection)
		if collection == "" || err != nil {
			return err
		}
		if standard, err := c.collection(ctx, ""); err != nil {
			return err
		} else if standard == collection {
			return ErrShared
		}
		var locked []dbus.ObjectPath
		var prompt dbus.ObjectPath
		err = c.Call(ctx, servicePath, serviceInterface+".Lock", []any{[]dbus.ObjectPath{collection}}, &locked, &prompt)
		if err != nil {
			return err
		}
		return s.confirm(ctx, c, prompt)
	})
}
