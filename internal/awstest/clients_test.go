package awstest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// environ is all that the programs see, so that no configuration of the
// machine has a say.
func environ(t *testing.T, c *Cloud) []string {
	home := t.TempDir()
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"AWS_CONFIG_FILE=" + filepath.Join(home, "config"),
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "credentials"),
		"AWS_ENDPOINT_URL=" + c.URL,
		"AWS_ACCESS_KEY_ID=" + AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + SecretAccessKey,
		"AWS_DEFAULT_REGION=eu-west-1",
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_MAX_ATTEMPTS=1",
		"AWS_PAGER=",
	}
}

func TestAWSCLI(t *testing.T) {
	if testing.Short() {
		t.Skip("aws takes a second to start")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("aws is not on PATH")
	}
	c := start(t, Config{})
	env := environ(t, c)
	aws := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "aws", args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "error: " + string(out)
		}
		return string(out)
	}
	if strings.Contains(aws("--version"), "error") {
		t.Skip("aws does not run without the machine's environment")
	}
	for _, test := range []struct{ args, want string }{
		{"sts get-caller-identity --query Arn --output text", UserARN},
		{"sts assume-role --role-arn arn:aws:iam::111122223333:role/readonly --role-session-name cli --tags Key=a,Value=b --query AssumedRoleUser.Arn --output text", "arn:aws:sts::111122223333:assumed-role/readonly/cli"},
		{"sts assume-role --role-arn arn:aws:iam::111122223333:role/admin --role-session-name cli", "An error occurred (AccessDenied) when calling the AssumeRole operation: User: " + UserARN + " is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/admin"},
		{"sts get-session-token --serial-number " + MFASerial + " --token-code " + *code(t, c, MFASerial) + " --query Credentials.AccessKeyId --output text", "ASIA"},
		{"iam list-mfa-devices --query MFADevices[].SerialNumber --output text", MFASerial},
		{"iam list-access-keys --query AccessKeyMetadata[].AccessKeyId --output text", AccessKeyID},
		{"s3 ls", "example-logs"},
		{"s3 ls s3://example-logs", "PRE 2026/"},
		{"s3 ls s3://example-logs/2026/01/", "app.log"},
		{"s3 ls s3://example-payroll", "An error occurred (AccessDenied) when calling the ListObjectsV2 operation: Access Denied"},
	} {
		if got := aws(strings.Fields(test.args)...); !strings.Contains(got, test.want) {
			t.Errorf("aws %s: %s, want %s", test.args, got, test.want)
		}
	}
}

func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not on PATH")
	}
	c := start(t, Config{})
	for _, test := range []struct{ user, want string }{
		{AccessKeyID + ":" + SecretAccessKey, "<Arn>" + UserARN + "</Arn>"},
		{AccessKeyID + ":wrong", "<Code>SignatureDoesNotMatch</Code>"},
	} {
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "-q", "--aws-sigv4", "aws:amz:eu-west-1:sts",
			"--user", test.user, "-d", "Action=GetCallerIdentity&Version=2011-06-15", c.URL).CombinedOutput()
		if err != nil && strings.Contains(string(out), "aws-sigv4") {
			t.Skip("this curl has no --aws-sigv4")
		}
		if !strings.Contains(string(out), test.want) {
			t.Errorf("curl: %v %s, want %s", err, out, test.want)
		}
	}
}

// With TLS a client trusts the Cloud by its CA alone, and does so under AWS's
// names as well.
func TestTLS(t *testing.T) {
	c := start(t, Config{TLS: true})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA.PEM())
	for _, name := range []string{"", "sts.eu-west-1.amazonaws.com", "localhost"} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}}
		resp, err := client.Get(c.URL)
		if err != nil {
			t.Errorf("as %q: %v", name, err)
			continue
		}
		resp.Body.Close()
		client.CloseIdleConnections()
	}
	if _, err := http.Get(c.URL); err == nil {
		t.Errorf("a client without the CA is served")
	}
}
