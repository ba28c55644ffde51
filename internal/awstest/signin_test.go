package awstest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// post sends a form to the federation endpoint.
func post(t *testing.T, c *Cloud, form url.Values) (status int, body string) {
	t.Helper()
	resp, err := http.PostForm(c.URL+"/federation", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func sessionJSON(id, secret, token string) string {
	b, _ := json.Marshal(map[string]string{"sessionId": id, "sessionKey": secret, "sessionToken": token})
	return string(b)
}

// TestSignin shows which credentials the console takes, and for how long.
func TestSignin(t *testing.T) {
	c := New(Config{})
	defer c.Close()
	client := stsAs(c, ann)
	role := func(client *sts.Client) *types.Credentials {
		out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String("arn:aws:iam::111122223333:role/hub"), RoleSessionName: aws.String("ann"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.Credentials
	}
	direct := role(client)
	user, err := client.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	chained := role(stsAs(c, session(user.Credentials)))
	policy := aws.String(`{"Version":"2012-10-17","Statement":[]}`)
	federated, err := client.GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: aws.String("ann"), Policy: policy})
	if err != nil {
		t.Fatal(err)
	}

	text := func(k *types.Credentials) string {
		return sessionJSON(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)
	}
	for _, test := range []struct {
		name, session, duration string
		want                    int
	}{
		{"a role", text(direct), "", 200},
		{"a role for 12 hours", text(direct), "43200", 200},
		{"a role for longer", text(direct), "43201", 400},
		{"a role for too short a time", text(direct), "899", 400},
		{"a chained role", text(chained), "", 200},
		{"a chained role for a time", text(chained), "900", 400},
		{"a federated user", text(federated.Credentials), "", 200},
		{"a federated user for a time", text(federated.Credentials), "3600", 400},
		{"a session of a user", text(user.Credentials), "", 200},
		{"a session of a user for a time", text(user.Credentials), "3600", 400},
		{"an access key", sessionJSON(AccessKeyID, SecretAccessKey, ""), "", 400},
		{"another secret", sessionJSON(*direct.AccessKeyId, "x", *direct.SessionToken), "", 400},
		{"no JSON", "x", "", 400},
	} {
		form := url.Values{"Action": {"getSigninToken"}, "Session": {test.session}}
		if test.duration != "" {
			form.Set("SessionDuration", test.duration)
		}
		if status, body := post(t, c, form); status != test.want {
			t.Errorf("%s: status %d %s, want %d", test.name, status, body, test.want)
		}
	}

	_, body := post(t, c, url.Values{"Action": {"getSigninToken"}, "Session": {text(direct)}})
	var got struct{ SigninToken string }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	login := func(destination string) (int, string) {
		resp, err := http.Get(c.URL + "/federation?" + url.Values{
			"Action": {"login"}, "Destination": {destination}, "SigninToken": {got.SigninToken},
		}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	const console = "https://eu-west-1.console.aws.amazon.com/s3?region=eu-west-1"
	if status, page := login(console); status != 200 || !strings.Contains(page, "Signed in as arn:aws:sts::111122223333:assumed-role/hub/ann in eu-west-1 for 1h0m0s") {
		t.Errorf("the sign-in URL: %d %s", status, page)
	}
	if status, _ := login("https://console.aws.amazon.com.example/"); status != 400 {
		t.Errorf("a foreign destination: status %d, want 400", status)
	}
	c.SetClockOffset(16 * time.Minute)
	if status, _ := login(console); status != 400 {
		t.Errorf("after 16 minutes: status %d, want 400", status)
	}
	for _, call := range c.Calls() {
		for _, secret := range c.Secrets() {
			for name, value := range call.Params {
				if strings.Contains(value, secret) {
					t.Errorf("%s: the parameter %s is a secret in the open", call.Op, name)
				}
			}
		}
	}
}
