package serve

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"

	"kura/internal/cred"
)

// A counter counts the requests to the handler of the moment.
type counter struct {
	mu    sync.Mutex
	h     http.Handler
	paths []string
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.paths = append(c.paths, r.Method+" "+r.RequestURI)
	h := c.h
	c.mu.Unlock()
	h.ServeHTTP(w, r)
}

// during returns the requests that f makes.
func (c *counter) during(f func()) []string {
	c.mu.Lock()
	c.paths = nil
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths
}

func lasting(name string) cred.Credentials {
	c := credentialsOf(name)
	c.Expires = time.Now().Add(30 * time.Minute)
	return c
}

// same reports whether the SDK has got what was served. Times lose their
// fractions.
func same(got aws.Credentials, want cred.Credentials) bool {
	return got.AccessKeyID == want.AccessKeyID && got.SecretAccessKey == want.SecretAccessKey.Reveal() &&
		got.SessionToken == want.SessionToken.Reveal() && got.CanExpire && got.Expires.Equal(want.Expires.Truncate(time.Second))
}

// alone hides what this machine has in store for SDKs.
func alone(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, "")
	}
}

func TestSDKContainer(t *testing.T) {
	base, work, role := lasting("base"), lasting("work"), lasting("role")
	count := new(counter)
	addr := start(t, func(host string) http.Handler {
		h := newContainer()
		h.Hosts, h.Source = []string{host}, always(base)
		h.Profiles["work"] = always(work)
		h.Roles = func(context.Context, string) (cred.Credentials, error) { return role, nil }
		count.h = h
		return count
	}, Options{}, patient)
	get := func(path, token string) (aws.Credentials, error) {
		return endpointcreds.New("http://"+addr+path, func(o *endpointcreds.Options) { o.AuthorizationToken = token }).Retrieve(t.Context())
	}
	for path, want := range map[string]cred.Credentials{"": base, "/": base, "/creds?x=y": base, "/profile/work": work, "/role-arn/" + arn: role} {
		got, err := get(path, token)
		if err != nil || !same(got, want) || got.AccountID != want.AccountID {
			t.Errorf("%s: %v, %v, want the credentials %s", path, got.AccessKeyID, err, want.AccessKeyID)
		}
	}
	for _, c := range []struct{ path, token, code string }{
		{"/profile/locked", token, "Locked"},
		{"/profile/broken", token, "CredentialsUnavailable"},
		{"/profile/nope", token, "NotFound"},
		{"/role-arn/nope", token, "InvalidRoleArn"},
		{"/", "wrong", "InvalidToken"},
	} {
		var err error
		asked := count.during(func() { _, err = get(c.path, c.token) })
		api, ok := errors.AsType[smithy.APIError](err)
		if !ok || api.ErrorCode() != c.code || api.ErrorMessage() == "" || len(asked) != 1 {
			t.Errorf("%s: %v after the requests %v, want %s after one", c.path, err, asked, c.code)
		}
	}
}

// The SDK's own chain finds the server by the environment.
func TestSDKContainerByDefault(t *testing.T) {
	alone(t)
	base := lasting("base")
	addr := start(t, func(host string) http.Handler {
		h := newContainer()
		h.Hosts, h.Source = []string{host}, always(base)
		return h
	}, Options{}, patient)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://"+addr)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)
	c, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Credentials.Retrieve(t.Context()); err != nil || got.AccessKeyID != base.AccessKeyID {
		t.Errorf("%v, %v", got.AccessKeyID, err)
	}
}

func TestSDKIMDS(t *testing.T) {
	alone(t)
	base, count := lasting("base"), new(counter)
	served := newIMDS()
	served.Source = always(base)
	addr := start(t, func(host string) http.Handler {
		served.Hosts = []string{host}
		count.h = served
		return count
	}, Options{HopLimit: 1}, patient)
	client := imds.New(imds.Options{Endpoint: "http://" + addr, EnableFallback: aws.FalseTernary})
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })

	if got, err := provider.Retrieve(t.Context()); err != nil || !same(got, base) {
		t.Errorf("%v, %v, want the credentials %s", got.AccessKeyID, err, base.AccessKeyID)
	}
	if got, err := client.GetRegion(t.Context(), nil); err != nil || got.Region != "eu-west-1" {
		t.Errorf("GetRegion = %v, %v", got, err)
	}
	if got, err := client.GetIAMInfo(t.Context(), nil); err != nil || got.Code != "Success" || time.Since(got.LastUpdated) > time.Minute {
		t.Errorf("GetIAMInfo = %v, %v", got, err)
	}
	if got, err := client.GetInstanceIdentityDocument(t.Context(), nil); err != nil || got.AccountID != base.AccountID || got.AvailabilityZone != "eu-west-1a" {
		t.Errorf("GetInstanceIdentityDocument = %v, %v", got, err)
	}
	if got, err := client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: "placement/availability-zone"}); err != nil {
		t.Error(err)
	} else if text := readAll(t, got.Content); text != "eu-west-1a" {
		t.Errorf("the availability zone is %q", text)
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+addr)
	loaded, err := config.LoadDefaultConfig(t.Context(), config.WithEC2IMDSRegion())
	if err != nil || loaded.Region != "eu-west-1" {
		t.Errorf("LoadDefaultConfig: region %q, %v", loaded.Region, err)
	} else if got, err := loaded.Credentials.Retrieve(t.Context()); err != nil || got.AccessKeyID != base.AccessKeyID {
		t.Errorf("the default credentials are %v, %v", got.AccessKeyID, err)
	}

	// A denial is final and its message is shown.
	count.mu.Lock()
	served = &IMDS{Hosts: served.Hosts, Source: never(&Denial{"Locked", "the store is locked"})}
	count.h = served
	count.mu.Unlock()
	asked := count.during(func() { _, err = provider.Retrieve(t.Context()) })
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != "Locked" || api.ErrorMessage() != "the store is locked" {
		t.Errorf("a denial: %v", err)
	}
	// The token of the former server is refused once, and replaced.
	list := "GET " + strings.TrimSuffix(credentialsPath, "local-credentials")
	want := []string{list, "PUT " + tokenPath, list, "GET " + credentialsPath}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("the requests were\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}
