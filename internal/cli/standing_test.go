package cli

import (
	"strings"
	"testing"
	"time"

	"kura/internal/ink"
	"kura/internal/width"
)

func TestStandingFits(t *testing.T) {
	now := time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	locked := true
	s := &standing{
		Now: now, home: "/home/ann", Others: 2,
		Stores: []*storeStanding{
			{Backend: "file", State: "locked", Locked: &locked, Place: "/home/ann/.local/share/kura/store"},
			{Backend: "secret-service", Error: strings.Repeat("it does not answer ", 8)},
		},
		Profiles: []*profileStanding{
			{Profile: "default", Shared: &sessionStanding{Type: "sts.GetSessionToken", Left: 8 * 3600, Lasts: 8 * 3600}, Key: &keyStanding{Written: at(-100 * 24 * time.Hour), Days: 100}},
			{Profile: "経理部門の監査用プロファイル", Session: &sessionStanding{Type: "sts.AssumeRole", Left: 300, Lasts: 3600}, Code: at(2 * time.Hour)},
			{Profile: strings.Repeat("long-", 12), Code: at(0), CodeNow: true},
			{Profile: "\x1b[2Jmoves the cursor", Error: "it is broken"},
		},
	}
	for _, test := range []struct {
		columns  int
		contains []string
		lacks    []string
	}{
		{0, []string{strings.Repeat("long-", 12), "sts.AssumeRole", "█░░░░░░░░░  5m ", "100d", "in 2h00m", "now", "error: see explain"}, nil},
		{80, []string{"sts.AssumeRole", "█░░░░░░░░░  5m ", "100d", "long-long-"}, []string{strings.Repeat("long-", 12)}},
		{60, []string{"█░░░░░░░░░  5m ", "100d"}, []string{"sts.AssumeRole"}},
		{40, []string{" 5m ", "in 2h00m", "now"}, []string{"█"}},
		{24, []string{"in 2h00m"}, []string{"100d"}},
	} {
		text := strings.Join(s.lines(ink.Pen{Columns: test.columns, Unicode: true}), "\n")
		for _, want := range test.contains {
			if !strings.Contains(text, want) {
				t.Errorf("on %d columns %q is not shown:\n%s", test.columns, want, text)
			}
		}
		for _, no := range append(test.lacks, "\x1b") {
			if strings.Contains(text, no) {
				t.Errorf("on %d columns %q is shown:\n%s", test.columns, no, text)
			}
		}
		for line := range strings.Lines(text) {
			if n := width.Of(strings.TrimSuffix(line, "\n")); test.columns > 0 && n > test.columns {
				t.Errorf("a line of %d columns on a terminal of %d: %q", n, test.columns, line)
			}
		}
	}
	// Colours are no part of the width.
	plain, painted := s.lines(ink.Pen{Columns: 60, Unicode: true}), s.lines(ink.Pen{Columns: 60, Unicode: true, Color: true})
	if !strings.Contains(strings.Join(painted, ""), "\x1b[") {
		t.Error("there are no colours")
	}
	for i := range plain {
		bare := painted[i]
		for _, style := range []string{"0", ink.Bold, ink.Dim, ink.Red, ink.Green, ink.Yellow} {
			bare = strings.ReplaceAll(bare, "\x1b["+style+"m", "")
		}
		if bare != plain[i] {
			t.Errorf("with colours %q, without %q", bare, plain[i])
		}
	}
}
