package awsconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type contents map[string]map[string]string // setting by section and name

// TestVectors reads AWS's own cases, which all its SDKs are meant to pass.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "profile-parser-tests.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared/vectors is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Name   string
			Input  struct{ ConfigFile, CredentialsFile string }
			Output struct {
				Config struct {
					Profiles    contents
					SSOSessions contents `json:"sso_sessions"`
				}
				ErrorContaining string
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if got := len(file.Tests); got != 65 {
		t.Errorf("%d cases, want 65", got)
	}
	for _, test := range file.Tests {
		t.Run(test.Name, func(t *testing.T) {
			config, err := Parse("config", []byte(test.Input.ConfigFile))
			var credentials *File
			if err == nil {
				credentials, err = ParseCredentials("credentials", []byte(test.Input.CredentialsFile))
			}
			if want := test.Output.ErrorContaining; want != "" {
				var syntax *SyntaxError
				if !errors.As(err, &syntax) || !strings.Contains(strings.ToLower(syntax.Msg), strings.ToLower(want)) {
					t.Errorf("Parse: %v, want a SyntaxError with %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			profiles := all(config, kindProfile, kindDefault)
			for name, settings := range all(credentials, kindProfile) {
				if profiles[name] == nil {
					profiles[name] = map[string]string{}
				}
				maps.Copy(profiles[name], settings)
			}
			compare(t, "profiles", profiles, test.Output.Config.Profiles)
			compare(t, "sso-sessions", all(config, kindSSOSession), test.Output.Config.SSOSessions)
		})
	}
}

// all returns the sections of some kinds with their settings as written.
func all(f *File, kinds ...sectionKind) contents {
	c := contents{}
	for _, p := range f.parts {
		if !slices.Contains(kinds, p.kind) {
			continue
		}
		section, _ := f.read(f.find(p.kind, p.name))
		if p.kind == kindDefault {
			section, _ = f.Profile(p.name)
		}
		c[p.name] = map[string]string{}
		for _, name := range section.Names() {
			c[p.name][name] = section.Raw(name)
		}
	}
	return c
}

func compare(t *testing.T, what string, got, want contents) {
	t.Helper()
	if !maps.EqualFunc(got, want, maps.Equal) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

const sample = `# my profiles
[default]
region = us-east-1   # near
Output=json

[profile dev]
role_arn = arn:aws:iam::123456789012:role/dev
mfa_process = "pass otp aws"
credential_process = "/opt/a b/c" "d e"
REGION = eu-west-1
services = local

[plugins]
cli = x

[sso-session corp]
sso_region = eu-central-1
sso_start_url = https://corp.awsapps.com/start#/

[services local]
s3 =
  endpoint_url = http://localhost:1 # part of it

  # no part of it
  Other = "x"
sts =
	endpoint_url = http://localhost:2

[profile "a b"]
region = x
[profile dev]
region = eu-west-2
`

func TestFile(t *testing.T) {
	for _, text := range []string{sample, "\ufeff" + sample, strings.ReplaceAll(sample, "\n", "\r\n")} {
		f, err := Parse("config", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(f.Bytes()); got != text || f.Name() != "config" {
			t.Errorf("Bytes = %q, Name = %q, want %q, config", got, f.Name(), text)
		}
		if got, want := f.Profiles(), []string{"default", "dev", "a b"}; !slices.Equal(got, want) {
			t.Errorf("Profiles = %q, want %q", got, want)
		}

		if got, want := f.Values("Region"), []string{"us-east-1", "eu-west-1", "x", "eu-west-2"}; !slices.Equal(got, want) {
			t.Errorf("Values = %q, want %q", got, want)
		}

		if got := []int{f.ProfileLine("dev"), f.ProfileLine("default"), f.ProfileLine("none")}; !slices.Equal(got, []int{6, 2, 0}) {
			t.Errorf("ProfileLine = %d, want 6, 2 and 0", got)
		}

		dev, ok := f.Profile("dev")
		if !ok {
			t.Error("there is no profile dev")
		}
		for name, want := range map[string]string{
			"region":             "eu-west-2",
			"Role_ARN":           "arn:aws:iam::123456789012:role/dev",
			"mfa_process":        "pass otp aws",
			"credential_process": `"/opt/a b/c" "d e"`,
			"output":             "",
		} {
			if got := dev.Get(name); got != want {
				t.Errorf("Get(%q) = %q, want %q", name, got, want)
			}
		}
		if got, want := dev.Raw("mfa_process"), `"pass otp aws"`; got != want {
			t.Errorf("Raw = %q, want %q", got, want)
		}
		if got := []int{dev.Line("region"), dev.Line("role_arn"), dev.Line("output")}; !slices.Equal(got, []int{32, 7, 0}) {
			t.Errorf("lines of region, role_arn and output are %d, want 32, 7, 0", got)
		}
		want := []string{"role_arn", "mfa_process", "credential_process", "region", "services"}
		if got := dev.Names(); !slices.Equal(got, want) {
			t.Errorf("Names = %q, want %q", got, want)
		}

		corp, _ := f.SSOSession("corp")
		if got, want := corp.Get("sso_start_url"), "https://corp.awsapps.com/start#/"; got != want {
			t.Errorf("sso_start_url = %q, want %q", got, want)
		}
		local, _ := f.Services("local")
		if got, want := local.Blocks(), []string{"s3", "sts"}; !slices.Equal(got, want) {
			t.Errorf("Blocks = %q, want %q", got, want)
		}
		for _, c := range []struct{ block, name, want string }{
			{"s3", "endpoint_url", "http://localhost:1 # part of it"},
			{"S3", "other", "x"},
			{"sts", "Endpoint_URL", "http://localhost:2"},
			{"sts", "other", ""},
			{"ec2", "endpoint_url", ""},
		} {
			if got := local.Nested(c.block, c.name); got != c.want {
				t.Errorf("Nested(%q, %q) = %q, want %q", c.block, c.name, got, c.want)
			}
		}
		for _, name := range []string{"plugins", "cli", "corp", "local", "DEFAULT", `"a b"`, ""} {
			if s, ok := f.Profile(name); ok || s.Names() != nil {
				t.Errorf("there is a profile %q", name)
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		text, config, credentials string // the profile that it stands for, if any
	}{
		{"[default]", "default", "default"},
		{"[ default\t]", "default", "default"},
		{"[DEFAULT]", "", "DEFAULT"},
		{"[profile default]", "default", ""},
		{"[profile x]", "x", ""},
		{"[profile\t x ]\t; comment", "x", ""},
		{" [profile x]", "x", ""},
		{`[profile "x"]`, "x", ""},
		{`[profile 'x']`, "x", ""},
		{`[profile "x y/ü"]`, "x y/ü", ""},
		{`[profile "x' y"]`, "", ""},
		{`[profile "x" y]`, "", ""},
		{`[profile "x]`, "", ""},
		{`[profile " x"]`, "", ""},
		{`[profile ""]`, "", ""},
		{"[profile x y]", "", ""},
		{"[profile]", "", "profile"},
		{"[Profile x]", "", ""},
		{"[x]", "", "x"},
		{"[x y]", "", ""},
		{"[]", "", ""},
		{"[profile [x]]", "", ""},
		{"[sso-session x]", "", ""},
	} {
		for _, f := range []struct {
			parse func(string, []byte) (*File, error)
			want  string
		}{{Parse[[]byte], c.config}, {ParseCredentials[[]byte], c.credentials}} {
			f1, err := f.parse("f", []byte(c.text+"\nk = v\n"))
			if err != nil {
				t.Errorf("%s: %v", c.text, err)
				continue
			}
			if got := strings.Join(f1.Profiles(), ","); got != f.want {
				t.Errorf("the profiles of %s are %q, want %q", c.text, got, f.want)
			}
			if s, ok := f1.Profile(f.want); ok != (f.want != "") || ok && s.Get("k") != "v" {
				t.Errorf("Profile(%q) of %s: %v, k = %q", f.want, c.text, ok, s.Get("k"))
			}
		}
	}
}

// TestIndented shows what AWS's cases don't: the whole of a section indented.
func TestIndented(t *testing.T) {
	f, err := Parse("config", []byte("[profile x]\n  # comment\n  a = 1\n\n  ; comment\n  b =\n    c = 2\n d = 3\n  e\n"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "profiles", all(f, kindProfile), contents{"x": {"a": "1", "b": "\nc = 2", "d": "3\ne"}})
}

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[profile x":                        "f:1: profile definition must end with ']'",
		"\n[profile x#y]":                   "f:2: profile definition must end with ']'",
		"[profile x] y":                     "f:1: profile definition must end with ']'",
		"# x\r\na = b":                      "f:2: expected a profile definition",
		"[profile x]\nsecret":               "f:2: expected an '=' sign defining a property",
		"[plugins]\n\n = secret":            "f:3: property did not have a name",
		"[profile x]\na =\n b=1\n  # c\n d": "f:5: expected an '=' sign defining a sub-property",
		"[profile x]\na =\n = secret":       "f:3: sub-property did not have a name",
		"[profile x]\n secret":              "f:2: expected a property definition, found continuation",
	} {
		f, err := Parse("f", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", text, f, err, want)
		}
	}
}

// manyProfiles returns a file of 100 KB.
func manyProfiles() []byte {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "[profile account-%d]\nregion = eu-west-1\nsource_profile = base\nrole_arn = arn:aws:iam::123456789012:role/r%d\n\n", i, i)
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	data := manyProfiles()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := Parse("config", data)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"account-7", "account-999"} {
			if s, _ := f.Profile(name); s.Get("region") != "eu-west-1" {
				b.Fatal("no region")
			}
		}
	}
}

// TestSkim checks that to skim a file finds the headers and the faults that to
// read it finds.
func TestSkim(t *testing.T) {
	lines := []string{"[default]", "[profile a]", "[x", "a = b", "a=b", "a =", "a = # c", "a # b = c", "# a = b", "=b", "a", " a = b", "  a", "  a =", "\ta = b", "", "[profile b] # c", "a = b # c", "a;b = c"}
	read := func(text string, skim bool) (headers []token, err *SyntaxError) {
		s := scanner{text: text, skim: skim}
		for s.next() {
			if s.kind == header {
				headers = append(headers, s.token)
			}
		}
		return headers, s.err
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var text strings.Builder
		for range 1 + random.IntN(7) {
			text.WriteString(lines[random.IntN(len(lines))] + "\n")
		}
		all, allErr := read(text.String(), false)
		some, someErr := read(text.String(), true)
		same := slices.EqualFunc(all, some, func(a, b token) bool { return a.name == b.name && a.start == b.start && a.line == b.line })
		if !same || (allErr == nil) != (someErr == nil) || allErr != nil && *allErr != *someErr {
			t.Fatalf("%q\nread:    %v, %v\nskimmed: %v, %v", text.String(), all, allErr, some, someErr)
		}
	}
}

// Letters of other scripts need no quotes: the AWS CLI reads them without.
func TestNamesOfOtherScripts(t *testing.T) {
	f, err := Parse("config", "[profile 本番-監査]\n[profile café]\n[profile two words]\n[profile a\xffb]\n[profile key🔑]\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Profiles(), []string{"本番-監査", "café"}; !slices.Equal(got, want) {
		t.Errorf("Profiles = %q, want %q", got, want)
	}
}
