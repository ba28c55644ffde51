package awsapi

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
)

// ann is the access key of the emulated AWS's first user.
var ann = cred.Credentials{
	AccessKeyID:     awstest.AccessKeyID,
	SecretAccessKey: cred.NewSecret(awstest.SecretAccessKey),
}

func newCloud(t *testing.T) *awstest.Cloud {
	t.Helper()
	cloud := awstest.New(awstest.Config{})
	t.Cleanup(cloud.Close)
	return cloud
}

// newClient returns a Client that doesn't wait between attempts.
func newClient() *Client {
	return &Client{backoff: func(int) time.Duration { return 0 }}
}

func at(endpoint string) chain.Call {
	return chain.Call{Region: "eu-west-1", Partition: "aws", Endpoint: endpoint}
}

func code(t *testing.T, cloud *awstest.Cloud) string {
	t.Helper()
	code, err := cloud.Code(awstest.MFASerial)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// failure returns err as the *Error that all errors of the package are.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v, want an *Error", err)
	}
	return e
}

func TestGetSessionToken(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	step := chain.SessionToken{Call: at(cloud.URL), MFASerial: awstest.MFASerial, Duration: 2 * time.Hour}
	got, err := client.GetSessionToken(t.Context(), ann, step, code(t, cloud))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(got.Expires); got.LongTerm() || left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("GetSessionToken = %v, which lasts %v, want session credentials for 2 h", got, left)
	}
	if got.AccountID != awstest.Account {
		t.Errorf("account of the session = %q, want %q, which the MFA serial tells", got.AccountID, awstest.Account)
	}
	identity, err := client.GetCallerIdentity(t.Context(), got, at(cloud.URL))
	if err != nil || identity.ARN != awstest.UserARN || identity.Account != awstest.Account || identity.UserID == "" {
		t.Errorf("GetCallerIdentity with the session = %+v, %v, want that of %s", identity, err, awstest.UserARN)
	}
}

