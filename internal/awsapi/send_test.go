package awsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
)

func mfaSession(endpoint string) chain.SessionToken {
	return chain.SessionToken{Call: at(endpoint), MFASerial: awstest.MFASerial, Duration: time.Hour}
}

// What goes wrong on the way is tried again, three times in all, unless it
// makes no sense to.
func TestRetry(t *testing.T) {
	for _, test := range []struct {
		fault    awstest.FaultKind
		times    int
		requests int
		kind     Kind
		text     string // of the error, after "sts:GetSessionToken: "; "" for success
	}{
		{awstest.Throttle, 2, 3, 0, ""},
		{awstest.Throttle, 9, 3, Throttled, "Throttling: Rate exceeded"},
		{awstest.Error500, 1, 2, 0, ""},
		{awstest.Error503, 9, 3, Unavailable, "ServiceUnavailable: Service is unavailable. Please try again later."},
		{awstest.Drop, 2, 3, 0, ""},
		{awstest.Drop, 9, 3, Unreachable, "HOST: connection closed before the answer was complete"},
		{awstest.LoseReply, 1, 2, 0, ""},
		{awstest.HTML502, 1, 2, 0, ""},
		{awstest.HTML502, 9, 3, Unreachable, `HOST: not an answer of AWS: 502 Bad Gateway (text/html, "502 Bad Gateway")`},
		{awstest.HTML200, 9, 1, Unreachable, `HOST: not an answer of AWS: 200 OK (text/html; charset=utf-8, "Welcome to the Wi-Fi")`},
	} {
		cloud := newCloud(t)
		cloud.SetFault("GetSessionToken", awstest.Fault{Kind: test.fault, Count: test.times})
		_, err := newClient().GetSessionToken(t.Context(), ann, chain.SessionToken{Call: at(cloud.URL), Duration: time.Hour}, "")
		if n := cloud.Count("GetSessionToken"); n != test.requests {
			t.Errorf("%s, %d times: %d requests, want %d", test.fault, test.times, n, test.requests)
		}
		if test.text == "" {
			if err != nil {
				t.Errorf("%s, %d times: %v", test.fault, test.times, err)
			}
			continue
		}
		want := "sts:GetSessionToken: " + strings.Replace(test.text, "HOST", cloud.URL, 1)
		if e := failure(t, err); e.Kind != test.kind || e.Error() != want {
			t.Errorf("%s, %d times: %v: %v\nwant %v: %v", test.fault, test.times, e.Kind, e, test.kind, want)
		}
	}
}

// AWS takes a token code once. Whatever became of the request that carried it,
// it is not sent again.
func TestTokenCodeIsSentOnce(t *testing.T) {
	for _, fault := range awstest.FaultKinds() {
		cloud, client := newCloud(t), newClient()
		client.AttemptTimeout = 50 * time.Millisecond
		cloud.SetFault("*", awstest.Fault{Kind: fault, Delay: time.Second})
		if _, err := client.GetSessionToken(t.Context(), ann, mfaSession(cloud.URL), code(t, cloud)); err == nil {
			t.Errorf("GetSessionToken succeeded in spite of %s", fault)
		}
		role := chain.AssumeRole{Call: at(cloud.URL), RoleARN: "arn:aws:iam::111122223333:role/admin", SessionName: "kura", MFASerial: awstest.MFASerial}
		if _, err := client.AssumeRole(t.Context(), ann, role, code(t, cloud)); err == nil {
			t.Errorf("AssumeRole succeeded in spite of %s", fault)
		}
		if n, m := cloud.Count("GetSessionToken"), cloud.Count("AssumeRole"); n > 1 || m > 1 {
			t.Errorf("%s: %d and %d requests, want 1 and 1", fault, n, m)
		}
	}
}

// With an AWS that hangs, a call ends in less than 20 s, after three attempts.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		client := &Client{}
		client.once.Do(func() {
			client.http = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				attempts++
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}
		})
		begun := time.Now()
		_, err := client.GetCallerIdentity(t.Context(), ann, chain.Call{Region: "eu-west-1"})
		if took := time.Since(begun); took >= 20*time.Second || attempts != 3 {
			t.Errorf("took %v and %d attempts, want 3 within 20 s", took, attempts)
		}
		want := "sts:GetCallerIdentity: https://sts.eu-west-1.amazonaws.com: no answer within 15s"
		if e := failure(t, err); e.Kind != Unreachable || e.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %v\nwant %v: %s", e.Kind, e, Unreachable, want)
		}
	})
}

