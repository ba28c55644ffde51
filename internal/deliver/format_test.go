package deliver

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kura/internal/cred"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		format, profile, region string
		c                       cred.Credentials
		want                    string
	}{
		{"env", "admin", "eu-west-1", session, `AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE
AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=
AWS_SESSION_TOKEN=IQoJb3Jp//8=
AWS_CREDENTIAL_EXPIRATION=2026-11-21T05:29:52Z
AWS_REGION=eu-west-1
AWS_DEFAULT_REGION=eu-west-1
`},
		{"env", "admin", "", accessKey, `AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE
AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=
`},
		{"export-env", "admin", "eu-west-1", session, `export AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE
export AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=
export AWS_SESSION_TOKEN=IQoJb3Jp//8=
export AWS_CREDENTIAL_EXPIRATION=2026-11-21T05:29:52Z
export AWS_REGION=eu-west-1
export AWS_DEFAULT_REGION=eu-west-1
`},
		{"json", "admin", "eu-west-1", session, `{
  "Version": 1,
  "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
  "SecretAccessKey": "wJalr/K7MDENG+bPx=",
  "SessionToken": "IQoJb3Jp//8=",
  "Expiration": "2026-11-21T05:29:52Z",
  "AccountId": "123456789012"
}
`},
		{"json", "admin", "", accessKey, `{
  "Version": 1,
  "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
  "SecretAccessKey": "wJalr/K7MDENG+bPx="
}
`},
		{"ini", "team a", "eu-west-1", session, `[team a]
aws_access_key_id=ASIAIOSFODNN7EXAMPLE
aws_secret_access_key=wJalr/K7MDENG+bPx=
aws_session_token=IQoJb3Jp//8=
aws_credential_expiration=2026-11-21T05:29:52Z
region=eu-west-1
`},
		{"ini", "default", "", accessKey, `[default]
aws_access_key_id=AKIAIOSFODNN7EXAMPLE
aws_secret_access_key=wJalr/K7MDENG+bPx=
`},
		{"fish", "admin", `o'n\e`, accessKey, `set -gx AWS_ACCESS_KEY_ID 'AKIAIOSFODNN7EXAMPLE'
set -gx AWS_SECRET_ACCESS_KEY 'wJalr/K7MDENG+bPx='
set -gx AWS_REGION 'o\'n\\e'
set -gx AWS_DEFAULT_REGION 'o\'n\\e'
`},
		{"powershell", "admin", "o'n’e", accessKey, `$Env:AWS_ACCESS_KEY_ID = 'AKIAIOSFODNN7EXAMPLE'
$Env:AWS_SECRET_ACCESS_KEY = 'wJalr/K7MDENG+bPx='
$Env:AWS_REGION = 'o''n’’e'
$Env:AWS_DEFAULT_REGION = 'o''n’’e'
`},
		{"dotenv", "admin", "a #b$c", session, `AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE
AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=
AWS_SESSION_TOKEN=IQoJb3Jp//8=
AWS_CREDENTIAL_EXPIRATION=2026-11-21T05:29:52Z
AWS_REGION='a #b$c'
AWS_DEFAULT_REGION='a #b$c'
`},
	} {
		got, err := Format(c.format, c.profile, c.region, c.c)
		if string(got) != c.want || err != nil {
			t.Errorf("%s: got %v\n%s\nwant\n%s", c.format, err, got, c.want)
		}
	}
	if _, err := Format("yaml", "p", "", accessKey); err == nil {
		t.Error("Format accepts a format that it doesn't know")
	}
}

// hostile are values that are no AWS credentials, though a credential_process
// may well return them.
var hostile = []string{"$(touch pwned)", "`touch pwned`", "a;touch pwned", "a b", "a\nb", "a'b", `a"b`, "a#b", "~", "a&b", "a|b", "*", "\x00"}

func TestFormatRefusesWhatAShellWouldRun(t *testing.T) {
	for _, value := range hostile {
		for _, format := range []string{"env", "export-env", "ini"} {
			for _, c := range []cred.Credentials{
				{AccessKeyID: value, SecretAccessKey: cred.NewSecret("s")},
				{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret(value)},
				{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("s"), SessionToken: cred.NewSecret(value)},
			} {
				out, err := Format(format, "p", "", c)
				if err == nil || len(out) > 0 || strings.Contains(err.Error(), value) && len(value) > 1 {
					t.Errorf("%s with the value %q: %q, %v, want an error that does not quote it", format, value, out, err)
				}
			}
			if out, err := Format(format, "p", value, accessKey); err == nil {
				t.Errorf("%s with the region %q: %q, want an error", format, value, out)
			}
		}
	}
	for _, profile := range []string{"a]b", "a\nb"} {
		if out, err := Format("ini", profile, "", accessKey); err == nil {
			t.Errorf("ini of the profile %q: %q, want an error", profile, out)
		}
	}
	for _, format := range []string{"fish", "powershell", "dotenv"} {
		for _, region := range []string{"a\nb", "a\x00b", "a\xffb"} {
			if out, err := Format(format, "p", region, accessKey); err == nil {
				t.Errorf("%s with the region %q: %q, want an error", format, region, out)
			}
		}
	}
}

// What sh reads of env, export-env and dotenv is what went in, or nothing.
func FuzzFormatInAShell(f *testing.F) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("no sh")
	}
	for _, value := range append(hostile, "IQoJb3Jp//8=", "eu-west-1") {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c := cred.Credentials{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("s"), SessionToken: cred.NewSecret(value)}
		for _, format := range []string{"env", "export-env", "dotenv"} {
			out, err := Format(format, "p", "", c)
			if err != nil {
				continue
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "env"), out, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), sh, "-c", `. ./env; printf %s "$AWS_SESSION_TOKEN"`)
			cmd.Dir, cmd.Env = dir, []string{"HOME=/"}
			got, err := cmd.CombinedOutput()
			files, _ := os.ReadDir(dir)
			if string(got) != value || err != nil || len(files) != 1 {
				t.Errorf("%s: sh reads %q as %q, %v, and leaves %v", format, value, got, err, files)
			}
		}
	})
}

func TestFormatsAreKnown(t *testing.T) {
	for _, name := range Formats() {
		out, err := Format(name, "p", "eu-west-1", session)
		if err != nil || len(out) == 0 || out[len(out)-1] != '\n' {
			t.Errorf("Format(%s) = %q, %v", name, out, err)
		}
		if name == "json" && !json.Valid(out) {
			t.Errorf("json is %s", out)
		}
	}
	if !slices.Contains(Formats(), "env") {
		t.Error("no env")
	}
}
