package awsapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"kura/internal/cred"
)

// A request is a call in the form in which it goes out, except for the
// signature, which each attempt makes anew. It is what the protocols of AWS
// have in common.
type request struct {
	op      string // such as "sts:AssumeRole"
	to      target
	service string // that it is signed for
	method  string
	header  http.Header
	body    []byte

	from cred.Credentials // what it is signed with; if zero it is not signed

	// once says that a second attempt might not do the same as the first, so
	// that there must be none after one that may have had its effect. AWS
	// takes a token code once: if the reply was lost, a second attempt could
	// only be refused, and that would hide why.
	once bool

	secrets []cred.Secret // what the request carries and no error may show

	read func(reply) *Error // decodes a reply, nil when it is the one hoped for
}

// A reply is what came back for a request.
type reply struct {
	request request
	status  int
	header  http.Header
	body    []byte
	drift   time.Duration // how far the server's clock is ahead of the request's time; 0 when not known
}

// skewThreshold is the difference of clocks that explains a refusal. AWS
// allows for 5 minutes, some services for 15; the AWS SDKs, too, look from 4
// minutes on.
const skewThreshold = 4 * time.Minute

// maxAttempts is how often a request is sent at most, not counting the one
// that shows AWS's clock to differ.
const maxAttempts = 3

// maxBody is how much of a reply is read, in bytes. Those of AWS have a few
// thousand.
const maxBody = 1 << 20

// do sends r until it is answered or there is no hope. Throttling, trouble at
// AWS and a bad connection are worth another attempt, but not for a request
// that is to be sent once.
//
// A request that was refused for its time is signed again with the time
// corrected, once, even if it is to be sent once: AWS checks the time before
// it looks at what is asked.
func (c *Client) do(ctx context.Context, r request) error {
	begun := time.Now()
	if !headerSafe(r.from.AccessKeyID) || !headerSafe(r.from.SessionToken.Reveal()) {
		return &Error{Op: r.op, Kind: InvalidKey, Message: "the access key ID or session token holds a character that none can have"}
	}
	client, err := c.httpClient()
	if err != nil {
		return &Error{Op: r.op, Kind: Invalid, Message: err.Error(), Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, 15*time.Second))
	defer cancel()
	if c.OnCall != nil {
		defer c.OnCall(r.op)()
	}

	offset, corrected := time.Duration(c.offset.Load()), false
	for attempt := 1; ; attempt++ {
		drift, e := c.attempt(ctx, client, r, offset, begun)
		if corrected && (e == nil || e.Code != "" && e.Kind != ClockSkew) {
			c.keep(offset)
		}
		switch {
		case e == nil:
			return nil
		case e.Kind == ClockSkew && drift.Abs() > skewThreshold && !corrected:
			offset, corrected = offset+drift, true
			c.log().Debug("signing again for AWS's time", "op", r.op, "offset", offset)
			continue
		case r.once || !e.transient || attempt >= maxAttempts:
			return e
		}
		c.log().Debug("trying again", "op", r.op, "err", e)
		if !c.pause(ctx, attempt) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return r.unreachable(ctx.Err(), 0) // the caller gave up meanwhile
			}
			return e
		}
	}
}

// attempt sends r once, signed for the time of c plus offset. When r was begun
// is for the error that says how long the user has waited.
func (c *Client) attempt(ctx context.Context, client *http.Client, r request, offset time.Duration, begun time.Time) (drift time.Duration, _ *Error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.AttemptTimeout, 6*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.to.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return 0, r.unreachable(err, 0)
	}
	req.Header = r.header.Clone()
	req.Header.Set("User-Agent", "kura")
	signedAt := c.now().Add(offset)
	if !r.from.SecretAccessKey.IsZero() {
		sign(req, r.body, r.from, r.service, r.to.region, signedAt)
	}

	got := reply{request: r}
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		got.status, got.header = resp.StatusCode, resp.Header
		got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	}
	c.log().Debug("request sent", "op", r.op, "host", r.to.host(), "region", r.to.region, "status", got.status)
	if err != nil {
		return 0, r.unreachable(err, time.Since(begun))
	}
	// A cache between here and AWS shows by the Age header, and then Date is
	// not the time it is now.
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && resp.Header.Get("Age") == "" {
		got.drift = date.Sub(signedAt)
	}
	if len(got.body) > maxBody {
		return 0, got.notAWS()
	}
	return got.drift, r.read(got)
}

// keep remembers how far AWS's clock is ahead, for the next requests.
func (c *Client) keep(offset time.Duration) {
	if c.offset.Swap(int64(offset)) != int64(offset) && c.OnSkew != nil {
		c.OnSkew(offset)
	}
}

// pause waits before the attempt after the given one. It returns false at once
// when ctx would be done before.
func (c *Client) pause(ctx context.Context, attempt int) bool {
	wait := backoff(attempt)
	if c.backoff != nil {
		wait = c.backoff(attempt)
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff is how long to wait after the given attempt, which is 1 at least: a
// random time, so that processes that were refused together don't come back
// together.
func backoff(attempt int) time.Duration {
	const least, most = 100 * time.Millisecond, 2 * time.Second
	return least + rand.N(min(least<<(2*attempt), most)-least)
}

// headerSafe reports whether s can be sent in a header, as the parts of all
// keys that AWS has made can.
func headerSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
