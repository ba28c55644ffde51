package all

import (
	"context"
	"errors"

	client "kura/internal/onepassword"
	"kura/internal/store"
	"kura/internal/store/near"
	"kura/internal/store/onepassword"
)

// onePassword is the backend of 1Password's program op.
func (e *Env) onePassword() store.Backend {
	return store.Backend{
		Name: OnePassword,
		Help: "items of 1Password, by its program op",
		Settings: []store.Setting{
			{Name: "vault", Help: "its ID or name"},
			{Name: "account", Help: "its ID, address or shorthand"},
			{Name: "item", Help: "the ID or title of an item of yours that holds a key"},
			{Name: "name", Help: "the profile whose key that is"},
			{Name: sessionCache, Help: "on: sessions are shared by way of its field session_cache"},
		},
		Open: func(settings map[string]string) (store.Opened, error) {
			s := onepassword.Open(onepassword.Options{
				Client:  e.OnePassword(),
				Account: settings["account"],
				Vault:   settings["vault"],
				Item:    settings["item"],
				Name:    settings["name"],
			})
			if (settings["item"] == "") != (settings["name"] == "") {
				return nil, onepassword.ErrNoName
			}
			switch settings[sessionCache] {
			case "", "on", "off":
			default:
				return nil, ErrOnOff
			}
			return &items{e.nearNamed(OnePassword, settings, s, nil), s, settings["name"]}, nil
		},
	}
}

// OnePassword is the name of the backend that keeps access keys only. The cache
// key is kept elsewhere where it is used.
const OnePassword = "1password"

// sessionCache is the name of a setting of that backend.
const sessionCache = "session-cache"

// ErrOnOff says that a setting is neither on nor off.
var ErrOnOff = errors.New(sessionCache + " is on or off")

// SharesSessions reports whether the settings of a store say that the sessions
// of its keys are to be kept in their items too. It is an option of 1Password
// alone.
func SharesSessions(settings map[string]string) bool { return settings[sessionCache] == "on" }

// items is the store in 1Password. Of the user's own item it knows without op
// that it is there.
type items struct {
	*near.Store
	op   *onepassword.Store
	name string // whose key is in the user's own item, if any
}

// Has implements store.Opened.
func (i *items) Has(ctx context.Context, key store.Key) (bool, error) {
	if i.name != "" && key.Name == i.name {
		return i.op.Has(ctx, key)
	}
	return i.Store.Has(ctx, key)
}

// OnePasswordItem returns the item of 1Password that holds the access key of
// that name in a store, if the store keeps its keys there.
func OnePasswordItem(s store.Opened, name string) (client.Ref, bool) {
	i, ok := s.(*items)
	if !ok {
		return client.Ref{}, false
	}
	return i.op.Ref(name), true
}
