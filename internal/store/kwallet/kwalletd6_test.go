//go:build unix

package kwallet_test

import (
	"testing"

	"github.com/godbus/dbus/v5"

	"kura/internal/store"
	"kura/internal/store/kwallet"
	"kura/internal/store/live"
)

// A kwalletd6 has the names of one, and passes all calls on to a real kwalletd5
// but those that it answers by itself. Debian 12 has no real one, and the
// interface is the same: this proves that the names are right and no more.
type kwalletd6 struct {
	*live.KWallet
	own, next *dbus.Conn
	answers   map[string]any
	asked     chan string // the methods called, as far as there is room
}

func startKWallet6(t *testing.T, answers map[string]any) *kwalletd6 {
	t.Helper()
	k := &kwalletd6{KWallet: start(t), answers: answers, asked: make(chan string, 100)}
	var err error
	k.next, err = dbus.Connect(k.Address)
	check(t, err)
	t.Cleanup(func() { k.next.Close() })
	k.own, err = dbus.Connect(k.Address, dbus.WithHandler(k))
	check(t, err)
	t.Cleanup(func() { k.own.Close() })

	signals := make(chan *dbus.Signal, 10)
	k.next.Signal(signals)
	check(t, k.next.AddMatchSignal(dbus.WithMatchInterface("org.kde.KWallet"), dbus.WithMatchMember("walletAsyncOpened")))
	go func() {
		for s := range signals {
			k.own.Emit("/modules/kwalletd6", s.Name, s.Body...)
		}
	}()
	reply, err := k.own.RequestName("org.kde.kwalletd6", dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return k
}

func (k *kwalletd6) LookupObject(path dbus.ObjectPath) (dbus.ServerObject, bool) {
	return k, path == "/modules/kwalletd6"
}

func (k *kwalletd6) LookupInterface(name string) (dbus.Interface, bool) {
	return k, name == "org.kde.KWallet"
}

func (k *kwalletd6) LookupMethod(name string) (dbus.Method, bool) { return method{k, name}, true }

type method struct {
	k    *kwalletd6
	name string
}

func (m method) Call(args ...any) ([]any, error) {
	select {
	case m.k.asked <- m.name:
	default:
	}
	if answer, ok := m.k.answers[m.name]; ok {
		return []any{answer}, nil
	}
	call := m.k.next.Object("org.kde.kwalletd5", "/modules/kwalletd5").Call("org.kde.KWallet."+m.name, 0, args...)
	return call.Body, call.Err
}

func (m method) DecodeArguments(_ *dbus.Conn, _ string, _ *dbus.Message, args []any) ([]any, error) {
	return args, nil
}

func (method) NumArguments() int     { return 0 }
func (method) NumReturns() int       { return 0 }
func (method) ArgumentValue(int) any { return nil }
func (method) ReturnValue(int) any   { return nil }

// Where both run it is kwalletd6 that is asked.
func TestKWallet6(t *testing.T) {
	k := startKWallet6(t, nil)
	s := kwallet.Open(kwallet.Options{Address: k.Address})
	put(t, s, "a", "data")
	want(t, s, "a", "data")
	if names, err := s.List(t.Context(), store.AccessKey); err != nil || len(names) != 1 {
		t.Errorf("List = %q, %v, want one name", names, err)
	}
	check(t, s.Delete(t.Context(), key("a")))
	if len(k.asked) == 0 {
		t.Error("kwalletd6 was not asked")
	}
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]any
		want    []any
	}{
		"disabled":      {map[string]any{"isEnabled": false}, []any{store.ErrUnavailable, kwallet.ErrDisabled}},
		"refused":       {map[string]any{"openAsync": int32(-1)}, []any{store.ErrLocked, kwallet.ErrDismissed}},
		"can't write":   {map[string]any{"writeEntry": int32(-1)}, []any{store.ErrUnavailable, "KWallet did not write the entry"}},
		"nonsense":      {map[string]any{"writeEntry": "what?"}, []any{store.ErrUnavailable, "answered in an unknown way"}},
		"another shuts": {map[string]any{"writeEntry": int32(-1), "users": []string{}}, []any{store.ErrLocked, "it was locked again by another program"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := kwallet.Open(kwallet.Options{Address: startKWallet6(t, c.answers).Address})
			wantError(t, s.Put(t.Context(), key("a"), nil), c.want...)
		})
	}
	// A value that was cut or changed is not taken for one.
	for _, value := range []string{"", "base64:YWJjZ", "YWJj", "base64:YW\x00"} {
		k := startKWallet6(t, map[string]any{"readEntry": []byte(value)})
		s := kwallet.Open(kwallet.Options{Address: k.Address})
		put(t, s, "a", "abc")
		_, err := s.Get(t.Context(), key("a"))
		wantError(t, err, store.ErrDamaged, `access-key "a"`)
	}
	// Not even an item that is there and can't be removed is reported removed.
	k := startKWallet6(t, map[string]any{"removeEntry": int32(-1)})
	s := kwallet.Open(kwallet.Options{Address: k.Address})
	put(t, s, "a", "abc")
	wantError(t, s.Delete(t.Context(), key("a")), store.ErrUnavailable, "KWallet did not remove the entry")
}
