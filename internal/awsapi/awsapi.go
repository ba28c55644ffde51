// Package awsapi calls AWS. What its methods take and return are this
// program's own types, and their errors are of type *Error. It knows nothing
// of profiles, of caches and of where a token code comes from.
//
// It signs requests and reads replies by itself: to import the AWS SDK costs
// time at every start of the program, also when nothing is called. The SDK is
// the second opinion of the tests.
package awsapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Client calls AWS. Its zero value is ready to use; its fields must not be
// changed after the first call, and it must not be copied. Its methods may be
// called from several goroutines at once.
type Client struct {
	// Proxy returns the proxy for a request, nil for none. As a field it may
	// be nil, too. http.ProxyFromEnvironment is one.
	Proxy func(*http.Request) (*url.URL, error)

	// CABundle is the path of a PEM file with the certificates that servers
	// are checked against. As with the AWS SDKs they take the place of the
	// system's roots, which serve when it is empty. The file is read at the
	// first call.
	CABundle string

	Timeout        time.Duration // for a call with all its attempts; 0 means 15 s
	AttemptTimeout time.Duration // for one attempt; 0 means 6 s

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none

	// OnSkew, if not nil, is told how far AWS's clock is ahead of Now (behind
	// it when negative), each time that a request was refused for its time
	// and then got past that check with the time corrected by offset. The
	// Client corrects its later requests by itself.
	OnSkew func(offset time.Duration)

	// OnCall, if not nil, is told of each call, such as "sts:AssumeRole", that is
	// about to be made, and done is called when it is over.
	OnCall func(op string) (done func())

	offset atomic.Int64 // a time.Duration to add to Now when signing

	once    sync.Once // guards the two below
	http    *http.Client
	httpErr error

	backoff func(attempt int) time.Duration // set by tests, which can't wait
}

// httpClient returns the one HTTP client of c. It keeps a connection open
// between calls, since a chain often makes two in a row.
func (c *Client) httpClient() (*http.Client, error) {
	c.once.Do(func() { c.http, c.httpErr = c.newHTTPClient() })
	return c.http, c.httpErr
}

func (c *Client) newHTTPClient() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CABundle != "" {
		roots, err := readRoots(c.CABundle)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  c.proxy,
			DialContext:            (&net.Dialer{}).DialContext,
			TLSClientConfig:        config,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxBody,
		},
		// AWS doesn't redirect these calls. Who does is not AWS, and must not
		// get what they carry.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (c *Client) proxy(r *http.Request) (*url.URL, error) {
	if c.Proxy == nil {
		return nil, nil
	}
	proxy, err := c.Proxy(r)
	if err != nil {
		// The error quotes the setting, and that may hold a password.
		return nil, errProxy
	}
	return proxy, nil
}

var errProxy = errors.New("the proxy setting is not a URL")

func readRoots(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the CA bundle: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading the CA bundle: %s: no certificate in PEM form inside", file)
	}
	return roots, nil
}

// AWSNow returns the time by AWS's clock, as far as it is known: as long as AWS
// accepts the time that requests are signed with, the two may be minutes apart.
func (c *Client) AWSNow() time.Time { return c.now().Add(time.Duration(c.offset.Load())) }

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

func (c *Client) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}
