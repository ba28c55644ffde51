//go:build unix

package setup_test

import (
	"testing"

	"kura/internal/setup"
)

func TestPlace(t *testing.T) {
	for _, c := range []struct{ path, home, want string }{
		{"/usr/local/bin/kura", "/home/ann", "/usr/local/bin/kura"},
		{"/home/linuxbrew/.linuxbrew/Cellar/kura/1.0_1/bin/kura", "/home/ann", "/home/linuxbrew/.linuxbrew/Cellar/kura/1.0_1/bin/kura"},
		{"/home/jürgen/bin/kura", "/home/jürgen", "/home/jürgen/bin/kura"},
		{"/opt/my tools/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/a'b/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/a=b/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/$x/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{`/opt/a\b/kura`, "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/a%b/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/a\u00a0b/kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"kura", "/home/ann", "/home/ann/.local/bin/kura"},
		{"/opt/my tools/kura", "/home/ann bee", ""},
	} {
		if got := setup.Place(c.path, c.home); got != c.want {
			t.Errorf("Place(%q, %q) = %q, want %q", c.path, c.home, got, c.want)
		}
	}
}

func TestIsTemporary(t *testing.T) {
	for path, want := range map[string]bool{
		"/tmp/kura":                           true,
		"/tmp/a/b/kura":                       true,
		"/var/x/go-build123/b001/exe/kura":    true,
		"/home/ann/.cache/go-build/ab/c-d/ku": true,
		"/usr/local/bin/kura":                 false,
		"/tmpfs/kura":                         false,
		"/home/ann/tmp/kura":                  false,
	} {
		if got := setup.IsTemporary(path, "/tmp"); got != want {
			t.Errorf("IsTemporary(%q) = %v, want %v", path, got, want)
		}
	}
}
