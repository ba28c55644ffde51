package chain_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"kura/internal/chain"
)

// keyed is a config whose profile "it" has all that a key depends on.
const keyed = `
[profile base]
[profile it]
source_profile = base
region = us-east-1
role_arn = arn:aws:iam::111122223333:role/it
mfa_serial = arn:aws:iam::111122223333:mfa/ann
role_session_name = ann
external_id = theirs
session_tags = a=1
transitive_session_tags = a
source_identity = ann
duration_seconds = 1800
endpoint_url = http://localhost:1
`

func resolve(t *testing.T, config, profile string) chain.Chain {
	t.Helper()
	c, err := chain.Resolve(parse(t, config), profile, overrides([]string{"base"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSiblingsShareTheMFASession(t *testing.T) {
	config := keyed + `
[profile sibling]
source_profile = base
region = eu-west-1
role_arn = arn:aws:iam::444455556666:role/other
mfa_serial = arn:aws:iam::111122223333:mfa/ann
endpoint_url = http://localhost:1
`
	a, b := resolve(t, config, "it"), resolve(t, config, "sibling")
	if a.Key("store", 1) != b.Key("store", 1) {
		t.Errorf("roles of one access key and one MFA device do not share a session:\n%v%v", a, b)
	}
	if a.Key("store", 2) == b.Key("store", 2) {
		t.Errorf("two roles have one key:\n%v%v", a, b)
	}
}

func TestKeyChangesWithTheRequest(t *testing.T) {
	was := resolve(t, keyed, "it")
	for _, test := range []struct {
		old, new string
		same     int // how many steps keep their key
	}{
		{"region = us-east-1", "region = eu-west-1", 2},
		{"role/it", "role/other", 1},
		{"role_session_name = ann", "role_session_name = bob", 1},
		{"external_id = theirs", "external_id = ours", 1},
		{"session_tags = a=1", "session_tags = a=2", 1},
		{"transitive_session_tags = a", "transitive_session_tags = b", 1},
		{"source_identity = ann", "source_identity = bob", 1},
		{"duration_seconds = 1800", "duration_seconds = 2000", 1},
		{"mfa/ann", "mfa/bob", 0},
		{"localhost:1", "localhost:2", 0},
	} {
		is := resolve(t, strings.ReplaceAll(keyed, test.old, test.new), "it")
		for n := 1; n <= 2; n++ {
			got, want := is.Key("store", n) == was.Key("store", n), n <= test.same
			if got != want {
				t.Errorf("with %q for %q, Key(%d) is the same: %v, want %v", test.new, test.old, n, got, want)
			}
		}
	}
	if was.Key("store", 1) == was.Key("other", 1) {
		t.Error("two stores have one key")
	}
}

func TestKeyOfSources(t *testing.T) {
	const config = `
[profile a]
credential_process = one
[profile b]
credential_process = two
[profile c]
credential_process = one
`
	a, b, c := resolve(t, config, "a"), resolve(t, config, "b"), resolve(t, config, "c")
	if a.Key("", 0) == b.Key("", 0) {
		t.Error("two commands have one key")
	}
	if a.Key("", 0) != c.Key("", 0) {
		t.Error("one command has two keys")
	}
}

// TestKeyCoversAllFields changes each field of each kind of source and step in
// turn. Those that do not change the key are listed with the reason.
func TestKeyCoversAllFields(t *testing.T) {
	without := map[string]string{
		"Call.Region":         "session credentials are good in all regions",
		"Step.Profile":        "for listings",
		"Process.Profile":     "for messages",
		"WebIdentity.Profile": "for messages",
		"SSO.Profile":         "for messages",
		"SSO.Session":         "for messages; what it says is in the other fields",
		"AssumeRole.Wanted":   "for messages",
		"Chain.Profile":       "for messages",
		"Chain.Region":        "for the child",
		"Chain.Endpoints":     "for the child",
		"Chain.CABundle":      "how AWS is checked, not what is asked",
		"Chain.MFAProcess":    "where a code comes from",
		"Chain.STS":           "for calls that are no part of it",
		"Chain.IAMEndpoint":   "for calls that are no part of it",
		"AssumeRole.Call":     "its fields are looked at",
		"SessionToken.Call":   "its fields are looked at",
		"WebIdentity.Call":    "its fields are looked at",
		"Source.Stored":       "its fields are looked at",
		"Source.Process":      "its fields are looked at",
		"Source.WebIdentity":  "its fields are looked at",
		"Source.SSO":          "its fields are looked at",
		"Step.SessionToken":   "its fields are looked at",
		"Step.AssumeRole":     "its fields are looked at",
		"Chain.Source":        "its fields are looked at",
		"Chain.Steps":         "its fields are looked at",
	}
	for _, make := range []func() *chain.Chain{
		func() *chain.Chain { return &chain.Chain{Source: chain.Source{Stored: &chain.StoredKey{}}} },
		func() *chain.Chain { return &chain.Chain{Source: chain.Source{Process: &chain.Process{}}} },
		func() *chain.Chain { return &chain.Chain{Source: chain.Source{WebIdentity: &chain.WebIdentity{}}} },
		func() *chain.Chain { return &chain.Chain{Source: chain.Source{SSO: &chain.SSO{}}} },
		func() *chain.Chain {
			return &chain.Chain{Steps: []chain.Step{{SessionToken: &chain.SessionToken{}}, {AssumeRole: &chain.AssumeRole{}}}}
		},
	} {
		was := make()
		n := 0
		eachField(reflect.ValueOf(was).Elem(), func(int, string, reflect.Value) { n++ })
		for i := range n {
			c := make()
			eachField(reflect.ValueOf(c).Elem(), func(j int, name string, v reflect.Value) {
				if i != j || without[name] != "" {
					return
				}
				change(t, name, v)
				if c.Key("", len(c.Steps)) == was.Key("", len(was.Steps)) {
					t.Errorf("the key does not change with %s", name)
				}
			})
		}
	}
}

// eachField calls f with the number, name and value of each field below v, but
// for those of Chain.STS: they are of another use of a type that has others.
func eachField(v reflect.Value, f func(i int, name string, v reflect.Value)) {
	i := 0
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for k := range v.Len() {
				walk(v.Index(k))
			}
		case reflect.Struct:
			for k := range v.NumField() {
				f(i, v.Type().Name()+"."+v.Type().Field(k).Name, v.Field(k))
				i++
				if v.Type().Field(k).Name != "STS" {
					walk(v.Field(k))
				}
			}
		}
	}
	walk(v)
}

func change(t *testing.T, name string, v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *string:
		*x += "x"
	case *bool:
		*x = !*x
	case *time.Duration:
		*x++
	case *map[string]string:
		*x = map[string]string{"k": "v"}
	case *[]string:
		*x = append(*x, "k")
	default:
		t.Fatalf("%s is of type %s, which the test can't change", name, v.Type())
	}
}

func TestKeyTellsTextsApart(t *testing.T) {
	a := chain.Chain{Steps: []chain.Step{{AssumeRole: &chain.AssumeRole{RoleARN: "ab", SessionName: "c"}}}}
	b := chain.Chain{Steps: []chain.Step{{AssumeRole: &chain.AssumeRole{RoleARN: "a", SessionName: "bc"}}}}
	if a.Key("", 1) == b.Key("", 1) {
		t.Error("two roles have one key")
	}
}
