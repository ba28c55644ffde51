package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
)

const (
	host  = "127.0.0.1:41337"
	token = "k9JvQXwYzPq7LrTn2BsDf4GhVm6CxWe8AaZtUyRo"
	arn   = "arn:aws:iam::123456789012:role/team/admin"
)

// credentialsOf returns session credentials that are known by their name.
func credentialsOf(name string) cred.Credentials {
	return cred.Credentials{
		AccessKeyID:     "ASIA" + name,
		SecretAccessKey: cred.NewSecret("secret-Zq/" + name),
		SessionToken:    cred.NewSecret("session-Xw+/=" + name),
		Expires:         time.Date(2026, 11, 21, 14, 29, 52, 999, time.FixedZone("", 9*60*60)),
		AccountID:       "123456789012",
	}
}

func always(c cred.Credentials) Source {
	return func(context.Context) (cred.Credentials, error) { return c, nil }
}

func never(err error) Source {
	return func(context.Context) (cred.Credentials, error) { return cred.Credentials{}, err }
}

func newContainer() *Container {
	return &Container{
		Token:  cred.NewSecret(token),
		Hosts:  []string{host, "localhost:41337"},
		Source: always(credentialsOf("base")),
		Profiles: map[string]Source{
			"work": always(credentialsOf("work")), "a/b c%": always(credentialsOf("odd")),
			"locked": never(fmt.Errorf("renewing: %w", &Denial{"Locked", "the store is locked"})),
			"broken": never(errors.New("a fact that is not for clients")),
			"key":    always(cred.Credentials{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("secret-x")}),
			"kept":   always(cred.Credentials{AccessKeyID: "AKIA", SecretAccessKey: cred.NewSecret("secret-x"), Expires: time.Now()}),
			"always": always(cred.Credentials{AccessKeyID: "ASIA", SecretAccessKey: cred.NewSecret("secret-x"), SessionToken: cred.NewSecret("x")}),
		},
		Roles: func(_ context.Context, arn string) (cred.Credentials, error) {
			if strings.HasSuffix(arn, "denied") {
				return cred.Credentials{}, &Denial{"AccessDenied", "not that role"}
			}
			return credentialsOf(arn), nil
		},
	}
}

// A request is one to a handler, in the form of a table.
type request struct {
	method, target string
	header         []string // name, value, ...; Host is one of them
	body           string
}

