package chain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"kura/internal/chain"
)

// sections are the profiles, or the sections of one other kind, of a vector.
type sections map[string]map[string]any

// write adds the sections to a config file.
func (s sections) write(config *strings.Builder, kind string) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(config, "[%s %s]\n", kind, name)
		for _, setting := range slices.Sorted(maps.Keys(s[name])) {
			block, ok := s[name][setting].(map[string]any)
			if !ok {
				fmt.Fprintf(config, "%s = %v\n", setting, s[name][setting])
				continue
			}
			fmt.Fprintf(config, "%s =\n", setting)
			for _, nested := range slices.Sorted(maps.Keys(block)) {
				fmt.Fprintf(config, "  %s = %v\n", nested, block[nested])
			}
		}
	}
}

// vectors reads a file of AWS's test vectors.
func vectors(t *testing.T, name string, to any) {
	t.Helper()
	const dir = "../shared/vectors"
	data, err := os.ReadFile("../../" + dir + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(dir + " is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}

// TestAssumeRoleVectors resolves AWS's vectors. Access keys in their profiles
// are taken to be in the store, as they are after an import. Their account
// numbers and ARNs are made to look like those that exist.
func TestAssumeRoleVectors(t *testing.T) {
	const (
		notAsked = "an access key in the store wins over source_profile"
		late     = "that there is no access key is said when it is read"
	)
	// Why what we do is not what the SDKs do, by the vector's description.
	differs := map[string]string{
		"ignore explicit credentials when source profile is specified":                                              notAsked,
		"chained assume role profiles with static credentials (ignore assume role when static credentials present)": notAsked,
		"infinite loop with static credentials":                                                                     notAsked,
		"partial credentials error (missing secret)":                                                                late,
		"partial credentials error (missing access key)":                                                            late,
		"missing credentials error (empty source profile)":                                                          late,
		"profile only contains configuration":                                                                       late,
		"Load credentials from a credential_source":                                                                 "credential_source is not supported",
		"SSO token profile selected":                                                                                "an Identity Center session alone gives no credentials, which need an account and a role",
	}
	var tests []struct {
		Docs  string
		Input struct {
			Profiles sections
			Sessions sections `json:"sso_sessions"`
			Selected string   `json:"selected_profile"`
		}
		Output struct {
			Error string
			Chain []map[string]any `json:"ProfileChain"`
		}
	}
	vectors(t, "assume-role-tests.json", &tests)
	real := strings.NewReplacer("::123456789:", "::123456789012:", "arn:foo", "arn:aws:iam::123456789012:role/foo")
	for _, test := range tests {
		t.Run(test.Docs, func(t *testing.T) {
			var config strings.Builder
			test.Input.Profiles.write(&config, "profile")
			test.Input.Sessions.write(&config, "sso-session")
			var stored []string
			names := make(map[string]string) // of profiles by their access key
			for name, p := range test.Input.Profiles {
				if id := p["aws_access_key_id"]; id != nil && p["aws_secret_access_key"] != nil {
					stored = append(stored, name)
					names[fmt.Sprint(id)] = name
				}
			}
			o := overrides(stored, nil)
			o.NoSession = true // the SDKs have no such thing
			c, err := chain.Resolve(parse(t, real.Replace(config.String())), test.Input.Selected, o)

			var got, want []string
			if err != nil {
				got = []string{"error"}
			} else {
				got = asVector(c)
			}
			for _, step := range test.Output.Chain {
				for kind, v := range step {
					settings, _ := v.(map[string]any)
					line := kind
					if id := settings["access_key_id"]; id != nil {
						line += " " + names[fmt.Sprint(id)]
						settings = nil
					}
					for _, name := range slices.Sorted(maps.Keys(settings)) {
						line += fmt.Sprintf(" %s=%v", name, settings[name])
					}
					want = append(want, real.Replace(line))
				}
			}
			if test.Output.Error != "" {
				want = []string{"error"}
			}
			reason := differs[test.Docs]
			switch same := slices.Equal(got, want); {
			case !same && reason == "":
				t.Errorf("got %q, %v\nwant %q %s", got, err, want, test.Output.Error)
			case same && reason != "":
				t.Errorf("got %q as AWS has it, although %s", got, reason)
			}
		})
	}
}

// asVector returns c in the words of the vectors, without session names that no
// setting asks for.
func asVector(c chain.Chain) []string {
	session := func(name string) string {
		if strings.HasPrefix(name, "kura-") {
			return ""
		}
		return " role_session_name=" + name
	}
	var out []string
	switch s := c.Source; {
	case s.Stored != nil:
		out = append(out, "AccessKey "+s.Stored.Name)
	case s.WebIdentity != nil:
		out = append(out, "WebIdentityToken role_arn="+s.WebIdentity.RoleARN+session(s.WebIdentity.SessionName)+
			" web_identity_token_file="+s.WebIdentity.TokenFile)
	case s.SSO != nil:
		out = append(out, fmt.Sprintf("Sso sso_account_id=%s sso_region=%s sso_role_name=%s sso_start_url=%s",
			s.SSO.AccountID, s.SSO.Region, s.SSO.RoleName, s.SSO.StartURL))
	}
	for _, step := range c.Steps {
		line := "AssumeRole"
		if id := step.AssumeRole.ExternalID; id != "" {
			line += " external_id=" + id
		}
		out = append(out, line+" role_arn="+step.AssumeRole.RoleARN+session(step.AssumeRole.SessionName))
	}
	return out
}

// TestEndpointVectors resolves AWS's vectors, but for those of clients that are
// given an endpoint by their own program: there is no such thing here.
func TestEndpointVectors(t *testing.T) {
	var file struct {
		TestSuites []struct {
			Profiles, Services sections
			Environments       map[string]map[string]string
			ClientConfigs      map[string]map[string]any `json:"client_configs"`
			EndpointURLTests   []struct {
				Name, Profile, Environment, Service string
				ClientConfig                        string `json:"client_config"`
				Output                              struct{ EndpointURL string }
			} `json:"endpointUrlTests"`
		}
	}
	vectors(t, "configured-endpoint-urls.json", &file)
	ran := 0
	for _, suite := range file.TestSuites {
		var config strings.Builder
		suite.Profiles.write(&config, "profile")
		suite.Services.write(&config, "services")
		f := parse(t, strings.Replace(config.String(), "[profile default]", "[default]", 1))
		for _, test := range suite.EndpointURLTests {
			if len(suite.ClientConfigs[test.ClientConfig]) > 0 {
				continue
			}
			ran++
			var env []string
			for name, value := range suite.Environments[test.Environment] {
				env = append(env, name+"="+value)
			}
			got, err := chain.Endpoint(f, test.Profile, overrides(nil, env), test.Service)
			want := test.Output.EndpointURL
			if want == "https://"+test.Service+".fake-region-10.amazonaws.com" {
				want = "" // AWS's own
			}
			if err != nil || got != want {
				t.Errorf("%s\nEndpoint(%q, %q) = %q, %v, want %q", test.Name, test.Profile, test.Service, got, err, want)
			}
		}
	}
	if ran == 0 {
		t.Error("no vectors")
	}
}
