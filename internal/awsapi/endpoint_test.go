package awsapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"kura/internal/chain"
)

func TestSTSTarget(t *testing.T) {
	for _, test := range []struct {
		call        chain.Call
		url, region string
	}{
		{chain.Call{Region: "eu-west-1", Partition: "aws"}, "https://sts.eu-west-1.amazonaws.com/", "eu-west-1"},
		{chain.Call{Partition: "aws"}, "https://sts.us-east-1.amazonaws.com/", "us-east-1"},
		{chain.Call{}, "https://sts.us-east-1.amazonaws.com/", "us-east-1"},
		{chain.Call{Partition: "aws-cn"}, "https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"},
		{chain.Call{Partition: "aws-us-gov"}, "https://sts.us-gov-west-1.amazonaws.com/", "us-gov-west-1"},
		{chain.Call{Region: "eu-west-1", Partition: "aws", Global: true}, "https://sts.amazonaws.com/", "us-east-1"},
		{chain.Call{Region: "aws-global", Partition: "aws"}, "https://sts.amazonaws.com/", "us-east-1"},
		{chain.Call{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4566"}, "http://127.0.0.1:4566/", "eu-west-1"},
		{chain.Call{Region: "eu-west-1", Global: true, Endpoint: "https://sts.example"}, "https://sts.example/", "eu-west-1"},
		{chain.Call{Region: "aws-global", Endpoint: "https://sts.example"}, "https://sts.example/", "us-east-1"},
		{chain.Call{Endpoint: "https://vpce.example/sts/a%20b/"}, "https://vpce.example/sts/a%20b/", "us-east-1"},
		{chain.Call{Endpoint: "https://vpce.example//a/./b/../sts"}, "https://vpce.example/a/sts", "us-east-1"},
	} {
		got, err := stsTarget(test.call)
		if err != nil {
			t.Errorf("%+v: %v", test.call, err)
			continue
		}
		if got.url.String() != test.url || got.region != test.region {
			t.Errorf("%+v goes to %v for %s, want %s for %s", test.call, got.url, got.region, test.url, test.region)
		}
	}
}

// No setting makes a request go to another host than AWS's or the endpoint.
func TestBadTarget(t *testing.T) {
	for _, call := range []chain.Call{
		{Region: "eu-west-1.evil.example/"},
		{Region: "evil.example"},
		{Region: "eu west"},
		{Region: "-eu"},
		{Region: "eu-west-1\n"},
		{Region: strings.Repeat("a", 64)},
		{Partition: "aws-moon"},
		{Endpoint: "sts.example"},
		{Endpoint: "ftp://sts.example"},
		{Endpoint: "https://"},
		{Endpoint: "https://ann:hunter2@sts.example"},
		{Endpoint: "https://ann:hunter2@sts.example:port"},
	} {
		_, err := new(Client).GetCallerIdentity(t.Context(), ann, call)
		if e := failure(t, err); e.Kind != Invalid || strings.Contains(e.Error(), "hunter2") {
			t.Errorf("%+v gives %v: %v, want Invalid, and no password", call, e.Kind, e)
		}
	}
}

// The AWS SDK sends calls to the same places.
func TestSDKTargets(t *testing.T) {
	for _, test := range []struct {
		partition string
		regions   []string
	}{
		{"aws", []string{"us-east-1", "us-west-2", "eu-central-1", "ap-south-2", "sa-east-1", "mx-central-1", "aws-global"}},
		{"aws-cn", []string{"cn-north-1", "cn-northwest-1"}},
		{"aws-us-gov", []string{"us-gov-west-1", "us-gov-east-1"}},
		{"aws-eusc", []string{"eusc-de-east-1"}},
		{"aws-iso", []string{"us-iso-east-1"}},
		{"aws-iso-b", []string{"us-isob-east-1"}},
		{"aws-iso-e", []string{"eu-isoe-west-1"}},
		{"aws-iso-f", []string{"us-isof-south-1"}},
	} {
		if _, region, _ := partition(test.partition); test.regions[0] != region && test.partition != "aws-us-gov" {
			t.Errorf("default region of %s = %s, want %s", test.partition, region, test.regions[0])
		}
		for _, region := range test.regions {
			for _, global := range []bool{false, test.partition == "aws" && region != "ap-south-2" && region != "mx-central-1"} {
				want, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), sts.EndpointParameters{
					Region: aws.String(region), UseGlobalEndpoint: aws.Bool(global), UseFIPS: aws.Bool(false), UseDualStack: aws.Bool(false),
				})
				if err != nil {
					t.Fatal(err)
				}
				got, err := stsTarget(chain.Call{Region: region, Partition: test.partition, Global: global})
				if err != nil || got.url.Host != want.URI.Host {
					t.Errorf("%s, global %v: host %v, %v, want %v", region, global, got.url, err, want.URI.Host)
				}
			}
		}
	}
}

// FuzzRegion: a region is refused or stays within its place in the host name.
func FuzzRegion(f *testing.F) {
	f.Add("eu-west-1")
	f.Add("x.evil.example/?")
	f.Fuzz(func(t *testing.T, region string) {
		got, err := stsTarget(chain.Call{Region: region, Partition: "aws-cn"})
		if err != nil || region == "" {
			return
		}
		again, err := url.Parse(got.url.String())
		if err != nil || again.Path != "/" || again.RawQuery != "" || again.Hostname() != again.Host ||
			region != "aws-global" && (again.Host != "sts."+region+".amazonaws.com.cn" || strings.Count(again.Host, ".") != 4) {
			t.Errorf("region %q makes the URL %v", region, got.url)
		}
	})
}
