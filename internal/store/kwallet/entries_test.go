//go:build unix

package kwallet_test

import (
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"kura/internal/store"
	"kura/internal/store/kwallet"
	"kura/internal/store/live"
)

// write writes entries as other programs do, and aws-vault among them: without
// making their folder first.
func write(t *testing.T, k *live.KWallet, wallet, folder, appID string, entries map[string]string) {
	t.Helper()
	conn, err := dbus.Connect(k.Address)
	check(t, err)
	defer conn.Close()
	o := conn.Object("org.kde.kwalletd5", "/modules/kwalletd5")
	var handle, code int32
	check(t, o.Call("org.kde.KWallet.open", 0, wallet, int64(0), appID).Store(&handle))
	for name, value := range entries {
		check(t, o.Call("org.kde.KWallet.writeEntry", 0, handle, folder, name, []byte(value), appID).Store(&code))
	}
	check(t, o.Call("org.kde.KWallet.sync", 0, handle, appID).Err)
}

func TestEntries(t *testing.T) {
	k := start(t)
	o := kwallet.Options{Address: k.Address}
	e := kwallet.OpenEntries(o)
	if names, err := e.List(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("List where aws-vault never was = %q, %v, want none", names, err)
	}
	_, err := e.Get(t.Context(), "work")
	wantError(t, err, store.ErrNotFound, `entry "work" of aws-vault`)

	check(t, k.OpenWallet(t.Context(), "aws-vault"))
	entries := map[string]string{
		"work": `{"Key":"work","Data":"e30="}`, "Home/eu größe": "\x00\xff", "empty": "", "oidc:https://x.test/start#/": "x",
	}
	write(t, k, "aws-vault", "aws-vault", "aws-vault", entries)
	for _, e := range []*kwallet.Entries{e, kwallet.OpenEntries(o)} {
		names, err := e.List(t.Context())
		if want := []string{"Home/eu größe", "empty", "oidc:https://x.test/start#/", "work"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("List = %q, %v, want %q", names, err, want)
		}
		for name, want := range entries {
			if got, err := e.Get(t.Context(), name); err != nil || string(got) != want {
				t.Errorf("Get(%q) = %q, %v, want %q", name, got, err, want)
			}
		}
		_, err = e.Get(t.Context(), "nope")
		wantError(t, err, store.ErrNotFound)
	}

	check(t, k.Restart(t.Context()))
	e = kwallet.OpenEntries(o)
	_, err = e.List(t.Context())
	wantError(t, err, store.ErrLocked, kwallet.ErrNobody)
	_, err = e.Get(t.Context(), "work")
	wantError(t, err, store.ErrLocked, kwallet.ErrNobody, `entry "work" of aws-vault`)
}

// What others keep in the wallet, or even in the folder, is no item and stays.
func TestForeignEntries(t *testing.T) {
	k := start(t)
	s := kwallet.Open(kwallet.Options{Address: k.Address})
	put(t, s, "a", "data")
	foreign := map[string]string{"x": "1", "access-key": "2", "access-key:Upper": "3", "access-key:%4": "4", "other:a": "5"}
	write(t, k, "kdewallet", "kura", "other", foreign)
	write(t, k, "kdewallet", "Passwords", "other", map[string]string{"access-key:b": "6"})
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("List = %q, %v, want just one name", names, err)
	}
	for _, name := range []string{"b", "Upper"} {
		wantError(t, s.Delete(t.Context(), key(name)), store.ErrNotFound)
	}
	e := kwallet.OpenEntries(kwallet.Options{Address: k.Address, Wallet: "kdewallet", Folder: "kura"})
	if names, err := e.List(t.Context()); err != nil || len(names) != 6 {
		t.Errorf("the folder holds %q, %v, want 6 entries", names, err)
	}
}
