package awstest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The verifier accepts AWS's own examples of signed requests, and none of
// them with one character of the signature changed.
func TestVectors(t *testing.T) {
	dirs, _ := filepath.Glob("../../../shared/vectors/sigv4/*/context.json")
	if len(dirs) == 0 {
		t.Skip("../shared/vectors is not here")
	}
	tested := 0
	for _, file := range dirs {
		dir := filepath.Dir(file)
		name := filepath.Base(dir)
		var context struct {
			Credentials struct {
				Secret string `json:"secret_access_key"`
			}
			Normalize bool
		}
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &context) != nil {
			t.Fatal(file, err)
		}
		switch {
		case !context.Normalize: // the way of S3 alone
			continue
		case name == "get-utf8": // no client sends a path like this
			continue
		case name == "post-sts-header-after": // the token is not signed
			continue
		}
		for _, form := range []string{"header", "query"} {
			text, err := os.ReadFile(filepath.Join(dir, form+"-signed-request.txt"))
			if err != nil {
				t.Fatal(err)
			}
			rq, err := parse(text)
			if err != nil {
				continue // net/http does not read raw blanks and the like
			}
			sig, err := parseSignature(rq)
			if err != nil || sig == nil {
				t.Errorf("%s %s: parseSignature: %v", name, form, err)
				continue
			}
			rq.sig = sig
			if !sig.verify(rq, context.Credentials.Secret) {
				t.Errorf("%s %s: not accepted", name, form)
			}
			sig.signature = sig.signature[1:] + "0"
			if sig.verify(rq, context.Credentials.Secret) {
				t.Errorf("%s %s: accepted with another signature", name, form)
			}
			tested++
		}
	}
	if tested < 40 {
		t.Errorf("only %d vectors could be read", tested)
	}
}

func parse(text []byte) (*request, error) {
	head, body, _ := bytes.Cut(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	head = append(bytes.TrimRight(head, "\n"), "\n\n"...)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, err
	}
	return &request{Request: r, body: body}, nil
}

// What is accepted is what was signed: the AWS SDK's signature does not hold
// for a request that differs in anything.
func TestTampered(t *testing.T) {
	for name, tamper := range map[string]func(*http.Request) string{
		"nothing": nil,
		"method":  func(r *http.Request) string { r.Method = "PUT"; return "" },
		"path":    func(r *http.Request) string { r.URL.Path += "x"; return "" },
		"query":   func(r *http.Request) string { r.URL.RawQuery += "&b=2"; return "" },
		"host":    func(r *http.Request) string { r.Host = "evil.example"; return "" },
		"header":  func(r *http.Request) string { r.Header.Set("X-Amz-Security-Token", "other"); return "" },
		"added":   func(r *http.Request) string { r.Header.Set("X-Amz-Extra", "other"); return "" },
		"body":    func(r *http.Request) string { return "other" },
		"hash":    func(r *http.Request) string { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"); return "" },
	} {
		for _, service := range []string{"sts", "s3"} {
			body := "Action=GetCallerIdentity"
			r := httptest.NewRequest("POST", "http://127.0.0.1/a%20b/c?z=%2F+&a=1", strings.NewReader(body))
			r.ContentLength = int64(len(body))
			r.Header.Set("X-Amz-Content-Sha256", hash([]byte(body)))
			k := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "token"}
			err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }).
				SignHTTP(t.Context(), k, r, hash([]byte(body)), service, "eu-west-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if tamper != nil {
				if other := tamper(r); other != "" {
					body = other
				}
			}
			rq := &request{Request: r, body: []byte(body)}
			sig, err := parseSignature(rq)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := sig.verify(rq, "secret"), tamper == nil; got != want {
				t.Errorf("%s: %s changed: accepted %v, want %v", service, name, got, want)
			}
			if sig.verify(rq, "other") {
				t.Errorf("%s: %s changed: accepted with another secret", service, name)
			}
		}
	}
}

