// Package console signs a browser in to the AWS console: it makes the sign-in
// URL, and hands it to a browser, a clipboard or a camera. The URL is as good as
// the credentials that it was made with, for a quarter of an hour, so it is a
// secret here, and no argument of a program. The package does not know where the
// sign-in token in it comes from.
package console

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"kura/internal/cred"
)

// A Site is the console of a partition.
type Site struct {
	Federation string // URL of the federation endpoint
	Logout     string // URL that ends the session of the browser that gets it

	domain string // of the console's pages
}

// A PartitionError says that it is not known where the console of a partition is.
type PartitionError struct{ Partition string }

func (e *PartitionError) Error() string {
	return fmt.Sprintf("where the console of the partition %q is has not been published", e.Partition)
}

// SiteOf returns the console of a partition. The error is a *PartitionError.
//
// The hosts for the sign-in are in the endpoint rules of the service Signin that
// all AWS SDKs share. Of the isolated partitions that is all there is: nobody
// outside knows where their console's pages are.
func SiteOf(partition string) (Site, error) {
	switch partition {
	case "", "aws":
		// The one of a region, as the other sends those away who sign out and in.
		return siteAt("us-east-1.signin.aws.amazon.com", "console.aws.amazon.com"), nil
	case "aws-cn":
		return siteAt("signin.amazonaws.cn", "console.amazonaws.cn"), nil
	case "aws-us-gov":
		return siteAt("signin.amazonaws-us-gov.com", "console.amazonaws-us-gov.com"), nil
	case "aws-eusc":
		return siteAt("eusc-de-east-1.signin.amazonaws-eusc.eu", "console.amazonaws-eusc.eu"), nil
	}
	return Site{}, &PartitionError{partition}
}

func siteAt(signin, domain string) Site {
	return Site{domain: domain}.At("https://" + signin)
}

// At returns s with the sign-in at another URL, such as that of an emulator.
func (s Site) At(endpoint string) Site {
	endpoint = strings.TrimRight(endpoint, "/")
	s.Federation = endpoint + "/federation"
	s.Logout = endpoint + "/oauth?Action=logout"
	return s
}

// A PlaceError says that a region or a path can't be part of a console's URL.
type PlaceError struct{ Text, Problem string }

func (e *PlaceError) Error() string { return fmt.Sprintf("%q %s", e.Text, e.Problem) }

// Destination returns the URL of a page of the console. Region "" leaves that to
// the console. The path is what stands after the host, and may have a query and a
// fragment; what can't stand in a URL is escaped. The error is a *PlaceError.
func (s Site) Destination(region, path string) (string, error) {
	if region == "aws-global" { // SDKs have it for services without regions
		region = ""
	}
	// The region becomes part of the host.
	if strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(region, "-") || len(region) > 63 {
		return "", &PlaceError{region, "is not the name of a region"}
	}
	if strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://") {
		return "", &PlaceError{path, "is a URL, not the path of one"}
	}
	path, fragment, hasFragment := strings.Cut(strings.TrimLeft(path, "/"), "#")
	path, query, _ := strings.Cut(path, "?")
	host := s.domain
	if region != "" {
		host = region + "." + s.domain
		if path == "" {
			path = "console/home"
		}
		if !strings.Contains("&"+query, "&region=") {
			query = strings.TrimPrefix(query+"&region="+region, "&")
		}
	}
	to := "https://" + host + "/" + escape(path)
	if query != "" {
		to += "?" + escape(query)
	}
	if hasFragment {
		to += "#" + escape(fragment)
	}
	return to, nil
}

// escape escapes what can't stand in a URL, and leaves alone what is escaped.
func escape(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?@!$&'()*+,;="
	var b strings.Builder
	for i := range len(s) {
		if _, err := url.PathUnescape(s[i:min(i+3, len(s))]); strings.IndexByte(plain, s[i]) >= 0 || s[i] == '%' && err == nil {
			b.WriteByte(s[i])
			continue
		}
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// issuer names this program to AWS, which shows it nowhere. By AWS's
// documentation it is the page that a browser is sent to when the session ends;
// there is none.
const issuer = "kura"

// SignIn returns the URL that signs the browser in that gets it, and leads it to a
// page of the console.
func (s Site) SignIn(token cred.Secret, destination string) cred.Secret {
	return cred.NewSecret(s.Federation + "?Action=login&Issuer=" + issuer +
		"&Destination=" + url.QueryEscape(destination) + "&SigninToken=" + url.QueryEscape(token.Reveal()))
}

// SignOutFirst returns the URL that ends the session of a browser and then leads it
// to signIn. The console refuses that second part with a bare 400 where the
// browser has its support for several sessions switched on, see
// https://github.com/ByteNess/aws-vault/issues/23.
func (s Site) SignOutFirst(signIn cred.Secret) cred.Secret {
	return cred.NewSecret(s.Logout + "&redirect_uri=" + url.QueryEscape(signIn.Reveal()))
}

// Print writes a URL in the open, for who has asked for that.
func Print(w io.Writer, url cred.Secret) error {
	_, err := io.WriteString(w, url.Reveal()+"\n")
	return err
}