func TestAssumeRole(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	hub, err := client.AssumeRole(t.Context(), ann, chain.AssumeRole{
		Call:           at(cloud.URL),
		RoleARN:        "arn:aws:iam::111122223333:role/hub",
		SessionName:    "ann@example.com",
		Tags:           map[string]string{"Team": "ops + dev", "cost center": "ü=1"},
		TransitiveTags: []string{"Team"},
		SourceIdentity: "ann",
		Duration:       15 * time.Minute,
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	spoke, err := client.AssumeRole(t.Context(), hub, chain.AssumeRole{
		Call:        at(cloud.URL),
		RoleARN:     "arn:aws:iam::444455556666:role/spoke",
		SessionName: "kura",
		Duration:    time.Hour,
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if spoke.AccountID != "444455556666" {
		t.Errorf("account of the role's session = %q, want the role's", spoke.AccountID)
	}
	identity, err := client.GetCallerIdentity(t.Context(), spoke, at(cloud.URL))
	if want := "arn:aws:sts::444455556666:assumed-role/spoke/kura"; err != nil || identity.ARN != want {
		t.Errorf("GetCallerIdentity with the role's session = %q, %v, want %q", identity.ARN, err, want)
	}
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	role := chain.WebIdentity{
		Call:        at(cloud.URL),
		RoleARN:     "arn:aws:iam::111122223333:role/deploy",
		SessionName: "build-1",
		Duration:    time.Hour,
	}
	got, err := client.AssumeRoleWithWebIdentity(t.Context(), role, cred.NewSecret("example.web-identity.token"))
	if err != nil || got.AccountID != awstest.Account || got.LongTerm() {
		t.Errorf("AssumeRoleWithWebIdentity = %v, %v, want a session of the role", got, err)
	}
	if calls := cloud.Calls(); calls[0].KeyID != "" {
		t.Errorf("the call was signed with %s, want no signature", calls[0].KeyID)
	}
}

// Of the same call the SDK makes the same request, which its own signature
// shows to be valid too.
func TestSDKSendsTheSame(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	cloud.SetFault("*", awstest.Fault{Kind: awstest.Throttle}) // the answer doesn't matter here
	sdk := sts.New(sts.Options{
		Region:           "eu-west-1",
		BaseEndpoint:     aws.String(cloud.URL),
		Credentials:      credentials.NewStaticCredentialsProvider(awstest.AccessKeyID, awstest.SecretAccessKey, ""),
		RetryMaxAttempts: 1,
	})
	for _, test := range []struct {
		name       string
		ours, sdks func(context.Context)
	}{
		{
			"GetSessionToken with MFA",
			func(ctx context.Context) {
				client.GetSessionToken(ctx, ann, chain.SessionToken{Call: at(cloud.URL), MFASerial: awstest.MFASerial, Duration: time.Hour}, "123456")
			},
			func(ctx context.Context) {
				sdk.GetSessionToken(ctx, &sts.GetSessionTokenInput{
					SerialNumber: aws.String(awstest.MFASerial), TokenCode: aws.String("123456"), DurationSeconds: aws.Int32(3600),
				})
			},
		},
		{
			"AssumeRole with everything",
			func(ctx context.Context) {
				client.AssumeRole(ctx, ann, chain.AssumeRole{
					Call: at(cloud.URL), RoleARN: "arn:aws:iam::111122223333:role/x", SessionName: "a+b=c", ExternalID: "id",
					MFASerial: awstest.MFASerial, Tags: map[string]string{"b": "2 & 3", "a": ""}, TransitiveTags: []string{"a", "b"},
					SourceIdentity: "ann", Duration: 90 * time.Minute,
				}, "123456")
			},
			func(ctx context.Context) {
				sdk.AssumeRole(ctx, &sts.AssumeRoleInput{
					RoleArn: aws.String("arn:aws:iam::111122223333:role/x"), RoleSessionName: aws.String("a+b=c"), ExternalId: aws.String("id"),
					SerialNumber: aws.String(awstest.MFASerial), TokenCode: aws.String("123456"),
					Tags:              []types.Tag{{Key: aws.String("a"), Value: aws.String("")}, {Key: aws.String("b"), Value: aws.String("2 & 3")}},
					TransitiveTagKeys: []string{"a", "b"}, SourceIdentity: aws.String("ann"), DurationSeconds: aws.Int32(5400),
				})
			},
		},
		{
			"AssumeRoleWithWebIdentity",
			func(ctx context.Context) {
				client.AssumeRoleWithWebIdentity(ctx, chain.WebIdentity{Call: at(cloud.URL), RoleARN: "arn:aws:iam::111122223333:role/x", SessionName: "s"}, cred.NewSecret("a.b.c"))
			},
			func(ctx context.Context) {
				sdk.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
					RoleArn: aws.String("arn:aws:iam::111122223333:role/x"), RoleSessionName: aws.String("s"), WebIdentityToken: aws.String("a.b.c"),
				})
			},
		},
		{
			"GetCallerIdentity",
			func(ctx context.Context) { client.GetCallerIdentity(ctx, ann, at(cloud.URL)) },
			func(ctx context.Context) { sdk.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			cloud.ResetCalls()
			test.ours(t.Context())
			ours := cloud.Calls()[0]
			cloud.ResetCalls()
			test.sdks(t.Context())
			sdks := cloud.Calls()[0]
			if !maps.Equal(ours.Params, sdks.Params) {
				t.Errorf("parameters\n%v\nwant\n%v", ours.Params, sdks.Params)
			}
			if ours.Region != sdks.Region || ours.KeyID != sdks.KeyID || ours.Service != sdks.Service {
				t.Errorf("signed for %s/%s by %q, want %s/%s by %q", ours.Region, ours.Service, ours.KeyID, sdks.Region, sdks.Service, sdks.KeyID)
			}
		})
	}
}

// What is wrong with a call shows in the Kind of the error.
func TestRefusals(t *testing.T) {
	role := func(name string) chain.AssumeRole {
		return chain.AssumeRole{RoleARN: "arn:aws:iam::111122223333:role/" + name, SessionName: "kura", Duration: time.Hour}
	}
	withMFA := func(step chain.AssumeRole, serial string) chain.AssumeRole {
		step.MFASerial = serial
		return step
	}
	short := role("readonly")
	short.Duration = time.Second
	for _, test := range []struct {
		name string
		from cred.Credentials
		step chain.AssumeRole
		code string
		kind Kind
		text string
	}{
		{"no such role", ann, role("missing"), "", Denied, "sts:AssumeRole: AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized"},
		{"MFA not shown", ann, role("admin"), "", Denied, "sts:AssumeRole: AccessDenied: "},
		{"no code", ann, withMFA(role("admin"), awstest.MFASerial), "", TokenCodeNeeded, "sts:AssumeRole: AccessDenied: MultiFactorAuthentication failed, must provide"},
		{"wrong code", ann, withMFA(role("admin"), awstest.MFASerial), "000000", BadTokenCode, "sts:AssumeRole: AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code."},
		{"wrong serial", ann, withMFA(role("admin"), "arn:aws:iam::111122223333:mfa/bob"), "000000", BadMFASerial, "sts:AssumeRole: AccessDenied: MultiFactorAuthentication failed, unable to validate MFA code. Please verify"},
		{"too short", ann, short, "", Invalid, "sts:AssumeRole: ValidationError: "},
		{"unknown key", cred.Credentials{AccessKeyID: "AKIAUNKNOWN", SecretAccessKey: cred.NewSecret("mistyped-secret")}, role("readonly"), "", InvalidKey, "sts:AssumeRole: InvalidClientTokenId: "},
		{"wrong secret", cred.Credentials{AccessKeyID: ann.AccessKeyID, SecretAccessKey: cred.NewSecret("mistyped-secret")}, role("readonly"), "", InvalidKey, "sts:AssumeRole: SignatureDoesNotMatch: "},
		{"key with a line break", cred.Credentials{AccessKeyID: "AKIA\n", SecretAccessKey: cred.NewSecret("mistyped-secret")}, role("readonly"), "", InvalidKey, "sts:AssumeRole: the access key ID or session token holds a character that none can have"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cloud := newCloud(t)
			test.step.Call = at(cloud.URL)
			_, err := newClient().AssumeRole(t.Context(), test.from, test.step, test.code)
			e := failure(t, err)
			if e.Kind != test.kind || !strings.HasPrefix(e.Error(), test.text) {
				t.Errorf("error of kind %v: %v\nwant %v: %s", e.Kind, e, test.kind, test.text)
			}
			if n := cloud.Count("AssumeRole"); n > 1 {
				t.Errorf("%d requests, want no retry of what AWS refused", n)
			}
		})
	}
}

func TestUsedTokenCode(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	step := chain.SessionToken{Call: at(cloud.URL), MFASerial: awstest.MFASerial, Duration: time.Hour}
	used := code(t, cloud)
	if _, err := client.GetSessionToken(t.Context(), ann, step, used); err != nil {
		t.Fatal(err)
	}
	_, err := client.GetSessionToken(t.Context(), ann, step, used)
	if e := failure(t, err); e.Kind != BadTokenCode || e.Status != 403 || e.RequestID == "" {
		t.Errorf("a used code gives %+v, want BadTokenCode with status 403 and a request ID", e)
	}
}

func TestExpiredSession(t *testing.T) {
	cloud, client := newCloud(t), newClient()
	session, err := client.GetSessionToken(t.Context(), ann, chain.SessionToken{Call: at(cloud.URL), Duration: 15 * time.Minute}, "")
	if err != nil {
		t.Fatal(err)
	}
	cloud.SetClockOffset(time.Hour)
	client.Now = func() time.Time { return time.Now().Add(time.Hour) }
	_, err = client.GetCallerIdentity(t.Context(), session, at(cloud.URL))
	if e := failure(t, err); e.Kind != Expired {
		t.Errorf("expired session credentials give %v: %v, want Expired", e.Kind, e)
	}
}
