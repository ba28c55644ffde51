package awstest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A signature is what a request says of its Signature Version 4, in the
// Authorization header or, for presigned URLs, in the query.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type signature struct {
	keyID, day, region, service string // the credential scope

	date      string // X-Amz-Date
	headers   []string
	token     string
	signature string
	presigned bool
	valid     time.Duration // of a presigned URL
}

const (
	algorithm       = "AWS4-HMAC-SHA256"
	dateFormat      = "20060102T150405Z"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// parseSignature returns nil and no error for a request that is not signed.
func parseSignature(rq *request) (*signature, error) {
	auth := rq.Header.Get("Authorization")
	query := rq.URL.Query()
	var s *signature
	var credential, headers string
	switch {
	case auth != "":
		rest, ok := strings.CutPrefix(auth, algorithm+" ")
		if !ok {
			return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "Unsupported AWS 'algorithm'.")
		}
		fields := map[string]string{}
		for field := range strings.SplitSeq(rest, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			fields[name] = value
		}
		for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
			if fields[name] == "" {
				return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "Authorization header requires '%s' parameter.", name)
			}
		}
		credential, headers = fields["Credential"], fields["SignedHeaders"]
		s = &signature{
			date:      rq.Header.Get("X-Amz-Date"),
			token:     rq.Header.Get("X-Amz-Security-Token"),
			signature: fields["Signature"],
		}
	case query.Has("X-Amz-Signature"):
		credential, headers = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders")
		seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
		if err != nil || seconds < 1 || seconds > 7*24*3600 || query.Get("X-Amz-Algorithm") != algorithm {
			return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "the query parameters of the signature are not valid")
		}
		s = &signature{
			date:      query.Get("X-Amz-Date"),
			token:     query.Get("X-Amz-Security-Token"),
			signature: query.Get("X-Amz-Signature"),
			presigned: true,
			valid:     time.Duration(seconds) * time.Second,
		}
	default:
		return nil, nil
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" {
		return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	s.keyID, s.day, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
	s.headers = strings.Split(headers, ";")
	if s.date == "" {
		return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return s, nil
}

// authErrors are the words in which a service refuses a signature.
type authErrors struct {
	unknownKey, badToken, badSignature, expired *refusal
	skew                                        time.Duration // that it allows
}

// authErrorsOf returns the words of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) and
// those of all others.
func authErrorsOf(service string) authErrors {
	if service == "s3" {
		return authErrors{
			unknownKey:   refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
			badToken:     refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid."),
			badSignature: refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."),
			expired:      refuse(http.StatusBadRequest, "ExpiredToken", "The provided token has expired."),
			skew:         15 * time.Minute,
		}
	}
	invalid := refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	return authErrors{
		unknownKey:   invalid,
		badToken:     invalid,
		badSignature: refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."),
		expired:      refuse(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"),
		skew:         5 * time.Minute,
	}
}

// checkScope checks that a signature is for the service and region whose host
// name the client used, if it is one of AWS's own. Under any other name, such
// as 127.0.0.1, all regions are served.
func (s *signature) checkScope(rq *request) error {
	host := strings.ToLower(rq.Host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host, ok := strings.CutSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com")
	if !ok {
		return nil
	}
	service, region, _ := strings.Cut(host, ".")
	service = strings.TrimSuffix(service, "-fips")
	// The names without a region are of us-east-1, as are IAM's names.
	region = cmp.Or(region, "us-east-1")
	if host == "iam.us-gov" {
		region = "us-gov-west-1"
	}
	if s.service != service {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to correct service: '%s'. ", service)
	}
	if s.region != region {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region. ")
	}
	return nil
}

// checkDate checks the date of a signature against the Cloud's clock.
func (s *signature) checkDate(now time.Time, errs authErrors) error {
	when, err := time.Parse(dateFormat, s.date)
	if err != nil {
		return refuse(http.StatusBadRequest, "IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", s.date)
	}
	if s.day != when.Format("20060102") {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.day, when.Format("20060102"), s.date)
	}
	age := errs.skew
	if s.presigned {
		age = s.valid
	}
	oldest, newest := now.Add(-age), now.Add(errs.skew)
	if !when.Before(oldest) && !when.After(newest) {
		return nil
	}
	f := func(t time.Time) string { return t.UTC().Format(dateFormat) }
	switch {
	case s.service == "s3":
		return refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	case when.Before(oldest):
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Signature expired: %s is now earlier than %s (%s - %d min.)", s.date, f(oldest), f(now), int(age.Minutes()))
	}
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Signature not yet current: %s is still later than %s (%s + %d min.)", s.date, f(newest), f(now), int(errs.skew.Minutes()))
}

// verify reports whether secret made the signature of this very request.
func (s *signature) verify(rq *request, secret string) bool {
	if !slices.Contains(s.headers, "host") {
		return false
	}
	for name := range rq.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(s.headers, name) {
			return false // AWS wants all of these signed
		}
	}
	payload, ok := s.payload(rq)
	if !ok {
		return false
	}
	want := hex.EncodeToString(s.sign(secret, s.canonical(rq, payload)))
	return hmac.Equal([]byte(want), []byte(s.signature))
}

