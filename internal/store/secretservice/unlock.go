package secretservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
)

// guiltRidden is an interface of gnome-keyring that takes passwords, made for
// the login of the desktop. It is how a person with a terminal and no display
// can unlock it.
const guiltRidden = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"

// attempts is how often a person is asked for a password.
const attempts = 3

// A LockedError says that a collection is locked, or not there yet, and why it
// stayed so: Err is or wraps ErrDismissed, ErrUnanswered, ErrWrongPassword,
// ErrNobody, ErrEmptyPassword, or an error of Options.Ask. It wraps
// store.ErrLocked.
type LockedError struct {
	Collection string // as in Options
	Missing    bool   // it was to be made
	Err        error
}

func (e *LockedError) Error() string {
	name := "the default collection"
	if e.Collection != "" {
		name = fmt.Sprintf("the collection %q", e.Collection)
	}
	if e.Missing {
		return fmt.Sprintf("%s of the Secret Service is not there yet: %v", name, e.Err)
	}
	return fmt.Sprintf("%s of the Secret Service is locked: %v", name, e.Err)
}

// Unwrap returns store.ErrLocked and Err.
func (e *LockedError) Unwrap() []error { return []error{store.ErrLocked, e.Err} }

// unlock unlocks an object: a collection or an item of it.
func (s *Store) unlock(ctx context.Context, c *client, collection, object dbus.ObjectPath) error {
	if err := acquire(ctx, s.asking); err != nil {
		return err
	}
	defer func() { <-s.asking }()
	unlocked := func(ctx context.Context) (bool, error) {
		locked, err := c.isLocked(ctx, collection, object)
		return err == nil && !locked, err
	}
	// Another goroutine may have unlocked it in the meantime.
	if ok, err := unlocked(ctx); ok || err != nil {
		return err
	}
	var err error
	if s.o.Display {
		err = s.unlockInWindow(ctx, c, object, unlocked)
	} else {
		err = s.unlockHere(ctx, c, collection)
	}
	return s.locked(err, false)
}

// locked adds the collection to the reasons why it stays locked.
func (s *Store) locked(err error, missing bool) error {
	if errors.Is(err, store.ErrLocked) {
		return &LockedError{s.o.Collection, missing, err}
	}
	return err
}

func (s *Store) unlockInWindow(ctx context.Context, c *client, object dbus.ObjectPath, unlocked func(context.Context) (bool, error)) error {
	// gnome-keyring aborts, and with it everything that it has unlocked for
	// anybody, when such a question is dismissed: its mark_as_complete begins
	// the next one in a queue whose first is this one itself
	// (daemon/dbus/gkd-secret-unlock.c; seen with 42.1). Its window stays open.
	fragile, err := c.takesPasswords(ctx)
	if err != nil {
		return err
	}
	var done []dbus.ObjectPath
	var prompt dbus.ObjectPath
	err = c.Call(ctx, servicePath, serviceInterface+".Unlock", []any{[]dbus.ObjectPath{object}}, &done, &prompt)
	if err != nil {
		return err
	}
	if prompt != nothing {
		if err := s.prompt(ctx, c, question{path: prompt, keep: fragile, over: unlocked}); err != nil {
			return err
		}
	}
	ok, err := unlocked(ctx)
	if !ok && err == nil {
		return refuse(ErrDismissed)
	}
	return err
}

// unlockHere asks for the password on the terminal.
func (s *Store) unlockHere(ctx context.Context, c *client, collection dbus.ObjectPath) error {
	if err := s.canAskHere(ctx, c); err != nil {
		return err
	}
	var label string // as the person knows it
	if err := c.property(ctx, collection, collectionInterface+".Label", &label); err != nil {
		return err
	}
	text := fmt.Sprintf("Password of the keyring %q", label)
	last := ""
	for i := range attempts {
		password, err := s.ask(ctx, text)
		if err != nil {
			return err
		}
		// A program that answers would answer the same for ever.
		if i > 0 && password == last {
			break
		}
		last = password
		master, err := c.seal(ctx, []byte(password), "text/plain")
		if err != nil {
			return err
		}
		err = c.Call(ctx, servicePath, guiltRidden+".UnlockWithMasterPassword", []any{collection, master})
		if !isWrongPassword(err) {
			return err
		}
	}
	return refuse(ErrWrongPassword)
}

