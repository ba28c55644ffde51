package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// refusedSkew is how far AWS lets the time of a request be off, and codeSkew
// how long a token code is good: RFC 6238, section 5.2. Servers accept the one
// before and after, too, so this is well before codes are refused.
const (
	refusedSkew = 5 * time.Minute
	codeSkew    = 30 * time.Second
)

// Clock compares this machine's clock with AWS's, which each reply tells, also
// one to a request without credentials. Now is this machine's time.
func Clock(ctx context.Context, by http.RoundTripper, endpoint *url.URL, now func() time.Time) []Finding {
	where := endpoint.Scheme + "://" + endpoint.Host // and no password
	ahead, err := skew(ctx, by, endpoint, now)
	if err != nil {
		return []Finding{{Problem, "AWS does not tell the time: " + err.Error(), where, "check the network, the proxy (HTTPS_PROXY) and endpoint_url"}}
	}
	level := Problem
	switch {
	case ahead.Abs() < codeSkew:
		return nil
	case ahead.Abs() < refusedSkew:
		level = Warning
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	return []Finding{{level, fmt.Sprintf("this machine's clock is %v %s AWS's; AWS refuses requests from %v on, and token codes before", ahead.Abs(), direction, refusedSkew), where, "set the clock"}}
}

// skew returns how far this machine's clock is ahead of a server's, in whole
// seconds.
func skew(ctx context.Context, by http.RoundTripper, endpoint *url.URL, now func() time.Time) (time.Duration, error) {
	req := (&http.Request{Method: http.MethodGet, URL: endpoint, Header: http.Header{}}).WithContext(ctx)
	sent := now()
	resp, err := by.RoundTrip(req) // and no redirection is followed
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	// A cache in between shows by the Age header, and then Date is not the time
	// it is now.
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || resp.Header.Get("Age") != "" {
		return 0, errors.New("the reply has no time of its own")
	}
	return sent.Add(now().Sub(sent) / 2).Sub(date).Round(time.Second), nil
}
