package doctor_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/awsconfig"
	"kura/internal/doctor"
)

const role = "role_arn = arn:aws:iam::111122223333:role/x\n"

// TestExamine checks what is found in files and variables. A finding is written
// LEVEL WHERE: WHAT.
func TestExamine(t *testing.T) {
	for _, test := range []struct {
		name        string
		config      string
		credentials string
		env         map[string]string
		stored      []string // names of access keys
		unknown     bool     // the store does not work
		only        string
		noTerminal  bool
		want        []string
	}{
		{name: "nothing there"},
		{
			name:   "all is well",
			config: "[default]\ncredential_process = /opt/kura export --format=json default\n[profile role]\nsource_profile = default\n" + role,
			stored: []string{"default"},
		},
		{
			name:   "a region needs no key",
			config: "[default]\nregion = eu-west-1\n",
		},

		// Keys in files.
		{
			name:        "keys as plain text",
			credentials: "[a]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n[half]\naws_secret_access_key = x\n",
			config:      "[profile b]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n",
			want: []string{
				`problem credentials:2: the access key of "a" stands in the file as plain text`,
				`problem config:2: the access key of "b" stands in the file as plain text`,
				`warning credentials:5: half an access key stands under "half", as plain text`,
			},
		},
		{
			name:        "temporary credentials expire",
			credentials: "[a]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\naws_session_token = x\n[b]\naws_access_key_id = another\naws_secret_access_key = x\naws_security_token = x\n",
		},
		{
			name:        "of one profile only",
			credentials: "[a]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n",
			config:      "[profile a]\n[profile b]\n" + role + "source_profile = b\n",
			stored:      []string{"b"},
			only:        "b",
		},
		{
			name:   "twice",
			config: "[profile a]\nregion = x\nRegion = y\ns3 =\n  region = z\n  region = z\n\n[profile b]\nregion = x\n[profile a]\nregion = z\n",
			want: []string{
				`problem config:3: the setting region is there already, in line 2: the AWS CLI, boto3 and awsume refuse the whole file`,
				`problem config:10: the section [profile a] is there already, in line 1: the AWS CLI, boto3 and awsume refuse the whole file`,
			},
		},

		// Profiles without a chain, each told once.
		{
			name:   "source profiles",
			config: "[profile a]\nsource_profile = b\n[profile b]\nsource_profile = c\n[profile c]\nsource_profile = b\n[profile d]\nsource_profile = gone\n[profile e]\nsource_profile = d\n",
			want: []string{
				`problem config:4: source_profile cycle: b -> c -> b`,
				`problem config:8: profile "gone", the source_profile of "d", is not configured`,
			},
		},
		{
			name:   "no source",
			config: "[profile a]\n" + role + "[profile b]\n" + role + "source_profile = c\ncredential_source = Environment\n[profile c]\n",
			want: []string{
				`problem config:2: profile "a" has a role_arn but no source_profile and no access key`,
				`problem config:5: profile "b" has both source_profile and credential_source`,
			},
		},
		{
			name: "a store that does not work may have the key",
			config: "[profile a]\n" + role + "[profile b]\n" + role + "source_profile = gone\n[profile c]\n" + role + "source_profile = d\n[profile d]\n" +
				"[profile e]\ncredential_process = /opt/kura export e\n[profile f]\ncredential_process = /opt/kura export gone\n",
			unknown: true,
		},
		{
			name:   "what only the AWS CLI can do",
			config: "[profile a]\n" + role + "credential_source = Environment\n",
			want:   []string{`warning config:3: credential_source "Environment" of profile "a": not supported`},
		},
		{
			name:   "values",
			config: "[profile a]\nrole_arn = x\nsource_profile = b\n[profile b]\n",
			stored: []string{"b"},
			want:   []string{`problem config:2: role_arn "x" of profile "a": not the ARN of a role`},
		},
		{
			name:   "variables, once",
			config: "[profile a]\n" + role + "source_profile = b\n[profile b]\n",
			stored: []string{"b"},
			env:    map[string]string{"AWS_MFA_SERIAL": "my phone"},
			want:   []string{`problem AWS_MFA_SERIAL: AWS_MFA_SERIAL "my phone": not the ARN or the serial number of an MFA device`},
		},
		{
			name:   "an unknown profile",
			config: "[profile a]\n",
			only:   "b",
			want:   []string{`problem config: profile "b" is not configured`},
		},

		// Keys that profiles start from.
		{
			name:   "no key",
			config: "[profile base]\n[profile a]\n" + role + "source_profile = base\n[profile b]\n" + role + "source_profile = base\n",
			want:   []string{`problem config:4: there is no access key of "base" in the store, which profile "a" starts from`},
		},
		{
			name:   "no key of the profile that is asked about",
			config: "[profile a]\nregion = x\n",
			only:   "a",
			want:   []string{`problem config: there is no access key of "a" in the store`},
		},

		// Settings.
		{
			name: "devices",
			config: "[profile a]\nmfa_serial = arn:aws:iam::111122223333:role/ann\n[profile b]\nmfa_serial = arn:aws:iam::111122223333:u2f/user/ann/key\n" +
				"[profile c]\nmfa_serial = arn:aws:iam::111122223333:mfa/ann\n[profile d]\nmfa_serial = GAHT12345678\n",
			stored: []string{"a", "b", "c", "d"},
			want: []string{
				`problem config:2: mfa_serial of profile "a" is the ARN of a role, not of an MFA device`,
				`problem config:4: mfa_serial of profile "b" is the ARN of a security key, which shows no token codes`,
			},
		},
		{
			name:       "nobody to ask",
			config:     "[profile a]\nmfa_serial = arn:aws:iam::111122223333:mfa/ann\n[profile b]\nmfa_serial = arn:aws:iam::111122223333:mfa/bob\nmfa_process = code\n",
			stored:     []string{"a", "b"},
			noTerminal: true,
			want:       []string{`note : there is no terminal here to ask for the token code of arn:aws:iam::111122223333:mfa/ann`},
		},
		{
			name:   "settings of ours",
			config: "[profile a]\nkura_backend = file\nkura_backnd = file\n",
			want:   []string{`warning config:3: profile "a" has kura_backnd, and no setting is called so`},
		},
		{
			name:   "where codes come from",
			config: "[profile a]\nmfa_source = terminal\n[profile b]\nmfa_source = pigeon\n",
			want:   []string{`problem config:4: mfa_source of profile "b": none of ours`},
		},
		{
			name:   "a chained role",
			config: "[profile a]\n" + role + "source_profile = b\nduration_seconds = 7200\n[profile b]\n" + role + "source_profile = c\n[profile c]\n",
			stored: []string{"c"},
			want:   []string{`note config:4: profile "a" asks for 2h0m0s, but a role that is assumed from a session lasts 1h0m0s at the most`},
		},

		// credential_process.
		{
			name: "programs",
			config: "[profile a]\ncredential_process = /opt/gone x\n[profile b]\ncredential_process = gone x\n[profile c]\ncredential_process = kura export c\n" +
				"[profile d]\ncredential_process = ~/kura\n[profile e]\ncredential_process = bin/kura\n[profile f]\ncredential_process = KEY=secret /opt/kura\n" +
				"[profile g]\ncredential_process = /opt/kura 'x\n",
			stored: []string{"c"},
			want: []string{
				`problem config:2: the credential_process of profile "a" runs /opt/gone, which is no program`,
				`problem config:4: the credential_process of profile "b" runs gone, which is not in PATH`,
				`problem config:8: the credential_process of profile "d" begins with ~/kura, which the AWS CLI and boto3 do not expand`,
				`problem config:10: the credential_process of profile "e" runs bin/kura, whose place depends on the directory one is in`,
				`problem config:12: the credential_process of profile "f" begins by setting a variable, which takes a shell: the AWS CLI and boto3 use none`,
				`problem config:14: the credential_process of profile "g" has a quote that is not closed`,
				`warning config:6: the credential_process of profile "c" runs kura without its path: awsume refuses that, and programs with another PATH do not find it`,
			},
		},
		{
			name: "spaces, quotes and shells",
			config: "[profile a]\ncredential_process = /opt/my tools/kura export x\n[profile b]\ncredential_process = \"/opt/my tools/other\" x\n" +
				"[profile c]\ncredential_process = /opt/other 'x y'\n[profile d]\ncredential_process = /opt/other | cat\n[profile e]\ncredential_process = /opt/other '|' $HOME\n",
			want: []string{
				`problem config:2: the credential_process of profile "a" runs /opt/my tools/kura, which has a space and no quotes`,
				`warning config:4: the credential_process of profile "b" has a path with a space, at which awsume splits it`,
				`warning config:6: the credential_process of profile "c" has quotes, which awsume takes for a part of the words`,
				`warning config:8: the credential_process of profile "d" needs a shell, which the AWS CLI, boto3 and awsume do not use`,
				`warning config:10: the credential_process of profile "e" has quotes, which awsume takes for a part of the words`,
				`warning config:10: the credential_process of profile "e" needs a shell, which the AWS CLI, boto3 and awsume do not use`,
			},
		},
		{
			name: "profiles that are asked for",
			config: "[profile a]\ncredential_process = /opt/kura export a\n[profile b]\ncredential_process = /opt/kura export c\n[profile c]\ncredential_process = /opt/kura export b\n" +
				"[profile d]\ncredential_process = /opt/kura export gone\n[profile e]\ncredential_process = /opt/kura export f\n[profile f]\n",
			want: []string{
				`problem config:2: the credential_process of profile "a" asks for profile "a", which has no access key in the store and so runs that command again`,
				`problem config:4: the credential_process of profile "b" asks for profile "c", which has no access key in the store and so runs that command again`,
				`problem config:6: the credential_process of profile "c" asks for profile "b", which has no access key in the store and so runs that command again`,
				`problem config:8: the credential_process of profile "d" asks for profile "gone", which is not configured and has no access key`,
				`problem config: there is no access key of "f" in the store`,
			},
		},
		{
			name:   "what the profile asked for needs",
			config: "[profile a]\ncredential_process = /opt/kura export b\n[profile b]\nsource_profile = gone\n[profile c]\nsource_profile = gone\n",
			only:   "a",
			want:   []string{`problem config:4: profile "gone", the source_profile of "b", is not configured`},
		},
		{
			name: "roles whose source is a process",
			config: "[profile base]\ncredential_process = /opt/kura export base\n[profile a]\nsource_profile = base\n" + role + "duration_seconds = 900\n" +
				"[profile b]\nsource_profile = base\n" + role + "mfa_serial = arn:aws:iam::111122223333:mfa/ann\n",
			stored: []string{"base"},
			want: []string{
				`warning config:6: duration_seconds of profile "a" makes awsume pass over the credential_process of "base", and find no credentials`,
				`warning config:10: mfa_serial of profile "b" makes the AWS CLI and awsume ask for a token code themselves, after the credential_process of "base"`,
			},
		},
		{
			name:        "a key and a process",
			config:      "[profile a]\ncredential_process = /opt/other\n[profile b]\nsource_profile = a\n" + role + "duration_seconds = 900\n",
			credentials: "[a]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\naws_session_token = x\n",
			want:        []string{`warning config:2: profile "a" has an access key in a file, and a credential_process: the AWS CLI and boto3 take the process, other programs the key`},
		},

		// Variables.
		{
			name: "credentials in the environment",
			env:  map[string]string{"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_WEB_IDENTITY_TOKEN_FILE": "token"},
			want: []string{
				`warning AWS_ACCESS_KEY_ID: there is a long-term access key in the environment, which outranks the profiles and can be read by all that is run`,
				`warning AWS_WEB_IDENTITY_TOKEN_FILE: there is a web identity in the environment, which outranks the default profile`,
			},
		},
		{
			name: "inside an exec",
			env:  map[string]string{"AWS_VAULT": "a", "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE"},
			want: []string{`note AWS_VAULT: this is inside an exec of profile "a": without another exec, programs use its credentials`},
		},
		{
			name:        "profiles in the environment",
			config:      "[profile a]\n",
			credentials: "[b]\n",
			env:         map[string]string{"AWS_PROFILE": "gone", "AWS_DEFAULT_PROFILE": "b"},
			want:        []string{`problem AWS_PROFILE: AWS_PROFILE names the profile "gone", which is in neither file: most programs refuse to work then`},
		},
		{
			name:   "settings in the environment",
			config: "[profile a]\n" + role + "source_profile = b\n[profile b]\nregion = x\n",
			stored: []string{"b"},
			env:    map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/y", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2", "AWS_SOURCE_IDENTITY": "ann"},
			want: []string{
				`warning AWS_DEFAULT_REGION: AWS_DEFAULT_REGION is eu-west-2, which boto3 takes, and AWS_REGION eu-west-1, which most SDKs take`,
				`note AWS_ROLE_ARN: AWS_ROLE_ARN outranks role_arn of profile "a"`,
			},
		},
		{
			name: "a file that is not there",
			env:  map[string]string{"AWS_CONFIG_FILE": "config"},
			want: []string{`warning AWS_CONFIG_FILE: the file that AWS_CONFIG_FILE names is not there`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			config, err := awsconfig.Parse("config", test.config)
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := awsconfig.ParseCredentials("credentials", test.credentials)
			if err != nil {
				t.Fatal(err)
			}
			setup := setupIn(t.TempDir(), test.env)
			setup.Only, setup.Config, setup.Credentials, setup.Terminal = test.only, config, credentials, !test.noTerminal
			setup.Stored = func(name string) (has, known bool) {
				return slices.Contains(test.stored, name), !test.unknown
			}
			check(t, setup.Examine(), test.want)
		})
	}
}

