package awsapi

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"kura/internal/chain"
)

// A target is where a request is sent and the region that it is signed for.
type target struct {
	url    *url.URL
	region string
}

// host returns the scheme and host of t, as error messages show it.
func (t target) host() string { return t.url.Scheme + "://" + t.url.Host }

// stsTarget returns where a call of STS goes: to its endpoint, if it has one,
// or to the global endpoint or that of its region.
//
// The global endpoint is signed for us-east-1, where it belongs, whatever the
// region of the profile: so say the endpoint rules that all AWS SDKs share,
// https://github.com/aws/aws-sdk-go-v2/blob/main/service/sts/endpoints.go.
// (aws-vault signs for the profile's region.)
func stsTarget(c chain.Call) (target, error) {
	suffix, region, ok := partition(c.Partition)
	if !ok {
		return target{}, fmt.Errorf("unknown partition %q", printable(c.Partition, 40))
	}
	global := c.Global
	switch c.Region {
	case "":
	case "aws-global": // a name for the global endpoint, no region to sign for
		global = true
	default:
		region = c.Region
	}
	// The region becomes part of a host name and of the signature.
	if !hostLabel(region) {
		return target{}, fmt.Errorf("%q is not the name of a region", printable(region, 40))
	}
	if c.Endpoint != "" {
		u, err := endpointURL(c.Endpoint)
		return target{u, region}, err
	}
	if global && (c.Partition == "" || c.Partition == "aws") {
		return target{&url.URL{Scheme: "https", Host: "sts.amazonaws.com", Path: "/"}, "us-east-1"}, nil
	}
	return target{&url.URL{Scheme: "https", Host: "sts." + region + "." + suffix, Path: "/"}, region}, nil
}

// STSEndpoint returns where a call of STS goes, and the region that it is signed
// for.
func STSEndpoint(c chain.Call) (endpoint *url.URL, region string, err error) {
	t, err := stsTarget(c)
	return t.url, t.region, err
}

// iamTarget returns where a call of IAM goes. IAM is one for all regions of a
// partition, and so are its host and the region that calls are signed for. The
// hosts are those of
// https://github.com/aws/aws-sdk-go-v2/blob/main/service/iam/endpoints.go.
func iamTarget(c chain.Call) (target, error) {
	suffix, region, ok := partition(c.Partition)
	if !ok {
		return target{}, fmt.Errorf("unknown partition %q", printable(c.Partition, 40))
	}
	if c.Endpoint != "" {
		u, err := endpointURL(c.Endpoint)
		return target{u, region}, err
	}
	host := "iam." + region + "." + suffix
	switch c.Partition {
	case "", "aws":
		host = "iam.amazonaws.com"
	case "aws-us-gov":
		host = "iam.us-gov.amazonaws.com"
	}
	return target{&url.URL{Scheme: "https", Host: host, Path: "/"}, region}, nil
}

// partition returns the DNS suffix of a partition and the region that serves
// when none is configured; ok is false if the partition is not known. The
// suffixes are those of AWS's partitions.json, which all AWS SDKs share.
func partition(name string) (suffix, region string, ok bool) {
	switch name {
	case "", "aws":
		return "amazonaws.com", "us-east-1", true
	case "aws-cn":
		return "amazonaws.com.cn", "cn-north-1", true
	case "aws-us-gov":
		return "amazonaws.com", "us-gov-west-1", true
	case "aws-eusc":
		return "amazonaws.eu", "eusc-de-east-1", true
	case "aws-iso":
		return "c2s.ic.gov", "us-iso-east-1", true
	case "aws-iso-b":
		return "sc2s.sgov.gov", "us-isob-east-1", true
	case "aws-iso-e":
		return "cloud.adc-e.uk", "eu-isoe-west-1", true
	case "aws-iso-f":
		return "csp.hci.ic.gov", "us-isof-south-1", true
	}
	return "", "", false
}

// hostLabel reports whether s is one label of a host name, RFC 1123, 2.1, in
// lower case.
func hostLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// endpointURL parses a configured endpoint. Its path is put into normal form,
// because AWS normalizes a path before it checks the signature and others
// don't: of a path in normal form both think the same.
func endpointURL(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		// url.Parse's error quotes all of it, passwords included.
		return nil, errors.New("the endpoint is not an http or https URL")
	case u.User != nil:
		return nil, errors.New("the endpoint holds a user name, which AWS requests have no use for")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: normalPath(u.Path), RawQuery: u.RawQuery}, nil
}

// normalPath returns p in the normal form of RFC 3986, 6.2.2.3, without empty
// segments.
func normalPath(p string) string {
	normal := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && normal != "/" {
		normal += "/"
	}
	return normal
}
