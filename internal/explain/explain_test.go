package explain_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"kura/internal/explain"
	"kura/internal/ink"
	"kura/internal/width"
)

// picture is one of everything.
func picture() *explain.Picture {
	yes := true
	now := time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)
	at := func(name, value string, line int) explain.Setting {
		return explain.Setting{Name: name, Value: value, Profile: "it", File: "/home/ann/.aws/config", Line: line}
	}
	return &explain.Picture{
		Profile: "経理",
		Source: &explain.Source{Kind: explain.AccessKey, Profile: "base", Key: &explain.Key{
			Backend: "file", Place: "/home/ann/.local/share/kura/store", Item: "base", Stored: &yes,
			ChosenBy: &explain.Setting{Name: "backend", By: "KURA_BACKEND"},
		}},
		Steps: []explain.Step{
			{
				Operation: "sts:GetSessionToken", Profile: "base",
				Endpoint: "https://sts.eu-west-1.amazonaws.com/", Region: "eu-west-1", Seconds: 8 * 3600,
				MFA:      &explain.MFA{Serial: "arn:aws:iam::111122223333:mfa/ann", Codes: "you, at the terminal"},
				Settings: []explain.Setting{at("mfa_serial", "arn:aws:iam::111122223333:mfa/ann", 7), {Name: "region", By: "AWS_REGION"}},
				Cached:   &explain.Cached{Expires: now.Add(7*time.Hour + 59*time.Minute), Left: 7*3600 + 59*60, Usable: true},
			},
			{
				Operation: "sts:AssumeRole", Profile: "経理",
				Endpoint: "http://127.0.0.1:1234", Region: "eu-west-1", Seconds: 3600, Wanted: 4 * 3600,
				RoleARN: "arn:aws:iam::111122223333:role/admin", SessionName: "kura-ann-it",
				Settings: []explain.Setting{
					at("role_arn", "arn:aws:iam::111122223333:role/admin", 8),
					at("duration_seconds", "14400", 9),
					at("external_id", "<\"&#`\x1b[2J", 10),
				},
			},
		},
		Command: &explain.Command{Variables: []explain.Variable{
			{Name: "AWS_VAULT", Value: "経理"}, {Name: "AWS_REGION", Value: "eu-west-1"}, {Name: "AWS_ACCESS_KEY_ID"},
		}},
		Notes: []string{"this is so"},
		Now:   now,
		Home:  "/home/ann",
	}
}

// broken is a picture that does not come to an end.
func broken() *explain.Picture {
	return &explain.Picture{
		Profile: "it",
		Path:    []explain.Link{{Profile: "it", Settings: []explain.Setting{{Name: "source_profile", Value: "gone", File: "config", Line: 2}}}},
		Error:   &explain.Error{Message: `profile "gone", the source_profile of "it", is not configured`},
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		name string
		p    *explain.Picture
		pen  ink.Pen
		want string
	}{
		{"plain", picture(), ink.Pen{}, `
+- access key "base" ----------------------------------------------------------------+
| store       file, ~/.local/share/kura/store                       KURA_BACKEND     |
| stored      yes; it stays there                                                    |
+--+---------------------------------------------------------------------------------+
   |  sts:GetSessionToken
   |  at          sts.eu-west-1.amazonaws.com
   |  region      eu-west-1                                         AWS_REGION
   |  MFA device  arn:aws:iam::111122223333:mfa/ann                 ~/.aws/config:7
   |  code from   you, at the terminal                              default
   |  lasts       8h                                                default
   v
+- session of "base" ----------------------------------------------------------------+
| cached      7h59m left, until 17:29                                                |
+--+---------------------------------------------------------------------------------+
   |  sts:AssumeRole
   |  at          http://127.0.0.1:1234
   |  region      eu-west-1                                         default
   |  role        arn:aws:iam::111122223333:role/admin              ~/.aws/config:8
   |  named       kura-ann-it                                       default
   |  external ID <"&#` + "`" + ` [2J                                         ~/.aws/config:10
   |  lasts       1h, not 4h: AWS allows no more to a chained role  ~/.aws/config:9
   v
`},
		{"narrow", picture(), ink.Pen{Columns: 40, Unicode: true}, `
╭─ access key "base" ──────────────────╮
│ store       file,                    │
│             ~/.local/share/kura/stor │
│             e                        │
│             (KURA_BACKEND)           │
│ stored      yes; it stays there      │
╰──┬───────────────────────────────────╯
   │  sts:GetSessionToken
   │  at          sts.eu-west-1.amazon
   │              aws.com
`},
		{"wide characters", picture(), ink.Pen{Unicode: true}, ""},
		{"broken", broken(), ink.Pen{Unicode: true}, `
╭─ profile "it" ───────────────────────────────────────────────╮
╰──┬───────────────────────────────────────────────────────────╯
   │  source_profile
   │  profile     gone  config:2
   ▼
╭─ error ──────────────────────────────────────────────────────╮
│ profile "gone", the source_profile of "it", is not           │
│ configured                                                   │
╰──────────────────────────────────────────────────────────────╯
`},
		{"broken and coloured", broken(), ink.Pen{Columns: 80, Color: true}, ""},
	} {
		var b strings.Builder
		if err := test.p.WriteText(&b, test.pen); err != nil {
			t.Fatal(err)
		}
		got := "\n" + b.String()
		if test.want != "" && !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got\n%s\nwant as its beginning\n%s", test.name, got, test.want)
		}
		if test.pen.Color != strings.Contains(got, "\x1b[") {
			t.Errorf("%s: colours are wanted: %v, got %q", test.name, test.pen.Color, got)
		}
		if test.pen.Color {
			continue
		}
		// The right edges of boxes are below each other, and nothing is wider.
		edge := 0
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			columns := width.Of(line)
			if limit := test.pen.Columns; limit > 0 && columns > limit {
				t.Errorf("%s: a line of %d columns, want %d at the most: %q", test.name, columns, limit, line)
			}
			if strings.HasPrefix(line, "│") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "╭") || strings.HasPrefix(line, "+") {
				if edge == 0 {
					edge = columns
				}
				if columns != edge {
					t.Errorf("%s: an edge at column %d, others at %d: %q", test.name, columns, edge, line)
				}
			}
		}
	}
}

