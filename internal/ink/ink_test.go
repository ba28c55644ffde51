package ink_test

import (
	"testing"

	"kura/internal/ink"
	"kura/internal/width"
)

func TestNew(t *testing.T) {
	for _, test := range []struct {
		env     map[string]string
		columns int
		want    ink.Pen
	}{
		{map[string]string{"LANG": "ja_JP.UTF-8", "TERM": "xterm"}, 80, ink.Pen{Columns: 80, Color: true, Unicode: true}},
		{map[string]string{"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, 80, ink.Pen{Columns: 80, Color: true}},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.utf8"}, 80, ink.Pen{Columns: 80, Color: true, Unicode: true}},
		{map[string]string{"LANG": "ja_JP.eucJP"}, 80, ink.Pen{Columns: 80, Color: true}},
		{map[string]string{"LANG": "C.UTF-8", "NO_COLOR": "1"}, 80, ink.Pen{Columns: 80, Unicode: true}},
		{map[string]string{"LANG": "C.UTF-8", "TERM": "dumb"}, 80, ink.Pen{Columns: 80, Unicode: true}},
		{map[string]string{"LANG": "C.UTF-8", "TERM": "xterm"}, 0, ink.Pen{Unicode: true}},
	} {
		if got := ink.New(func(name string) string { return test.env[name] }, test.columns); got != test.want {
			t.Errorf("New(%v, %d) = %+v, want %+v", test.env, test.columns, got, test.want)
		}
	}
}

func TestBar(t *testing.T) {
	plain, full := ink.Pen{}, ink.Pen{Unicode: true}
	for _, test := range []struct {
		pen  ink.Pen
		part float64
		want string
	}{
		{full, 0, "░░░░░░░░"},
		{full, 0.01, "█░░░░░░░"},
		{full, 0.5, "████░░░░"},
		{full, 0.999, "███████░"},
		{full, 1, "████████"},
		{full, 1.5, "████████"},
		{full, -1, "░░░░░░░░"},
		{plain, 0.5, "[###---]"},
		{plain, 0.01, "[#-----]"},
	} {
		if got := test.pen.Bar(test.part, 8); got != test.want {
			t.Errorf("%+v: Bar(%v, 8) = %q, want %q", test.pen, test.part, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		pen     ink.Pen
		text    string
		columns int
		want    string
	}{
		{ink.Pen{Unicode: true}, "development", 8, "develop…"},
		{ink.Pen{}, "development", 8, "develop~"},
		{ink.Pen{}, "short", 8, "short"},
		{ink.Pen{Unicode: true}, "開発環境です", 8, "開発環…"},
	} {
		got := test.pen.Cut(test.text, test.columns)
		if got != test.want || width.Of(got) > test.columns {
			t.Errorf("%+v: Cut(%q, %d) = %q, want %q", test.pen, test.text, test.columns, got, test.want)
		}
	}
}

func TestPaint(t *testing.T) {
	if got, want := (ink.Pen{Color: true}).Paint(ink.Red, "no"), "\x1b[31mno\x1b[0m"; got != want {
		t.Errorf("Paint = %q, want %q", got, want)
	}
	if got := (ink.Pen{}).Paint(ink.Red, "no"); got != "no" {
		t.Errorf("Paint without colours = %q, want the text alone", got)
	}
}
