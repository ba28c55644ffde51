package awsconfig

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// An edit is one of the ways to change a file.
type edit struct {
	what, profile, name, value string
}

var editKinds = []string{"set", "unset", "add", "remove"}

func (e edit) apply(f *File) (*File, error) {
	switch e.what {
	case "set":
		return f.Set(e.profile, e.name, e.value)
	case "unset":
		return f.Unset(e.profile, e.name)
	case "add":
		return f.AddProfile(e.profile, Setting{e.name, e.value})
	case "remove":
		return f.RemoveProfile(e.profile)
	}
	panic(e.what)
}

func TestEdit(t *testing.T) {
	for _, c := range []struct {
		text string
		edit
		want string
	}{
		{"[profile x]\nregion = a # c\n", edit{"set", "x", "region", "b"}, "[profile x]\nregion = b # c\n"},
		{"[profile x]\nREGION=a", edit{"set", "x", "Region", "b"}, "[profile x]\nREGION=b"},
		{"[profile x]\nregion = \"a\"\n", edit{"set", "x", "region", "a"}, "[profile x]\nregion = a\n"},
		{"[profile x]\nregion =\n", edit{"set", "x", "region", "b"}, "[profile x]\nregion = b\n"},
		{"[profile x]\nregion= # c\n", edit{"set", "x", "region", "b"}, "[profile x]\nregion=b # c\n"},
		{"[profile x]\na = 1\n 2\n# c\n 3\nb = 4\n", edit{"set", "x", "a", "5"}, "[profile x]\na = 5\n# c\nb = 4\n"},
		{"[profile x]\na = 1\n[profile x]\na = 2\n", edit{"set", "x", "a", "3"}, "[profile x]\na = 1\n[profile x]\na = 3\n"},
		{"[default]\na = 1\n[profile default]\na = 2\n", edit{"set", "default", "a", "3"}, "[default]\na = 1\n[profile default]\na = 3\n"},

		{"[profile x]\na = 1\n\n# y\n[profile y]\n", edit{"set", "x", "B", "2"}, "[profile x]\na = 1\nb = 2\n\n# y\n[profile y]\n"},
		{"[profile x]\na=1\n# y\n[profile y]\n", edit{"set", "x", "b", "2"}, "[profile x]\na=1\nb=2\n# y\n[profile y]\n"},
		{"[profile x]\n  a\t= 1\n", edit{"set", "x", "b", "2"}, "[profile x]\n  a\t= 1\n  b\t= 2\n"},
		{"[profile x]\na=1\ns3 =\n  b = 2\n", edit{"set", "x", "c", "3"}, "[profile x]\na=1\ns3 =\n  b = 2\nc=3\n"},
		{"[profile x]\n  a=1\n  s3 =\n    b = 2\n", edit{"set", "x", "c", "3"}, "[profile x]\n  a=1\n  s3 =\n    b = 2\nc=3\n"},
		{"[profile x]\r\na = 1", edit{"set", "x", "b", "2"}, "[profile x]\r\na = 1\r\nb = 2\r\n"},
		{"[profile x]", edit{"set", "x", "b", "2"}, "[profile x]\nb = 2\n"},

		{"[profile x]\na = 1 # c\nb = 2\n[profile x]\nA = 3\n", edit{what: "unset", profile: "x", name: "a"}, "[profile x]\nb = 2\n[profile x]\n"},
		{"[profile x]\ns3 =\n  a = 1\n\n  b = 2\nc = 3", edit{what: "unset", profile: "x", name: "s3"}, "[profile x]\n\nc = 3"},

		{"", edit{"add", "x", "A", "1"}, "[profile x]\na = 1\n"},
		{"\ufeff", edit{"add", "x", "a", "1"}, "\ufeff[profile x]\na = 1\n"},
		{"# c", edit{"add", "default", "a", "1"}, "# c\n\n[default]\na = 1\n"},
		{"# c\r\n", edit{"add", "x y", "a", "1"}, "# c\r\n\r\n[profile \"x y\"]\r\na = 1\r\n"},
		{"[default]\n\n", edit{"add", "x", "a", "1"}, "[default]\n\n[profile x]\na = 1\n"},

		{"[default]\na = 1\n\n# x\n[profile x]\na = 1\n# c\nb = 2\n# d\n\n# e\n\n# y\n[profile y]\n", edit{what: "remove", profile: "x"}, "[default]\na = 1\n\n# x\n# e\n\n# y\n[profile y]\n"},
		{"[profile x]\na = 1\n# y\n[profile y]\n", edit{what: "remove", profile: "x"}, "# y\n[profile y]\n"},
		{"[profile y]\n\n[profile x]\n# c", edit{what: "remove", profile: "x"}, "[profile y]\n"},
		{"[default]\na = 1\n\n[profile y]\n\n[profile default]\n", edit{what: "remove", profile: "default"}, "[profile y]\n"},
	} {
		f, err := Parse("config", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.edit.apply(f)
		if err != nil || string(got.Bytes()) != c.want {
			t.Errorf("%+v of\n%q is\n%q, %v, want\n%q", c.edit, c.text, got.Bytes(), err, c.want)
		}
		if string(f.Bytes()) != c.text {
			t.Errorf("%+v changed the file that it was given", c.edit)
		}
	}
}

func TestEditCredentials(t *testing.T) {
	f, err := ParseCredentials("credentials", []byte("[x]\na = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f, err = f.AddProfile("y", Setting{"b", "2"}, Setting{"c", "3"}); err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.Bytes()), "[x]\na = 1\n\n[y]\nb = 2\nc = 3\n"; got != want {
		t.Errorf("AddProfile gives %q, want %q", got, want)
	}
	var unwritable *UnwritableError
	if _, err := f.AddProfile("x y"); !errors.As(err, &unwritable) {
		t.Errorf("AddProfile of a name with a space: %v, want an UnwritableError", err)
	}
}

func TestEditRefuses(t *testing.T) {
	f, err := Parse("config", []byte("[profile x]\ns3 =\n  a = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Set("y", "a", "1"); !errors.Is(err, ErrNoProfile) {
		t.Errorf("Set in a missing profile: %v, want %v", err, ErrNoProfile)
	}
	if _, err := f.AddProfile("x"); !errors.Is(err, ErrProfileExists) {
		t.Errorf("AddProfile of x: %v, want %v", err, ErrProfileExists)
	}
	var unwritable *UnwritableError
	for _, name := range []string{"", " x", "a]b", "a#b", `a"b`, "a\nb", "a\\b", "a\xffb"} {
		if _, err := f.AddProfile(name); !errors.As(err, &unwritable) {
			t.Errorf("AddProfile(%q): %v, want an UnwritableError", name, err)
		}
	}
	for _, c := range []struct{ name, value string }{
		{"", "v"}, {"a b", "v"}, {"a=b", "v"}, {"a:b", "v"}, {"ü", "v"}, {"[a", "v"},
		{"s3", "v"}, // a nested block
		{"a", ""}, {"a", " v"}, {"a", "v\t"}, {"a", "v\u00a0"}, {"a", "v\nw"}, {"a", "v\rw"}, {"a", "v\x00w"}, {"a", "v\xff"},
		{"a", "v #w"}, {"a", "v\t;w"}, {"a", "v\u00a0#w"}, {"a", "#v"}, {"a", ";"},
		{"a", `"v"`}, {"a", `'v'`}, {"a", `"`}, {"a", `"v" "w"`},
	} {
		_, err := f.Set("x", c.name, c.value)
		if !errors.As(err, &unwritable) {
			t.Errorf("Set(%q, %q): %v, want an UnwritableError", c.name, c.value, err)
		}
		if c.name == "a" && len(c.value) > 2 && strings.Contains(err.Error(), c.value) {
			t.Errorf("the error shows the value: %v", err)
		}
	}
	for _, value := range []string{"v#w", "v;w", `a "b"`, "https://x/start#/", "= v", "[v]", "ü", "a\tb"} {
		if _, err := f.Set("x", "a", value); err != nil {
			t.Errorf("Set of %q: %v", value, err)
		}
	}
	_, err = f.AddProfile("y", Setting{"a", "1"}, Setting{"A", "2"})
	if !errors.As(err, &unwritable) {
		t.Errorf("AddProfile with a setting twice: %v, want an UnwritableError", err)
	}
}

// FuzzEdit shows that an edit does what it should and nothing else: the former
// settings plus the change are read, the lines not concerned are left, and the
// same edit again changes nothing.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{sample, strings.ReplaceAll(sample, "\n", "\r\n"), "[profile dev]\n  a = 1\n    2\n  b =\n   c = d\n e = f", "\ufeff[profile dev]\n# c"} {
		for _, what := range editKinds {
			f.Add(text, what, "dev", "region", "us-east-2", false)
			f.Add(text, what, "default", "new", "a b", true)
			f.Add(text, what, "new one", "s3", "x", false)
		}
	}
	f.Fuzz(func(t *testing.T, text, what, profile, name, value string, credentials bool) {
		if slices.Contains(editKinds, what) {
			checkEdit(t, text, edit{what, profile, name, value}, credentials)
		}
	})
}

// TestEditRandom is FuzzEdit with files that look more like what people write.
func TestEditRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	checked := 0
	for range 10000 {
		e := edit{pick(editKinds...), pick("x", "y", "default", "a b", "new"), pick("region", "s3", "role_arn", "New"), pick("1", "b c", "#", "d#e")}
		if checkEdit(t, randomFile(r), e, r.IntN(4) == 0) {
			checked++
		}
	}
	if checked < 2000 {
		t.Errorf("%d of 10000 edits could be made, want 2000", checked)
	}
}

