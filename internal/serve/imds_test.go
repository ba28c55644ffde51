package serve

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func newIMDS() *IMDS {
	return &IMDS{Hosts: []string{host}, Source: always(credentialsOf("base")), Region: "eu-west-1"}
}

// sessionToken returns a session token of an IMDS.
func sessionToken(t *testing.T, h *IMDS, ttl string) string {
	t.Helper()
	resp := request{"PUT", tokenPath, []string{ttlHeader, ttl}, ""}.to(h)
	body := readAll(t, resp.Body)
	if resp.StatusCode != 200 || body == "" || strings.TrimSpace(body) != body || resp.Header.Get(ttlHeader) != ttl || resp.Header.Get("Content-Type") != "text/plain" {
		t.Fatalf("PUT %s: %d %q, %v", tokenPath, resp.StatusCode, body, resp.Header)
	}
	return body
}

const credentialsPath = "/latest/meta-data/iam/security-credentials/local-credentials"

func TestIMDSPaths(t *testing.T) {
	for _, c := range []struct {
		path, want string // "" is not found
	}{
		{"/", "latest"},
		{"/latest", "dynamic\nmeta-data"},
		{"/latest/", "dynamic\nmeta-data"},
		{"/latest/meta-data", "iam/\ninstance-id\nplacement/"},
		{"/latest/meta-data/", "iam/\ninstance-id\nplacement/"},
		{"/latest/meta-data/iam/", "info\nsecurity-credentials/\nsecurity-credentials-extended/"},
		{"/latest/meta-data/iam/security-credentials", "local-credentials"},
		{"/latest/meta-data/iam/security-credentials/", "local-credentials"},
		{"/latest/meta-data/iam/security-credentials/?x=y", "local-credentials"},
		{"/latest/meta-data/iam/security-credentials-extended", "local-credentials"},
		{"/latest/meta-data/iam/security-credentials-extended/", "local-credentials"},
		{"/latest/meta-data/instance-id", "kura"},
		{"/latest/meta-data/instance-id/", "kura"},
		{"/latest/meta-data/placement/", "availability-zone\nregion"},
		{"/latest/meta-data/placement/region", "eu-west-1"},
		{"/latest/meta-data/placement/availability-zone", "eu-west-1a"},
		{"/latest/meta-data/placement/availability-zone/", "eu-west-1a"}, // botocore
		{"/latest/dynamic/", "instance-identity/"},
		{"/latest/dynamic/instance-identity/", "document"},

		{"//latest/meta-data/instance-id", "kura"}, // the SDK for Java
		{"///latest/meta-data/instance-id", ""},
		{"/latest//meta-data", ""},
		{"/latest/meta-data//", ""},
		{"/latest/./meta-data", ""},
		{"/latest/meta-data/../meta-data/instance-id", ""},
		{"/latest/meta-data%2finstance-id", ""},
		{"/latest/meta-data/%69nstance-id", ""},
		{"/Latest/meta-data", ""},
		{"/2021-07-15/meta-data/", ""},
		{"/latest/user-data", ""},
		{"/latest/meta-data/ami-id", ""},
		{"/latest/meta-data/iam/security-credentials/other", ""},
		{"/latest/meta-data/iam/security-credentials/local-credentials/x", ""},
		{"/latest/meta-data/iam/security-credentials//local-credentials", ""},
		{"/stop", ""},
	} {
		h := newIMDS()
		q := request{"GET", c.path, []string{tokenHeader, sessionToken(t, h, "60")}, ""}
		resp := q.to(h)
		body := readAll(t, resp.Body)
		switch {
		case c.want == "" && (resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "text/html" || !strings.Contains(body, "404 - Not Found")):
			t.Errorf("GET %s: %d %q, want 404", c.path, resp.StatusCode, body)
		case c.want != "" && (resp.StatusCode != 200 || body != c.want || resp.Header.Get("Content-Type") != "text/plain"):
			t.Errorf("GET %s: %d %q, want %q", c.path, resp.StatusCode, body, c.want)
		}
	}
}

