package doctor

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestSplit checks that command lines are split as shlex.split of Python splits
// them, of which the results were taken.
func TestSplit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a backslash is part of a path there")
	}
	for _, test := range []struct {
		line string
		want []string // nil: a quote is not closed
	}{
		{"", []string{}},
		{" /opt/kura  export\tx ", []string{"/opt/kura", "export", "x"}},
		{`"/opt/my tools/kura" x`, []string{"/opt/my tools/kura", "x"}},
		{`/opt/my\ tools/kura`, []string{"/opt/my tools/kura"}},
		{`a'b c'd""`, []string{"ab cd"}},
		{`'' x`, []string{"", "x"}},
		{`"a\"b\c" '\'`, []string{`a"b\c`, `\`}},
		{"a | b; $c #d", []string{"a", "|", "b;", "$c", "#d"}},
		{`"a`, nil},
		{`a\`, nil},
	} {
		words, ok := split(test.line)
		got := texts(words)
		if ok != (test.want != nil) || ok && !slices.Equal(got, test.want) {
			t.Errorf("split(%q) = %q, %v, want %q", test.line, got, ok, test.want)
		}
	}
}

// FuzzSplit checks that words come out of their quotes as they went in.
func FuzzSplit(f *testing.F) {
	f.Add("/opt/my tools/kura", `it's "x" \ $y`)
	f.Fuzz(func(t *testing.T, one, two string) {
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }
		words, ok := split(quote(one) + " \t" + quote(two))
		if got := texts(words); !ok || !slices.Equal(got, []string{one, two}) {
			t.Errorf("split = %q, %v, want %q", got, ok, []string{one, two})
		}
		if words[0].expanded || words[1].expanded {
			t.Errorf("%q or %q was taken for one that a shell expands", one, two)
		}
		split(one) // and whatever comes ends
	})
}

func texts(words []word) []string {
	list := []string{}
	for _, w := range words {
		list = append(list, w.text)
	}
	return list
}
