// Package deliver hands credentials to the programs that need them: in the
// environment of a child that it starts, or as text in the forms that shells,
// SDKs and scripts read. It does not know where the credentials come from.
package deliver

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"kura/internal/cred"
)

// Settings are what a child is told of the profile that it runs for.
type Settings struct {
	Profile string // goes into AWS_VAULT, which prompts and scripts look at
	Region  string // "" leaves the region that the parent has, if any

	// Endpoints are URLs by service ID in upper snake case ("S3"), the one
	// for all services under "". Those of the parent stay where there is none.
	Endpoints map[string]string

	CABundle string // path of a PEM file; "" leaves the parent's

	// Credentials are put in the environment unless they are zero, as they
	// are for a child that is to fetch its own from a local server.
	Credentials cred.Credentials

	Server Server // where it is to fetch them from; the zero value is nowhere
}

// A Server is what a child is told of a local server of credentials.
type Server struct {
	// Container is the URL of a container-credentials endpoint, and Token what
	// requests must bring. With TokenFile, the name of a file with the token,
	// only that is in the environment.
	Container string
	Token     cred.Secret
	TokenFile string

	// Metadata is the URL of an instance metadata service. IsInstance says that
	// the service is at the address that every program knows.
	Metadata   string
	IsInstance bool

	// ConfigFile and CredentialsFile take the place of the user's, "" leaves
	// those: a [default] profile with credentials comes before any server.
	ConfigFile, CredentialsFile string
}

// Environ returns the environment for a child: Scrub of the parent's, and s in
// the variables that every AWS SDK reads. Both variables for the region are
// set, because the SDKs for JavaScript read only AWS_REGION, boto3 and version
// 1 of the AWS CLI only AWS_DEFAULT_REGION.
func Environ(parent []string, s Settings) []string {
	return environ(parent, s, runtime.GOOS == "windows")
}

// Scrub returns an environment without the variables through which a program
// could come by other credentials than those it is given, and without the
// secrets of this program. All other entries stay as they are and in order.
// Where a name occurs twice the first entry counts, as for getenv(3).
func Scrub(parent []string) []string {
	return scrub(parent, runtime.GOOS == "windows")
}