// payload returns the hash of the body, which must be as the client says it
// is, or the word that stands for it. Only S3 takes a body that is not signed.
func (s *signature) payload(rq *request) (string, bool) {
	said := rq.Header.Get("X-Amz-Content-Sha256")
	if s.service == "s3" && s.presigned {
		return unsignedPayload, true
	}
	if s.service == "s3" && said == unsignedPayload {
		return said, true
	}
	actual := hash(rq.body)
	if s.service == "s3" || said != "" {
		return actual, said == actual
	}
	return actual, true
}

// canonical returns the canonical request.
func (s *signature) canonical(rq *request, payload string) string {
	var b strings.Builder
	b.WriteString(rq.Method + "\n" + s.canonicalPath(rq) + "\n" + canonicalQuery(rq.URL.RawQuery) + "\n")
	for _, name := range s.headers {
		values := slices.Clone(rq.Header.Values(name))
		switch name {
		case "host":
			values = []string{rq.Host}
		case "content-length":
			values = []string{strconv.Itoa(len(rq.body))}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		b.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	b.WriteString("\n" + strings.Join(s.headers, ";") + "\n" + payload)
	return b.String()
}

// canonicalPath returns the path with its segments encoded once more than
// they were on the wire. S3 alone signs it as it was on the wire.
func (s *signature) canonicalPath(rq *request) string {
	p := cmp.Or(rq.URL.EscapedPath(), "/")
	if s.service == "s3" {
		return p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return strings.ReplaceAll(uriEncode(clean), "%2F", "/")
}

// canonicalQuery returns the parameters encoded and sorted, without that of
// the signature itself.
func canonicalQuery(raw string) string {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return ""
	}
	var pairs []string
	for name, vs := range values {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, v := range vs {
			pairs = append(pairs, uriEncode(name)+"="+uriEncode(v))
		}
	}
	slices.SortFunc(pairs, func(a, b string) int {
		nameA, valueA, _ := strings.Cut(a, "=")
		nameB, valueB, _ := strings.Cut(b, "=")
		return cmp.Or(cmp.Compare(nameA, nameB), cmp.Compare(valueA, valueB))
	})
	return strings.Join(pairs, "&")
}

// uriEncode encodes all but the unreserved characters of RFC 3986.
func uriEncode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// sign returns the signature of a canonical request.
func (s *signature) sign(secret, canonical string) []byte {
	scope := s.day + "/" + s.region + "/" + s.service + "/aws4_request"
	text := algorithm + "\n" + s.date + "\n" + scope + "\n" + hash([]byte(canonical))
	k := []byte("AWS4" + secret)
	for _, part := range []string{s.day, s.region, s.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(part))
		k = mac.Sum(nil)
	}
	return k
}