// Waits differ, so that processes started together don't come back together.
func TestBackoff(t *testing.T) {
	for attempt := 1; attempt < 10; attempt++ {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := backoff(attempt)
			seen[d] = true
			if d < 100*time.Millisecond || d > 2*time.Second {
				t.Fatalf("backoff(%d) = %v, want 0.1 s to 2 s", attempt, d)
			}
		}
		if len(seen) < 50 {
			t.Errorf("backoff(%d) has %d values in 100 calls, want them to differ", attempt, len(seen))
		}
	}
}

// Who gives up is not told that AWS can't be reached.
func TestCancel(t *testing.T) {
	for _, fault := range []awstest.FaultKind{awstest.Hang, awstest.Throttle} {
		cloud := newCloud(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := &Client{backoff: func(int) time.Duration { cancel(); return time.Minute }} // Throttle
		cloud.SetFault("*", awstest.Fault{Kind: fault, Do: func() {
			if fault == awstest.Hang {
				cancel()
			}
		}})
		_, err := client.GetCallerIdentity(ctx, ann, at(cloud.URL))
		want := "sts:GetCallerIdentity: " + cloud.URL + ": canceled"
		if e := failure(t, err); e.Kind != Other || e.Error() != want || !errors.Is(err, context.Canceled) {
			t.Errorf("canceled at %s: %v: %v, want %v: %s", fault, e.Kind, e, Other, want)
		}
	}
}

// A wrong clock, of here or of there, is corrected by one more request, also
// when a token code is sent, and is reported.
func TestClockSkew(t *testing.T) {
	for _, offset := range []time.Duration{time.Hour, -time.Hour} {
		cloud, client := newCloud(t), newClient()
		var reported []time.Duration
		client.OnSkew = func(offset time.Duration) { reported = append(reported, offset) }
		cloud.SetClockOffset(offset)
		if _, err := client.GetSessionToken(t.Context(), ann, mfaSession(cloud.URL), code(t, cloud)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.GetCallerIdentity(t.Context(), ann, at(cloud.URL)); err != nil {
			t.Fatal(err)
		}
		if n, m := cloud.Count("GetSessionToken"), cloud.Count("GetCallerIdentity"); n != 2 || m != 1 {
			t.Errorf("offset %v: %d requests and then %d, want 2 and then 1", offset, n, m)
		}
		if len(reported) != 1 || (reported[0]-offset).Abs() > 5*time.Second {
			t.Errorf("reported offsets %v, want %v once", reported, offset)
		}
	}
}

// If correcting the time doesn't help, the error says that it is the time.
func TestClockSkewStays(t *testing.T) {
	requests := 0
	server := canned(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		writeRefusal(w, 403, "SignatureDoesNotMatch", "Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z")
	})
	client := newClient()
	client.OnSkew = func(time.Duration) { t.Error("an offset was reported that is not AWS's") }
	_, err := client.GetCallerIdentity(t.Context(), ann, at(server))
	if e := failure(t, err); e.Kind != ClockSkew || requests != 2 {
		t.Errorf("%v: %v after %d requests, want ClockSkew after 2", e.Kind, e, requests)
	}
}

// A service that only says that the signature doesn't match is helped as well.
func TestClockSkewWithoutWords(t *testing.T) {
	server := canned(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		if signed, err := time.Parse(timeFormat, r.Header.Get("X-Amz-Date")); err != nil || now.Sub(signed).Abs() > time.Minute {
			writeRefusal(w, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
			return
		}
		io.WriteString(w, identityReply)
	})
	got, err := newClient().GetCallerIdentity(t.Context(), ann, at(server))
	if err != nil || got.UserID != "AIDA" {
		t.Errorf("GetCallerIdentity = %+v, %v, want success at the second attempt", got, err)
	}
}

const identityReply = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account>" +
	"<Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>AIDA</UserId></GetCallerIdentityResult></GetCallerIdentityResponse>"

// A secret that doesn't fit is not blamed on the clock, even if that is wrong.
func TestWrongSecretAndClock(t *testing.T) {
	cloud := newCloud(t)
	cloud.SetClockOffset(time.Hour)
	wrong := cred.Credentials{AccessKeyID: ann.AccessKeyID, SecretAccessKey: cred.NewSecret("mistyped-secret")}
	_, err := newClient().GetCallerIdentity(t.Context(), wrong, at(cloud.URL))
	if e := failure(t, err); e.Kind != InvalidKey {
		t.Errorf("%v: %v, want InvalidKey", e.Kind, e)
	}
}

// A redirect is not followed: what the request carries is for AWS.
func TestRedirect(t *testing.T) {
	elsewhere := canned(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	server := canned(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	_, err := newClient().GetCallerIdentity(t.Context(), ann, at(server))
	want := "sts:GetCallerIdentity: " + server + ": not an answer of AWS: 307 Temporary Redirect (redirecting to " + strings.TrimPrefix(elsewhere, "http://") + ")"
	if e := failure(t, err); e.Kind != Unreachable || e.Error() != want {
		t.Errorf("%v: %v\nwant %v: %s", e.Kind, e, Unreachable, want)
	}
}

// Whatever is not AWS's answer is described, in one short printable line.
func TestNotAWS(t *testing.T) {
	for _, test := range []struct {
		status            int
		contentType, body string
		want              string
	}{
		{200, "text/html", "<HTML><TITLE>\x1b[31mSign in\r\n to go on" + strings.Repeat("!", 100) + "</TITLE>", `200 OK (text/html, "[31mSign in")`},
		{200, "application/json", `{"SessionToken": "hunter2"}`, "200 OK (application/json)"},
		{200, "text/xml", "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>hunter2</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>", "200 OK (text/xml)"},
		{200, "text/xml", "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>hunter2</Arn>", "200 OK (text/xml)"},
		{200, "text/xml", "<GetSessionTokenResponse/>", "200 OK (text/xml)"},
		{200, "text/xml", strings.Repeat("<a>", 1<<20), "200 OK (text/xml)"},
		{200, "text/xml", identityReply + strings.Repeat("\n", 3<<20), "200 OK (text/xml)"},
		{200, "text/xml", identityReply + identityReply, "200 OK (text/xml)"},
		{404, "text/plain", "404 page not found", "404 Not Found (text/plain)"},
		{403, "text/html", "", "403 Forbidden (text/html)"},
		{407, "text/html", "<title>Proxy</title>", `407 Proxy Authentication Required (text/html, "Proxy")`},
	} {
		server := canned(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", test.contentType)
			w.WriteHeader(test.status)
			w.Write([]byte(test.body))
		})
		_, err := newClient().GetCallerIdentity(t.Context(), ann, at(server))
		want := "sts:GetCallerIdentity: " + server + ": not an answer of AWS: " + test.want
		if e := failure(t, err); e.Kind != Unreachable || e.Error() != want || e.Status != test.status {
			t.Errorf("%v: %v\nwant %v: %v", e.Kind, e, Unreachable, want)
		}
	}
}

// Neither an error nor the log shows the secrets that a service quotes.
func TestErrorsHideSecrets(t *testing.T) {
	from := cred.Credentials{AccessKeyID: "ASIA", SecretAccessKey: cred.NewSecret("hunter2-secret"), SessionToken: cred.NewSecret("hunter2-token")}
	for _, message := range []string{
		"no match.\n\nThe Canonical String was\nx-amz-security-token:hunter2-token",
		"Value 'hunter2-token' and code '271828'",
		strings.Repeat("x", 995) + "hunter2-token",
		"\x1b]0;title\a",
	} {
		server := canned(t, func(w http.ResponseWriter, r *http.Request) { writeRefusal(w, 403, "Some", message) })
		var log strings.Builder
		client := newClient()
		client.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, err := client.GetSessionToken(t.Context(), from, mfaSession(server), "271828")
		text := failure(t, err).Error()
		if strings.Contains(log.String(), "hunter") || strings.Contains(log.String(), "271828") {
			t.Error("the log shows a secret")
		}
		for _, no := range []string{"hunter", "271828", "\n", "\x1b", "\a"} {
			if strings.Contains(text, no) {
				t.Errorf("error %q contains %q", text, no)
			}
		}
		if len(text) > 1100 {
			t.Errorf("error of %d bytes, want it bounded", len(text))
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	l.Close()
	_, err = newClient().GetCallerIdentity(t.Context(), ann, at(endpoint))
	if e := failure(t, err); e.Kind != Unreachable || !strings.HasPrefix(e.Error(), "sts:GetCallerIdentity: "+endpoint+": ") || !strings.Contains(e.Error(), "refused") {
		t.Errorf("%v: %v, want %v naming the host and saying that it refused", e.Kind, e, Unreachable)
	}
}

// What the network says is told without its Go ancestry.
func TestUnreachable(t *testing.T) {
	r := request{op: "sts:AssumeRole", to: target{url: &url.URL{Scheme: "https", Host: "sts.example"}}}
	post := func(err error) error { return &url.Error{Op: "Post", URL: "https://sts.example/", Err: err} }
	dns := &net.DNSError{Err: "server misbehaving", Name: "sts.example", Server: "127.0.0.53:53"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{post(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "sts.example", IsNotFound: true}}), "no such host"},
		{post(&net.OpError{Op: "dial", Err: dns}), "the name was not resolved: server misbehaving"},
		{post(&net.OpError{Op: "proxyconnect", Err: errors.New("Proxy Authentication Required")}), "proxy: Proxy Authentication Required"},
		{post(&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}}), "proxy: no answer within 6s"},
		{post(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "tls: first record does not look like a TLS handshake"},
	} {
		got, want := r.unreachable(test.err, 6010*time.Millisecond).Error(), "sts:AssumeRole: https://sts.example: "+test.want
		if got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	}
}

func TestCertificates(t *testing.T) {
	cloud := awstest.New(awstest.Config{TLS: true})
	t.Cleanup(cloud.Close)
	dir := t.TempDir()
	bundle, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	for file, data := range map[string][]byte{bundle: cloud.CA.PEM(), empty: []byte("no certificate\n")} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call := func(bundle string) error {
		client := newClient()
		client.CABundle = bundle
		_, err := client.GetCallerIdentity(t.Context(), ann, at(cloud.URL))
		return err
	}

	if err := call(bundle); err != nil {
		t.Errorf("with the right bundle: %v", err)
	}
	e := failure(t, call(""))
	if want := cloud.URL + ": certificate not accepted: x509: "; e.Kind != Unreachable || !strings.HasPrefix(e.Message, want) {
		t.Errorf("without a bundle: %v: %v, want Unreachable: %s…", e.Kind, e, want)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](error(e)); !ok {
		t.Error("without a bundle: the error doesn't wrap that of package tls")
	}
	e = failure(t, call(empty))
	if want := "sts:GetCallerIdentity: reading the CA bundle: " + empty + ": no certificate in PEM form inside"; e.Kind != Invalid || e.Error() != want {
		t.Errorf("with an empty bundle: %v: %v, want %v: %s", e.Kind, e, Invalid, want)
	}
	e = failure(t, call(filepath.Join(dir, "missing.pem")))
	if e.Kind != Invalid || !errors.Is(e, fs.ErrNotExist) || !strings.Contains(e.Error(), "missing.pem") {
		t.Errorf("with a missing bundle: %v: %v, want Invalid, naming the file", e.Kind, e)
	}
}

func TestProxy(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	proxy, _ := url.Parse(cloud.URL) // AWS answers as if it were the proxy
	client.Proxy = func(*http.Request) (*url.URL, error) { return proxy, nil }
	if _, err := client.GetCallerIdentity(t.Context(), ann, at("http://sts.example")); err != nil {
		t.Errorf("through a proxy: %v", err)
	}
	if host := cloud.Calls()[0].Host; host != "sts.example" {
		t.Errorf("host of the request = %q, want sts.example", host)
	}

	client = newClient()
	client.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://ann:hunter2@%zz") }
	_, err := client.GetCallerIdentity(t.Context(), ann, at(cloud.URL))
	want := "sts:GetCallerIdentity: " + cloud.URL + ": the proxy setting is not a URL"
	if e := failure(t, err); e.Kind != Invalid || e.Error() != want || errors.Unwrap(e) != nil && strings.Contains(e.Err.Error(), "hunter2") {
		t.Errorf("%v: %v, want %v: %s, and no password", e.Kind, e, Invalid, want)
	}
}

// Consecutive calls share a connection.
func TestKeepAlive(t *testing.T) {
	cloud, client := awstest.NewHandler(awstest.Config{}), newClient()
	connections := 0
	server := httptest.NewUnstartedServer(cloud)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections++
		}
	}
	server.Start()
	defer server.Close()
	for range 3 {
		if _, err := client.GetCallerIdentity(t.Context(), ann, at(server.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if connections != 1 {
		t.Errorf("%d connections for three calls, want 1", connections)
	}
}

// canned starts a server for what AWS, and so awstest, doesn't do.
func canned(t *testing.T, f http.HandlerFunc) string {
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func writeRefusal(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	w.Write([]byte("<ErrorResponse><Error><Code>" + code + "</Code><Message>" + strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' {
			return 0x85 // XML has no other control characters
		}
		return r
	}, message) + "</Message></Error></ErrorResponse>"))
}
