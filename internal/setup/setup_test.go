package setup_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kura/internal/awsconfig"
	"kura/internal/onepassword"
	"kura/internal/setup"
)

func parse(t *testing.T, text string) *awsconfig.File {
	t.Helper()
	f, err := awsconfig.Parse("config", text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const (
	serial  = "arn:aws:iam::111122223333:mfa/ann"
	process = "credential_process = /opt/kura credential-process default\n"
)

// TestEdit checks which settings a profile gets, and that all else stays.
func TestEdit(t *testing.T) {
	item := func(change func(*setup.Item)) *setup.Item {
		it := &setup.Item{Account: "A", Vault: "v", ID: "i", MakesCodes: true}
		change(it)
		return it
	}
	nothing := func(*setup.Item) {}
	for _, c := range []struct {
		what         string
		profile      setup.Profile
		before, want string
	}{
		{"a key, in an empty file", setup.Profile{}, "", "[default]\n" + process},
		{"a key and a device", setup.Profile{MFASerial: serial}, "[default]\nregion = eu-west-1\n\n[profile x]\n",
			"[default]\nregion = eu-west-1\nmfa_serial = " + serial + "\n" + process + "\n[profile x]\n"},
		{"a key in a store", setup.Profile{Backend: "pass:/x"}, "", "[default]\nkura_backend = pass:/x\n" + process},
		{"another store", setup.Profile{Backend: "pass:/x"}, "[default]\nkura_backend = file # mine\n" + process, "[default]\nkura_backend = pass:/x # mine\n" + process},
		{"the store that there is", setup.Profile{}, "[default]\nkura_backend = file\n" + process, "[default]\nkura_backend = file\n" + process},

		{"an item", setup.Profile{Item: item(nothing), MFASerial: serial}, "",
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A\nmfa_source = 1password\nmfa_serial = " + serial + "\n" + process},
		{"an item of a service account", setup.Profile{Item: item(func(it *setup.Item) { it.Account = "" })}, "",
			"[default]\nkura_backend = 1password:v,item=i,name=default\nmfa_source = 1password\n" + process},
		{"an item that shares sessions", setup.Profile{Item: item(func(it *setup.Item) { it.SharesSession = true })}, "",
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A,session-cache=on\nmfa_source = 1password\n" + process},
		{"an item that is to share them no more", setup.Profile{Item: item(nothing)},
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A,session-cache=on\nmfa_source = 1password\n" + process,
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A\nmfa_source = 1password\n" + process},
		{"an item with a region", setup.Profile{Item: item(func(it *setup.Item) { it.Region = "eu-west-1" })}, "",
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A\nmfa_source = 1password\nregion = eu-west-1\n" + process},
		{"the region of the profile", setup.Profile{Item: item(func(it *setup.Item) { it.Region = "eu-west-1" })}, "[default]\nregion=us-east-1\n",
			"[default]\nregion=us-east-1\nkura_backend=1password:v,item=i,name=default,account=A\nmfa_source=1password\n" + strings.ReplaceAll(process, " = ", "=")},
		{"another region", setup.Profile{Region: "eu-north-1", Item: item(func(it *setup.Item) { it.Region = "eu-west-1" })}, "[default]\nregion=us-east-1\n",
			"[default]\nregion=eu-north-1\nkura_backend=1password:v,item=i,name=default,account=A\nmfa_source=1password\n" + strings.ReplaceAll(process, " = ", "=")},
		{"an item without codes", setup.Profile{Item: item(func(it *setup.Item) { it.MakesCodes = false }), MFASerial: serial}, "",
			"[default]\nkura_backend = 1password:v,item=i,name=default,account=A\nmfa_serial = " + serial + "\n" + process},
		{"an item that makes no more codes", setup.Profile{Item: item(func(it *setup.Item) { it.MakesCodes = false })},
			"[default]\nmfa_source = 1password\n" + process, "[default]\n" + process + "kura_backend = 1password:v,item=i,name=default,account=A\n"},
		{"codes of another item", setup.Profile{Item: item(func(it *setup.Item) { it.MakesCodes = false })},
			"[default]\nmfa_source = 1password:other\n" + process, "[default]\nmfa_source = 1password:other\n" + process + "kura_backend = 1password:v,item=i,name=default,account=A\n"},
		{"another program", setup.Profile{}, "# mine\n[default]\ncredential_process = \"/opt/my tools/other\" --x ; why\n", "# mine\n[default]\n" + strings.TrimSuffix(process, "\n") + " ; why\n"},
	} {
		c.profile.Name, c.profile.Program = "default", "/opt/kura"
		before := parse(t, c.before)
		after, err := c.profile.Edit(before)
		if err != nil || string(after.Bytes()) != c.want {
			t.Errorf("%s: Edit = %v\n%s\nwant\n%s", c.what, err, after.Bytes(), c.want)
			continue
		}
		if again, err := c.profile.Edit(after); err != nil || again != after {
			t.Errorf("%s: a second Edit, %v, changes\n%s\nto\n%s", c.what, err, after.Bytes(), again.Bytes())
		}
	}
}

func TestCheck(t *testing.T) {
	const role = "role_arn = arn:aws:iam::111122223333:role/x\n"
	f := parse(t, "[default]\n[profile self]\nsource_profile = self\n"+
		"[profile role]\n"+role+"source_profile = default\n[profile alone]\n"+role+
		"[profile sso]\nsso_session = x\n[profile web]\nweb_identity_token_file = x\n")
	for _, profile := range []string{"default", "self", "new", "work/eu-1.b_c@d:e+f"} {
		if err := setup.Check(f, profile); err != nil {
			t.Errorf("Check(%q) = %v", profile, err)
		}
	}
	for _, profile := range []string{"", "my work", "-x", "a;b", "a'b", "a%b", "a$b", "a,b", "jürgen", "a\tb"} {
		if _, ok := errors.AsType[*setup.NameError](setup.Check(f, profile)); !ok {
			t.Errorf("Check(%q) is no *NameError", profile)
		}
	}
	for profile, setting := range map[string]string{"role": "source_profile", "alone": "role_arn", "sso": "sso_session", "web": "web_identity_token_file"} {
		err := setup.Check(f, profile)
		if e, ok := errors.AsType[*setup.OtherwiseError](err); !ok || e.Setting != setting {
			t.Errorf("Check(%q) = %v, want one about %s", profile, err, setting)
		}
	}
}

func TestAsks(t *testing.T) {
	for line, want := range map[string]bool{
		"/opt/kura credential-process default":         true,
		"kura export --format=json default":            true,
		`"/opt/kura" credential-process default`:       true,
		"/opt/vault export default":                    true, // the program's own path
		"/opt/other default":                           false,
		"aws-vault exec default --json # not kura's":   false,
		"/opt/kura-wrapper default":                    false,
		"":                                             false,
		"/usr/bin/env kura credential-process default": false,
	} {
		if got := setup.Asks(parse(t, "[default]\ncredential_process = "+line+"\n"), "default", "/opt/vault"); got != want {
			t.Errorf("Asks of %q = %v, want %v", line, got, want)
		}
	}
}

func TestCandidates(t *testing.T) {
	item := func(title, vault, category, info string, tags ...string) onepassword.Summary {
		return onepassword.Summary{Title: title, Vault: onepassword.Vault{Name: vault}, Category: category, Info: info, Tags: tags}
	}
	var got []string
	for _, it := range setup.Candidates([]onepassword.Summary{
		item("Bank", "Private", "LOGIN", "ann"),
		item("Amazon", "Private", "LOGIN", "ann"),
		item("Key", "Private", "LOGIN", "AKIAIOSFODNN7EXAMPLE"),
		item("Server", "Private", "SECURE_NOTE", "", "aws"),
		item("GitHub", "Private", "API_CREDENTIAL", ""),
		item("AWS", "Shared", "API_CREDENTIAL", ""),
		item("AWS", "Private", "API_CREDENTIAL", ""),
		item("access key", "Private", "API_CREDENTIAL", ""),
	}) {
		got = append(got, fmt.Sprintf("%s/%s %s", it.Vault.Name, it.Title, setup.Kind(it)))
	}
	want := []string{"Private/access key ", "Private/AWS ", "Shared/AWS ", "Private/GitHub ", "Private/Amazon login", "Private/Key login", "Private/Server secure note"}
	if !slices.Equal(got, want) {
		t.Errorf("Candidates = %q, want %q", got, want)
	}
}
