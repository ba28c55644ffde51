package deliver

import (
	"slices"
	"testing"
	"time"

	"kura/internal/cred"
)

var (
	accessKey = cred.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: cred.NewSecret("wJalr/K7MDENG+bPx=")}
	session   = cred.Credentials{
		AccessKeyID:     "ASIAIOSFODNN7EXAMPLE",
		SecretAccessKey: cred.NewSecret("wJalr/K7MDENG+bPx="),
		SessionToken:    cred.NewSecret("IQoJb3Jp//8="),
		Expires:         time.Date(2026, 11, 21, 14, 29, 52, 999, time.FixedZone("", 9*60*60)),
		AccountID:       "123456789012",
	}
)

func TestEnviron(t *testing.T) {
	for _, c := range []struct {
		name     string
		parent   []string
		settings Settings
		fold     bool
		want     []string
	}{
		{
			name:     "session credentials and a region",
			parent:   []string{"HOME=/home/jo", "PATH=/bin"},
			settings: Settings{Profile: "admin", Region: "eu-west-1", Credentials: session},
			want: []string{
				"HOME=/home/jo", "PATH=/bin",
				"AWS_VAULT=admin", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
				"AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=",
				"AWS_SESSION_TOKEN=IQoJb3Jp//8=", "AWS_CREDENTIAL_EXPIRATION=2026-11-21T05:29:52Z",
				"AWS_ACCOUNT_ID=123456789012",
			},
		},
		{
			name:     "an access key leaves nothing of former session credentials",
			parent:   []string{"AWS_SESSION_TOKEN=old", "AWS_SECURITY_TOKEN=old", "AMAZON_SESSION_TOKEN=old", "AWS_CREDENTIAL_EXPIRATION=2001-01-01T00:00:00Z", "AWS_SESSION_EXPIRATION=x", "AWS_ACCOUNT_ID=1"},
			settings: Settings{Profile: "base", Credentials: accessKey},
			want:     []string{"AWS_VAULT=base", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx="},
		},
		{
			name: "an exec inside an exec",
			parent: []string{
				"AWS_VAULT=outer", "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a",
				"AWS_SECRET_ACCESS_KEY=b", "AWS_SESSION_TOKEN=c", "AWS_CREDENTIAL_EXPIRATION=d", "AWS_ACCOUNT_ID=e", "X=1",
			},
			settings: Settings{Profile: "inner", Region: "eu-west-1", Credentials: accessKey},
			want: []string{
				"X=1", "AWS_VAULT=inner", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
				"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalr/K7MDENG+bPx=",
			},
		},
		{
			name: "everything that outranks credentials in the environment",
			parent: []string{
				"AWS_ACCESS_KEY=x", "AWS_SECRET_KEY=x", "AMAZON_ACCESS_KEY_ID=x", "AMAZON_SECRET_ACCESS_KEY=x",
				"AWS_PROFILE=x", "AWS_DEFAULT_PROFILE=x", "AWS_SDK_LOAD_CONFIG=1", "AWS_CREDENTIAL_FILE=x",
				"AWS_CONTAINER_CREDENTIALS_FULL_URI=x", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=x",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN=x", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=x",
				"AWS_WEB_IDENTITY_TOKEN_FILE=x", "AWS_ROLE_ARN=x", "AWS_ROLE_SESSION_NAME=x",
				"AWS_IAM_ROLE_ARN=x", "AWS_IAM_ROLE_SESSION_NAME=x", "AWS_BEARER_TOKEN_BEDROCK=x",
			},
			settings: Settings{Profile: "p"},
			want:     []string{"AWS_VAULT=p"},
		},
		{
			name: "secrets of this program, but not of others",
			parent: []string{
				"KURA_FILE_PASSPHRASE=x", "AWS_VAULT_FILE_PASSPHRASE=x", "KURA_OP_SERVICE_ACCOUNT_TOKEN=x", "KURA_MFA_TOKEN=x",
				"AWS_VAULT_OP_CONNECT_TOKEN=x", "AWS_VAULT_OP_SERVICE_ACCOUNT_TOKEN=x",
				"OP_SERVICE_ACCOUNT_TOKEN=x", "OP_CONNECT_TOKEN=x", "KURA_BACKEND=file", "AWS_VAULT_FILE_DIR=x", "MY_PASSPHRASE=x",
			},
			settings: Settings{Profile: "p"},
			want: []string{
				"OP_SERVICE_ACCOUNT_TOKEN=x", "OP_CONNECT_TOKEN=x", "KURA_BACKEND=file", "AWS_VAULT_FILE_DIR=x", "MY_PASSPHRASE=x",
				"AWS_VAULT=p",
			},
		},
		{
			name:   "a container endpoint",
			parent: []string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/x", "AWS_ACCESS_KEY_ID=x", "AWS_CONFIG_FILE=/c"},
			settings: Settings{Profile: "p", Server: Server{
				Container: "http://127.0.0.1:1", Token: cred.NewSecret("t"), ConfigFile: "/run/config", CredentialsFile: "/run/credentials",
			}},
			want: []string{
				"AWS_VAULT=p", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1", "AWS_CONTAINER_AUTHORIZATION_TOKEN=t",
				"AWS_CONFIG_FILE=/run/config", "AWS_SHARED_CREDENTIALS_FILE=/run/credentials",
			},
		},
		{
			name:     "a container endpoint, its token in a file",
			settings: Settings{Profile: "p", Server: Server{Container: "http://127.0.0.1:1", Token: cred.NewSecret("t"), TokenFile: "/run/token"}},
			want:     []string{"AWS_VAULT=p", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/run/token"},
		},
		{
			name: "an instance metadata service, which was switched off and elsewhere",
			parent: []string{
				"AWS_EC2_METADATA_DISABLED=true", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://x", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6",
				"HTTP_PROXY=http://proxy", "NO_PROXY=.example",
			},
			settings: Settings{Profile: "p", Server: Server{Metadata: "http://127.0.0.1:1/"}},
			want: []string{
				"HTTP_PROXY=http://proxy", "NO_PROXY=.example,127.0.0.1", "no_proxy=.example,127.0.0.1",
				"AWS_VAULT=p", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1/",
			},
		},
		{
			name:     "one at the address that every program knows",
			parent:   []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://x"},
			settings: Settings{Profile: "p", Server: Server{IsInstance: true}},
			want:     []string{"NO_PROXY=169.254.169.254", "no_proxy=169.254.169.254", "AWS_VAULT=p"},
		},
		{
			name: "all else stays byte for byte and in order",
			parent: []string{
				"B= a=b ", "A=\xff\n", "EMPTY=", "noequals", "", "aws_profile=x", "AWS_CONFIG_FILE=/c", "AWS_SHARED_CREDENTIALS_FILE=/s",
				"AWS_REGION=us-east-1", "AWS_CA_BUNDLE=/ca", "AWS_ENDPOINT_URL_S3=http://s3", "noequals",
			},
			settings: Settings{Profile: "p"},
			want: []string{
				"B= a=b ", "A=\xff\n", "EMPTY=", "noequals", "", "aws_profile=x", "AWS_CONFIG_FILE=/c", "AWS_SHARED_CREDENTIALS_FILE=/s",
				"AWS_REGION=us-east-1", "AWS_CA_BUNDLE=/ca", "AWS_ENDPOINT_URL_S3=http://s3", "noequals", "AWS_VAULT=p",
			},
		},
		{
			name:     "the first of two entries counts",
			parent:   []string{"A=1", "B=1", "A=2", "a=3"},
			settings: Settings{Profile: "p"},
			want:     []string{"A=1", "B=1", "a=3", "AWS_VAULT=p"},
		},
		{
			name:   "endpoints and a CA bundle",
			parent: []string{"AWS_ENDPOINT_URL=http://old", "AWS_ENDPOINT_URL_STS=http://sts", "AWS_CA_BUNDLE=/old"},
			settings: Settings{Profile: "p", CABundle: "/new",
				Endpoints: map[string]string{"S3": "http://s3", "": "http://all", "DYNAMODB": "http://ddb"}},
			want: []string{
				"AWS_ENDPOINT_URL_STS=http://sts", "AWS_VAULT=p", "AWS_ENDPOINT_URL=http://all",
				"AWS_ENDPOINT_URL_DYNAMODB=http://ddb", "AWS_ENDPOINT_URL_S3=http://s3", "AWS_CA_BUNDLE=/new",
			},
		},
		{
			name:     "Windows: names in any case",
			fold:     true,
			parent:   []string{`=C:=C:\dir`, `=D:=D:\`, "Path=x", "PATH=y", "aws_profile=x", "Aws_Region=x", "kura_file_passphrase=x"},
			settings: Settings{Profile: "p", Region: "eu-west-1"},
			want:     []string{`=C:=C:\dir`, `=D:=D:\`, "Path=x", "AWS_VAULT=p", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1"},
		},
	} {
		before := slices.Clone(c.parent)
		if got := environ(c.parent, c.settings, c.fold); !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%q, want\n%q", c.name, got, c.want)
		}
		if !slices.Equal(c.parent, before) {
			t.Errorf("%s: the parent's environment was changed", c.name)
		}
	}
}
