package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"filippo.io/age"

	"kura/internal/store"
	"kura/internal/unlocked"
)

// What is kept under the name of a store's identity is not believed to be it.
func TestKeepIsNotBelieved(t *testing.T) {
	keep := unlocked.Open("test-" + rand.Text())
	if err := keep.Works(); err != nil {
		t.Skip("nothing can be kept between processes here: ", err)
	}
	t.Cleanup(func() { keep.Forget() })
	asked := 0
	ask := func(context.Context) (string, error) { asked++; return "passphrase", nil }
	o := Options{
		Dir: t.TempDir() + "/store", Keep: keep, TTL: time.Minute, WorkFactor: 1,
		Passphrase:    func(ctx context.Context, _ int) (string, error) { return ask(ctx) },
		NewPassphrase: ask,
	}
	s, key := Open(o), store.Key{Kind: store.AccessKey, Name: "a"}
	if err := s.Put(t.Context(), key, []byte("data")); err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for i, kept := range []string{other.String(), "garbage", ""} {
		keep.Forget()
		if err := keep.Put(keepName(s.opened.recipient), []byte(kept), time.Minute); err != nil && kept != "" {
			t.Fatal(err)
		}
		if got, err := Open(o).Get(t.Context(), key); err != nil || string(got) != "data" {
			t.Errorf("with something else kept: Get = %q, %v", got, err)
		}
		if want := i + 2; asked != want {
			t.Errorf("the user was asked %d times, want %d", asked, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, name := range []string{"dev", "Dev", "a/b", "%41", "ü", "~", "con", "..", string(make([]byte, 255))} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key := store.Key{Kind: store.AccessKey, Name: name}
		file, err := fileName(key)
		if err != nil {
			if n := len(name); 1 <= n && n <= 255 {
				t.Error(err)
			}
			return
		}
		if len(file) > maxFileName {
			t.Errorf("the file name of %q has %d bytes, want at most %d", name, len(file), maxFileName)
		}
		for _, c := range []byte(file) {
			if c != '%' && c != '~' && store.Escape(string(rune(c))) != string(rune(c)) {
				t.Errorf("the file name %q of %q has the byte %q", file, name, c)
			}
		}
		got, long, ok := parseFileName(file)
		if !ok || !long && got != key {
			t.Errorf("parseFileName(%q) = %q, %t, %t, want %q", file, got, long, ok, key)
		}
	})
}

// FuzzParseFileName: what is taken for an item is what fileName would write, so
// no two files are the same item.
func FuzzParseFileName(f *testing.F) {
	f.Add("access-key.dev%2feu.age")
	f.Add("access-key.DEV.age")
	f.Fuzz(func(t *testing.T, file string) {
		key, long, ok := parseFileName(file)
		if !ok || long {
			return
		}
		if again, err := fileName(key); err != nil || again != file {
			t.Errorf("%q is taken for the item %q, whose file is %q, %v", file, key, again, err)
		}
	})
}

func FuzzSlotFile(f *testing.F) {
	f.Add("passphrase.20260131235959.dev%2feu.age")
	f.Fuzz(func(t *testing.T, file string) {
		if slot, ok := parseSlotFile(file); ok && slotFile(slot) != file {
			t.Errorf("%q is taken for the slot %v, whose file is %q", file, slot, slotFile(slot))
		}
	})
}

func FuzzDecodeItem(f *testing.F) {
	mac := []byte("key")
	key := store.Key{Kind: store.AccessKey, Name: "a\n\"ü"}
	f.Add(encodeItem(mac, key, []byte("data\n\ndata")))
	f.Add([]byte("kura-item 1\nkind: \nname: \"\"\nmac: \n\n"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if key, data, err := decodeItem(mac, plain); err == nil {
			if again := encodeItem(mac, key, data); !bytes.Equal(again, plain) {
				t.Errorf("%q decodes to %q and %q, which encode to %q", plain, key, data, again)
			}
		}
		// Whatever is stored comes back, and is bound to its name and key.
		item := encodeItem(mac, key, plain)
		gotKey, got, err := decodeItem(mac, item)
		if err != nil || gotKey != key || !bytes.Equal(got, plain) {
			t.Errorf("decodeItem(encodeItem(%q)) = %q, %q, %v", plain, gotKey, got, err)
		}
		if _, _, err := decodeItem([]byte("another key"), item); err == nil {
			t.Errorf("%q is accepted under another key", item)
		}
		renamed := bytes.Replace(item, []byte("access-key"), []byte("cache-key"), 1)
		if _, _, err := decodeItem(mac, renamed); err == nil {
			t.Errorf("%q is accepted", renamed)
		}
	})
}
