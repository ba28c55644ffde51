package secretservice

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"
)

// Entries are what another program has left in a collection: the items that have
// an attribute which names them. It reads them in place and changes nothing.
type Entries struct {
	s     *Store
	name  string
	match map[string]string
}

// OpenEntries returns the entries of a collection: the items that are named by
// an attribute and have all of match. aws-vault's and Granted's are named by
// "profile" (https://github.com/99designs/keyring/blob/v1.2.2/secretservice.go).
// It connects to nothing yet.
func OpenEntries(o Options, name string, match map[string]string) *Entries {
	return &Entries{Open(o), name, match}
}

// List returns the names of the entries, sorted. As gnome-keyring does not tell
// names while they are locked, it may ask the person to unlock them.
func (e *Entries) List(ctx context.Context) ([]string, error) {
	var names []string
	err := e.s.do(ctx, func(c *client) error {
		collection, err := c.collection(ctx, e.s.o.Collection)
		if collection == "" || err != nil {
			return err
		}
		locked, err := c.isLocked(ctx, collection, collection)
		if err != nil {
			return err
		}
		if locked {
			if err := e.s.unlock(ctx, c, collection, collection); err != nil {
				return err
			}
		}
		// A search for nothing finds everything in some services only.
		var items []dbus.ObjectPath
		if len(e.match) > 0 {
			items, err = c.search(ctx, collection, e.match)
		} else {
			items, err = c.items(ctx, collection)
		}
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
			if name, ok := attributes[e.name]; ok {
				names = append(names, name)
			}
		}
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// Get returns the bytes of an entry as they are stored, or an error wrapping
// store.ErrNotFound. It may ask the person to unlock the collection.
func (e *Entries) Get(ctx context.Context, name string) (data []byte, err error) {
	attributes := map[string]string{e.name: name}
	maps.Copy(attributes, e.match)
	err = e.s.do(ctx, func(c *client) error {
		data, err = e.s.get(ctx, c, attributes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w", name, err)
	}
	return data, nil
}