// randomFile returns lines of a config file in a random order.
func randomFile(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	eol := pick("\n", "\n", "\n", "\r\n")
	indent := pick("", "", "", "  ", "\t")
	var b strings.Builder
	for range r.IntN(16) {
		line := ""
		switch r.IntN(10) {
		case 0, 1:
			line = pick("[default]", "[profile x]", "[profile x]", "[profile\ty ]; c", "[profile default]", `[profile "a b"]`, "[x]", "[services x]", "[sso-session x] # c", "[profile a b]", "[plugins]")
		case 2:
			line = pick("", "", " \t", "# c", "  # c", ";c")
		case 3:
			line = indent + pick("s3", "sts", "region") + pick(" =", "=", " = ")
		case 4:
			line = indent + "  " + pick("more", "more # c", "endpoint_url = http://localhost:1", "Endpoint_URL=x # c", "b = c")
		default:
			name := pick("region", "Region", "role_arn", "mfa_serial", "services", "sso_session", "sso_region", "duration_seconds", "source_profile", "in valid", "credential_process", "s3")
			value := pick("x", "x", "900", "a b", `"x"`, `"a b" c`, "a#b", "a:b=c", "ü")
			line = indent + name + pick("=", " = ", "\t =  ") + value + pick("", "", " ", " # c", "\t;c # d")
		}
		b.WriteString(line + eol)
	}
	return pick("", "", "", "", "", "", "", "\ufeff") + pick("[profile x]"+eol, "[default]"+eol, "") + pick(b.String(), strings.TrimSuffix(b.String(), eol))
}

