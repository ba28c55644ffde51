package awsapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func TestGetFederationToken(t *testing.T) {
	cloud := newCloud(t)
	client := newClient()
	f := FederationToken{Call: at(cloud.URL), Name: "ann", Policy: allowAll, Duration: 20 * time.Minute}
	got, err := client.GetFederationToken(t.Context(), ann, f)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(got.Expires); got.AccountID != awstest.Account || left < 19*time.Minute || left > 20*time.Minute {
		t.Errorf("credentials of account %q for %v, want %q for 20 min", got.AccountID, left, awstest.Account)
	}
	params := cloud.Calls()[0].Params
	if params["Name"] != "ann" || params["Policy"] != allowAll || params["DurationSeconds"] != "1200" {
		t.Errorf("parameters %v", params)
	}
	who, err := client.GetCallerIdentity(t.Context(), got, at(cloud.URL))
	if err != nil || who.ARN != "arn:aws:sts::111122223333:federated-user/ann" {
		t.Errorf("it belongs to %q, %v", who.ARN, err)
	}
	_, err = client.GetFederationToken(t.Context(), got, f)
	if e := failure(t, err); e.Kind != Denied {
		t.Errorf("with session credentials: %v, want it denied", err)
	}
	f.Name = "a"
	_, err = client.GetFederationToken(t.Context(), ann, f)
	if e := failure(t, err); e.Kind != Invalid {
		t.Errorf("a name of one letter: %v, want it invalid", err)
	}
}

func TestSigninToken(t *testing.T) {
	cloud := newCloud(t)
	client := newClient()
	endpoint := cloud.URL + "/federation"
	role, err := client.AssumeRole(t.Context(), ann, chain.AssumeRole{
		Call: at(cloud.URL), RoleARN: "arn:aws:iam::111122223333:role/readonly", SessionName: "ann", Duration: time.Hour,
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, lasts := range []time.Duration{0, 12 * time.Hour} {
		cloud.ResetCalls()
		token, err := client.SigninToken(t.Context(), role, endpoint, lasts)
		if err != nil || token.IsZero() {
			t.Fatalf("SigninToken for %v = %v, %v", lasts, token, err)
		}
		params := cloud.Calls()[0].Params
		want := map[time.Duration]string{12 * time.Hour: "43200"}[lasts]
		if params["SessionDuration"] != want {
			t.Errorf("SessionDuration %q for %v, want %q", params["SessionDuration"], lasts, want)
		}
	}

	_, err = client.SigninToken(t.Context(), role, endpoint, 13*time.Hour)
	if e := failure(t, err); e.Status != 400 || e.Kind != Denied {
		t.Errorf("for 13 hours: %v, want a refusal", err)
	}
	_, err = client.SigninToken(t.Context(), ann, endpoint, 0)
	if e := failure(t, err); e.Status != 400 {
		t.Errorf("with an access key: %v, want a refusal", err)
	}

	// Trouble at AWS is worth another attempt.
	cloud.SetFault("getSigninToken", awstest.Fault{Kind: awstest.HTML502, Count: 2})
	if _, err := client.SigninToken(t.Context(), role, endpoint, 0); err != nil {
		t.Errorf("after two errors: %v", err)
	}
	cloud.SetFault("getSigninToken", awstest.Fault{Kind: awstest.HTML200})
	_, err = client.SigninToken(t.Context(), role, endpoint, 0)
	if e := failure(t, err); e.Kind != Unreachable || !strings.Contains(err.Error(), "Welcome to the Wi-Fi") {
		t.Errorf("a captive portal: %v", err)
	}
}

// TestSigninTokenStaysSecret checks what goes over the wire, and that an answer
// which quotes it does not come out in the error.
func TestSigninTokenStaysSecret(t *testing.T) {
	from := cred.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: cred.NewSecret("secret-of-example"), SessionToken: cred.NewSecret("token-of-example")}
	answers := []struct {
		status int
		body   string
	}{
		{400, "<title>secret-of-example token-of-example</title>"},
		{200, "<title>secret-of-example token-of-example</title>"},
		{302, ""},
		{200, `{"SigninToken":""}`},
		{200, strings.Repeat(" ", maxBody+1)},
	}
	for _, a := range answers {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.RawQuery != "" {
				t.Errorf("%s %s, want a POST without a query", r.Method, r.URL)
			}
			w.Header().Set("Location", "https://example.invalid/token-of-example")
			w.WriteHeader(a.status)
			w.Write([]byte(a.body))
		}))
		_, err := newClient().SigninToken(t.Context(), from, s.URL+"/federation", time.Hour)
		s.Close()
		if err == nil || strings.Contains(err.Error(), "of-example") {
			t.Errorf("status %d: error %v, want one without secrets", a.status, err)
		}
	}
}
