package awsapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"kura/internal/cred"
)

// vectors is the folder of AWS's own cases of signing, from aws-c-auth.
const vectors = "../../../shared/vectors/sigv4"

func TestSigningVectors(t *testing.T) {
	dirs, _ := filepath.Glob(filepath.Join(vectors, "*"))
	if len(dirs) == 0 {
		t.Skip("../shared/vectors is not here")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			read := func(name string) string {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
			var context struct {
				Credentials struct {
					Secret string `json:"secret_access_key"`
					Token  string
				}
				Region, Service  string
				Timestamp        time.Time
				Normalize        bool
				SignBody         bool `json:"sign_body"`
				OmitSessionToken bool `json:"omit_session_token"`
			}
			if err := json.Unmarshal([]byte(read("context.json")), &context); err != nil {
				t.Fatal(err)
			}
			v := parseVector(t, read("request.txt"))
			if context.Normalize {
				v.path = normalPath(v.path)
			}
			v.header.Set("X-Amz-Date", context.Timestamp.Format(timeFormat))
			if context.Credentials.Token != "" && !context.OmitSessionToken {
				v.header.Set("X-Amz-Security-Token", context.Credentials.Token)
			}
			if context.SignBody {
				hash := sha256.Sum256(v.body)
				v.header.Set("X-Amz-Content-Sha256", hex.EncodeToString(hash[:]))
			}

			canonical, _ := canonicalRequest(v.method, v.path, v.query, v.header, v.body)
			if want := read("header-canonical-request.txt"); canonical != want {
				t.Errorf("canonical request:\n%s\nwant:\n%s", canonical, want)
			}
			scope := context.Timestamp.Format("20060102") + "/" + context.Region + "/" + context.Service + "/aws4_request"
			toSign := stringToSign(canonical, scope, context.Timestamp)
			if want := read("header-string-to-sign.txt"); toSign != want {
				t.Errorf("string to sign:\n%s\nwant:\n%s", toSign, want)
			}
			got := signature(cred.NewSecret(context.Credentials.Secret), scope, toSign)
			if want := read("header-signature.txt"); got != want {
				t.Errorf("signature = %s, want %s", got, want)
			}
		})
	}
}

type vector struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// parseVector reads a request as the vectors have it: not all of them are
// valid HTTP.
func parseVector(t *testing.T, text string) vector {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	path, rawQuery, _ := strings.Cut(strings.TrimSuffix(rest, " HTTP/1.1"), "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		t.Fatal(err)
	}
	header, last := http.Header{}, ""
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, " "): // goes on with the line before
			values := header[last]
			values[len(values)-1] += line
		case ok:
			last = http.CanonicalHeaderKey(name)
			header.Add(last, value)
		}
	}
	return vector{method, path, query, header, []byte(strings.TrimSuffix(body, "\n"))}
}

// FuzzSign: what we sign, the AWS SDK signs the same.
func FuzzSign(f *testing.F) {
	f.Add("/", "", "application/json", "", "wJalrXUtnFEMI/K7MDENG", "", int64(1440938160))
	f.Add("/a%20b/ü/", "b=2&a=1&a=%2f&a", " x  y ", "Action=GetCallerIdentity", "s", "token/+==", int64(0))
	f.Add("/federation/credentials", "role_name=a+b&account_id=111122223333", "", "{}", "s", "t", int64(1e9))
	f.Fuzz(func(t *testing.T, path, query, value, body, secret, token string, seconds int64) {
		u := &url.URL{Scheme: "https", Host: "sts.eu-west-1.amazonaws.com:444", Path: path, RawQuery: query}
		if !strings.HasPrefix(path, "/") {
			t.Skip("no path")
		}
		if _, err := url.ParseQuery(query); err != nil {
			t.Skip("no query")
		}
		request := func() *http.Request {
			r, err := http.NewRequest("POST", u.String(), strings.NewReader(body))
			if err != nil {
				t.Skip("no URL")
			}
			r.Header.Set("Content-Type", value)
			r.Header["X-Amz-Sso_bearer_token"] = []string{value, "second " + value}
			r.Header.Set("User-Agent", "kura")
			return r
		}
		now := time.Unix(seconds%4e9, 0)

		ours := request()
		sign(ours, []byte(body), cred.Credentials{
			AccessKeyID:     "AKIAIOSFODNN7EXAMPLE",
			SecretAccessKey: cred.NewSecret(secret),
			SessionToken:    cred.NewSecret(token),
		}, "sts", "eu-west-1", now)

		theirs := request()
		hash := sha256.Sum256([]byte(body))
		err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{
			AccessKeyID:     "AKIAIOSFODNN7EXAMPLE",
			SecretAccessKey: secret,
			SessionToken:    token,
		}, theirs, hex.EncodeToString(hash[:]), "sts", "eu-west-1", now)
		if err != nil {
			t.Skip(err)
		}
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
			if got, want := ours.Header.Get(name), theirs.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
	})
}
