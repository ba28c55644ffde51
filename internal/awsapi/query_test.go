package awsapi

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// FuzzReply: what we and the AWS SDK take for an answer of AssumeRole, both read
// the same. (The SDK knows elements in upper and lower case, and no comments
// in text. AWS sends neither.)
func FuzzReply(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><ResponseMetadata/>
		<AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/a/b</Arn></AssumedRoleUser><Credentials>
		<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>a&amp;b</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>2011-07-15T23:28:33.359Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
	f.Add([]byte("<html><title>Sign in</title></html>"))
	const key = "<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
	const rest = "<SessionToken>t</SessionToken><Expiration>2011-07-15T23:28:33Z</Expiration>"
	for _, s := range []string{
		"<Credentials>" + key + rest + "</Credentials><Credentials><AccessKeyId>AKIA</AccessKeyId></Credentials>",
		"<Credentials><AccessKeyId> A<!-- c -->B<![CDATA[C]]> </AccessKeyId>" + key + rest + "</Credentials>",
		"<Credentials>" + rest + "<SecretAccessKey>s</SecretAccessKey><AccessKeyId> A<!-- c -->B<![CDATA[C]]> </AccessKeyId></Credentials>",
		"<Credentials>" + rest + key + "<AccessKeyId><b>C</b></AccessKeyId></Credentials>",
		"<Credentials>" + rest + key + "<AccessKeyId></AccessKeyId></Credentials>",
		"<Credentials>" + rest + key + "<accesskeyid>C</accesskeyid></Credentials>",
		"<x:Credentials>" + rest + key + "</x:Credentials>",
		"<Credentials>" + rest + key + "</Credentials></AssumeRoleResult><AssumeRoleResult><Credentials>" + key + "</Credentials>",
		"<Credentials>" + rest + key + "<Expiration> 2011-07-15T23:28:33Z</Expiration></Credentials>",
	} {
		f.Add([]byte("<AssumeRoleResponse><AssumeRoleResult>" + s + "</AssumeRoleResult></AssumeRoleResponse>"))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got session
		if decodeResult(body, "AssumeRole", &got) != nil || !got.complete() {
			return
		}
		for _, name := range []string{"AssumeRoleResult", "Credentials", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"} {
			if strings.Count(strings.ToLower(string(body)), strings.ToLower(name)) != strings.Count(string(body), name) {
				t.Skip("a name in another case")
			}
		}
		sdk := sts.New(sts.Options{
			Region:           "eu-west-1",
			Credentials:      credentials.NewStaticCredentialsProvider("AKIA", "s", ""),
			RetryMaxAttempts: 1,
			HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(body)), Request: r, Header: http.Header{}}, nil
			})},
		})
		want, err := sdk.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/a"), RoleSessionName: aws.String("b")})
		if err != nil {
			t.Skip(err)
		}
		if want.Credentials == nil || got.AccessKeyID != aws.ToString(want.Credentials.AccessKeyId) ||
			got.SecretAccessKey != aws.ToString(want.Credentials.SecretAccessKey) ||
			got.SessionToken != aws.ToString(want.Credentials.SessionToken) ||
			!got.Expires.Equal(aws.ToTime(want.Credentials.Expiration)) {
			t.Errorf("we read %q as %+v, the SDK as %+v", body, got, want.Credentials)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