// environ is Environ. With fold, names that differ only in case are the same,
// as they are on Windows.
func environ(parent []string, s Settings, fold bool) []string {
	set := []string{"AWS_VAULT=" + s.Profile}
	add := func(name, value string) {
		if value != "" {
			set = append(set, name+"="+value)
		}
	}
	add("AWS_REGION", s.Region)
	add("AWS_DEFAULT_REGION", s.Region)
	for _, service := range slices.Sorted(maps.Keys(s.Endpoints)) {
		name := "AWS_ENDPOINT_URL"
		if service != "" {
			name += "_" + service
		}
		add(name, s.Endpoints[service])
	}
	add("AWS_CA_BUNDLE", s.CABundle)
	add("AWS_ACCESS_KEY_ID", s.Credentials.AccessKeyID)
	add("AWS_SECRET_ACCESS_KEY", s.Credentials.SecretAccessKey.Reveal())
	add("AWS_SESSION_TOKEN", s.Credentials.SessionToken.Reveal())
	add("AWS_CREDENTIAL_EXPIRATION", expiration(s.Credentials))
	add("AWS_ACCOUNT_ID", s.Credentials.AccountID)
	add("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.Server.Container)
	if s.Server.TokenFile != "" {
		add("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", s.Server.TokenFile)
	} else {
		add("AWS_CONTAINER_AUTHORIZATION_TOKEN", s.Server.Token.Reveal())
	}
	add("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.Server.Metadata)
	add("AWS_CONFIG_FILE", s.Server.ConfigFile)
	add("AWS_SHARED_CREDENTIALS_FILE", s.Server.CredentialsFile)
	if s.Server.Metadata != "" || s.Server.IsInstance {
		parent = reachable(parent, s.Server.Metadata, fold)
	}

	replaced := map[string]bool{}
	for _, entry := range set {
		replaced[nameOf(entry, fold)] = true
	}
	env := slices.DeleteFunc(scrub(parent, fold), func(entry string) bool {
		return replaced[nameOf(entry, fold)]
	})
	return append(env, set...)
}

// reachable returns an environment with which a program finds the instance
// metadata service: it is not switched off, is where url says or, if that is "",
// at its usual address, and is not asked for by way of a proxy. botocore would do
// that (get_environ_proxies in its utils.py).
func reachable(parent []string, url string, fold bool) []string {
	host := "169.254.169.254"
	if url != "" {
		host = "127.0.0.1"
	}
	var env []string
	for _, entry := range parent {
		switch name := nameOf(entry, fold); name {
		case "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_EC2_METADATA_SERVICE_ENDPOINT":
		case "NO_PROXY", "no_proxy": // some programs read one, some the other
			if _, direct, _ := strings.Cut(entry, "="); direct != "" {
				host = direct + "," + host
			}
		default:
			env = append(env, entry)
		}
	}
	if fold {
		return append(env, "NO_PROXY="+host)
	}
	return append(env, "NO_PROXY="+host, "no_proxy="+host)
}

func scrub(parent []string, fold bool) []string {
	env := make([]string, 0, len(parent)+12)
	seen := make(map[string]bool, len(parent))
	for _, entry := range parent {
		name := nameOf(entry, fold)
		if name != "" && (seen[name] || outranks(name) || ownSecret(name)) {
			continue
		}
		seen[name] = true
		env = append(env, entry)
	}
	return env
}

// nameOf returns the name of an entry, or "" for one that is no variable. The
// entries in which Windows keeps the directory of each drive ("=C:=C:\dir")
// have names that start with "=".
func nameOf(entry string, fold bool) string {
	i := strings.IndexByte(entry, '=')
	if i == 0 {
		i = strings.IndexByte(entry[1:], '=') + 1
	}
	if i <= 0 {
		return ""
	}
	if fold {
		return strings.ToUpper(entry[:i])
	}
	return entry[:i]
}

// outranks reports whether a variable could lead a program to other
// credentials than those in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, or belongs to former values of these.
//
// AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE are not among them: once no
// profile is named, the environment comes before the files in every SDK, and
// the files hold other settings that the child may need.
func outranks(name string) bool {
	switch name {
	case
		// The credentials themselves, under all names that are in use. Some
		// clients (s3cmd) prefer the short ones, and those that fall back to
		// the AMAZON_ ones (Ruby) would add a stale token to an access key.
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AMAZON_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AMAZON_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AMAZON_SESSION_TOKEN",

		// What is said of them. botocore refuses credentials after their
		// AWS_CREDENTIAL_EXPIRATION, and SDKs make endpoints of the account.
		"AWS_CREDENTIAL_EXPIRATION", "AWS_SESSION_EXPIRATION", "AWS_ACCOUNT_ID",

		// A profile: the SDK for JavaScript prefers it to the credentials, and
		// all others fail when it does not exist.
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SDK_LOAD_CONFIG", "AWS_CREDENTIAL_FILE",

		// Roles and web identities, AWS_IAM_ being what the SDKs for Java and
		// Kotlin call them.
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
		"AWS_IAM_ROLE_ARN", "AWS_IAM_ROLE_SESSION_NAME":
		return true
	}
	return strings.HasPrefix(name, "AWS_CONTAINER_CREDENTIALS_") ||
		strings.HasPrefix(name, "AWS_CONTAINER_AUTHORIZATION_") ||
		// AWS_BEARER_TOKEN_BEDROCK and its like: SDKs use such a token in
		// place of a signature.
		strings.HasPrefix(name, "AWS_BEARER_TOKEN_")
}

// ownSecret reports whether a variable is a secret that is meant for this
// program (or for aws-vault, whose variables it reads) and for no child. A
// secret that other programs read too, such as OP_SERVICE_ACCOUNT_TOKEN, is the
// user's to pass on.
func ownSecret(name string) bool {
	if !strings.HasPrefix(name, "KURA_") && !strings.HasPrefix(name, "AWS_VAULT_") {
		return false
	}
	return strings.HasSuffix(name, "_PASSPHRASE") || strings.HasSuffix(name, "_TOKEN")
}

// expiration returns when c expires, in the form in which all SDKs can read it:
// RFC 3339, UTC, whole seconds. It is "" for credentials that don't.
func expiration(c cred.Credentials) string {
	if c.Expires.IsZero() {
		return ""
	}
	return c.Expires.UTC().Format(time.RFC3339)
}
