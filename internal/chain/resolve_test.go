package chain_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/awsconfig"
	"kura/internal/chain"
)

func TestNearNames(t *testing.T) {
	f := parse(t, "[profile prod]\n[profile prod-admin]\n[profile staging]\n[profile Dev]\n[profile dev-eu]\n[profile x]\n")
	for _, test := range []struct{ name, want string }{
		{"prdo", "prod"},
		{"prod-admn", "prod-admin prod"},
		{"pro", "prod prod-admin"},
		{"dev", "Dev dev-eu"},
		{"stagging", "staging"},
		{"unlike", ""},
		{"y", ""},
		{"", ""},
	} {
		_, err := chain.Resolve(f, test.name, chain.Overrides{})
		e, ok := errors.AsType[*chain.NotFoundError](err)
		if !ok {
			t.Errorf("Resolve(%q) = %v, want a *NotFoundError", test.name, err)
			continue
		}
		if got := strings.Join(e.Near, " "); got != test.want {
			t.Errorf("near %q: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestStoredIsAskedOnceAndOnlyWhenItMatters(t *testing.T) {
	f := parse(t, `
[profile base]
[profile it]
source_profile = base
role_arn = arn:aws:iam::111122223333:role/it
`)
	for _, test := range []struct {
		profile string
		want    []string
	}{
		{"base", nil}, // there is nothing else that it could be
		{"it", []string{"it"}},
		{"unknown", []string{"unknown"}},
	} {
		var asked []string
		chain.Resolve(f, test.profile, chain.Overrides{Stored: func(name string) bool {
			asked = append(asked, name)
			return true
		}})
		if !slices.Equal(asked, test.want) {
			t.Errorf("for %q it is asked whether these are stored: %q, want %q", test.profile, asked, test.want)
		}
	}
}

func TestSessionName(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct{ user, profile, want string }{
		{"ann", "it", "kura-ann-it"},
		{"", "it", "kura-it"},
		{`CORP\ann`, "team/it müller", "kura-CORP-ann-team-it-m-ller"},
		{"ann", long, "kura-ann-" + long[:55]},
		{long, "it", "kura-" + long[:32] + "-it"},
	} {
		f := parse(t, fmt.Sprintf("[profile %q]\nrole_arn = arn:aws:iam::111122223333:role/it\n", test.profile))
		c, err := chain.Resolve(f, test.profile, chain.Overrides{
			User:   test.user,
			Stored: func(string) bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Steps[0].AssumeRole.SessionName; got != test.want || len(got) > 64 {
			t.Errorf("session name of user %q, profile %q: %q, want %q", test.user, test.profile, got, test.want)
		}
	}
}

func TestIsMFASerial(t *testing.T) {
	for _, s := range []string{
		"GAHT12345678",
		"123456789",
		"arn:aws:iam::111122223333:mfa/ann@example.com",
		"arn:aws-us-gov:iam::111122223333:mfa/path/Ann_1+x=y,z.-",
		"arn:aws:iam::111122223333:sms-mfa/ann",
	} {
		if !chain.IsMFASerial(s) {
			t.Errorf("IsMFASerial(%q) = false, want true", s)
		}
	}
	for _, s := range []string{"", "123456", "arn:aws:iam::111122223333:mfa/an n", strings.Repeat("1", 257)} {
		if chain.IsMFASerial(s) {
			t.Errorf("IsMFASerial(%q) = true, want false", s)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
	}{
		{"1h30m", 90 * time.Minute},
		{"0", 0},
		{"1d", 24 * time.Hour},
		{"2w", 14 * 24 * time.Hour},
		{"1w2d3h", (9*24 + 3) * time.Hour},
	} {
		if got, err := chain.ParseDuration(test.text); err != nil || got != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"", "1", "d", "-1h", "-1d", "1d-1h", "1d2w", "1d1d", "1.5d", "99999w", "1y", "1d2562047h"} {
		if got, err := chain.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestPartitionOfRegion(t *testing.T) {
	f := parse(t, "[profile it]\n")
	for _, test := range []struct{ region, want string }{
		{"", "aws"},
		{"us-east-1", "aws"},
		{"cn-northwest-1", "aws-cn"},
		{"us-gov-east-1", "aws-us-gov"},
		{"us-iso-east-1", "aws-iso"},
		{"us-isob-east-1", "aws-iso-b"},
		{"eu-isoe-west-1", "aws-iso-e"},
		{"us-isof-south-1", "aws-iso-f"},
		{"eusc-de-east-1", "aws-eusc"},
	} {
		c, err := chain.Resolve(f, "it", chain.Overrides{Region: test.region})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Steps[0].SessionToken.Partition; got != test.want {
			t.Errorf("partition of region %q: %q, want %q", test.region, got, test.want)
		}
	}
}

// FuzzResolve builds a config of five profiles whose settings the input chooses
// and checks what any chain promises.
func FuzzResolve(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03"), uint16(0), byte(0))
	f.Add([]byte{1, 3, 2, 12, 5, 7, 9, 30, 31, 32}, uint16(7200), byte(0x81))
	f.Add([]byte{0, 0, 8, 0, 0, 8, 8, 0, 1, 8}, uint16(43200), byte(0xff))
	settings := []string{
		"source_profile = a", "source_profile = b", "source_profile = c", "source_profile = d", "source_profile = default",
		"include_profile = a", "include_profile = b", "include_profile = default",
		"role_arn = arn:aws:iam::111122223333:role/one", "role_arn = arn:aws-cn:iam::111122223333:role/two",
		"mfa_serial = arn:aws:iam::111122223333:mfa/one", "mfa_serial = GAHT12345678",
		"duration_seconds = 900", "duration_seconds = 43200", "duration_seconds = 1h",
		"region = cn-north-1", "region = us-east-1", "sts_regional_endpoints = legacy", "endpoint_url = http://localhost:1",
		"credential_process = p", "web_identity_token_file = /t", "web_identity_token_process = t",
		"sso_start_url = https://x.example\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = r",
		"session_tags = a=1,b=2", "transitive_session_tags = b,a", "credential_source = Environment", "mfa_process = m",
	}
	f.Fuzz(func(t *testing.T, data []byte, seconds uint16, bits byte) {
		profiles := []string{"default", "a", "b", "c", "d"}
		var config strings.Builder
		for i, name := range profiles {
			if bits>>i&1 == 0 { // else it is known from the store, if at all
				fmt.Fprintf(&config, "[%s]\n", strings.Replace("profile "+name, "profile default", "default", 1))
				for j := i; j < len(data); j += len(profiles) {
					fmt.Fprintln(&config, settings[int(data[j])%len(settings)])
				}
			}
		}
		file := parse(t, config.String())
		asked := make(map[string]int)
		o := chain.Overrides{
			Duration:  time.Duration(seconds) * time.Second,
			NoSession: bits>>7 == 1,
			User:      "ann",
			Stored: func(name string) bool {
				asked[name]++
				return bits>>5&1 == 1 && (name == "a" || name == "d")
			},
		}
		c, err := chain.Resolve(file, "a", o)
		for name, n := range asked {
			if n > 1 {
				t.Errorf("asked %d times whether %q is stored", n, name)
			}
		}
		again, err2 := chain.Resolve(file, "a", o)
		if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && show(c) != show(again) {
			t.Errorf("Resolve differs from one time to the next: %v, %v", c, again)
		}
		if err != nil {
			return
		}
		if problem := malformed(c, o); problem != "" {
			t.Errorf("%s\n%s\n%s", problem, config.String(), show(c))
		}
	})
}

// malformed returns what is wrong with a chain, "" when nothing is.
func malformed(c chain.Chain, o chain.Overrides) string {
	sources := 0
	for _, set := range []bool{c.Source.Stored != nil, c.Source.Process != nil, c.Source.WebIdentity != nil, c.Source.SSO != nil} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		return fmt.Sprintf("%d sources", sources)
	}
	if c.Source.Stored != nil && len(c.Steps) == 0 && !o.NoSession {
		return "the access key is handed out"
	}
	if len(c.Steps) > 6 {
		return "more steps than profiles"
	}
	session := c.Source.SSO != nil || c.Source.WebIdentity != nil // the next step starts from session credentials
	var shown []string
	for i, step := range c.Steps {
		least, most := 15*time.Minute, 12*time.Hour
		var serial string
		var duration time.Duration
		switch s, r := step.SessionToken, step.AssumeRole; {
		case s != nil && r == nil:
			if i > 0 || c.Source.Stored == nil || o.NoSession {
				return "a session out of place"
			}
			serial, duration, most = s.MFASerial, s.Duration, 36*time.Hour
		case s == nil && r != nil:
			serial, duration = r.MFASerial, r.Duration
			if session {
				most = time.Hour
			}
			if r.Wanted != 0 && (r.Wanted <= r.Duration || !session) {
				return "cut down without need"
			}
			if serial != "" && (session || i > 0) && c.Source.Stored == nil {
				return "a device shown from credentials that are no user's"
			}
			if serial != "" && i > 0 && c.Steps[0].SessionToken != nil {
				return "a device shown after the session that shows it"
			}
			if !slices.IsSorted(r.TransitiveTags) {
				return "keys out of order"
			}
		default:
			return "a step that is not just one call"
		}
		if duration < least || duration > most {
			return "a duration that AWS refuses"
		}
		if serial != "" && slices.Contains(shown, serial) {
			return "a device shown twice"
		}
		if serial != "" {
			shown = append(shown, serial)
		}
		session = true
	}
	return ""
}

// BenchmarkResolve shows that what it costs does not depend on how many
// profiles there are.
func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var config strings.Builder
			for i := range n {
				fmt.Fprintf(&config, "[profile p%d]\nsource_profile = base\nrole_arn = arn:aws:iam::111122223333:role/r%d\nmfa_serial = arn:aws:iam::111122223333:mfa/ann\nregion = us-east-1\n\n", i, i)
			}
			config.WriteString("[profile base]\n")
			f := parse(b, config.String())
			for b.Loop() {
				if _, err := chain.Resolve(f, "p5", chain.Overrides{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAssume(t *testing.T) {
	f := parse(t, `
[profile base]
region = eu-west-1
endpoint_url = https://aws.example
[profile it]
source_profile = base
region = eu-central-1
endpoint_url = https://aws.example
role_arn = arn:aws:iam::111122223333:role/it
mfa_serial = arn:aws:iam::111122223333:mfa/ann
`)
	const role = "arn:aws:iam::444455556666:role/path/other"
	for _, profile := range []string{"base", "it"} {
		was, err := chain.Resolve(f, profile, chain.Overrides{Stored: func(name string) bool { return name == "base" }})
		if err != nil {
			t.Fatal(err)
		}
		c, err := was.Assume(role, "ann")
		if err != nil {
			t.Fatal(err)
		}
		n := len(was.Steps)
		got, want := *c.Steps[n].AssumeRole, chain.AssumeRole{
			Call:        chain.Call{Region: was.Region, Partition: "aws", Endpoint: "https://aws.example"},
			RoleARN:     role,
			SessionName: "kura-ann-" + profile,
			Duration:    time.Hour,
		}
		if !reflect.DeepEqual(got, want) || len(c.Steps) != n+1 {
			t.Errorf("%s: %d steps, the last %+v, want %+v", profile, len(c.Steps), got, want)
		}
		if c.Key("", n) != was.Key("", n) {
			t.Errorf("%s: what comes before the role is another", profile)
		}
		for _, bad := range []string{"", "role", "arn:aws:iam::1:role/x", "arn:aws:iam::444455556666:user/x"} {
			if _, err := was.Assume(bad, "ann"); err == nil {
				t.Errorf("%q was taken for the ARN of a role", bad)
			}
		}
	}
}

// Calls of IAM go where those of STS go that a chain makes: where the profile says
// or, if it says nothing, that of the access key.
func TestIAMEndpoint(t *testing.T) {
	f, err := awsconfig.Parse("config", `
[profile own]
services = local
[profile base]
endpoint_url = http://base.example
[profile role]
source_profile = base
role_arn = arn:aws:iam::111122223333:role/ops
[profile both]
source_profile = base
role_arn = arn:aws:iam::111122223333:role/ops
endpoint_url = http://both.example
[profile none]
[services local]
iam =
  endpoint_url = http://iam.example
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ profile, variable, value, want string }{
		{"own", "", "", "http://iam.example"},
		{"role", "", "", "http://base.example"},
		{"both", "", "", "http://both.example"},
		{"none", "", "", ""},
		{"own", "AWS_ENDPOINT_URL_IAM", "http://env.example", "http://env.example"},
		{"both", "AWS_ENDPOINT_URL", "http://env.example", "http://env.example"},
		{"none", "AWS_ENDPOINT_URL_STS", "http://env.example", ""},
	} {
		c, err := chain.Resolve(f, test.profile, chain.Overrides{
			Stored: func(name string) bool { return name != "role" && name != "both" },
			Getenv: func(name string) string {
				if name == test.variable {
					return test.value
				}
				return ""
			},
		})
		if err != nil || c.IAMEndpoint != test.want {
			t.Errorf("%s with %s=%s: IAM at %q, %v, want %q", test.profile, test.variable, test.value, c.IAMEndpoint, err, test.want)
		}
	}
}
