package kwallet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godbus/dbus/v5"

	"kura/internal/sessionbus"
	"kura/internal/store"
)

// A handle is what KWallet calls a wallet that it has opened for a program.
type handle int32

const none handle = -1

// A client is a connection to KWallet. Its methods are those of the interface
// org.kde.KWallet, see
// https://invent.kde.org/frameworks/kwallet/-/blob/master/src/api/KWallet/org.kde.KWallet.xml
type client struct {
	sessionbus.Service
	path           dbus.ObjectPath
	wallet, folder string
	appID          string
	handle         handle // of the wallet, or none
}

// newClient connects to KWallet, which the bus may have to start.
func newClient(ctx context.Context, o Options, appID string) (*client, error) {
	conn, err := sessionbus.Connect(ctx, o.Address)
	if err != nil {
		return nil, err
	}
	c := &client{
		Service: sessionbus.Service{Conn: conn, Timeout: o.CallTimeout},
		wallet:  o.Wallet,
		folder:  o.Folder,
		appID:   appID,
		handle:  none,
	}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// begin finds out whom to talk to, and of which wallet.
func (c *client) begin(ctx context.Context) error {
	if err := c.choose(ctx); err != nil {
		return err
	}
	var enabled bool
	if err := c.call(ctx, "isEnabled", &enabled); err != nil {
		return err
	}
	if !enabled {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ErrDisabled)
	}
	if c.wallet != "" {
		return nil
	}
	return c.call(ctx, "networkWallet", &c.wallet)
}

// choose picks the KWallet that runs, or else one that the bus can start, and
// the newer one where there are two: it has the older one's wallets too.
func (c *client) choose(ctx context.Context) error {
	versions := []string{"6", "5"}
	bus := c.bus()
	for _, method := range []string{"ListNames", "ListActivatableNames"} {
		var names []string
		if err := bus.Call(ctx, busPath, busName+"."+method, nil, &names); err != nil {
			return err
		}
		for _, v := range versions {
			if name := "org.kde.kwalletd" + v; slices.Contains(names, name) {
				c.Name, c.path = name, dbus.ObjectPath("/modules/kwalletd"+v)
				return nil
			}
		}
	}
	return &sessionbus.NoServiceError{Service: "org.kde.kwalletd6 or org.kde.kwalletd5", Err: errors.New("none runs or can be started")}
}

const (
	busName = "org.freedesktop.DBus"
	busPath = dbus.ObjectPath("/org/freedesktop/DBus")
)

func (c *client) bus() *sessionbus.Service {
	return &sessionbus.Service{Conn: c.Conn, Name: busName, Timeout: c.Timeout}
}

func (c *client) call(ctx context.Context, method string, result any, args ...any) error {
	return c.Call(ctx, c.path, "org.kde.KWallet."+method, args, result)
}

// isMade reports whether the wallet is there.
func (c *client) isMade(ctx context.Context) (bool, error) {
	var wallets []string
	err := c.call(ctx, "wallets", &wallets)
	return slices.Contains(wallets, c.wallet), err
}

// isOpen reports whether somebody has opened the wallet.
func (c *client) isOpen(ctx context.Context) (open bool, err error) {
	err = c.call(ctx, "isOpen", &open, c.wallet)
	return open, err
}

// has and hasFolder tell what is in a wallet, be it open or not.
func (c *client) has(ctx context.Context, entry string) (bool, error) {
	var missing bool
	err := c.call(ctx, "keyDoesNotExist", &missing, c.wallet, c.folder, entry)
	return err == nil && !missing, err
}

func (c *client) hasFolder(ctx context.Context) (bool, error) {
	var missing bool
	err := c.call(ctx, "folderDoesNotExist", &missing, c.wallet, c.folder)
	return err == nil && !missing, err
}

