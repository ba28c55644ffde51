package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/config"
)

// FuzzSDK compares what we read with what the AWS SDK for Go reads, for every
// setting that the SDK shows. Where the SDK deviates from AWS's own cases, or
// these are silent and the SDK stands alone, the file is not compared; see
// deviates.
func FuzzSDK(f *testing.F) {
	f.Add(sample, false)
	f.Add(strings.ReplaceAll(sample, "\n", "\r\n"), false)
	f.Add("[default]\nregion = a\n[profile default]\nregion=b ; c\nrole_session_name = x\n -y \nsso_session = s\n[sso-session s]\nsso_region=r\nsso_start_url = u#/\n", false)
	f.Add("[profile x]\n  source_profile = x\n  role_arn=r\n  duration_seconds = 900\n  external_id\t=\te #f\n mfa_serial = 'm'\n", false)
	f.Add("[x]\nregion = a;b\n[ x ]; c\ncredential_process = p \"q\"\n", true)
	f.Fuzz(func(t *testing.T, text string, credentials bool) {
		checkSDK(t, filepath.Join(t.TempDir(), "config"), text, credentials)
	})
}

// TestSDK is FuzzSDK with files that look more like what people write.
func TestSDK(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "config")
	compared := 0
	for range 2000 {
		if checkSDK(t, path, randomFile(r), false) {
			compared++
		}
	}
	// If most files were skipped, the test would show little.
	if compared < 500 {
		t.Errorf("%d of 2000 files could be compared, want 500", compared)
	}
}

// checkSDK compares the profiles of a file, and reports whether it could
// compare any. The file at path is overwritten.
func checkSDK(t *testing.T, path, text string, credentials bool) (compared bool) {
	read := Parse[[]byte]
	if credentials {
		read = ParseCredentials[[]byte]
	}
	file, err := read("config", []byte(text))
	if err != nil || deviates(file) {
		return false
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range file.Profiles() {
		want, err := sdkProfile(t.Context(), path, name, credentials)
		if err != nil || !identifier(name) {
			continue // the SDK refuses contradictory settings; it takes quotes for part of a name
		}
		compareSDK(t, file, name, want)
		compared = true
	}
	return compared
}

// deviates reports whether the SDK is known to read f otherwise than AWS's
// cases, or than anybody else.
func deviates(f *File) bool {
	if f.bom() != "" {
		return true // the SDK takes it for part of the first header and so ignores that
	}
	for _, r := range strings.ReplaceAll(f.text, "\r\n", "\n") {
		if r != ' ' && r != '\t' && r != '\n' && unicode.IsSpace(r) {
			return true // the SDK trims all that Unicode calls space
		}
	}
	for _, p := range f.parts {
		emptyBefore := false
		for _, e := range f.entries(p) {
			if e.indent > 0 && emptyBefore {
				return true // the SDK takes every indented line after "name =" into a block
			}
			emptyBefore = emptyBefore && e.indent > 0 || e.value == ""
			if strings.Contains(e.name, ":") {
				return true // the SDK lets ":" stand for "="
			}
			for _, t := range e.more {
				name, _, assigned := strings.Cut(t.value, "=")
				switch {
				case e.value == "" && strings.Contains(name, ":"):
					return true // as above
				case e.value != "" && (assigned || strings.Contains(t.value, ":")):
					return true // the SDK takes a continuation line with "=" or ":" for a setting
				}
			}
		}
	}
	return false
}

func sdkProfile(ctx context.Context, path, name string, credentials bool) (c config.SharedConfig, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the SDK panics: %v", r) // at a value of one quote
		}
	}()
	return config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = []string{path}, []string{}
		if credentials {
			o.ConfigFiles, o.CredentialsFiles = []string{}, []string{path}
		}
	})
}