// Of a single profile that others start from, Roles finds what concerns those.
func TestRoles(t *testing.T) {
	s := setupIn(t.TempDir(), nil)
	var err error
	s.Config, err = awsconfig.Parse("config", "[profile base]\ncredential_process = /opt/kura export base\n"+
		"[profile a]\nsource_profile = base\n"+role+"duration_seconds = 900\n"+
		"[profile b]\nsource_profile = other\n"+role+"duration_seconds = 900\n"+
		"[profile other]\ncredential_process = /opt/kura export other\n")
	if err != nil {
		t.Fatal(err)
	}
	s.Only = "base"
	check(t, s.Roles("base"), []string{`warning config:6: duration_seconds of profile "a" makes awsume pass over the credential_process of "base", and find no credentials`})
}

// setupIn returns an empty setup.
func setupIn(home string, env map[string]string) *doctor.Setup {
	empty, _ := awsconfig.Parse("config", "")
	return &doctor.Setup{
		Config:      empty,
		Credentials: empty,
		Home:        home,
		Getenv:      func(name string) string { return env[name] },
		Terminal:    true,
		Stored:      func(string) (has, known bool) { return false, true },
		LookPath: func(program string) (string, error) {
			switch program {
			case "kura", "/opt/kura", "/opt/other", "/opt/my tools/kura", "/opt/my tools/other":
				return program, nil
			}
			return "", errors.New("not found")
		},
		Asked: func(args []string) string {
			if len(args) == 2 && args[0] == "export" {
				return args[1]
			}
			return ""
		},
		MFASource: func(value string) error {
			if value != "terminal" {
				return errors.New("none of ours")
			}
			return nil
		},
		Explain: func(error) string { return "advice" },
		Quote:   func(word string) string { return "'" + word + "'" },
	}
}