// isWrongPassword reports whether an error of the guilt-ridden interface says
// so. gnome-keyring has one name for it, which stands for nothing else there.
func isWrongPassword(err error) bool {
	return sessionbus.IsError(err, "org.gnome.keyring.Error.Denied")
}

// canAskHere returns ErrNobody unless there are a person and a service that
// manage without a window.
func (s *Store) canAskHere(ctx context.Context, c *client) error {
	if s.o.Ask == nil {
		return refuse(ErrNobody)
	}
	ok, err := c.takesPasswords(ctx)
	if !ok && err == nil {
		return refuse(ErrNobody)
	}
	return err
}

// takesPasswords reports whether the service has the guilt-ridden interface, and
// so is gnome-keyring.
func (c *client) takesPasswords(ctx context.Context) (bool, error) {
	var description string
	err := c.Call(ctx, servicePath, "org.freedesktop.DBus.Introspectable.Introspect", nil, &description)
	if sessionbus.IsError(err, "org.freedesktop.DBus.Error.UnknownMethod") {
		return false, nil
	}
	return strings.Contains(description, guiltRidden), err
}

// ask asks on the terminal, and not for ever.
func (s *Store) ask(ctx context.Context, text string) (string, error) {
	asking, cancel := context.WithTimeoutCause(ctx, s.o.PromptTimeout, refuse(ErrUnanswered))
	defer cancel()
	password, err := s.o.Ask(asking, text)
	switch {
	case asking.Err() != nil:
		return "", context.Cause(asking)
	case err != nil:
		return "", refuse(err)
	}
	return password, nil
}

// refuse makes a reason why a store stays locked an error of package store.
func refuse(err error) error { return &reason{err} }

// A reason wraps store.ErrLocked without saying so, as LockedError does.
type reason struct{ err error }

func (e *reason) Error() string   { return e.err.Error() }
func (e *reason) Unwrap() []error { return []error{store.ErrLocked, e.err} }

// makeCollection makes the collection of the store, and returns it.
func (s *Store) makeCollection(ctx context.Context, c *client) (dbus.ObjectPath, error) {
	if err := acquire(ctx, s.asking); err != nil {
		return "", err
	}
	defer func() { <-s.asking }()
	if path, err := c.collection(ctx, s.o.Collection); path != "" || err != nil {
		return path, err
	}
	if strings.HasPrefix(s.o.Collection, "/") {
		return "", fmt.Errorf("%w: the Secret Service has no collection %s", store.ErrUnavailable, s.o.Collection)
	}
	properties := map[string]dbus.Variant{collectionInterface + ".Label": dbus.MakeVariant(s.label())}
	var err error
	if s.o.Display {
		err = s.makeInWindow(ctx, c, properties)
	} else {
		err = s.makeHere(ctx, c, properties)
	}
	if err != nil {
		return "", s.locked(err, true)
	}
	// Another process may have made one at the same time. It is by the name
	// that all find the same.
	path, err := c.collection(ctx, s.o.Collection)
	if path == "" && err == nil {
		err = fmt.Errorf("%w: the Secret Service has made a collection and does not show it", store.ErrUnavailable)
	}
	return path, err
}

// alias is what the service calls the collection beside its label.
func (s *Store) alias() string {
	if s.o.Collection == "" {
		return "default"
	}
	return ""
}

// label is what people will call the collection, if this program makes it.
func (s *Store) label() string {
	if s.o.Collection == "" {
		return "Default keyring"
	}
	return s.o.Collection
}

func (s *Store) makeInWindow(ctx context.Context, c *client, properties map[string]dbus.Variant) error {
	var made, prompt dbus.ObjectPath
	err := c.Call(ctx, servicePath, serviceInterface+".CreateCollection", []any{properties, s.alias()}, &made, &prompt)
	if err != nil || prompt == nothing {
		return err
	}
	return s.prompt(ctx, c, question{path: prompt})
}

