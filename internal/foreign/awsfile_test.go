package foreign

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kura/internal/awsconfig"
	"kura/internal/cred"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var key = cred.Credentials{AccessKeyID: keyID, SecretAccessKey: cred.NewSecret(secret)}

func parse(t *testing.T, name, text string) *awsconfig.File {
	t.Helper()
	read := awsconfig.Parse[string]
	if strings.HasSuffix(name, "credentials") {
		read = awsconfig.ParseCredentials[string]
	}
	f, err := read(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const credentialsFile = `# mine
[default]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY

[sso-only]
region = eu-west-1
[temporary]
AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE
aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
aws_session_token=hunter2
[old]
aws_access_key_id=ASIAIOSFODNN7EXAMPLE
aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
aws_security_token=hunter2
[no-secret]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key =
[no-id]
region = eu-west-1
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
[longer]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/
  bPxRfiCYEXAMPLEKEY
[account]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
aws_account_id = 123456789012
`

func TestFromFile(t *testing.T) {
	temporary := key
	temporary.AccessKeyID, temporary.SessionToken = "ASIAIOSFODNN7EXAMPLE", cred.NewSecret("hunter2")
	account := key
	account.AccountID = "123456789012"
	want := []struct {
		name, note, err string
		key             cred.Credentials
	}{
		{"default", "credentials:3", "", key},
		{"temporary", "credentials:9", "", temporary},
		{"old", "credentials:13", "", temporary},
		{"no-secret", "credentials:17", "credentials:17: there is no aws_secret_access_key", cred.Credentials{}},
		{"no-id", "credentials:21", "credentials:21: there is no aws_access_key_id", cred.Credentials{}},
		{"longer", "credentials:23", "credentials:23: the access key has lines that continue it", cred.Credentials{}},
		{"account", "credentials:27", "", account},
	}
	got := FromFile(parse(t, "credentials", credentialsFile))
	if len(got) != len(want) {
		t.Fatalf("FromFile = %v, want %d items", got, len(want))
	}
	for i, item := range got {
		text := ""
		if item.Err != nil {
			text = item.Err.Error()
		}
		w := want[i]
		if item.Name != w.name || item.Note != w.note || text != w.err || item.Key != w.key {
			t.Errorf("item = %v, want %v", item, w)
		}
		if _, half := errors.AsType[*HalfError](item.Err); half != strings.Contains(w.err, "there is no") {
			t.Errorf("Err = %#v", item.Err)
		}
	}
	if got[1].Key.LongTerm() || got[2].Key.LongTerm() {
		t.Error("temporary credentials pass for an access key")
	}
}

// The config file may have keys too.
func TestFromConfigFile(t *testing.T) {
	f := parse(t, "config", "[profile a]\naws_access_key_id="+keyID+"\naws_secret_access_key="+secret+"\n[b]\naws_access_key_id=x\n")
	want := []Item{{Name: "a", Key: key, Note: "config:2"}}
	if got := FromFile(f); !slices.Equal(got, want) {
		t.Errorf("FromFile = %v, want %v", got, want)
	}
}

func TestStrip(t *testing.T) {
	for _, tt := range []struct{ name, file, in, names, want string }{
		{"all but the keys stays", "credentials",
			"\ufeff# a\r\n[a] # b\r\naws_access_key_id = A ; c\r\nregion=x\r\n\r\nAWS_Secret_Access_Key=B\r\n # d\r\n[b]\r\naws_access_key_id=C", "a",
			"\ufeff# a\r\n[a] # b\r\nregion=x\r\n\r\n # d\r\n[b]\r\naws_access_key_id=C"},
		{"each of several", "credentials",
			"[a]\naws_access_key_id=A\naws_access_key_id=B\n[b]\n[a]\naws_secret_access_key=C\n D\nregion=x\naws_secret_access_key=E\n", "a",
			"[a]\n[b]\n[a]\nregion=x\n"},
		{"a section that is left empty", "credentials", "[a]\naws_access_key_id=A\naws_secret_access_key=B\n[b]\n", "a b", "[a]\n[b]\n"},
		{"the session token stays", "credentials", "[a]\naws_access_key_id=A\naws_session_token=B\n", "a", "[a]\naws_session_token=B\n"},
		{"in a config file", "config", "[profile a]\naws_access_key_id=A\n[a]\naws_access_key_id=B\n", "a", "[profile a]\n[a]\naws_access_key_id=B\n"},
		{"a hidden default", "config", "[default]\naws_access_key_id=A\nregion=x\n[profile default]\naws_access_key_id=B\n", "default",
			"[default]\nregion=x\n[profile default]\n"},
		{"the default of a credentials file", "credentials", "[default]\naws_access_key_id=A\n[profile default]\nx=y\n", "default", "[default]\n[profile default]\nx=y\n"},
		{"nothing", "config", "[profile a]\nregion=x\n", "a missing", "[profile a]\nregion=x\n"},
	} {
		got, err := Strip(parse(t, tt.file, tt.in), strings.Fields(tt.names))
		if err != nil || string(got.Bytes()) != tt.want {
			t.Errorf("%s: Strip(%q) = %q, %v, want %q", tt.name, tt.in, got.Bytes(), err, tt.want)
		}
	}
}

// What Strip leaves out is lines of keys, all of those of the profiles named;
// other settings and other profiles read as before.
func FuzzStrip(f *testing.F) {
	for _, text := range vectors(f) {
		f.Add(text, false, "foo")
		keys := "\naws_access_key_id = A\naws_secret_access_key = B\n more\n"
		f.Add(strings.ReplaceAll(text, "\n", keys), false, "foo")
		f.Add(strings.ReplaceAll(text, "\n", keys), true, "default")
	}
	f.Add(credentialsFile, true, "default")
	f.Add("[default]\naws_access_key_id=A\n[profile default]\nregion=x\n[profile b]\n", false, "default")
	f.Fuzz(func(t *testing.T, text string, credentials bool, name string) {
		read := awsconfig.Parse[string]
		if credentials {
			read = awsconfig.ParseCredentials[string]
		}
		before, err := read("file", text)
		if err != nil {
			return
		}
		after, err := Strip(before, []string{name})
		if err != nil {
			t.Fatalf("Strip(%q, %q): %v", text, name, err)
		}
		rest := slices.Collect(strings.Lines(string(after.Bytes())))
		removed := false
		for line := range strings.Lines(text) {
			if len(rest) > 0 && line == rest[0] {
				rest, removed = rest[1:], false
				continue
			}
			word, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(line, " \t\ufeff")), "=")
			word = strings.TrimRight(word, " \t")
			isKey := word == "aws_access_key_id" || word == "aws_secret_access_key"
			if !isKey && !(removed && strings.TrimLeft(line, " \t") != line) {
				t.Errorf("Strip(%q, %q) = %q, which lacks %q", text, name, after.Bytes(), line)
			}
			removed = true
		}
		if len(rest) > 0 {
			t.Errorf("Strip(%q, %q) = %q, which has new lines", text, name, after.Bytes())
		}
		if got, want := after.Profiles(), before.Profiles(); !slices.Equal(got, want) {
			t.Fatalf("Strip(%q, %q) has the profiles %q, want %q", text, name, got, want)
		}
		for _, p := range before.Profiles() {
			was, _ := before.Profile(p)
			is, _ := after.Profile(p)
			for _, setting := range was.Names() {
				want := was.Raw(setting)
				if p == name && (setting == "aws_access_key_id" || setting == "aws_secret_access_key") {
					want = ""
				}
				if got := is.Raw(setting); got != want {
					t.Errorf("Strip(%q, %q): %s of %q is %q, want %q", text, name, setting, p, got, want)
				}
			}
		}
	})
}

// vectors returns the config files of AWS's test cases, if they are here.
func vectors(f *testing.F) []string {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "profile-parser-tests.json"))
	if errors.Is(err, os.ErrNotExist) {
		f.Log("../shared/vectors is not here")
		return nil
	}
	if err != nil {
		f.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Input struct{ ConfigFile, CredentialsFile string }
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		f.Fatal(err)
	}
	var texts []string
	for _, test := range file.Tests {
		texts = append(texts, test.Input.ConfigFile, test.Input.CredentialsFile)
	}
	return texts
}