func compareSDK(t *testing.T, file *File, name string, want config.SharedConfig) {
	t.Helper()
	equal := func(setting, got, want string) {
		t.Helper()
		if strings.HasPrefix(got, "\n") {
			got = "" // a nested block, which the SDK keeps apart
		}
		if plain(got) != plain(want) {
			t.Errorf("profile %q: %s = %q, the SDK reads %q, in\n%s", name, setting, got, want, file.text)
		}
	}
	s, _ := file.Profile(name)
	equal("region", s.Get("region"), want.Region)
	equal("role_arn", s.Get("role_arn"), want.RoleARN)
	equal("source_profile", s.Get("source_profile"), want.SourceProfileName)
	equal("external_id", s.Get("external_id"), want.ExternalID)
	equal("mfa_serial", s.Get("mfa_serial"), want.MFASerial)
	equal("role_session_name", s.Get("role_session_name"), want.RoleSessionName)
	equal("endpoint_url", s.Get("endpoint_url"), want.BaseEndpoint)
	equal("ca_bundle", s.Get("ca_bundle"), want.CustomCABundle)
	equal("sso_session", s.Get("sso_session"), want.SSOSessionName)
	equal("services", s.Get("services"), want.ServicesSectionName)
	if want.SourceProfileName == "" { // else the SDK drops these
		equal("credential_process", s.Get("credential_process"), want.CredentialProcess)
		equal("web_identity_token_file", s.Get("web_identity_token_file"), want.WebIdentityTokenFile)
		equal("sso_account_id", s.Get("sso_account_id"), want.SSOAccountID)
		equal("sso_role_name", s.Get("sso_role_name"), want.SSORoleName)
		equal("sso_region", s.Get("sso_region"), want.SSORegion)
		equal("sso_start_url", s.Get("sso_start_url"), want.SSOStartURL)
	}
	if want.RoleDurationSeconds != nil && *want.RoleDurationSeconds != 0 {
		n, err := strconv.ParseInt(plain(s.Get("duration_seconds")), 0, 64)
		if got := time.Duration(n) * time.Second; err != nil || got != *want.RoleDurationSeconds {
			t.Errorf("duration_seconds = %v, %v, the SDK reads %v", got, err, *want.RoleDurationSeconds)
		}
	}
	if session := want.SSOSession; session != nil && identifier(strings.TrimSpace(want.SSOSessionName)) {
		s, _ := file.SSOSession(strings.TrimSpace(want.SSOSessionName))
		equal("sso-session: sso_region", s.Get("sso_region"), session.SSORegion)
		equal("sso-session: sso_start_url", s.Get("sso_start_url"), session.SSOStartURL)
	}
	if values := want.Services.ServiceValues; values != nil && identifier(want.ServicesSectionName) {
		s, _ := file.Services(want.ServicesSectionName)
		for _, block := range s.Blocks() {
			equal("services: "+block, s.Nested(block, "endpoint_url"), values[block]["endpoint_url"])
		}
	}
}

// plain removes quotes, which the SDK leaves out even where they are not a
// pair, and the space at the end of continuation lines, which it keeps.
func plain(value string) string {
	lines := strings.Split(strings.NewReplacer(`"`, "", "'", "").Replace(value), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// TestSDKQuotes shows what plain hides: a value in quotes reads as in the SDK,
// but one that merely begins and ends with a quote, as in AWS's documentation
// of credential_process, is left as it is.
func TestSDKQuotes(t *testing.T) {
	for value, wantSame := range map[string]bool{
		`"x y"`:     true,
		`'x y'`:     true,
		`"x' y"`:    true,
		`""`:        true,
		`"x`:        true,
		`x "y"`:     true,
		"`x`":       true,
		`"a b" "c"`: false,
	} {
		text := "[profile x]\nregion = " + value + "\n"
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := sdkProfile(t.Context(), path, "x", false)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse("config", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := f.Profile("x")
		if got, want := s.Get("region"), c.Region; (got == want) != wantSame {
			t.Errorf("%s reads %q, in the SDK %q; want the same: %v", value, got, want, wantSame)
		}
		if !wantSame && s.Get("region") != value {
			t.Errorf("%s reads %q", value, s.Get("region"))
		}
	}
}

// TestSDKReadsEdits shows that the SDK reads what is written, also where the
// file is of a kind that it reads in its own way.
func TestSDKReadsEdits(t *testing.T) {
	for _, text := range []string{
		"", "\r\n", "# c", "[profile x]", "[profile x]\nregion = old # c", "[profile x]\r\nREGION=old\r\n more\r\n",
		"[profile x]\n  s3 =\n    a = b\n[profile y]\n", "[profile x]\nregion = 'old'\n[profile x]\na = b\n",
	} {
		for _, value := range []string{"new", "https://x/start#/", `a "b"`, "a = b:c", "[v]", "ü"} {
			f, err := Parse("config", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			edited, err := f.Set("x", "region", value)
			if errors.Is(err, ErrNoProfile) {
				edited, err = f.AddProfile("x", Setting{"region", value})
			}
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, edited.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := sdkProfile(t.Context(), path, "x", false)
			if err != nil || c.Region != value {
				t.Errorf("the SDK reads %q, %v, want %q, in\n%q", c.Region, err, value, edited.Bytes())
			}
		}
	}
}
