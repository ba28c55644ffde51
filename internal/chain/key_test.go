package chain_test

import (
	"strings"
	"testing"

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