// check compares findings. Each must say what to do.
func check(t *testing.T, findings []doctor.Finding, want []string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		got = append(got, fmt.Sprintf("%s %s: %s", f.Level, f.Where, f.What))
		if f.Fix == "" {
			t.Errorf("%s: there is nothing to type", f.What)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFixes checks what is to be typed, where it depends on the case.
func TestFixes(t *testing.T) {
	const key = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n"
	for _, test := range []struct{ name, config, credentials, want string }{
		{"a key in a file", "", "[a]\n" + key, "@kura import credentials --strip 'a'"},
		{"a missing key", "[profile a]\n" + role + "source_profile = b\n[profile b]\n", "", "@kura add 'b'"},
		{"a missing key in a file", "[profile a]\n" + role + "source_profile = b\n[profile b]\n", "[b]\n" + key, "@kura import credentials 'b'"},
		{"a process that asks for itself", "[profile a]\ncredential_process = /opt/kura export a\n", "", "@kura add 'a'"},
		{"no path", "[profile a]\ncredential_process = kura\n", "", "write kura"},
	} {
		setup := setupIn(t.TempDir(), nil)
		setup.Config, _ = awsconfig.Parse("config", test.config)
		setup.Credentials, _ = awsconfig.ParseCredentials("credentials", test.credentials)
		var got []string
		for _, f := range setup.Examine() {
			got = append(got, f.Fix)
		}
		if !slices.Contains(got, test.want) {
			t.Errorf("%s: to type: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestAliases checks what is found of 1Password's shell plugin.
func TestAliases(t *testing.T) {
	const alias = "export OP_PLUGIN_ALIASES_SOURCED=1\nalias aws=\"op plugin run -- aws\"\n"
	const others = "export OP_PLUGIN_ALIASES_SOURCED=1\nalias gh=\"op plugin run -- gh\"\n"
	const source = "# mine\nsource ~/.config/op/plugins.sh\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		env   map[string]string
		want  []string
	}{
		{name: "none"},
		{
			name:  "of other commands",
			files: map[string]string{".config/op/plugins.sh": others, ".bashrc": source},
			env:   map[string]string{"OP_PLUGIN_ALIASES_SOURCED": "1"},
		},
		{
			name:  "in every shell",
			files: map[string]string{".config/op/plugins.sh": alias, ".zshrc": source},
			env:   map[string]string{"OP_PLUGIN_ALIASES_SOURCED": "1"},
			want:  []string{`warning HOME/.zshrc:2: aws is an alias of 1Password's shell plugin in every shell, by HOME/.config/op/plugins.sh:2`},
		},
		{
			name:  "in this shell",
			files: map[string]string{".config/op/plugins.sh": alias, ".bashrc": "# source ~/.config/op/plugins.sh\n"},
			env:   map[string]string{"OP_PLUGIN_ALIASES_SOURCED": "1"},
			want:  []string{`warning HOME/.config/op/plugins.sh:2: aws is an alias of 1Password's shell plugin in this shell`},
		},
		{
			name:  "not yet",
			files: map[string]string{".config/op/plugins.sh": alias},
			want:  []string{`note HOME/.config/op/plugins.sh:2: aws would be an alias of 1Password's shell plugin in a shell that read this file`},
		},
		{
			name: "still",
			env:  map[string]string{"OP_PLUGIN_ALIASES_SOURCED": "1"},
			want: []string{`note OP_PLUGIN_ALIASES_SOURCED: this shell has aliases of 1Password's shell plugins, and aws may be one of them`},
		},
		{
			name:  "written by hand",
			files: map[string]string{".profile": "\n  alias aws='op plugin run -- aws'\n"},
			want:  []string{`warning HOME/.profile:2: aws is an alias of 1Password's shell plugin`},
		},
		{
			name:  "elsewhere",
			files: map[string]string{"conf/op/plugins.sh": alias},
			env:   map[string]string{"XDG_CONFIG_HOME": "HOME/conf"},
			want:  []string{`note HOME/conf/op/plugins.sh:2: aws would be an alias of 1Password's shell plugin in a shell that read this file`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			for name, text := range test.files {
				write(t, filepath.Join(home, name), text, 0o600)
			}
			for name, value := range test.env {
				test.env[name] = strings.ReplaceAll(value, "HOME", home)
			}
			findings := setupIn(home, test.env).Examine()
			for i := range findings {
				findings[i].Where = strings.ReplaceAll(filepath.ToSlash(findings[i].Where), filepath.ToSlash(home), "HOME")
				findings[i].What = strings.ReplaceAll(filepath.ToSlash(findings[i].What), filepath.ToSlash(home), "HOME")
			}
			check(t, findings, test.want)
		})
	}
}

// TestClock checks what is said of a clock that is off by so much.
func TestClock(t *testing.T) {
	const refused = "AWS's; AWS refuses requests from 5m0s on, and token codes before"
	age := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		if age != "" {
			w.Header().Set("Age", age)
		}
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	for _, test := range []struct {
		off  time.Duration
		age  string
		url  string
		want []string
	}{
		{off: 0},
		{off: -20 * time.Second},
		{off: time.Minute, want: []string{"warning URL: this machine's clock is 1m0s ahead of " + refused}},
		{off: -10 * time.Minute, want: []string{"problem URL: this machine's clock is 10m0s behind " + refused}},
		{age: "60", want: []string{"problem URL: AWS does not tell the time: the reply has no time of its own"}},
		{url: "http://ann:password@127.0.0.1:0/", want: []string{"problem http://127.0.0.1:0: AWS does not tell the time: "}},
	} {
		age = test.age
		at := server.URL
		if test.url != "" {
			at = test.url
		}
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		now := func() time.Time { return time.Unix(1e9, 0).Add(test.off) }
		findings := doctor.Clock(t.Context(), http.DefaultTransport, u, now)
		for i := range findings {
			findings[i].Where = strings.ReplaceAll(findings[i].Where, server.URL, "URL")
			if test.url != "" {
				findings[i].What, _, _ = strings.Cut(findings[i].What, "dial")
			}
		}
		check(t, findings, test.want)
	}
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
