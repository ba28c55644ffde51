package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
)

// secrets are what no answer to an attack may hold any part of.
func secrets(more ...string) []string {
	c := credentialsOf("base")
	return append([]string{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), credentialsOf("work").AccessKeyID}, more...)
}

// send writes raw bytes to a server, says that there are no more, and returns
// all that comes back until the server hangs up.
func send(t *testing.T, addr, raw string) string {
	t.Helper()
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { // not to wait for a server that does not read on
		io.WriteString(c, raw)
		c.(*net.TCPConn).CloseWrite()
	}()
	var got bytes.Buffer
	if _, err := io.Copy(&got, c); err != nil && got.Len() == 0 && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%.80q: %v", raw, err)
	}
	return got.String()
}

// What an attacker can send to the socket, byte for byte. He has no token; in
// the rows where he has one, it is in a request that comes from elsewhere or
// that is hidden in another.
func TestAttacks(t *testing.T) {
	var log logbook
	var session string
	container := start(t, func(host string) http.Handler {
		h := containerAt(host).(*Container)
		h.Log = log.logger()
		return h
	}, Options{Log: log.logger()}, patient)
	imds := start(t, func(host string) http.Handler {
		h := newIMDS()
		h.Hosts, h.Log = []string{host}, log.logger()
		req := request{"PUT", tokenPath, []string{ttlHeader, "600", "Host", host}, ""}
		session = readAll(t, req.to(h).Body)
		return h
	}, Options{Log: log.logger()}, patient)

	// Headers as they follow the request line. C is the container's, with the
	// token in place; I the metadata service's, with a session token.
	hostC, hostI := "Host: "+container+"\r\n", "Host: "+imds+"\r\n"
	auth, sess := "Authorization: "+token+"\r\n", tokenHeader+": "+session+"\r\n"
	ttl := ttlHeader + ": 600\r\n"
	rolePath := credentialsPath
	inner := "GET / HTTP/1.1\r\n" + hostC + auth + "\r\n"
	innerI := "GET " + rolePath + " HTTP/1.1\r\n" + hostI + sess + "\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)

	for _, c := range []struct {
		name, addr, raw string
		want            string // the status of the only response; "" is none
	}{
		// To know that the tests could fail.
		{"none at all", container, "GET / HTTP/1.1\r\n" + hostC + auth + "Connection: close\r\n\r\n", "200"},
		{"none at all", imds, "GET " + rolePath + " HTTP/1.1\r\n" + hostI + sess + "Connection: close\r\n\r\n", "200"},

		{"none, with all the header there may be", container, "GET / HTTP/1.1\r\n" + hostC + auth + "Connection: close\r\nX: " + strings.Repeat("x", headerSize-200) + "\r\n\r\n", "200"},

		{"foreign Host", container, "GET / HTTP/1.1\r\nHost: evil.test\r\n" + auth + "\r\n", "403"},
		{"foreign Host", imds, "GET " + rolePath + " HTTP/1.1\r\nHost: evil.test\r\n" + sess + "\r\n", "403"},
		{"foreign Host, for a token", imds, "PUT " + tokenPath + " HTTP/1.1\r\nHost: evil.test\r\n" + ttl + "\r\n", "403"},
		{"no Host", container, "GET / HTTP/1.1\r\n" + auth + "\r\n", "400"},
		{"no Host in HTTP/1.0", container, "GET / HTTP/1.0\r\n" + auth + "\r\n", "403"},
		{"two Hosts", container, "GET / HTTP/1.1\r\nHost: evil.test\r\n" + hostC + auth + "\r\n", "400"},
		{"two Hosts, the other way round", container, "GET / HTTP/1.1\r\n" + hostC + "Host: evil.test\r\n" + auth + "\r\n", "400"},
		{"Host on two lines", container, "GET / HTTP/1.1\r\nHost: evil.test\r\n " + container + "\r\n" + auth + "\r\n", "400"},
		{"Host with a user", container, "GET / HTTP/1.1\r\nHost: x@" + container + "\r\n" + auth + "\r\n", "400"},
		{"a host in X-Forwarded-Host", container, "GET / HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: " + container + "\r\n" + auth + "\r\n", "403"},
		{"absolute form", container, "GET http://" + container + "/ HTTP/1.1\r\n" + hostC + auth + "\r\n", "400"},
		{"absolute form over a foreign Host", container, "GET http://" + container + "/ HTTP/1.1\r\nHost: evil.test\r\n" + auth + "\r\n", "400"},
		{"absolute form to a foreign host", container, "GET http://evil.test/ HTTP/1.1\r\n" + hostC + auth + "\r\n", "400"},
		{"absolute form", imds, "GET http://" + imds + rolePath + " HTTP/1.1\r\n" + hostI + sess + "\r\n", "400"},
		{"CONNECT", container, "CONNECT " + container + " HTTP/1.1\r\n" + hostC + auth + "\r\n", "405"},
		{"OPTIONS *", container, "OPTIONS * HTTP/1.1\r\n" + hostC + auth + "\r\n", "405"},
		{"GET *", container, "GET * HTTP/1.1\r\n" + hostC + auth + "\r\n", "400"},

		{"no token", container, "GET / HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"wrong token", container, "GET / HTTP/1.1\r\n" + hostC + "Authorization: " + strings.Repeat("A", len(token)) + "\r\n\r\n", "403"},
		{"wrong token and the right one", container, "GET / HTTP/1.1\r\n" + hostC + "Authorization: x\r\n" + auth + "\r\n", "403"},
		{"token in the query", container, "GET /?token=" + token + " HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"token in the path", container, "GET /" + token + " HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"token in a cookie", container, "GET / HTTP/1.1\r\n" + hostC + "Cookie: Authorization=" + token + "\r\n\r\n", "403"},
		{"token in a trailer", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\n" + auth + "\r\n", "400"},
		{"a profile without a token", container, "GET /profile/work HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"a role without a token", container, "GET /role-arn/" + arn + " HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"version 1", imds, "GET " + rolePath + " HTTP/1.1\r\n" + hostI + "\r\n", "401"},
		{"wrong session token", imds, "GET " + rolePath + " HTTP/1.1\r\n" + hostI + tokenHeader + ": " + strings.Repeat("A", len(session)) + "\r\n\r\n", "401"},
		{"session token in the query", imds, "GET " + rolePath + "?" + tokenHeader + "=" + session + " HTTP/1.1\r\n" + hostI + "\r\n", "401"},

		{"a web page", container, "GET / HTTP/1.1\r\n" + hostC + auth + "Origin: http://evil.test\r\n\r\n", "403"},
		{"a web page", imds, "PUT " + tokenPath + " HTTP/1.1\r\n" + hostI + ttl + "Origin: null\r\n\r\n", "403"},
		{"a fetch of a web page", container, "GET / HTTP/1.1\r\n" + hostC + auth + "Sec-Fetch-Site: cross-site\r\n\r\n", "403"},
		{"a fetch of a web page", imds, "GET " + rolePath + " HTTP/1.1\r\n" + hostI + sess + "sec-fetch-site: same-site\r\n\r\n", "403"},
		{"a question beforehand", container, "OPTIONS / HTTP/1.1\r\n" + hostC + "Origin: http://evil.test\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n", "405"},
		{"a question beforehand", imds, "OPTIONS " + tokenPath + " HTTP/1.1\r\n" + hostI + "Origin: http://evil.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n", "405"},
		{"a form", container, "POST / HTTP/1.1\r\n" + hostC + auth + "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\na=b", "405"},
		{"a proxy", container, "GET / HTTP/1.1\r\n" + hostC + auth + "X-Forwarded-For: 127.0.0.1\r\n\r\n", "403"},
		{"a proxy", imds, "PUT " + tokenPath + " HTTP/1.1\r\n" + hostI + ttl + "x-forwarded-for: 10.0.0.1\r\n\r\n", "403"},
		{"a web socket", container, "GET / HTTP/1.1\r\n" + hostC + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", "403"},
		{"HTTP/2", container, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "405"},
		{"an upgrade to HTTP/2", container, "GET / HTTP/1.1\r\n" + hostC + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "403"},
		{"TLS", container, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		{"HTTP/0.9", container, "GET /\r\n\r\n", "400"},
		{"nothing but lines", container, "\r\n\r\n\r\n\r\n", "400"},
		{"zeros", container, strings.Repeat("\x00", 4096), ""},

		{"two slashes", container, "GET //profile/work HTTP/1.1\r\n" + hostC + "\r\n", "403"},
		{"a path that looks like a host", container, "GET //" + container + "/ HTTP/1.1\r\nHost: evil.test\r\n" + auth + "\r\n", "403"},
		{"a way back", imds, "GET /latest/api/../meta-data/iam/security-credentials/local-credentials HTTP/1.1\r\n" + hostI + "\r\n", "401"},
		{"a way back with a token", imds, "GET /latest/api/../meta-data/iam/security-credentials/local-credentials HTTP/1.1\r\n" + hostI + sess + "Connection: close\r\n\r\n", "404"},
		{"a slash encoded", imds, "GET " + strings.Replace(rolePath, "/local", "%2flocal", 1) + " HTTP/1.1\r\n" + hostI + sess + "Connection: close\r\n\r\n", "404"},
		{"a zero encoded", imds, "GET " + rolePath + "%00 HTTP/1.1\r\n" + hostI + sess + "Connection: close\r\n\r\n", "404"},
		{"a bad code", container, "GET /%zz HTTP/1.1\r\n" + hostC + auth + "\r\n", "400"},
		{"a blank in the path", container, "GET / x HTTP/1.1\r\n" + hostC + auth + "\r\n", "400"},
		{"a line break in a header", container, "GET / HTTP/1.1\r\n" + hostC + "X: a\rAuthorization: " + token + "\r\n\r\n", "400"},

		// A request in the body of another. If it was served there were a second
		// response.
		{"smuggled by length", container, "GET / HTTP/1.1\r\n" + hostC + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(inner)) + inner, "400"},
		{"smuggled by a short length", container, "GET / HTTP/1.1\r\n" + hostC + "Content-Length: 1\r\n\r\nx" + inner, "400"},
		{"smuggled by two lengths", container, "GET / HTTP/1.1\r\n" + hostC + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner, "400"},
		{"smuggled by a list of lengths", container, "GET / HTTP/1.1\r\n" + hostC + fmt.Sprintf("Content-Length: 0, %d\r\n\r\n", len(inner)) + inner, "400"},
		{"smuggled by a signed length", container, "GET / HTTP/1.1\r\n" + hostC + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(inner)) + inner, "400"},
		{"smuggled in a chunk", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding: chunked\r\n\r\n" + chunk, "400"},
		{"smuggled after a chunk", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "400"},
		{"smuggled by length and chunk", container, "GET / HTTP/1.1\r\n" + hostC + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, "400"},
		{"smuggled by an unknown coding", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding: xchunked\r\n\r\n" + chunk, "501"},
		{"smuggled by two codings", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunk, "501"},
		{"smuggled by a blank before the colon", container, "GET / HTTP/1.1\r\n" + hostC + "Transfer-Encoding : chunked\r\n\r\n" + chunk, "400"},
		{"smuggled by an expectation", container, "GET / HTTP/1.1\r\n" + hostC + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner, "400"},
		{"smuggled after a refusal", container, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n" + inner, "403"},
		{"smuggled in the target", container, "GET /?HTTP/1.1%0d%0aHost:%20" + container + " HTTP/1.1\r\nHost: evil.test\r\n" + auth + "\r\n", "403"},
		{"smuggled by length", imds, "PUT " + tokenPath + " HTTP/1.1\r\n" + hostI + ttl + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(innerI)) + innerI, "400"},
		{"smuggled after a refusal", imds, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n" + innerI, "403"},
		{"smuggled in HTTP/1.0", container, "GET / HTTP/1.0\r\n" + hostC + "Transfer-Encoding: chunked\r\n\r\n" + chunk, "403"},

		{"a great header", container, "GET / HTTP/1.1\r\n" + hostC + auth + "X: " + strings.Repeat("x", headerSize) + "\r\n\r\n", "431"},
		{"many headers", container, "GET / HTTP/1.1\r\n" + hostC + auth + strings.Repeat("X: y\r\n", headerSize/6) + "\r\n", "431"},
		{"a long target", container, "GET /" + strings.Repeat("x", headerSize) + " HTTP/1.1\r\n" + hostC + auth + "\r\n", "431"},
		{"an endless line", container, strings.Repeat("x", 1<<20), "431"},
		{"half a request", container, "GET / HTTP/1.1\r\n" + hostC + auth, "400"},
		{"half a line", container, "GET / HT", "400"},
		{"nothing", container, "", ""},
	} {
		got := send(t, c.addr, c.raw)
		responses, status := strings.Count(got, "HTTP/1."), ""
		if len(got) > len("HTTP/1.1 400") {
			status = got[len("HTTP/1.1 "):len("HTTP/1.1 400")]
		}
		if responses > 1 || status != c.want {
			t.Errorf("%s: %d responses, %.300q, want status %q", c.name, responses, got, c.want)
		}
		if c.want == "200" {
			continue
		}
		for _, s := range secrets(token, session) {
			if strings.Contains(got, s) {
				t.Errorf("%s: the answer holds a secret: %s", c.name, got)
			}
		}
		if strings.Contains(strings.ToLower(got), "access-control-") || strings.Contains(got, "Location:") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	for _, s := range secrets(token, session, "evil") {
		if strings.Contains(log.String(), s) {
			t.Errorf("the log repeats %q of a request:\n%s", s, &log)
		}
	}
	if !strings.Contains(log.String(), "from=127.0.0.1:") {
		t.Errorf("the log does not say from where the attacks came:\n%s", &log)
	}
}

// A header that comes byte by byte, a body that does, and a client that does
// not read its answers, have their time and no more.
func TestSlowClients(t *testing.T) {
	const short = 100 * time.Millisecond
	header, idle, request := patient, patient, patient
	header.header, idle.idle, request.request = short, short, short
	shortHeader, shortIdle, shortRequest := start(t, containerAt, Options{}, header), start(t, containerAt, Options{}, idle), start(t, containerAt, Options{}, request)
	head := func(addr string) string { return "GET / HTTP/1.1\r\nHost: " + addr + "\r\n" }
	for _, c := range []struct{ name, addr, begin, drip string }{
		{"a header", shortHeader, head(shortHeader), "X: y\r\n"},
		{"a line", shortHeader, head(shortHeader) + "X: ", "y"},
		{"nothing", shortHeader, "", ""},
		{"a second header", shortHeader, goodRequest(shortHeader) + head(shortHeader), "X: y\r\n"},
		{"nothing after an answer", shortIdle, goodRequest(shortIdle), ""},
		{"a body", shortRequest, head(shortRequest) + "Content-Length: 200000\r\n\r\n", "x"},
		{"chunks", shortRequest, head(shortRequest) + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
	} {
		conn := dial(t, c.addr)
		io.WriteString(conn, c.begin)
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		dripped := make(chan bool)
		go func() {
			defer close(dripped)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					io.WriteString(conn, c.drip)
				}
			}
		}()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s, byte by byte: %v, want the connection closed", c.name, err)
		}
		if took := time.Since(began); took > 4*time.Second { // less than the other bounds
			t.Errorf("%s, byte by byte, takes %v", c.name, took)
		}
		stop()
		<-dripped
	}

	// Answers that nobody reads fill the buffers, and then the server hangs up.
	deaf := dial(t, shortRequest)
	deaf.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for {
		if _, err := io.WriteString(deaf, strings.Repeat(goodRequest(shortRequest), 100)); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				t.Error("who does not read is never hung up on")
			}
			break
		}
	}
}

// A storm of refusals is some lines of the log, with the number of the rest.
func TestStormOfRefusals(t *testing.T) {
	var log logbook
	h := newContainer()
	h.Log = log.logger()
	asked := 0
	h.Source = func(context.Context) (cred.Credentials, error) { asked++; return credentialsOf("base"), nil }
	began := time.Now()
	for range 10_000 {
		request{"GET", "/", []string{"Authorization", "guess"}, ""}.to(h)
	}
	lines, most := strings.Count(log.String(), "\n"), maxLines+int(time.Since(began)/lineEvery)+1
	if lines < maxLines || lines > most {
		t.Errorf("10000 refusals are %d lines, want %d to %d", lines, maxLines, most)
	}
	if asked != 0 {
		t.Errorf("the source was asked %d times for who has no token", asked)
	}
}