// open opens the wallet. It returns less than 0 if the user does not want that.
// KWallet has an "open" that waits, but one of which it does not notice that
// who waits has gone, or that the program that got the handle has ended.
func (c *client) open(ctx context.Context) (handle, error) {
	// The answer may come before the call returns.
	signals := make(chan *dbus.Signal, 16)
	c.Conn.Signal(signals)
	defer c.Conn.RemoveSignal(signals)
	bus := c.bus()
	for _, rule := range []string{
		fmt.Sprintf("type='signal',sender='%s',interface='org.kde.KWallet',member='walletAsyncOpened'", c.Name),
		fmt.Sprintf("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='%s'", c.Name),
	} {
		if err := bus.Call(ctx, busPath, busName+".AddMatch", []any{rule}); err != nil {
			return none, err
		}
		defer c.Conn.BusObject().Go(busName+".RemoveMatch", dbus.FlagNoReplyExpected, make(chan *dbus.Call, 1), rule)
	}
	// The 0 is the window of the program that asks, as it has none; true has
	// KWallet forget the handle once this program leaves the bus.
	var transaction int32
	if err := c.call(ctx, "openAsync", &transaction, c.wallet, int64(0), c.appID, true); transaction < 0 || err != nil {
		return none, err
	}
	for {
		select {
		case <-ctx.Done():
			return none, context.Cause(ctx)
		case signal, ok := <-signals:
			var answered, h int32
			switch {
			case !ok:
				return none, &sessionbus.NoServiceError{Service: c.Name, Err: errors.New("the connection to the bus was lost")}
			case signal.Name == busName+".NameOwnerChanged" && len(signal.Body) == 3 && signal.Body[0] == c.Name:
				return none, &sessionbus.NoServiceError{Service: c.Name, Err: errors.New("it ended before it was answered")}
			case signal.Name == "org.kde.KWallet.walletAsyncOpened" && dbus.Store(signal.Body, &answered, &h) == nil && answered == transaction:
				return handle(h), nil
			}
		}
	}
}

// isValid reports whether what is done with a handle has an effect: the wallet
// is open under it, and this program is one of its users.
func (c *client) isValid(ctx context.Context, h handle) (bool, error) {
	var open bool
	if err := c.call(ctx, "isOpen", &open, h); !open || err != nil {
		return false, err
	}
	var users []string
	err := c.call(ctx, "users", &users, c.wallet)
	return slices.Contains(users, c.appID), err
}

func (c *client) entryList(ctx context.Context, h handle) (entries []string, err error) {
	err = c.call(ctx, "entryList", &entries, h, c.folder, c.appID)
	return entries, err
}

func (c *client) hasEntry(ctx context.Context, h handle, entry string) (has bool, err error) {
	err = c.call(ctx, "hasEntry", &has, h, c.folder, entry, c.appID)
	return has, err
}

// readEntry returns nothing for an entry that is missing.
func (c *client) readEntry(ctx context.Context, h handle, entry string) (data []byte, err error) {
	err = c.call(ctx, "readEntry", &data, h, c.folder, entry, c.appID)
	return data, err
}

func (c *client) createFolder(ctx context.Context, h handle) error {
	var isNew bool
	return c.call(ctx, "createFolder", &isNew, h, c.folder, c.appID)
}

// writeEntry reports whether it has written the entry.
func (c *client) writeEntry(ctx context.Context, h handle, entry string, data []byte) (bool, error) {
	var code int32
	if err := c.call(ctx, "writeEntry", &code, h, c.folder, entry, data, c.appID); code != 0 || err != nil {
		return false, err
	}
	return true, c.sync(ctx, h)
}

// removeEntry reports whether it has removed the entry.
func (c *client) removeEntry(ctx context.Context, h handle, entry string) (bool, error) {
	var code int32
	if err := c.call(ctx, "removeEntry", &code, h, c.folder, entry, c.appID); code != 0 || err != nil {
		return false, err
	}
	return true, c.sync(ctx, h)
}

// sync makes KWallet write the wallet to disk now. It is new in KDE Frameworks
// 5; without it the wallet is written some seconds later.
func (c *client) sync(ctx context.Context, h handle) error {
	err := c.Call(ctx, c.path, "org.kde.KWallet.sync", []any{h, c.appID})
	if sessionbus.IsError(err, "org.freedesktop.DBus.Error.UnknownMethod") {
		return nil
	}
	return err
}
