package store_test

import (
	"strings"
	"testing"

	"kura/internal/store"
)

func FuzzEscape(f *testing.F) {
	for _, name := range []string{"dev", "Dev/eu", "größe", "%41", "\x00\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		escaped := store.Escape(name)
		if got, ok := store.Unescape(escaped); !ok || got != name {
			t.Errorf("Unescape(%q) = %q, %v, want %q", escaped, got, ok, name)
		}
		// No system takes two for one, or for more than a part of a path.
		if strings.ToLower(escaped) != escaped || strings.ContainsAny(escaped, `/\:~ `) {
			t.Errorf("Escape(%q) = %q", name, escaped)
		}
	})
}
