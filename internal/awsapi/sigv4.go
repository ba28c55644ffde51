package awsapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/cred"
)

// The algorithm is described in
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
)

// sign signs r, whose body is given apart, by setting its headers X-Amz-Date,
// X-Amz-Security-Token and Authorization. All headers that r has by then are
// signed, except for User-Agent, which proxies change. The path of r must be
// in normal form.
func sign(r *http.Request, body []byte, from cred.Credentials, service, region string, now time.Time) {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(timeFormat))
	if !from.SessionToken.IsZero() {
		r.Header.Set("X-Amz-Security-Token", from.SessionToken.Reveal())
	}
	header := r.Header.Clone()
	header.Del("Authorization")
	header.Del("User-Agent")
	header.Set("Host", r.Host)
	if len(body) > 0 {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}

	scope := now.Format("20060102") + "/" + region + "/" + service + "/aws4_request"
	canonical, signed := canonicalRequest(r.Method, r.URL.EscapedPath(), r.URL.Query(), header, body)
	r.Header.Set("Authorization", algorithm+
		" Credential="+from.AccessKeyID+"/"+scope+
		", SignedHeaders="+signed+
		", Signature="+signature(from.SecretAccessKey, scope, stringToSign(canonical, scope, now)))
}

// canonicalRequest returns the canonical form of a request and the list of
// its headers' names. The path is as it stands in the request line: so one
// that is escaped there is escaped once more, as all services but S3 want it.
func canonicalRequest(method, path string, query url.Values, header http.Header, body []byte) (canonical, signed string) {
	values := make(map[string]string, len(header)) // by name in lower case
	for name, list := range header {
		for i, v := range list {
			words := strings.FieldsFunc(strings.TrimSpace(v), func(r rune) bool { return r == ' ' })
			list := strings.Join(words, " ")
			if i > 0 {
				list = values[strings.ToLower(name)] + "," + list
			}
			values[strings.ToLower(name)] = list
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	signed = strings.Join(names, ";")

	var b strings.Builder
	b.WriteString(method + "\n" + escape(path, "/") + "\n" + canonicalQuery(query) + "\n")
	for _, name := range names {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	hash := sha256.Sum256(body)
	b.WriteString("\n" + signed + "\n" + hex.EncodeToString(hash[:]))
	return b.String(), signed
}

// canonicalQuery returns query sorted by its names and then its values, in the
// order that they have when escaped.
func canonicalQuery(query url.Values) string {
	var pairs [][2]string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, [2]string{escape(name, ""), escape(v, "")})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

// escape percent-encodes s but for what RFC 3986 calls unreserved and the
// bytes of keep.
func escape(s, keep string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~", c) >= 0, strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}

func stringToSign(canonical, scope string, now time.Time) string {
	hash := sha256.Sum256([]byte(canonical))
	return algorithm + "\n" + now.Format(timeFormat) + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
}

func signature(secret cred.Secret, scope, toSign string) string {
	key := []byte("AWS4" + secret.Reveal())
	for _, part := range strings.Split(scope, "/") { // date, region, service, "aws4_request"
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