func TestIMDSDocuments(t *testing.T) {
	h := newIMDS()
	h.Now = func() time.Time { return time.Date(2026, 11, 21, 4, 0, 0, 5, time.UTC) }
	session := sessionToken(t, h, "21600")
	const credentials = `{
  "Code": "Success",
  "LastUpdated": "2026-11-21T04:00:00Z",
  "Type": "AWS-HMAC",
  "AccessKeyId": "ASIAbase",
  "SecretAccessKey": "secret-Zq/base",
  "Token": "session-Xw+/=base",
  "Expiration": "2026-11-21T05:29:52Z"`
	for path, want := range map[string]string{
		credentialsPath:       credentials + "\n}",
		credentialsPath + "/": credentials + "\n}",
		"/latest/meta-data/iam/security-credentials-extended/local-credentials": credentials + ",\n  \"AccountId\": \"123456789012\"\n}",
		"/latest/meta-data/iam/info": "{\n  \"Code\": \"Success\",\n  \"LastUpdated\": \"2026-11-21T04:00:00Z\"\n}",
		"/latest/dynamic/instance-identity/document": `{
  "accountId": "123456789012",
  "availabilityZone": "eu-west-1a",
  "instanceId": "kura",
  "region": "eu-west-1",
  "version": "2017-09-30"
}`,
	} {
		for range 2 { // the second is the one that is kept
			resp := request{"GET", path, []string{tokenHeader, session}, ""}.to(h)
			if got := readAll(t, resp.Body); resp.StatusCode != 200 || got != want {
				t.Errorf("GET %s: %d %s, want %s", path, resp.StatusCode, got, want)
			}
		}
	}
}

// Without a region nothing is said of one, and a denial takes only the
// credentials away.
func TestIMDSWithoutThings(t *testing.T) {
	h := &IMDS{Hosts: []string{host}, Source: never(&Denial{"Locked", "the store is locked"}), Role: "admin"}
	session := sessionToken(t, h, "60")
	get := func(path string) (int, string) {
		resp := request{"GET", path, []string{tokenHeader, session}, ""}.to(h)
		return resp.StatusCode, readAll(t, resp.Body)
	}
	for path, want := range map[string]string{
		"/latest/meta-data/":                          "iam/\ninstance-id",
		"/latest/meta-data/iam/security-credentials/": "admin",
		"/latest/dynamic/instance-identity/document":  "{\n  \"instanceId\": \"kura\",\n  \"version\": \"2017-09-30\"\n}",
	} {
		if status, got := get(path); status != 200 || got != want {
			t.Errorf("GET %s: %d %q, want %q", path, status, got, want)
		}
	}
	for _, path := range []string{"/latest/meta-data/placement/", "/latest/meta-data/placement/region", "/latest/meta-data/placement/availability-zone", credentialsPath} {
		if status, got := get(path); status != 404 {
			t.Errorf("GET %s: %d %q, want 404", path, status, got)
		}
	}
	for _, path := range []string{"security-credentials/admin", "security-credentials-extended/admin", "info"} {
		status, got := get("/latest/meta-data/iam/" + path)
		var d struct{ Code, Message, AccessKeyId string }
		if err := json.Unmarshal([]byte(got), &d); err != nil || status != 200 || d.Code != "Locked" || d.Message != "the store is locked" || d.AccessKeyId != "" {
			t.Errorf("GET %s: %d %s, want the denial", path, status, got)
		}
	}
	h.Source = never(errors.New("a fact that is not for clients"))
	if _, got := get("/latest/meta-data/iam/security-credentials/admin"); strings.Contains(got, "fact") || !strings.Contains(got, "CredentialsUnavailable") {
		t.Errorf("the client is told %s", got)
	}
}

