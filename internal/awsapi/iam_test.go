package awsapi

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go/auth"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
)

// The access keys of a user, from the first to the last call about them.
func TestAccessKeys(t *testing.T) {
	cloud := newCloud(t)
	cloud.AddUser(awstest.User{
		Account: awstest.Account, Name: "pat", Path: "/team/eu/",
		Keys: []awstest.AccessKey{{ID: "AKIAPATPATPATEXAMPLE", Secret: "pat", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
	})
	pat := ann
	pat.AccessKeyID, pat.SecretAccessKey = "AKIAPATPATPATEXAMPLE", cred.NewSecret("pat")
	c, ctx, to := newClient(), t.Context(), at(cloud.URL)

	for _, user := range []string{"", "pat"} {
		keys, err := c.ListAccessKeys(ctx, pat, user, to)
		want := AccessKeyInfo{pat.AccessKeyID, true, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		if err != nil || len(keys) != 1 || keys[0] != want {
			t.Fatalf("ListAccessKeys(%q) = %v, %v, want %v", user, keys, err, want)
		}
	}
	made, err := c.CreateAccessKey(ctx, pat, "pat", to)
	if err != nil || !made.LongTerm() || made.SecretAccessKey.CheckAccessKey() != nil {
		t.Fatalf("CreateAccessKey = %v, %v", made, err)
	}
	_, err = c.CreateAccessKey(ctx, pat, "pat", to)
	if e := failure(t, err); e.Code != "LimitExceeded" || e.MayBeDone() {
		t.Errorf("CreateAccessKey of a third: %v, may be done: %v", e, e.MayBeDone())
	}
	if at, service, err := c.GetAccessKeyLastUsed(ctx, pat, made.AccessKeyID, to); err != nil || !at.IsZero() || service != "" {
		t.Errorf("GetAccessKeyLastUsed of a new key = %v, %q, %v", at, service, err)
	}
	if at, service, err := c.GetAccessKeyLastUsed(ctx, pat, pat.AccessKeyID, to); err != nil || at.IsZero() || service != "iam" {
		t.Errorf("GetAccessKeyLastUsed = %v, %q, %v, want iam", at, service, err)
	}
	if err := c.SetAccessKeyActive(ctx, made, "pat", pat.AccessKeyID, false, to); err != nil {
		t.Errorf("SetAccessKeyActive: %v", err)
	}
	if keys, err := c.ListAccessKeys(ctx, made, "pat", to); err != nil || len(keys) != 2 || keys[0].Active || !keys[1].Active {
		t.Errorf("ListAccessKeys = %v, %v, want the first inactive", keys, err)
	}
	if err := c.DeleteAccessKey(ctx, made, "pat", pat.AccessKeyID, to); err != nil {
		t.Errorf("DeleteAccessKey: %v", err)
	}
	err = c.DeleteAccessKey(ctx, made, "pat", pat.AccessKeyID, to)
	if e := failure(t, err); !e.NoSuchEntity() || e.Op != "iam:DeleteAccessKey" {
		t.Errorf("DeleteAccessKey of a key that is gone: %v", e)
	}
	_, err = c.ListAccessKeys(ctx, made, "ann", to)
	if e := failure(t, err); e.Kind != Denied || !strings.Contains(e.Message, "iam:ListAccessKeys on resource: "+awstest.UserARN) {
		t.Errorf("ListAccessKeys of another user: %v", e)
	}
	for _, call := range cloud.Calls() {
		if call.Service != "iam" || call.Region != "us-east-1" {
			t.Errorf("%s is signed for %s in %s, want iam in us-east-1", call.Op, call.Service, call.Region)
		}
	}
}

// Of these only CreateAccessKey is not repeated: a second key would be made.
func TestLostRepliesOfIAM(t *testing.T) {
	cloud := newCloud(t)
	c, ctx, to := newClient(), t.Context(), at(cloud.URL)
	lose := awstest.Fault{Kind: awstest.LoseReply, Count: 1}
	cloud.SetFault("CreateAccessKey", lose)
	_, err := c.CreateAccessKey(ctx, ann, "ann", to)
	if e := failure(t, err); e.Kind != Unreachable || !e.MayBeDone() || cloud.Count("CreateAccessKey") != 1 {
		t.Errorf("CreateAccessKey: %v after %d calls, want Unreachable after 1", e, cloud.Count("CreateAccessKey"))
	}
	keys, err := c.ListAccessKeys(ctx, ann, "ann", to)
	if err != nil || len(keys) != 2 {
		t.Fatalf("ListAccessKeys = %v, %v, want 2", keys, err)
	}
	cloud.SetFault("UpdateAccessKey", lose)
	if err := c.SetAccessKeyActive(ctx, ann, "ann", keys[1].ID, false, to); err != nil {
		t.Errorf("SetAccessKeyActive: %v", err)
	}
	cloud.SetFault("DeleteAccessKey", lose)
	err = c.DeleteAccessKey(ctx, ann, "ann", keys[1].ID, to)
	if e := failure(t, err); !e.NoSuchEntity() {
		t.Errorf("DeleteAccessKey: %v, want NoSuchEntity", e)
	}
}

// Somebody else's page is no answer to a call that has no result.
func TestNoResult(t *testing.T) {
	cloud := newCloud(t)
	cloud.SetFault("*", awstest.Fault{Kind: awstest.HTML200})
	err := newClient().DeleteAccessKey(t.Context(), ann, "ann", ann.AccessKeyID, at(cloud.URL))
	if e := failure(t, err); e.Kind != Unreachable {
		t.Errorf("DeleteAccessKey: %v, want Unreachable", e)
	}
	for _, body := range []string{"", "<DeleteAccessKeyResponse>", "<Other/>", "<UpdateAccessKeyResponse/>", "text"} {
		if decodeResult([]byte(body), "DeleteAccessKey", nil) == nil {
			t.Errorf("%q passes for a reply", body)
		}
	}
	for _, body := range []string{"<DeleteAccessKeyResponse/>", "<DeleteAccessKeyResponse><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></DeleteAccessKeyResponse>"} {
		if err := decodeResult([]byte(body), "DeleteAccessKey", nil); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// The AWS SDK sends calls of IAM to the same places, signed for the same region.
func TestSDKTargetsOfIAM(t *testing.T) {
	for partition, regions := range map[string][]string{
		"aws":        {"us-east-1", "eu-central-1", "aws-global"},
		"aws-cn":     {"cn-north-1", "cn-northwest-1"},
		"aws-us-gov": {"us-gov-west-1", "us-gov-east-1"},
		"aws-eusc":   {"eusc-de-east-1"},
		"aws-iso":    {"us-iso-east-1"},
		"aws-iso-b":  {"us-isob-east-1"},
		"aws-iso-e":  {"eu-isoe-west-1"},
		"aws-iso-f":  {"us-isof-south-1"},
	} {
		for _, region := range regions {
			want, err := iam.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), iam.EndpointParameters{
				Region: aws.String(region), UseFIPS: aws.Bool(false), UseDualStack: aws.Bool(false),
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := iamTarget(chain.Call{Region: region, Partition: partition})
			if err != nil || got.url.Host != want.URI.Host {
				t.Errorf("%s: host %v, %v, want %v", region, got.url, err, want.URI.Host)
				continue
			}
			signers, _ := auth.GetAuthOptions(&want.Properties)
			if signed, _ := smithyhttp.GetSigV4SigningRegion(&signers[0].SignerProperties); signed != got.region {
				t.Errorf("%s: signed for %s, want %s", region, got.region, signed)
			}
		}
	}
	got, err := iamTarget(chain.Call{Region: "eu-west-1", Partition: "aws-cn", Endpoint: "https://iam.example/x"})
	if err != nil || got.url.String() != "https://iam.example/x" || got.region != "cn-north-1" {
		t.Errorf("a configured endpoint: %v for %s, %v", got.url, got.region, err)
	}
	if _, err := iamTarget(chain.Call{Partition: "aws-moon"}); err == nil {
		t.Error("no error for a partition that is not known")
	}
}