func (q request) to(h http.Handler) *http.Response {
	r := httptest.NewRequest(q.method, q.target, strings.NewReader(q.body))
	if q.body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Host = host
	for pair := range slices.Chunk(q.header, 2) {
		if pair[0] == "Host" {
			r.Host = pair[1]
			continue
		}
		r.Header.Add(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestContainer(t *testing.T) {
	authorized := []string{"Authorization", token}
	get := func(target string, header ...string) request {
		return request{"GET", target, append(slices.Clone(authorized), header...), ""}
	}
	for _, c := range []struct {
		name   string
		q      request
		status int
		want   string // access key ID, or the code of an error
	}{
		// As SDKs make the path from the URL that they are given.
		{"no path", get("/"), 200, "ASIAbase"},
		{"a path", get("/get-credentials"), 200, "ASIAbase"},
		{"a path of ECS", get("/v2/credentials/52b19262-e7aa-4f56-a1cd-b958dcde8f3b"), 200, "ASIAbase"},
		{"a slash at the end", get("/creds/"), 200, "ASIAbase"},
		{"a query", get("/?a=1&b=/profile/work"), 200, "ASIAbase"},
		{"a path that only begins like a name", get("/profiles"), 200, "ASIAbase"},
		{"another of the hosts", get("/", "Host", "localhost:41337"), 200, "ASIAbase"},
		{"Sec-Fetch-Site none", get("/", "Sec-Fetch-Site", "none"), 200, "ASIAbase"},

		{"a profile", get("/profile/work"), 200, "ASIAwork"},
		{"a profile and a query", get("/profile/work?x"), 200, "ASIAwork"},
		{"a profile with anything in its name", get("/profile/a/b%20c%25"), 200, "ASIAodd"},
		{"the same, all encoded", get("/profile/a%2Fb%20c%25"), 200, "ASIAodd"},
		{"an unknown profile", get("/profile/nope"), 404, "NotFound"},
		{"no profile", get("/profile/"), 404, "NotFound"},
		{"a profile of another case", get("/profile/Work"), 404, "NotFound"},
		{"a slash too many", get("/profile//work"), 404, "NotFound"},
		{"a way back", get("/profile/../profile/work"), 404, "NotFound"},

		{"a role", get("/role-arn/" + arn), 200, "ASIA" + arn},
		{"a role, encoded", get("/role-arn/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fteam%2Fadmin"), 200, "ASIA" + arn},
		{"a role of another partition", get("/role-arn/arn:aws-us-gov:iam::123456789012:role/x"), 200, "ASIAarn:aws-us-gov:iam::123456789012:role/x"},
		{"a role that is denied", get("/role-arn/" + arn + "denied"), 403, "AccessDenied"},
		{"no role", get("/role-arn/"), 400, "InvalidRoleArn"},
		{"a name", get("/role-arn/admin"), 400, "InvalidRoleArn"},
		{"a user", get("/role-arn/arn:aws:iam::123456789012:user/x"), 400, "InvalidRoleArn"},
		{"an assumed role", get("/role-arn/arn:aws:sts::123456789012:assumed-role/x/y"), 400, "InvalidRoleArn"},
		{"a role of another service", get("/role-arn/arn:aws:sts::123456789012:role/x"), 400, "InvalidRoleArn"},
		{"a role of a region", get("/role-arn/arn:aws:iam:eu-west-1:123456789012:role/x"), 400, "InvalidRoleArn"},
		{"an account of 11 digits", get("/role-arn/arn:aws:iam::12345678901:role/x"), 400, "InvalidRoleArn"},
		{"an account of letters", get("/role-arn/arn:aws:iam::12345678901x:role/x"), 400, "InvalidRoleArn"},
		{"a role without a name", get("/role-arn/arn:aws:iam::123456789012:role/"), 400, "InvalidRoleArn"},
		{"a line break in an ARN", get("/role-arn/" + arn + "%0a"), 400, "InvalidRoleArn"},
		{"a blank in an ARN", get("/role-arn/" + arn + "%20x"), 400, "InvalidRoleArn"},
		{"an endless ARN", get("/role-arn/" + arn + strings.Repeat("x", 2048)), 400, "InvalidRoleArn"},

		{"what could be meant as a profile", get("//profile/work"), 400, "InvalidPath"},
		{"the same with a dot", get("/./profile/work"), 400, "InvalidPath"},
		{"the same with a way back", get("/x/../profile/work"), 400, "InvalidPath"},
		{"the same encoded", get("/%70rofile/work"), 400, "InvalidPath"},
		{"the slash encoded", get("/profile%2fwork"), 400, "InvalidPath"},
		{"a backslash", get(`/profile\work`), 400, "InvalidPath"},
		{"no name at all", get("/profile"), 400, "InvalidPath"},
		{"no ARN at all", get("/role-arn"), 400, "InvalidPath"},
		{"two slashes", get("//"), 400, "InvalidPath"},

		{"a denial", get("/profile/locked"), 403, "Locked"},
		{"an error", get("/profile/broken"), 403, "CredentialsUnavailable"},
		{"an access key", get("/profile/key"), 403, "CredentialsUnavailable"},
		{"an access key with an expiry", get("/profile/kept"), 403, "CredentialsUnavailable"},
		{"a session without an expiry", get("/profile/always"), 403, "CredentialsUnavailable"},

		{"no token", request{"GET", "/", nil, ""}, 403, "InvalidToken"},
		{"an empty token", request{"GET", "/", []string{"Authorization", ""}, ""}, 403, "InvalidToken"},
		{"a wrong token", request{"GET", "/", []string{"Authorization", token[1:] + "x"}, ""}, 403, "InvalidToken"},
		{"a part of the token", request{"GET", "/", []string{"Authorization", token[:39]}, ""}, 403, "InvalidToken"},
		{"more than the token", request{"GET", "/", []string{"Authorization", token + "x"}, ""}, 403, "InvalidToken"},
		{"a scheme", request{"GET", "/", []string{"Authorization", "Bearer " + token}, ""}, 403, "InvalidToken"},
		{"two tokens", get("/", "Authorization", token), 403, "InvalidToken"},
		{"the token in the query", request{"GET", "/?Authorization=" + token, nil, ""}, 403, "InvalidToken"},

		{"another host", get("/", "Host", "evil.test:41337"), 403, "RequestRefused"},
		{"another port", get("/", "Host", "127.0.0.1:41338"), 403, "RequestRefused"},
		{"no port", get("/", "Host", "127.0.0.1"), 403, "RequestRefused"},
		{"no host", get("/", "Host", ""), 403, "RequestRefused"},
		{"a host with a dot", get("/", "Host", "localhost.:41337"), 403, "RequestRefused"},
		{"Origin", get("/", "Origin", "http://evil.test"), 403, "RequestRefused"},
		{"Origin null", get("/", "Origin", "null"), 403, "RequestRefused"},
		{"Origin of this server", get("/", "Origin", "http://"+host), 403, "RequestRefused"},
		{"Sec-Fetch-Site cross-site", get("/", "Sec-Fetch-Site", "cross-site"), 403, "RequestRefused"},
		{"Sec-Fetch-Site same-origin", get("/", "Sec-Fetch-Site", "same-origin"), 403, "RequestRefused"},
		{"Sec-Fetch-Site twice", get("/", "Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site"), 403, "RequestRefused"},
		{"X-Forwarded-For", get("/", "X-Forwarded-For", "127.0.0.1"), 403, "RequestRefused"},
		{"X-Forwarded-For, empty", get("/", "X-Forwarded-For", ""), 403, "RequestRefused"},
		{"Forwarded", get("/", "Forwarded", "for=127.0.0.1"), 403, "RequestRefused"},
		{"a body", request{"GET", "/", authorized, "x"}, 400, "RequestRefused"},
		{"the absolute form", get("http://" + host + "/"), 400, "RequestRefused"},
		{"HEAD", request{"HEAD", "/", authorized, ""}, 405, "RequestRefused"},
		{"POST", request{"POST", "/", authorized, ""}, 405, "RequestRefused"},
		{"PUT", request{"PUT", "/", authorized, ""}, 405, "RequestRefused"},
		{"OPTIONS", request{"OPTIONS", "/", authorized, ""}, 405, "RequestRefused"},
		{"TRACE", request{"TRACE", "/", authorized, ""}, 405, "RequestRefused"},
		{"a method of another case", request{"get", "/", authorized, ""}, 405, "RequestRefused"},
	} {
		resp := c.q.to(newContainer())
		body := readAll(t, resp.Body)
		var got struct {
			AccessKeyId string
			Lower       string `json:"message"`
			Code        string `json:"code"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %v in %s", c.name, err, body)
			continue
		}
		if resp.StatusCode != c.status || got.AccessKeyId+got.Code != c.want {
			t.Errorf("%s: %d %s, want %d %s", c.name, resp.StatusCode, body, c.status, c.want)
		}
		if kind := resp.Header.Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s: Content-Type %q", c.name, kind)
		}
		if leaks := strings.Contains(body, "secret-") || strings.Contains(body, "a fact"); leaks != (c.status == 200) {
			t.Errorf("%s: %d %s", c.name, resp.StatusCode, body)
		}
		for name := range resp.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Location" {
				t.Errorf("%s: a header %s", c.name, name)
			}
		}
	}
}

// What each client does with forms of the answer is in tables: one without
// Expiration or Token is refused by some, as is any other form of the time.
func TestContainerAnswer(t *testing.T) {
	for path, want := range map[string]map[string]string{
		"/": {
			"AccessKeyId": "ASIAbase", "SecretAccessKey": "secret-Zq/base", "Token": "session-Xw+/=base",
			"Expiration": "2026-11-21T05:29:52Z", "AccountId": "123456789012",
		},
		"/role-arn/" + arn: {
			"AccessKeyId": "ASIA" + arn, "SecretAccessKey": "secret-Zq/" + arn, "Token": "session-Xw+/=" + arn,
			"Expiration": "2026-11-21T05:29:52Z", "AccountId": "123456789012", "RoleArn": arn,
		},
	} {
		resp := request{"GET", path, []string{"Authorization", token}, ""}.to(newContainer())
		var got map[string]string
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || !maps.Equal(got, want) {
			t.Errorf("GET %s = %v, %v, want %v", path, got, err, want)
		}
	}
}

// The message is found under the name that aws-vault has for it too.
func TestContainerDenial(t *testing.T) {
	resp := request{"GET", "/profile/locked", []string{"Authorization", token}, ""}.to(newContainer())
	const want = `{"code":"Locked","message":"the store is locked","Message":"the store is locked"}`
	if got := readAll(t, resp.Body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestContainerWithoutThings(t *testing.T) {
	q := func(path string) request { return request{"GET", path, []string{"Authorization", token}, ""} }
	empty := request{"GET", "/", []string{"Authorization", ""}, ""}
	for _, c := range []struct {
		name   string
		h      *Container
		q      request
		status int
	}{
		{"no token", &Container{Hosts: []string{host}, Source: always(credentialsOf("base"))}, empty, 403},
		{"no hosts", &Container{Token: cred.NewSecret(token), Source: always(credentialsOf("base"))}, q("/"), 403},
		{"no source", &Container{Token: cred.NewSecret(token), Hosts: []string{host}}, q("/"), 404},
		{"no profiles", &Container{Token: cred.NewSecret(token), Hosts: []string{host}}, q("/profile/x"), 404},
		{"no roles", &Container{Token: cred.NewSecret(token), Hosts: []string{host}}, q("/role-arn/" + arn), 404},
	} {
		if resp := c.q.to(c.h); resp.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.name, resp.StatusCode, c.status)
		}
	}
}

func TestContainerFollowsTheSource(t *testing.T) {
	now := credentialsOf("old")
	h := newContainer()
	h.Source = func(context.Context) (cred.Credentials, error) { return now, nil }
	q := request{"GET", "/", []string{"Authorization", token}, ""}
	for _, name := range []string{"old", "new"} {
		now = credentialsOf(name)
		for _, q.target = range []string{"/", "/", "/elsewhere"} {
			if got := readAll(t, q.to(h).Body); !strings.Contains(got, "ASIA"+name) {
				t.Errorf("got %s, want the credentials %s", got, name)
			}
		}
	}
	if len(h.rendered.m) != 1 {
		t.Errorf("one source has %d answers", len(h.rendered.m))
	}
}

// One source's credentials are never the answer of another, however many there
// are.
func TestContainerKeepsApart(t *testing.T) {
	h := newContainer()
	for range 2 {
		for i := range 2*maxRendered + 1 {
			name := fmt.Sprintf("arn:aws:iam::123456789012:role/r%d", i)
			q := request{"GET", "/role-arn/" + name, []string{"Authorization", token}, ""}
			if got := readAll(t, q.to(h).Body); !strings.Contains(got, `"ASIA`+name+`"`) || !strings.Contains(got, `"RoleArn":"`+name+`"`) {
				t.Fatalf("%s is answered with %s", name, got)
			}
		}
	}
	if len(h.rendered.m) > maxRendered {
		t.Errorf("%d answers are kept, want %d at most", len(h.rendered.m), maxRendered)
	}
}