func TestIMDSRefuses(t *testing.T) {
	h := newIMDS()
	good := []string{tokenHeader, sessionToken(t, h, "60")}
	foreign := sessionToken(t, newIMDS(), "60")
	ttl := []string{ttlHeader, "60"}
	get := func(header ...string) request { return request{"GET", credentialsPath, header, ""} }
	put := func(header ...string) request { return request{"PUT", tokenPath, header, ""} }
	for _, c := range []struct {
		name   string
		q      request
		status int
	}{
		{"no session token", get(), 401},
		{"an empty session token", get(tokenHeader, ""), 401},
		{"a session token of another server", get(tokenHeader, foreign), 401},
		{"a session token that is changed", get(tokenHeader, flip(good[1], 0)), 401},
		{"one that is changed at the end", get(tokenHeader, flip(good[1], len(good[1])-2)), 401},
		{"a part of a session token", get(tokenHeader, good[1][1:]), 401},
		{"what is no session token", get(tokenHeader, strings.Repeat("!", len(good[1]))), 401},
		{"two session tokens", get(append(slices.Clone(good), good...)...), 401},
		{"no session token, and nothing there", request{"GET", "/nothing", nil, ""}, 401},

		{"no time to live", put(), 400},
		{"no time", put(ttlHeader, "0"), 400},
		{"a negative time", put(ttlHeader, "-1"), 400},
		{"too long a time", put(ttlHeader, "21601"), 400},
		{"an endless time", put(ttlHeader, "99999999999999999999"), 400},
		{"what is no time", put(ttlHeader, "1h"), 400},
		{"a sign", put(ttlHeader, "+60"), 400},
		{"an empty time", put(ttlHeader, ""), 400},
		{"two times", put(ttlHeader, "60", ttlHeader, "60"), 400},
		{"a time with a body", request{"PUT", tokenPath, ttl, "x"}, 400},
		{"a token through a proxy", put(append(ttl, "X-Forwarded-For", "10.0.0.1")...), 403},
		{"a token for a web page", put(append(ttl, "Origin", "http://evil.test")...), 403},
		{"a token for another name", put(append(ttl, "Host", "evil.test:41337")...), 403},

		{"another host", get(append(good, "Host", "evil.test")...), 403},
		{"Origin", get(append(good, "Origin", "null")...), 403},
		{"Sec-Fetch-Site", get(append(good, "Sec-Fetch-Site", "same-origin")...), 403},
		{"X-Forwarded-For", get(append(good, "X-Forwarded-For", "")...), 403},
		{"Forwarded", get(append(good, "Forwarded", "for=x")...), 403},
		{"a body", request{"GET", credentialsPath, good, "x"}, 400},
		{"the absolute form", request{"GET", "http://" + host + credentialsPath, good, ""}, 400},

		{"GET of the token's path", request{"GET", tokenPath, good, ""}, 405},
		{"PUT of another path", request{"PUT", credentialsPath, append(ttl, good...), ""}, 405},
		{"HEAD", request{"HEAD", credentialsPath, good, ""}, 405},
		{"POST", request{"POST", tokenPath, ttl, ""}, 405},
		{"OPTIONS", request{"OPTIONS", tokenPath, ttl, ""}, 405},
	} {
		resp := c.q.to(h)
		body := readAll(t, resp.Body)
		if resp.StatusCode != c.status || strings.Contains(body, "secret-") || strings.Contains(body, "session-") {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode, body, c.status)
		}
		if resp.Header.Get(ttlHeader) != "" || resp.Header.Get("Location") != "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", c.name, resp.Header)
		}
	}
}

// flip returns s with another letter at i.
func flip(s string, i int) string {
	other := "A"
	if s[i] == 'A' {
		other = "B"
	}
	return s[:i] + other + s[i+1:]
}

func TestIMDSTokensExpire(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := newIMDS()
	h.Now = func() time.Time { return now }
	get := request{"GET", credentialsPath, []string{tokenHeader, sessionToken(t, h, "60")}, ""}
	for _, c := range []struct {
		after  time.Duration
		status int
	}{{0, 200}, {59 * time.Second, 200}, {60 * time.Second, 401}, {time.Hour, 401}} {
		now = time.Unix(1_800_000_000, 0).Add(c.after)
		if resp := get.to(h); resp.StatusCode != c.status {
			t.Errorf("%v after a token for a minute: %d, want %d", c.after, resp.StatusCode, c.status)
		}
	}
}

// Version 1 is what there was before session tokens. A token that is sent all
// the same has to be good.
func TestIMDSv1(t *testing.T) {
	h := newIMDS()
	h.V1 = true
	for _, c := range []struct {
		name   string
		q      request
		status int
	}{
		{"without a token", request{"GET", credentialsPath, nil, ""}, 200},
		{"with a token", request{"GET", credentialsPath, []string{tokenHeader, sessionToken(t, h, "60")}, ""}, 200},
		{"with a wrong token", request{"GET", credentialsPath, []string{tokenHeader, "x"}, ""}, 401},
		{"with another host", request{"GET", credentialsPath, []string{"Host", "evil.test"}, ""}, 403},
	} {
		if resp := c.q.to(h); resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
	}
}
