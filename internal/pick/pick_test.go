package pick

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kura/internal/width"
)

var some = []Item{
	{"default", "eu-west-1"},
	{"prod/admin", "111122223333 admin"},
	{"prod/read", "111122223333 ReadOnly"},
	{"dev admin", "444455556666 admin"},
	{"本番", "777788889999 管理"},
}

// press returns what keys make of a model. Each is a string of its own.
func press(m Model, keys ...string) (Model, Outcome) {
	outcome := Going
	for _, key := range keys {
		m, outcome = m.Key(key)
	}
	return m, outcome
}

func names(items []Item) string {
	var list []string
	for _, it := range items {
		list = append(list, it.Name)
	}
	return strings.Join(list, ",")
}

func TestSearch(t *testing.T) {
	for query, want := range map[string]string{
		"":            "default,prod/admin,prod/read,dev admin,本番",
		"prod":        "prod/admin,prod/read",
		"admin":       "prod/admin,dev admin",
		"admin prod":  "prod/admin",
		"ADMIN Dev":   "dev admin",
		"de":          "default,dev admin,prod/read",
		"1111":        "prod/admin,prod/read",
		"read":        "prod/read",
		"readonly":    "prod/read",
		"prd":         "prod/admin,prod/read", // characters left out
		"本":           "本番",
		"管理":          "本番",
		"a":           "prod/admin,dev admin,default,prod/read", // words that begin with it come first
		"nothing":     "",
		"prod nobody": "",
		"  read  ":    "prod/read",
	} {
		m := New("", some)
		for _, r := range query {
			m, _ = m.Key(string(r))
		}
		if got := names(m.Matches()); got != want || m.Query() != query {
			t.Errorf("%q finds %s, want %s", query, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		keys    string // apart by spaces; ␣ is a space
		choice  string
		query   string
		outcome Outcome
	}{
		{"\r", "default", "", Chosen},
		{"\n", "default", "", Chosen},
		{"\x1b[B \r", "prod/admin", "", Chosen},
		{"\x1bOB \x0e \t \r", "dev admin", "", Chosen},
		{"\x1b[A", "本番", "", Going}, // around
		{"\x1b[A \x1b[B", "default", "", Going},
		{"\x0e \x10 \x1b[Z", "本番", "", Going},
		{"\x1b[6~", "本番", "", Going},
		{"\x1b[6~ \x1b[5~", "default", "", Going},
		{"\x1b[F", "本番", "", Going},
		{"\x1b[F \x1b[H", "default", "", Going},
		{"p r \x0e \r", "prod/read", "pr", Chosen},
		{"p r \x0e o", "prod/admin", "pro", Going}, // the best is marked anew
		{"p r \x7f", "prod/admin", "p", Going},
		{"本 \x7f", "default", "", Going},
		{"\x7f", "default", "", Going},
		{"d e v ␣ a \x17", "dev admin", "dev ", Going},
		{"d e v ␣ \x17", "default", "", Going},
		{"d e v \x15", "default", "", Going},
		{"x x x \r", "", "xxx", Going}, // nothing is chosen where nothing matches
		{"x x x \x1b[A \x1b[B \x1b[5~", "", "xxx", Going},
		{"\x1b", "default", "", Canceled},
		{"\x1b\x04", "default", "", Canceled},
		{"\x03", "default", "", Canceled},
		{"\x04", "default", "", Canceled},
		{"\x1b[15~ \x1b[3;5R \x01 \x1bx \xff", "default", "", Going}, // keys that do nothing
	} {
		keys := strings.Split(c.keys, " ")
		for i := range keys {
			keys[i] = strings.ReplaceAll(keys[i], "␣", " ")
		}
		m, outcome := press(New("", some), keys...)
		it, ok := m.Choice()
		if it.Name != c.choice || ok != (c.choice != "") || m.Query() != c.query || outcome != c.outcome {
			t.Errorf("%q: %q marked, %q typed, outcome %d, want %q, %q, %d", c.keys, it.Name, m.Query(), outcome, c.choice, c.query, c.outcome)
		}
	}
}

func TestLines(t *testing.T) {
	many := slices.Repeat([]Item{{"name", ""}}, 30)
	for _, c := range []struct {
		what          string
		items         []Item
		keys          []string
		columns, rows int
		colour        bool
		want          string
	}{
		{"wide", some, []string{"\x0e"}, 80, 24, false, `
Profile: 
  default     eu-west-1
> prod/admin  111122223333 admin
  prod/read   111122223333 ReadOnly
  dev admin   444455556666 admin
  本番        777788889999 管理`},
		{"narrow", some, nil, 24, 24, false, `
Profile: 
> default     eu-west-1
  prod/admin
  prod/read
  dev admin
  本番`},
		{"40 columns", []Item{{"a-name-of-some-length", "111122223333 administrators eu-west-1"}}, []string{"a"}, 40, 24, false, `
Profile: a
> a-name-of-some-length  111122223333 …`},
		{"long name", []Item{{"本番環境の管理者", "x"}, {"p", ""}}, nil, 15, 24, false, `
Profi…
> 本番環境の…
  p`},
		{"nothing", some, []string{"x", "y"}, 80, 24, false, `
Profile: xy
  nothing matches`},
		{"few rows", many, []string{"\x1b[F"}, 80, 6, false, `
Profile: 
  name
  name
> name
  30 of 30`},
		{"long query", some, strings.Split(strings.Repeat("ab", 20), ""), 20, 24, false, `
Profile: ababababab
  nothing matches`},
		{"colour", some[:2], nil, 80, 24, true, `
Profile: 
` + "\x1b[1m> default     eu-west-1\x1b[0m" + `
  prod/admin  ` + "\x1b[2m111122223333 admin\x1b[0m"},
		{"controls", []Item{{"a\x1b[2Jb", "\u202eevil"}}, nil, 80, 24, false, `
Profile: 
> a [2Jb   evil`},
	} {
		m, _ := press(New("Profile: ", c.items), c.keys...)
		got := "\n" + strings.Join(m.Lines(c.columns, c.rows, Style{c.colour}), "\n")
		if got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.what, got, c.want)
		}
	}
}

