package console

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"kura/internal/cred"
)

func TestDestination(t *testing.T) {
	for _, test := range []struct{ partition, region, path, want string }{
		{"aws", "", "", "https://console.aws.amazon.com/"},
		{"aws", "", "s3/home", "https://console.aws.amazon.com/s3/home"},
		{"aws", "eu-west-1", "", "https://eu-west-1.console.aws.amazon.com/console/home?region=eu-west-1"},
		{"aws", "eu-west-1", "/s3/home", "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1"},
		{"aws", "eu-west-1", "ec2/home?region=us-east-1", "https://eu-west-1.console.aws.amazon.com/ec2/home?region=us-east-1"},
		{"aws", "eu-west-1", "x?a=b", "https://eu-west-1.console.aws.amazon.com/x?a=b&region=eu-west-1"},
		{"aws", "eu-west-1", "cloudwatch/home#logsV2:log-groups", "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups"},
		{"aws", "eu-west-1", "x#/a?b=c#d", "https://eu-west-1.console.aws.amazon.com/x?region=eu-west-1#/a?b=c%23d"},
		{"aws", "eu-west-1", "a b%20c\n\"é", "https://eu-west-1.console.aws.amazon.com/a%20b%20c%0A%22%C3%A9?region=eu-west-1"},
		{"aws", "eu-west-1", "100%", "https://eu-west-1.console.aws.amazon.com/100%25?region=eu-west-1"},
		{"aws", "eu-west-1", `//example.com\@x`, `https://eu-west-1.console.aws.amazon.com/example.com%5C@x?region=eu-west-1`},
		{"aws", "aws-global", "iam/home", "https://console.aws.amazon.com/iam/home"},
		{"aws-cn", "cn-north-1", "s3/home", "https://cn-north-1.console.amazonaws.cn/s3/home?region=cn-north-1"},
		{"aws-us-gov", "us-gov-west-1", "", "https://us-gov-west-1.console.amazonaws-us-gov.com/console/home?region=us-gov-west-1"},
		{"aws-eusc", "eusc-de-east-1", "", "https://eusc-de-east-1.console.amazonaws-eusc.eu/console/home?region=eusc-de-east-1"},
	} {
		site, err := SiteOf(test.partition)
		if err != nil {
			t.Fatal(err)
		}
		got, err := site.Destination(test.region, test.path)
		if err != nil || got != test.want {
			t.Errorf("Destination(%q, %q) = %q, %v, want %q", test.region, test.path, got, err, test.want)
		}
	}
	site, _ := SiteOf("aws")
	for _, test := range [][2]string{
		{"eu-west-1.example.com/", ""}, {"-x", ""}, {"EU", ""}, {strings.Repeat("a", 64), ""},
		{"eu-west-1", "https://example.com/"}, {"", "http://example.com/"},
	} {
		got, err := site.Destination(test[0], test[1])
		if _, ok := errors.AsType[*PlaceError](err); !ok {
			t.Errorf("Destination(%q, %q) = %q, %v, want a *PlaceError", test[0], test[1], got, err)
		}
	}
}

func TestSiteOf(t *testing.T) {
	for _, partition := range []string{"aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-new"} {
		_, err := SiteOf(partition)
		if e, ok := errors.AsType[*PartitionError](err); !ok || e.Partition != partition {
			t.Errorf("SiteOf(%q): %v, want a *PartitionError", partition, err)
		}
	}
	site, err := SiteOf("")
	if err != nil || site.Federation != "https://us-east-1.signin.aws.amazon.com/federation" {
		t.Errorf("SiteOf: %q, %v", site.Federation, err)
	}
	if at := site.At("http://127.0.0.1:1/x/"); at.Federation != "http://127.0.0.1:1/x/federation" || at.Logout != "http://127.0.0.1:1/x/oauth?Action=logout" {
		t.Errorf("At: %q, %q", at.Federation, at.Logout)
	}
}

// TestSignIn reads the URLs as a server does.
func TestSignIn(t *testing.T) {
	site, _ := SiteOf("aws")
	const token, to = "a+b/c=&d", "https://eu-west-1.console.aws.amazon.com/x?region=eu-west-1#/a&b"
	in := site.SignIn(cred.NewSecret(token), to)
	u, err := url.Parse(in.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("Action") != "login" || q.Get("SigninToken") != token || q.Get("Destination") != to || q.Get("Issuer") != "kura" || u.Fragment != "" {
		t.Errorf("SignIn = %s", u)
	}
	out, err := url.Parse(site.SignOutFirst(in).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if q := out.Query(); q.Get("Action") != "logout" || q.Get("redirect_uri") != in.Reveal() {
		t.Errorf("SignOutFirst = %s", out)
	}
}

func TestServices(t *testing.T) {
	all := Services()
	if len(all) < 60 {
		t.Errorf("%d services", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Service) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the services are not in order, so some are not found")
	}
	site, _ := SiteOf("aws")
	for i, s := range all {
		if i > 0 && all[i-1].Name == s.Name {
			t.Errorf("%s is there twice", s.Name)
		}
		if strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q is no short name", s.Name)
		}
		path, ok := ServicePath(strings.ToUpper(s.Name))
		if !ok || path != s.Path {
			t.Errorf("ServicePath(%q) = %q, %v, want %q", s.Name, path, ok, s.Path)
		}
		to, err := site.Destination("eu-west-1", s.Path)
		u, parseErr := url.Parse(to)
		if err != nil || parseErr != nil || strings.HasPrefix(s.Path, "/") || !strings.Contains(s.Path, "/") ||
			u.Host != "eu-west-1.console.aws.amazon.com" || u.Query().Get("region") != "eu-west-1" {
			t.Errorf("%s leads to %q, %v", s.Name, to, err)
		}
	}
	if path, ok := ServicePath("nothing"); ok {
		t.Errorf("ServicePath of no service = %q", path)
	}
}
