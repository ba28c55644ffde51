package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"kura/internal/awsconfig"
)

// environment returns what is set in the environment and outranks the files.
// Credentials and profiles there do not concern what this program runs, which
// gets others, but all that is run without it.
func (s *Setup) environment() []Finding {
	var list []Finding
	add := func(level Level, where, fix, format string, args ...any) {
		list = append(list, Finding{level, fmt.Sprintf(format, args...), where, fix})
	}
	const key = "AWS_ACCESS_KEY_ID"
	switch outer, id := s.Getenv("AWS_VAULT"), s.Getenv(key); {
	case outer != "":
		add(Note, "AWS_VAULT", `"exit" leaves it`, "this is inside an exec of profile %q: without another exec, programs use its credentials", outer)
	case strings.HasPrefix(id, "AKIA"):
		add(Warning, key, `"@kura add --env PROFILE" stores it; then unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY`,
			"there is a long-term access key in the environment, which outranks the profiles and can be read by all that is run")
	case id != "":
		add(Warning, key, "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN",
			"there are credentials in the environment, which outrank the profiles")
	}
	if s.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		add(Warning, "AWS_WEB_IDENTITY_TOKEN_FILE", "unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN",
			"there is a web identity in the environment, which outranks the default profile")
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_DEFAULT_PROFILE"} {
		if profile := s.Getenv(name); profile != "" && s.Config != nil && s.Credentials != nil && !s.exists(profile) {
			add(Problem, name, "unset "+name, "%s names the profile %q, which is in neither file: most programs refuse to work then", name, profile)
		}
	}
	list = append(list, s.settingsInEnvironment()...)
	if one, other := s.Getenv("AWS_REGION"), s.Getenv("AWS_DEFAULT_REGION"); one != "" && other != "" && one != other {
		add(Warning, "AWS_DEFAULT_REGION", "set both alike, or neither",
			"AWS_DEFAULT_REGION is %s, which boto3 takes, and AWS_REGION %s, which most SDKs take", other, one)
	}
	list = append(list, s.named("AWS_CONFIG_FILE", s.Config)...)
	return append(list, s.named("AWS_SHARED_CREDENTIALS_FILE", s.Credentials)...)
}

// named returns that a variable names a file which does not exist.
func (s *Setup) named(variable string, f *awsconfig.File) []Finding {
	if s.Getenv(variable) == "" || f == nil {
		return nil
	}
	if _, err := os.Stat(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return []Finding{{Warning, fmt.Sprintf("the file that %s names is not there", variable), variable, "correct it, or unset " + variable}}
}

// exists reports whether a profile is in either file.
func (s *Setup) exists(profile string) bool {
	_, configured := s.Config.Profile(profile)
	_, credentials := s.Credentials.Profile(profile)
	return configured || credentials || profile == "default"
}

// settingsInEnvironment returns the variables that this program takes in place
// of a setting which a profile has: see chain.Overrides.
func (s *Setup) settingsInEnvironment() []Finding {
	var list []Finding
	for _, v := range []struct{ variable, setting string }{
		{"AWS_ROLE_ARN", "role_arn"},
		{"AWS_MFA_SERIAL", "mfa_serial"},
		{"AWS_ROLE_SESSION_NAME", "role_session_name"},
		{"AWS_SESSION_TAGS", "session_tags"},
		{"AWS_TRANSITIVE_TAGS", "transitive_session_tags"},
		{"AWS_SOURCE_IDENTITY", "source_identity"},
		{"AWS_ASSUME_ROLE_TTL", "duration_seconds"},
		{"AWS_CA_BUNDLE", "ca_bundle"},
		{"AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints"},
		{"AWS_ENDPOINT_URL", "endpoint_url"},
	} {
		value := s.Getenv(v.variable)
		for _, name := range s.Scope() {
			section, _ := s.Config.Profile(name)
			if set := section.Get(v.setting); value != "" && set != "" && set != value {
				list = append(list, Finding{Note,
					fmt.Sprintf("%s outranks %s of profile %q", v.variable, v.setting, name),
					v.variable, "unset " + v.variable})
				break
			}
		}
	}
	return list
}
