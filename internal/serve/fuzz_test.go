package serve

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
)

// A script is a connection on which everything has been sent, and a listener
// that accepts it alone.
type script struct {
	in   *strings.Reader
	out  bytes.Buffer
	gone chan struct{} // closed with the connection
	done bool
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41337} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error {
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
	return nil
}

type scriptListener struct{ s *script }

func (l scriptListener) Accept() (net.Conn, error) {
	if l.s.done {
		<-l.s.gone
		return nil, net.ErrClosed
	}
	l.s.done = true
	return l.s, nil
}
func (l scriptListener) Close() error   { return nil }
func (l scriptListener) Addr() net.Addr { return l.s.LocalAddr() }

// answersTo returns all that h answers to what is sent.
func answersTo(h http.Handler, raw string) string {
	s := &script{in: strings.NewReader(raw), gone: make(chan struct{})}
	Serve(context.Background(), scriptListener{s}, h, Options{})
	<-s.gone
	return s.out.String()
}

// FuzzRequests sends what it likes, with a token but without a host that is
// served, and with the host but without a token. No four letters in a row of
// any secret are in the answer.
func FuzzRequests(f *testing.F) {
	for _, target := range []string{
		"/", "/creds", "/profile/work", "/role-arn/" + arn, "//", "/..", "/%2f", "*", "http://" + host + "/", "/latest/meta-data/",
		credentialsPath, tokenPath, "/latest/dynamic/instance-identity/document", "/?a=1#x",
	} {
		f.Add("GET", target, "Accept: */*\r\n", "")
	}
	f.Add("PUT", tokenPath, ttlHeader+": 60\r\n", "")
	f.Add("POST", "/", "Content-Length: 5\r\n", "hello")
	f.Add("GET", "/", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")
	f.Add("GET", "/", "Expect: 100-continue\r\nContent-Length: 1\r\n", "x")
	f.Add("GET", "/", "Host: "+host+"\r\n", "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	f.Add("GET", "/ HTTP/1.1\r\nHost: "+host+"\r\n", "Authorization: x\r\n", "")

	// Letters that no header or page has in that order.
	c := cred.Credentials{
		AccessKeyID: "ZQXJVKQZ", SecretAccessKey: cred.NewSecret("qzjxkqvwzx"), SessionToken: cred.NewSecret("XKZJQWVZQ"),
		Expires: time.Now().Add(time.Hour), AccountID: "987698769876",
	}
	container := &Container{Token: cred.NewSecret(token), Hosts: []string{host}, Source: always(c), Profiles: map[string]Source{"work": always(c)}}
	container.Roles = func(context.Context, string) (cred.Credentials, error) { return c, nil }
	imds := &IMDS{Hosts: []string{host}, Source: always(c), Region: "eu-west-1"}
	var pieces []string
	for _, s := range []string{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), c.AccountID} {
		for i := range len(s) - 3 {
			pieces = append(pieces, s[i:i+4])
		}
	}
	if got := answersTo(container, goodRequest(host)); !strings.Contains(got, pieces[0]) {
		f.Fatalf("with host and token: %q", got)
	}
	f.Fuzz(func(t *testing.T, method, target, headers, rest string) {
		session := readAll(t, request{"PUT", tokenPath, []string{ttlHeader, "60"}, ""}.to(imds).Body)
		tokens := "Authorization: " + token + "\r\n" + tokenHeader + ": " + session + "\r\n"
		sent := method + target + headers + rest
		for name, raw := range map[string]string{
			"no token": method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n" + rest,
			"no host":  method + " " + target + " HTTP/1.1\r\nHost: evil.test\r\n" + tokens + headers + "\r\n" + rest,
		} {
			if name == "no host" && strings.Contains(sent, host) {
				continue // a request of its own, maybe
			}
			for _, h := range []http.Handler{container, imds} {
				got := answersTo(h, raw)
				if name == "no host" && strings.Contains(got, ttlHeader) {
					t.Errorf("%s: a session token for another host:\n%q\n%q", name, raw, got)
				}
				for _, piece := range pieces {
					if strings.Contains(got, piece) {
						t.Errorf("%s: %q is in the answer:\n%q\n%q", name, piece, raw, got)
					}
				}
			}
		}
	})
}
