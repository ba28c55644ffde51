package secretservice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
)

// The names of the Secret Service API, version 0.2:
// https://specifications.freedesktop.org/secret-service-spec/0.2/
const (
	serviceName = "org.freedesktop.secrets"

	servicePath    = dbus.ObjectPath("/org/freedesktop/secrets")
	collectionRoot = "/org/freedesktop/secrets/collection/"

	// nothing is where the API says "no object".
	nothing = dbus.ObjectPath("/")

	serviceInterface    = "org.freedesktop.Secret.Service"
	collectionInterface = "org.freedesktop.Secret.Collection"
	itemInterface       = "org.freedesktop.Secret.Item"
	promptInterface     = "org.freedesktop.Secret.Prompt"

	errorIsLocked     = "org.freedesktop.Secret.Error.IsLocked"
	errorNoSession    = "org.freedesktop.Secret.Error.NoSession"
	errorNoSuchObject = "org.freedesktop.Secret.Error.NoSuchObject"
)

// A client is a connection to the service. Agreeing on a key takes longer than
// all the rest, so it has a session only once a secret is to be sent.
type client struct {
	sessionbus.Service

	opening chan struct{} // held by who opens the session; guards session
	session *session
}

// newClient connects to the bus. The service may not even run yet.
func newClient(ctx context.Context, o Options) (*client, error) {
	conn, err := sessionbus.Connect(ctx, o.Address)
	if err != nil {
		return nil, err
	}
	return &client{
		Service: sessionbus.Service{Conn: conn, Name: serviceName, Timeout: o.CallTimeout},
		opening: make(chan struct{}, 1),
	}, nil
}

// openSession returns the session, and opens it first if there is none.
func (c *client) openSession(ctx context.Context) (*session, error) {
	if err := acquire(ctx, c.opening); err != nil {
		return nil, err
	}
	defer func() { <-c.opening }()
	if c.session != nil {
		return c.session, nil
	}
	a := newAgreement()
	var peer dbus.Variant
	var path dbus.ObjectPath
	err := c.Call(ctx, servicePath, serviceInterface+".OpenSession",
		[]any{algorithm, dbus.MakeVariant(a.public())}, &peer, &path)
	if sessionbus.IsError(err, "org.freedesktop.DBus.Error.NotSupported", "org.freedesktop.DBus.Error.InvalidArgs") {
		return nil, fmt.Errorf("%w: %w: %w", store.ErrUnavailable, ErrNoEncryption, err)
	}
	if err != nil {
		return nil, err
	}
	public, ok := peer.Value().([]byte)
	if !ok {
		return nil, fmt.Errorf("%w: the key agreement of the Secret Service: it sent no public number", store.ErrUnavailable)
	}
	key, err := a.key(public)
	if err != nil {
		return nil, fmt.Errorf("%w: the key agreement of the Secret Service: %w", store.ErrUnavailable, err)
	}
	c.session = &session{path, key}
	return c.session, nil
}

// forgetSession makes the next one who needs a session open a new one.
func (c *client) forgetSession(ctx context.Context) error {
	if err := acquire(ctx, c.opening); err != nil {
		return err
	}
	c.session = nil
	<-c.opening
	return nil
}

// seal encrypts data for the session.
func (c *client) seal(ctx context.Context, data []byte, contentType string) (secret, error) {
	session, err := c.openSession(ctx)
	if err != nil {
		return secret{}, err
	}
	return session.seal(data, contentType)
}

// property reads a property of an object, written with its interface.
func (c *client) property(ctx context.Context, path dbus.ObjectPath, name string, value any) error {
	i := strings.LastIndexByte(name, '.')
	var v dbus.Variant
	if err := c.Call(ctx, path, "org.freedesktop.DBus.Properties.Get", []any{name[:i], name[i+1:]}, &v); err != nil {
		return err
	}
	if err := v.Store(value); err != nil {
		return fmt.Errorf("%w: the property %s of the Secret Service: %w", store.ErrUnavailable, name, err)
	}
	return nil
}

