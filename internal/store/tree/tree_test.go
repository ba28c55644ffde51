package tree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kura/internal/store"
	"kura/internal/store/tree"
)

func touch(t testing.TB, dir string, entries ...string) {
	t.Helper()
	for _, entry := range entries {
		file := filepath.Join(dir, entry)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEntry(t *testing.T) {
	for name, want := range map[string]string{
		"prod":     "kura/access-key/prod",
		"prod.eu":  "kura/access-key/prod.eu",
		"Prod/eu":  "kura/access-key/%50rod%2feu",
		"..":       "kura/access-key/%2e.",
		".gpg-id":  "kura/access-key/%2egpg-id",
		"a\x00~\n": "kura/access-key/a%00%7e%0a",
		strings.Repeat("x", 96) + ".." + strings.Repeat("y", 100): "kura/access-key/" + strings.Repeat("x", 96) + "~/" +
			"%2e." + strings.Repeat("y", 94) + "~/" + "yyyyyy",
	} {
		if got, err := (tree.Tree{}).Entry(store.Key{Kind: store.AccessKey, Name: name}); err != nil || got != want {
			t.Errorf("Entry(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
}

// What kura did not name is not taken for an item, so that no two files are the
// same item.
func TestListOnlyOurs(t *testing.T) {
	tr := tree.Tree{Dir: t.TempDir(), Ext: ".gpg"}
	touch(t, tr.Dir, "kura/access-key/prod.gpg", "kura/access-key/a%2fb.gpg",
		"kura/access-key/Prod.gpg", "kura/access-key/a%2Fb.gpg", "kura/access-key/%70rod.gpg",
		"kura/access-key/.hidden.gpg", "kura/access-key/prod.txt", "kura/access-key/%zz.gpg",
		"kura/access-key/sub/dev.gpg", "kura/access-key/sub~/dev.gpg",
		"kura/cache-key/sessions.gpg", "kura/other/x.gpg", "dev.gpg", "aws/dev.gpg", ".git/x.gpg")
	got, err := tr.List(t.Context(), store.AccessKey)
	if want := []string{"a/b", "prod"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %q, %v, want %q", got, err, want)
	}
	others, err := tr.Others(t.Context())
	if want := []string{"aws/dev", "dev", "kura/other/x"}; err != nil || !slices.Equal(others, want) {
		t.Errorf("Others = %q, %v, want %q", others, err, want)
	}
}

// FuzzEntry: an entry is a path that every system and program takes, and tells
// the name of the item.
func FuzzEntry(f *testing.F) {
	for _, name := range []string{"dev", "Dev", "a/b", "%41", "ü", "~", "..", strings.Repeat(".", 255)} {
		f.Add(name)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		tr := tree.Tree{Dir: filepath.Join(dir, fmt.Sprintf("%x", len(name))), Ext: ".age"}
		entry, err := tr.Entry(store.Key{Kind: store.AccessKey, Name: name})
		if err != nil {
			if n := len(name); 1 <= n && n <= 255 {
				t.Error(err)
			}
			return
		}
		for _, part := range strings.Split(entry, "/") {
			if len(part) > 99 || part == "" || part[0] == '.' || strings.ToLower(part) != part {
				t.Errorf("Entry(%q) = %q, which has the part %q", name, entry, part)
			}
		}
		touch(t, tr.Dir, entry+tr.Ext)
		defer os.RemoveAll(tr.Dir)
		if got, err := tr.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, []string{name}) {
			t.Errorf("List = %q, %v, want %q", got, err, name)
		}
	})
}

func BenchmarkList(b *testing.B) {
	tr := tree.Tree{Dir: b.TempDir(), Ext: ".gpg"}
	for i := range 100 {
		touch(b, tr.Dir, fmt.Sprintf("kura/access-key/profile-%d.gpg", i))
	}
	for b.Loop() {
		if names, err := tr.List(b.Context(), store.AccessKey); err != nil || len(names) != 100 {
			b.Fatal(len(names), err)
		}
	}
}
