package width

import "testing"

func TestOf(t *testing.T) {
	for s, want := range map[string]int{
		"":              0,
		"prod":          4,
		"本番":            4,
		"ﾎﾝﾊﾞﾝ":         5,
		"Ｐｒｏｄ":          8,
		"café":          4,
		"cafe\u0301":    4,
		"a\u200bb":      2,
		"🔑":             2,
		"🔑\ufe0f":       2,
		"±1":            2,
		"한국":            4,
		"\u304b\u3099x": 3, // か and a voiced sound mark of its own
	} {
		if got := Of(s); got != want {
			t.Errorf("Of(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestPad(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"ab", 4, "ab  "},
		{"本番", 6, "本番  "},
		{"本番", 3, "本番"},
		{"", 2, "  "},
	} {
		if got := Pad(c.s, c.n); got != c.want {
			t.Errorf("Pad(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"production", 10, "production"},
		{"production", 5, "prod…"},
		{"本番環境", 8, "本番環境"},
		{"本番環境", 6, "本番…"}, // a half of the third does not fit
		{"本番環境", 5, "本番…"},
		{"本番", 2, "…"},
		{"本番", 1, "…"},
		{"本番", 0, ""},
		{"cafe\u0301s", 5, "cafe\u0301s"},
		{"cafe\u0301s!", 5, "cafe\u0301…"},
	} {
		if got := Cut(c.s, c.n); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
}