// each calls f for each path at once, so that the calls share one round trip,
// and returns their first error.
func each(paths []dbus.ObjectPath, f func(i int, path dbus.ObjectPath) error) error {
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() { errs[i] = f(i, path) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// collection finds a collection: the default one for "", one at a path, or one
// of a name. It returns "" if there is none.
func (c *client) collection(ctx context.Context, name string) (dbus.ObjectPath, error) {
	if name == "" {
		var path dbus.ObjectPath
		if err := c.Call(ctx, servicePath, serviceInterface+".ReadAlias", []any{"default"}, &path); err != nil {
			return "", err
		}
		if path == nothing {
			return "", nil
		}
		return path, nil
	}
	var paths []dbus.ObjectPath
	if err := c.property(ctx, servicePath, serviceInterface+".Collections", &paths); err != nil {
		return "", err
	}
	for _, path := range []string{name, collectionRoot + pathElement(name)} {
		if slices.Contains(paths, dbus.ObjectPath(path)) {
			return dbus.ObjectPath(path), nil
		}
	}
	slices.Sort(paths)
	labels := make([]string, len(paths))
	err := each(paths, func(i int, path dbus.ObjectPath) error {
		return ignoreGone(c.property(ctx, path, collectionInterface+".Label", &labels[i]))
	})
	if i := slices.Index(labels, name); i >= 0 && err == nil {
		return paths[i], nil
	}
	return "", err
}

// pathElement returns a name as gnome-keyring makes an object path of it.
func pathElement(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// search returns the items of a collection with some attributes. Those of a
// locked collection are not always found: see isSure.
func (c *client) search(ctx context.Context, collection dbus.ObjectPath, attributes map[string]string) ([]dbus.ObjectPath, error) {
	var items []dbus.ObjectPath
	err := c.Call(ctx, collection, collectionInterface+".SearchItems", []any{attributes}, &items)
	return items, err
}

// isSure reports whether a search that found nothing means that there is
// nothing. A locked collection says so only if the service tells its items at
// all: gnome-keyring does, and KeePassXC shows a locked collection as empty.
func (c *client) isSure(ctx context.Context, collection dbus.ObjectPath) (bool, error) {
	locked, err := c.isLocked(ctx, collection, collection)
	if err != nil || !locked {
		return !locked, err
	}
	items, err := c.items(ctx, collection)
	return len(items) > 0, err
}

// items returns all items of a collection, of whatever program.
func (c *client) items(ctx context.Context, collection dbus.ObjectPath) ([]dbus.ObjectPath, error) {
	var items []dbus.ObjectPath
	err := c.property(ctx, collection, collectionInterface+".Items", &items)
	return items, err
}

// attributes returns those of an item, or none if it was deleted.
func (c *client) attributes(ctx context.Context, item dbus.ObjectPath) (map[string]string, error) {
	var attributes map[string]string
	err := c.property(ctx, item, itemInterface+".Attributes", &attributes)
	return attributes, ignoreGone(err)
}

// isLocked reports whether a collection, or an item of it, is locked.
func (c *client) isLocked(ctx context.Context, collection, object dbus.ObjectPath) (locked bool, err error) {
	name := itemInterface + ".Locked"
	if object == collection {
		name = collectionInterface + ".Locked"
	}
	return locked, c.property(ctx, object, name, &locked)
}

// newest sorts items so that the one that was changed last is the first. All
// who look at them agree on it, as times that are equal are followed by paths.
func (c *client) newest(ctx context.Context, items []dbus.ObjectPath) ([]dbus.ObjectPath, error) {
	if len(items) < 2 {
		return items, nil
	}
	modified := make(map[dbus.ObjectPath]uint64, len(items))
	var mu sync.Mutex
	err := each(items, func(_ int, item dbus.ObjectPath) error {
		var at uint64
		err := c.property(ctx, item, itemInterface+".Modified", &at)
		mu.Lock()
		defer mu.Unlock()
		modified[item] = at
		return ignoreGone(err)
	})
	slices.SortFunc(items, func(a, b dbus.ObjectPath) int {
		return cmp.Or(cmp.Compare(modified[b], modified[a]), cmp.Compare(b, a))
	})
	return items, err
}

// getSecret returns the value of an item.
func (c *client) getSecret(ctx context.Context, item dbus.ObjectPath) ([]byte, error) {
	session, err := c.openSession(ctx)
	if err != nil {
		return nil, err
	}
	var value secret
	if err := c.Call(ctx, item, itemInterface+".GetSecret", []any{session.path}, &value); err != nil {
		return nil, err
	}
	data, err := session.open(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return data, nil
}

// isGone reports whether an error says that an object is not there any more.
func isGone(err error) bool {
	return sessionbus.IsError(err, errorNoSuchObject,
		"org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod")
}

func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}

// explain makes an error that is the service's own one of package store.
func explain(err error) error {
	e, ok := errors.AsType[dbus.Error](err)
	if !ok || isOurs(err) {
		return err
	}
	if e.Name == errorIsLocked {
		return fmt.Errorf("%w: %w", store.ErrLocked, err)
	}
	return fmt.Errorf("%w: the Secret Service: %w", store.ErrUnavailable, err)
}

// isOurs reports whether an error wraps one of package store.
func isOurs(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied) ||
		errors.Is(err, store.ErrLocked) || errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound)
}