// checkEdit makes an edit, and reports whether it could.
func checkEdit(t *testing.T, text string, e edit, credentials bool) bool {
	old, err := parse("f", text, credentials)
	if err != nil {
		return false
	}
	f, err := e.apply(old)
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		t.Fatalf("%+v breaks the file: %v\n%q", e, err, text)
	}
	if err != nil {
		return false
	}

	want := all(old, kindProfile, kindDefault)
	switch e.what {
	case "remove":
		delete(want, e.profile)
	case "add":
		want[e.profile] = map[string]string{strings.ToLower(e.name): e.value}
	case "set":
		want[e.profile][strings.ToLower(e.name)] = e.value
	case "unset":
		// Names are compared as Get does.
		maps.DeleteFunc(want[e.profile], func(k, _ string) bool { return strings.EqualFold(k, e.name) })
	}
	compare(t, "profiles", all(f, kindProfile, kindDefault), want)
	compare(t, "sso-sessions", all(f, kindSSOSession), all(old, kindSSOSession))
	compare(t, "services", all(f, kindServices), all(old, kindServices))

	before, after := lines(old.text), lines(f.text)
	ok := false
	switch e.what {
	case "add":
		ok = strings.HasPrefix(f.text, old.text)
	case "set":
		// One line is new or changed; lines may have gone that continued it.
		for i := range after {
			ok = ok || isSubsequence(slices.Delete(slices.Clone(after), i, i+1), before)
		}
	default:
		ok = isSubsequence(after, before)
	}
	if !ok {
		t.Errorf("%+v changes other lines:\n%q\n%q", e, old.text, f.text)
	}
	for _, line := range before {
		if comment := strings.TrimLeft(line, " \t"); e.what != "remove" && strings.HasPrefix(comment, "#") && !slices.Contains(after, line) {
			t.Errorf("%+v loses the comment %q", e, line)
		}
	}

	if e.what == "add" {
		return true // is refused the second time
	}
	again, err := e.apply(f)
	if err != nil || again.text != f.text {
		t.Errorf("%+v again: %v\n%q\n%q", e, err, f.text, again.Bytes())
	}
	return true
}

// lines returns the lines of a text, without their endings.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		list = append(list, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
	}
	return list
}

// isSubsequence reports whether all of some lines are among others, in order.
func isSubsequence(lines, others []string) bool {
	for _, line := range others {
		if len(lines) > 0 && line == lines[0] {
			lines = lines[1:]
		}
	}
	return len(lines) == 0
}
