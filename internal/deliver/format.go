package deliver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"kura/internal/cred"
)

// Formats returns the names of the formats that Format knows, the default
// first.
func Formats() []string {
	return []string{"env", "export-env", "json", "ini", "fish", "powershell", "dotenv"}
}

// Format returns credentials of a profile as text. The formats env, export-env
// and ini are byte for byte those of aws-vault, as is json but for the
// AccountId; fish, powershell and dotenv hold the same variables as env. The
// region is left out when it is "".
//
// Nothing is ever printed that a shell would take for something else: a value
// that a format can't carry is an error, which does not quote it.
func Format(format, profile, region string, c cred.Credentials) ([]byte, error) {
	switch format {
	case "env":
		return variables(region, c, func(name, value string) (string, error) {
			return name + "=" + value, bare(name, value)
		})
	case "export-env":
		return variables(region, c, func(name, value string) (string, error) {
			return "export " + name + "=" + value, bare(name, value)
		})
	case "fish":
		return variables(region, c, func(name, value string) (string, error) {
			return "set -gx " + name + " '" + fishQuoted(value) + "'", printable(name, value)
		})
	case "powershell":
		return variables(region, c, func(name, value string) (string, error) {
			return "$Env:" + name + " = '" + powerShellQuoted(value) + "'", printable(name, value)
		})
	case "dotenv":
		return variables(region, c, func(name, value string) (string, error) {
			if bare(name, value) == nil {
				return name + "=" + value, nil
			}
			// Readers disagree on escapes, but not on single quotes.
			if strings.Contains(value, "'") {
				return "", &valueError{name}
			}
			return name + "='" + value + "'", printable(name, value)
		})
	case "ini":
		return ini(profile, region, c)
	case "json":
		return processJSON(c)
	}
	return nil, fmt.Errorf("unknown format %q", format)
}

// processJSON returns what a credential_process prints.
//
// See https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
func processJSON(c cred.Credentials) ([]byte, error) {
	data, err := json.MarshalIndent(struct {
		Version         int
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string `json:",omitempty"`
		Expiration      string `json:",omitempty"`
		AccountID       string `json:"AccountId,omitempty"`
	}{1, c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), expiration(c), c.AccountID}, "", "  ")
	return append(data, '\n'), err
}

// variables returns a line for each variable, in aws-vault's order.
func variables(region string, c cred.Credentials, line func(name, value string) (string, error)) ([]byte, error) {
	var b bytes.Buffer
	for _, v := range [][2]string{
		{"AWS_ACCESS_KEY_ID", c.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", c.SecretAccessKey.Reveal()},
		{"AWS_SESSION_TOKEN", c.SessionToken.Reveal()},
		{"AWS_CREDENTIAL_EXPIRATION", expiration(c)},
		{"AWS_REGION", region},
		{"AWS_DEFAULT_REGION", region},
	} {
		if v[1] == "" {
			continue
		}
		text, err := line(v[0], v[1])
		if err != nil {
			return nil, err
		}
		b.WriteString(text + "\n")
	}
	return b.Bytes(), nil
}

// ini returns a section of a credentials file.
func ini(profile, region string, c cred.Credentials) ([]byte, error) {
	if strings.Contains(profile, "]") {
		return nil, &valueError{"the profile's name"}
	}
	if err := printable("the profile's name", profile); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "[%s]\n", profile)
	for _, v := range [][2]string{
		{"aws_access_key_id", c.AccessKeyID},
		{"aws_secret_access_key", c.SecretAccessKey.Reveal()},
		{"aws_session_token", c.SessionToken.Reveal()},
		{"aws_credential_expiration", expiration(c)},
		{"region", region},
	} {
		if v[1] == "" {
			continue
		}
		if err := bare(v[0], v[1]); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s=%s\n", v[0], v[1])
	}
	return b.Bytes(), nil
}

// A valueError says that a value can't be printed in a format.
type valueError struct{ name string }

func (e *valueError) Error() string {
	return e.name + " has characters that this format has no way to write"
}

// bare returns an error unless value means itself to every shell without
// quotes. What AWS issues does: keys and tokens consist of letters, digits and
// "/+=", regions and times of letters, digits and "-:".
func bare(name, value string) error {
	for _, r := range value {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case strings.ContainsRune("/+=_.:-", r):
		default:
			return &valueError{name}
		}
	}
	return nil
}

// printable returns an error if value has control characters, which no format
// of one line a variable can carry, or is not UTF-8.
func printable(name, value string) error {
	for _, r := range value {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return &valueError{name}
		}
	}
	return nil
}