// A signature must cover the host, and outside of S3 the body.
func TestUnderSigned(t *testing.T) {
	for _, test := range []struct {
		service, headers, payload string
		want                      bool
	}{
		{"sts", "host;x-amz-content-sha256;x-amz-date", hash([]byte("body")), true},
		{"sts", "host;x-amz-content-sha256;x-amz-date", unsignedPayload, false},
		{"sts", "x-amz-content-sha256;x-amz-date", hash([]byte("body")), false},
		{"s3", "host;x-amz-content-sha256;x-amz-date", unsignedPayload, true},
		{"s3", "host;x-amz-date", "", false},
	} {
		rq := &request{Request: httptest.NewRequest("POST", "http://127.0.0.1/", nil), body: []byte("body")}
		rq.Header.Set("X-Amz-Date", "20260101T000000Z")
		if test.payload != "" {
			rq.Header.Set("X-Amz-Content-Sha256", test.payload)
		}
		sig := &signature{
			day: "20260101", region: "us-east-1", service: test.service,
			date: "20260101T000000Z", headers: strings.Split(test.headers, ";"),
		}
		sig.signature = hex.EncodeToString(sig.sign("secret", sig.canonical(rq, test.payload)))
		if got := sig.verify(rq, "secret"); got != test.want {
			t.Errorf("%s, signed %s, payload %q: accepted %v, want %v", test.service, test.headers, test.payload, got, test.want)
		}
	}
}

func TestDateOfScope(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 1, 0, 0, time.UTC)
	for day, want := range map[string]bool{"20260101": true, "20260102": false} {
		sig := &signature{day: day, date: "20260101T235900Z", service: "sts"}
		if err := sig.checkDate(now, authErrorsOf("sts")); (err == nil) != want {
			t.Errorf("scope of %s, date %s: %v, want accepted %v", day, sig.date, err, want)
		}
	}
}

// Whatever the AWS SDK signs and sends is accepted, and not as anything else.
func FuzzVerify(f *testing.F) {
	f.Add("a b/c", "z=1&a=%2F+&a", "  two  blanks ", "body", true)
	f.Add("", "", "", "", false)
	f.Fuzz(func(t *testing.T, name, query, header, body string, isS3 bool) {
		service := "sts"
		if isS3 {
			service = "s3"
		}
		values, err := url.ParseQuery(query)
		if err != nil || !utf8.ValidString(name) || strings.ContainsFunc(header, unicode.IsControl) {
			return // no request that could be sent
		}
		u := url.URL{Scheme: "http", Host: "127.0.0.1", Path: path.Clean("/" + name), RawQuery: values.Encode()}
		r, err := http.NewRequest("POST", u.String(), strings.NewReader(body))
		if err != nil {
			return // no request that could be sent
		}
		r.Header.Set("X-Amz-Fuzz", header)
		r.Header.Set("X-Amz-Content-Sha256", hash([]byte(body)))
		err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = isS3 }).
			SignHTTP(t.Context(), ann, r, hash([]byte(body)), service, "eu-west-1", time.Now())
		if err != nil {
			return // no request that could be sent
		}
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			return // no request that could be sent
		}
		rq, err := parse(wire.Bytes())
		if err != nil {
			return // no request that could be sent
		}
		rq.body = []byte(body)
		sig, err := parseSignature(rq)
		if err != nil {
			t.Fatal(err)
		}
		if !sig.verify(rq, SecretAccessKey) {
			t.Errorf("the signature of %q %q %q is not accepted", u.String(), header, body)
		}
		rq.body = append(rq.body, 'x')
		if sig.verify(rq, SecretAccessKey) {
			t.Errorf("the signature of %q holds for another body", body)
		}
	})
}

func TestMalformedAuthorization(t *testing.T) {
	c := start(t, Config{})
	const good = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0"
	for _, auth := range []string{
		"Basic abc",
		"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sts/aws4_request, Signature=0",
		strings.Replace(good, "/sts", "", 1),
		good, // no date
	} {
		r, _ := http.NewRequest("POST", c.URL, strings.NewReader("Action=GetCallerIdentity&Version=2011-06-15"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", auth)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(body), "<Code>IncompleteSignature</Code>") {
			t.Errorf("%q: status %d: %s", auth, resp.StatusCode, body)
		}
	}
}

// A URL that was presigned, as for Kubernetes logins, is good for as long as
// it says.
func TestPresigned(t *testing.T) {
	c := start(t, Config{})
	r, _ := http.NewRequest("GET", c.URL+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	url, _, err := v4.NewSigner().PresignHTTP(t.Context(), ann, r, hash(nil), "sts", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		url    string
		offset time.Duration
		status int
	}{
		{url, 0, 200},
		{url, 50 * time.Second, 200},
		{url, 70 * time.Second, 403},
		{strings.Replace(url, "GetCallerIdentity", "GetSessionToken", 1), 0, 403},
	} {
		c.SetClockOffset(test.offset)
		resp, err := http.Get(test.url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status {
			t.Errorf("after %v: status %d, want %d", test.offset, resp.StatusCode, test.status)
		}
	}
}
