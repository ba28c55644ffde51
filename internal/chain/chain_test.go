package chain_test

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"kura/internal/awsconfig"
	"kura/internal/chain"
)

// TestVectors resolves a profile of each archive in testdata and compares the
// chain, or the error, with what the archive wants. Each archive shows one
// case, and its comment says which. Besides "config" and "want" it may have
//
//	flags   one a line: --profile (otherwise it is "it"), --region, --duration, --no-session
//	env     NAME=VALUE, one a line
//	stored  names of the access keys in the store, one a line
//	origins where the settings stand, as showOrigins has it
//
// The user is ann.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := make(map[string]string)
			for _, f := range a.Files {
				parts[f.Name] = string(f.Data)
			}
			profile, o := "it", overrides(lines(parts["stored"]), lines(parts["env"]))
			for _, line := range lines(parts["flags"]) {
				name, value, _ := strings.Cut(line, " ")
				switch name {
				case "--profile":
					profile = value
				case "--region":
					o.Region = value
				case "--duration":
					if o.Duration, err = chain.ParseDuration(value); err != nil {
						t.Fatal(err)
					}
				case "--no-session":
					o.NoSession = true
				default:
					t.Fatalf("unknown flag %q", line)
				}
			}
			c, err := chain.Resolve(parse(t, parts["config"]), profile, o)
			got := show(c)
			if err != nil {
				got = fmt.Sprintf("%T: %v\n", err, err)
			}
			traced, origins, traceErr := chain.Trace(parse(t, parts["config"]), profile, o)
			if !reflect.DeepEqual(traced, c) || fmt.Sprint(traceErr) != fmt.Sprint(err) {
				t.Errorf("Trace leads to another chain than Resolve:\n%v, %v", traced, traceErr)
			}
			if want, ok := parts["origins"]; ok && showOrigins(origins) != want {
				t.Errorf("%s\ngot origins:\n%s\nwant:\n%s", a.Comment, showOrigins(origins), want)
			}
			if want := parts["want"]; got != want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", a.Comment, got, want)
			}
		})
	}
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
}

func parse(t testing.TB, config string) *awsconfig.File {
	t.Helper()
	f, err := awsconfig.Parse("config", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// overrides returns Overrides of user ann, with these access keys in the store
// and these NAME=VALUE pairs in the environment.
func overrides(stored, env []string) chain.Overrides {
	return chain.Overrides{
		User:   "ann",
		Stored: func(name string) bool { return slices.Contains(stored, name) },
		Getenv: func(name string) string {
			for _, pair := range env {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		},
	}
}

// show returns c.String() and, in a line each, whatever else is set in c, its
// source and its steps. What is as usual is left out: the partition aws, and
// session names made of the profile's.
func show(c chain.Chain) string {
	b := new(bytes.Buffer)
	line := func(label string, pairs ...any) {
		var set []string
		for i := 0; i < len(pairs); i += 2 {
			if v := fmt.Sprint(pairs[i+1]); v != "" && v != "map[]" && v != "[]" && v != "false" {
				set = append(set, fmt.Sprint(pairs[i], " ", v))
			}
		}
		if len(set) > 0 {
			fmt.Fprintf(b, "%s: %s\n", label, strings.Join(set, ", "))
		}
	}
	call := func(c chain.Call) []any {
		if c.Partition == "aws" {
			c.Partition = ""
		}
		return []any{"region", c.Region, "partition", c.Partition, "endpoint", c.Endpoint, "global", c.Global}
	}
	b.WriteString(c.String())
	line("profile", "region", c.Region, "ca_bundle", c.CABundle, "mfa_process", c.MFAProcess)
	for _, service := range slices.Sorted(maps.Keys(c.Endpoints)) {
		line("endpoint", fmt.Sprintf("%q", service), c.Endpoints[service])
	}
	switch s := c.Source; {
	case s.Process != nil:
		line("source", "command", s.Process.Command)
	case s.WebIdentity != nil:
		line("source", append(call(s.WebIdentity.Call), "session", s.WebIdentity.SessionName,
			"file", s.WebIdentity.TokenFile, "process", s.WebIdentity.TokenProcess)...)
	case s.SSO != nil:
		line("source", "profile", s.SSO.Profile, "session", s.SSO.Session, "region", s.SSO.Region)
	}
	for _, step := range c.Steps {
		if s := step.SessionToken; s != nil {
			line("session of "+step.Profile, call(s.Call)...)
		}
		if s := step.AssumeRole; s != nil {
			session := s.SessionName
			if session == "kura-ann-"+step.Profile {
				session = ""
			}
			line("role of "+step.Profile, append(call(s.Call), "session", session,
				"external ID", s.ExternalID, "source identity", s.SourceIdentity,
				"tags", s.Tags, "transitive", s.TransitiveTags)...)
		}
	}
	return b.String()
}

// showOrigins returns where the settings of a chain stand, one a line.
func showOrigins(o chain.Origins) string {
	var b strings.Builder
	line := func(part string, o chain.Origin) {
		if o == (chain.Origin{}) {
			return
		}
		where := o.By
		if where == "" {
			where = fmt.Sprintf("%s:%d of %s", o.File, o.Line, o.Profile)
		}
		fmt.Fprintf(&b, "%s: %s = %s, %s\n", part, o.Setting, o.Value, where)
	}
	for _, l := range o.Path {
		fmt.Fprintf(&b, "by way of %s\n", l.Profile)
		line("  path", l.Source)
		line("  path", l.Role)
	}
	for _, o := range o.Source {
		line("source", o)
	}
	for i, step := range o.Steps {
		for _, o := range step {
			line(fmt.Sprintf("step %d", i+1), o)
		}
	}
	for _, o := range o.Rest {
		line("rest", o)
	}
	return b.String()
}
