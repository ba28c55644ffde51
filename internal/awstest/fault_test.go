package awstest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		kind FaultKind
		code string // that the SDK sees, "" for an error that is not AWS's
		done bool   // the call has its effect all the same
	}{
		{Throttle, "Throttling", false},
		{Error500, "InternalFailure", false},
		{Error503, "ServiceUnavailable", false},
		{Drop, "", false},
		{LoseReply, "", true},
		{HTML502, "", false},
	} {
		c := start(t, Config{})
		var struck atomic.Bool
		c.SetFault("CreateAccessKey", Fault{Kind: test.kind, Count: 1, Do: func() { struck.Store(true) }})
		_, err := iamAs(c, ann).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
		if test.code != "" {
			checkCode(t, string(test.kind), err, test.code, "")
		} else if err == nil {
			t.Errorf("%s: no error", test.kind)
		}
		if !struck.Load() {
			t.Errorf("%s: Do was not called", test.kind)
		}
		if got := len(c.Done()) == 1; got != test.done {
			t.Errorf("%s: carried out %v, want %v", test.kind, got, test.done)
		}
		if calls := c.Calls(); calls[0].Fault != test.kind {
			t.Errorf("%s: recorded as %q", test.kind, calls[0].Fault)
		}
		// The next call fails only where the first had its effect: ann has two
		// keys then.
		_, err = iamAs(c, ann).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
		if (err != nil) != test.done {
			t.Errorf("%s: next call: %v", test.kind, err)
		}
	}
}

func TestFaultScript(t *testing.T) {
	c := start(t, Config{})
	c.SetFault("GetCallerIdentity", Fault{Kind: Throttle, Count: 2}, Fault{Kind: Error503, Count: 1})
	c.SetFault("*", Fault{Kind: Error500})
	for i, code := range []string{"Throttling", "Throttling", "ServiceUnavailable", "InternalFailure", "InternalFailure"} {
		_, err := identity(t, c, ann)
		checkCode(t, string(rune('1'+i)), err, code, "")
	}
	c.SetFault("*")
	_, err := identity(t, c, ann)
	checkCode(t, "without faults", err, "", "")
}

func TestHangAndSlow(t *testing.T) {
	c := start(t, Config{})
	c.SetFault("GetCallerIdentity", Fault{Kind: Hang, Count: 1}, Fault{Kind: Slow, Count: 1, Delay: 50 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := stsAs(c, ann).GetCallerIdentity(ctx, nil); err == nil {
		t.Errorf("a call that hangs: no error")
	}
	begin := time.Now()
	if _, err := identity(t, c, ann); err != nil || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("a slow call: %v after %v, want 50ms", err, time.Since(begin))
	}
	c.SetFault("CreateAccessKey", Fault{Kind: Stall, Count: 1, Do: cancel})
	if _, err := iamAs(c, ann).CreateAccessKey(ctx, &iam.CreateAccessKeyInput{}); err == nil {
		t.Errorf("a call that stalls: no error")
	}
	// Close does not wait for what hangs.
	c2 := New(Config{})
	c2.SetFault("GetCallerIdentity", Fault{Kind: Hang, Do: func() { go c2.Close() }})
	if _, err := identity(t, c2, ann); err == nil {
		t.Errorf("a call that hangs until Close: no error")
	}
}

func TestHTMLPage(t *testing.T) {
	c := start(t, Config{})
	c.SetFault("*", Fault{Kind: HTML200})
	resp, err := http.Get(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(string(body), "<title>") {
		t.Errorf("status %d, %s, want a page", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
}

// What the SDK does of its own about a lost reply is what makes key rotation
// hard: it tries again, and there are two keys then.
func TestSDKRetries(t *testing.T) {
	c := start(t, Config{})
	c.SetFault("CreateAccessKey", Fault{Kind: LoseReply, Count: 1})
	client := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &c.URL, Credentials: fixed(ann), Retryer: aws.NopRetryer{}})
	if _, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{}); err == nil {
		t.Errorf("a lost reply: no error")
	}
	_, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	checkCode(t, "the second try", err, "LimitExceeded", "")
}
