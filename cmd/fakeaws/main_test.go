package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"kura/internal/awstest"
)

// serve runs the program until the end of the test and returns its URL.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error)
	go func() {
		err := run(ctx, args, w)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	line, _ := bufio.NewReader(r).ReadString('\n')
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("fakeaws %q: %v", args, err)
		}
	})
	return strings.TrimSpace(line)
}

// call makes an HTTP request and returns the status and the body.
func call(t *testing.T, method, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func getSessionToken(t *testing.T, url, code string) error {
	client := sts.New(sts.Options{
		Region:           "us-east-1",
		BaseEndpoint:     &url,
		RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretAccessKey}, nil
		}),
	})
	_, err := client.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{SerialNumber: aws.String(awstest.MFASerial), TokenCode: &code})
	return err
}

func TestControl(t *testing.T) {
	url := serve(t)
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("the first line is %q, want a URL", url)
	}
	control := url + "/_fakeaws/"
	if _, body := call(t, "GET", control+"calls"); body != "[]\n" {
		t.Errorf("calls at first = %q, want []", body)
	}
	_, code := call(t, "GET", control+"code?serial="+awstest.MFASerial)
	code = strings.TrimSpace(code)
	if status, _ := call(t, "POST", control+"fault?op=GetSessionToken&kind=throttle&count=1"); status != 200 {
		t.Errorf("fault: status %d", status)
	}
	if err := getSessionToken(t, url, code); err == nil || !strings.Contains(err.Error(), "Rate exceeded") {
		t.Errorf("a throttled call: %v", err)
	}
	if err := getSessionToken(t, url, code); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	_, calls := call(t, "GET", control+"calls")
	if strings.Count(calls, `"Op": "GetSessionToken"`) != 2 || strings.Contains(calls, code) {
		t.Errorf("calls = %s, want two of GetSessionToken and no code", calls)
	}
	if _, body := call(t, "GET", control+"secrets"); !strings.Contains(body, awstest.MFASeed) {
		t.Errorf("secrets lacks one")
	}
	call(t, "POST", control+"reset-calls")
	if _, body := call(t, "GET", control+"calls"); body != "[]\n" {
		t.Errorf("calls after reset-calls = %q, want []", body)
	}
	call(t, "POST", control+"clock?offset=10m")
	_, code = call(t, "GET", control+"code?serial="+awstest.MFASerial)
	if err := getSessionToken(t, url, strings.TrimSpace(code)); err == nil || !strings.Contains(err.Error(), "Signature expired") {
		t.Errorf("with another clock: %v", err)
	}
	for _, bad := range []string{"fault?kind=drop", "fault?op=a&kind=b", "fault?op=a&kind=drop&count=-1", "fault?op=a&kind=slow&delay=1", "clock?offset=x", "sessions?limit=x"} {
		if status, _ := call(t, "POST", control+bad); status != 400 {
			t.Errorf("%s: status %d, want 400", bad, status)
		}
	}
	if status, _ := call(t, "GET", control+"code?serial=none"); status != 409 {
		t.Errorf("a code of no device: status %d, want 409", status)
	}
}

// A call that hangs does not keep the program from ending.
func TestEndsWhileCallHangs(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	cloud := awstest.NewHandler(awstest.Config{})
	cloud.SetFault("*", awstest.Fault{Kind: awstest.Hang, Do: stop})
	l, err := listenLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go http.Get("http://" + l.Addr().String())
	if err := serveUntil(ctx, l, cloud, nil); err != nil {
		t.Errorf("serveUntil = %v, want no error", err)
	}
}

func TestTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	url := serve(t, "--tls", file)
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get(url + "/_fakeaws/calls")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	for text, want := range map[string]string{
		`{"Users":[{"Account":"1","Name":"a"}]}`: "not 12 digits",
		`{`:                                      "unexpected EOF",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), []string{"--state", file}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--state with %s: %v, want …%s…", text, err, want)
		}
	}
	world := `{"Users":[{"Account":"111122223333","Name":"a","MFA":[{"Serial":"arn:aws:iam::111122223333:mfa/a","Seed":"MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"}]}]}`
	if err := os.WriteFile(file, []byte(world), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, "--state", file)
	if status, _ := call(t, "GET", url+"/_fakeaws/code?serial=arn:aws:iam::111122223333:mfa/a"); status != 200 {
		t.Errorf("a code of the state's device: status %d, want 200", status)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"--listen", "0.0.0.0:0"},
		{"--listen", ":0"},
		{"--listen", "192.0.2.1:80"},
		{"--state", filepath.Join(t.TempDir(), "none")},
		{"--unknown"},
		{"argument"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("fakeaws %q: no error", args)
		}
	}
	var help strings.Builder
	run(t.Context(), []string{"--help"}, &help)
	for _, want := range []string{"--listen", "--state", "--tls", "/_fakeaws/calls", "lose-reply"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("--help does not say %s", want)
		}
	}
}