func TestByUse(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	day := 24 * time.Hour
	log := Note("often", now.Add(-20*day)) + Note("often", now.Add(-20*day)) + Note("often", now.Add(-19*day)) +
		Note("today", now) + Note("two words\n", now.Add(-3*day)) +
		"not a note\n\n12 \"half\n" + Note("future", now.Add(day)) + "1799999999000 \"cut o"
	names := []string{"never", "often", "other", "today", "two words\n", "future"}
	ByUse(names, log, now)
	if want := []string{"today", "future", "two words\n", "often", "never", "other"}; !slices.Equal(names, want) {
		t.Errorf("ByUse sorts %q, want %q", names, want)
	}
}

// FuzzModel shows that whatever is typed, what is marked matches, no line is
// too wide, and none is more than one line.
func FuzzModel(f *testing.F) {
	f.Add("pr\x0e\r", 40, 10, "prod\x00dev\x00本番")
	f.Add("\x1b[B\x1b[A\x7f\x15", 1, 1, "")
	f.Add("日本 \x17x", 9, 3, "日本")
	f.Fuzz(func(t *testing.T, typed string, columns, rows int, list string) {
		typed, list = typed[:min(len(typed), 300)], list[:min(len(list), 300)]
		columns, rows = 1+(columns&0xff), 1+(rows&0x3f)
		var items []Item
		for i, name := range strings.Split(list, "\x00") {
			items = append(items, Item{name, strings.Repeat("about ", i%7)})
		}
		m := New("Profile: ", items)
		for len(typed) > 0 {
			size := 1
			if strings.HasPrefix(typed, "\x1b[") && len(typed) > 2 {
				size = 3
			} else if r, n := utf8.DecodeRuneInString(typed); r != utf8.RuneError {
				size = n
			}
			m, _ = m.Key(typed[:size])
			typed = typed[size:]
		}
		it, ok := m.Choice()
		if matches := m.Matches(); ok != (len(matches) > 0) || ok && !slices.Contains(matches, it) {
			t.Errorf("%q is marked (%t), of %q", it, ok, matches)
		}
		for _, word := range strings.Fields(strings.ToLower(m.Query())) {
			if ok && !contains(strings.ToLower(it.Name), word) && !strings.Contains(strings.ToLower(it.About), word) {
				t.Errorf("%q matches %q", it, word)
			}
		}
		lines := m.Lines(columns, rows, Style{})
		if len(lines) == 0 || len(lines) > max(rows-1, 1) {
			t.Errorf("%d lines in %d rows", len(lines), rows)
		}
		for _, line := range lines {
			if width.Of(line) >= max(columns, 2) || strings.ContainsAny(line, "\n\r\x1b\t") || !utf8.ValidString(line) {
				t.Errorf("%q is no line of %d columns", line, columns)
			}
		}
	})
}