func TestMermaid(t *testing.T) {
	var b strings.Builder
	if err := picture().WriteMermaid(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"flowchart TD\n    n0[\"<b>access key #quot;base#quot;</b><br/>",
		"    n0 -->|\"<b>sts:GetSessionToken</b><br/>",
		"external ID: #lt;#quot;#amp;#35;#96; [2J (~/.aws/config:10)",
		"    n2 -->|\"<b>kura exec 経理 -- COMMAND</b>\"| n3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the flowchart lacks %q:\n%s", want, b.String())
		}
	}
}

func TestSVG(t *testing.T) {
	for _, p := range []*explain.Picture{picture(), broken()} {
		var b bytes.Buffer
		if err := p.WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("not XML: %v\n%s", err, b.Bytes())
			}
			if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image" || e.Name.Local == "foreignObject") {
				t.Errorf("the picture has an element %s", e.Name.Local)
			}
		}
		if !bytes.Contains(b.Bytes(), []byte("prefers-color-scheme:dark")) {
			t.Error("the picture has no colours for dark pages")
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := picture().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Profile string
		Source  struct {
			Kind string
			Key  struct {
				Stored   *bool
				ChosenBy struct{ By string } `json:"chosen_by"`
			}
		}
		Steps []struct {
			Operation string
			RoleARN   string `json:"role_arn"`
			Wanted    int    `json:"wanted_seconds"`
			Cached    *struct {
				Expires time.Time
				Left    int `json:"seconds_left"`
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	switch {
	case got.Profile != "経理", got.Source.Kind != "access-key", !*got.Source.Key.Stored, got.Source.Key.ChosenBy.By != "KURA_BACKEND",
		got.Steps[0].Cached.Left != 7*3600+59*60, got.Steps[1].Cached != nil, got.Steps[1].Wanted != 4*3600, got.Steps[1].RoleARN == "":
		t.Errorf("JSON = %s", b.Bytes())
	}
}

func TestLeft(t *testing.T) {
	for _, test := range []struct {
		seconds int64
		want    string
	}{
		{-5, "0s"}, {0, "0s"}, {59, "59s"}, {60, "1m"}, {2279, "37m"}, {3599, "59m"},
		{3600, "1h00m"}, {28799, "7h59m"}, {129600, "1d12h"},
	} {
		if got := explain.Left(test.seconds); got != test.want {
			t.Errorf("Left(%d) = %q, want %q", test.seconds, got, test.want)
		}
	}
}