// makeHere asks for a new password on the terminal.
func (s *Store) makeHere(ctx context.Context, c *client, properties map[string]dbus.Variant) error {
	if err := s.canAskHere(ctx, c); err != nil {
		return err
	}
	password, err := s.askNew(ctx)
	if err != nil {
		return err
	}
	master, err := c.seal(ctx, []byte(password), "text/plain")
	if err != nil {
		return err
	}
	var made dbus.ObjectPath
	err = c.Call(ctx, servicePath, guiltRidden+".CreateWithMasterPassword", []any{properties, master}, &made)
	if err != nil || s.alias() == "" {
		return err
	}
	return c.Call(ctx, servicePath, serviceInterface+".SetAlias", []any{s.alias(), made})
}

// askNew asks for a password twice. gnome-keyring would take an empty one, and
// write its items in the clear.
func (s *Store) askNew(ctx context.Context) (string, error) {
	for range attempts {
		password, err := s.ask(ctx, fmt.Sprintf("New password for the keyring %q", s.label()))
		if err != nil {
			return "", err
		}
		if password == "" {
			return "", refuse(ErrEmptyPassword)
		}
		again, err := s.ask(ctx, "The same again")
		if err != nil {
			return "", err
		}
		if again == password {
			return password, nil
		}
	}
	return "", refuse(ErrWrongPassword)
}

// A question is a prompt of the service that is about to be shown.
type question struct {
	path dbus.ObjectPath
	keep bool // it must not be dismissed

	// over, which may be nil, says that there is no need to ask any more, as
	// when another process was answered.
	over func(context.Context) (bool, error)
}

// prompt lets the service ask in a window, and waits for the answer.
func (s *Store) prompt(ctx context.Context, c *client, q question) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.PromptTimeout, refuse(ErrUnanswered))
	defer cancel()
	// The answer may come before the call returns.
	signals := make(chan *dbus.Signal, 16)
	c.Conn.Signal(signals)
	defer c.Conn.RemoveSignal(signals)
	for _, rule := range []string{
		fmt.Sprintf("type='signal',sender='%s',interface='%s',member='Completed',path='%s'", serviceName, promptInterface, q.path),
		fmt.Sprintf("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='%s'", serviceName),
	} {
		bus := &sessionbus.Service{Conn: c.Conn, Name: "org.freedesktop.DBus", Timeout: c.Timeout}
		if err := bus.Call(ctx, "/org/freedesktop/DBus", "org.freedesktop.DBus.AddMatch", []any{rule}); err != nil {
			return err
		}
		// That a rule stays costs a signal now and then, so the reply is not
		// worth waiting for.
		defer c.Conn.BusObject().Go("org.freedesktop.DBus.RemoveMatch", dbus.FlagNoReplyExpected, make(chan *dbus.Call, 1), rule)
	}
	if err := c.Call(ctx, q.path, promptInterface+".Prompt", []any{""}); err != nil {
		c.dismiss(ctx, q)
		return err
	}
	say := time.AfterFunc(time.Second, func() { s.o.Say("waiting for an answer in the window of the keyring") })
	defer say.Stop()
	look := time.NewTicker(300 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			c.dismiss(ctx, q)
			return context.Cause(ctx)
		case <-look.C:
			if q.over == nil {
				continue
			}
			if over, err := q.over(ctx); over || err != nil {
				c.dismiss(ctx, q)
				return err
			}
		case signal, ok := <-signals:
			switch {
			case !ok:
				return &sessionbus.NoServiceError{Service: serviceName, Err: errors.New("the connection to the bus was lost")}
			case signal.Name == "org.freedesktop.DBus.NameOwnerChanged" && len(signal.Body) > 0 && signal.Body[0] == serviceName:
				return &sessionbus.NoServiceError{Service: serviceName, Err: errors.New("it ended before it was answered")}
			case signal.Name == promptInterface+".Completed" && signal.Path == q.path:
				if len(signal.Body) > 0 && signal.Body[0] == false {
					return nil
				}
				return refuse(ErrDismissed)
			}
		}
	}
}

// dismiss closes the window of a question that nobody waits for any more. If
// that fails there is nothing more to be done about it.
func (c *client) dismiss(ctx context.Context, q question) {
	if q.keep {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 250*time.Millisecond)
	defer cancel()
	_ = c.Call(ctx, q.path, promptInterface+".Dismiss", nil)
}

// acquire takes a turn, which is given back by receiving from it.
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
