package awstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

var (
	ann    = aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}
	oppara = aws.Credentials{AccessKeyID: "AKIAI44QH8DHBEXAMPLE", SecretAccessKey: "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"}
)

func start(t *testing.T, cfg Config) *Cloud {
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

// stsAs returns the AWS SDK's client, which tries once.
func stsAs(c *Cloud, k aws.Credentials) *sts.Client {
	return sts.New(sts.Options{
		Region:           "eu-central-1",
		BaseEndpoint:     &c.URL,
		RetryMaxAttempts: 1,
		Credentials:      fixed(k),
	})
}

func iamAs(c *Cloud, k aws.Credentials) *iam.Client {
	return iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &c.URL, RetryMaxAttempts: 1, Credentials: fixed(k)})
}

func s3As(c *Cloud, k aws.Credentials) *s3.Client {
	return s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &c.URL, RetryMaxAttempts: 1, Credentials: fixed(k)})
}

func fixed(k aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return k, nil })
}

func session(c *ststypes.Credentials) aws.Credentials {
	return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
}

func roleARN(name string) *string {
	if name == "spoke" {
		return aws.String("arn:aws:iam::444455556666:role/spoke")
	}
	return aws.String("arn:aws:iam::" + Account + ":role/" + name)
}

// assume returns a session of a role, which the caller may assume.
func assume(t *testing.T, c *Cloud, k aws.Credentials, in sts.AssumeRoleInput) aws.Credentials {
	t.Helper()
	in.RoleSessionName = aws.String("test")
	out, err := stsAs(c, k).AssumeRole(t.Context(), &in)
	if err != nil {
		t.Fatalf("AssumeRole %s: %v", *in.RoleArn, err)
	}
	return session(out.Credentials)
}

// sessionOf returns a session of a user, with MFA if serial is not empty.
func sessionOf(t *testing.T, c *Cloud, k aws.Credentials, serial string) aws.Credentials {
	t.Helper()
	in := &sts.GetSessionTokenInput{}
	if serial != "" {
		in.SerialNumber, in.TokenCode = &serial, code(t, c, serial)
	}
	out, err := stsAs(c, k).GetSessionToken(t.Context(), in)
	if err != nil {
		t.Fatalf("GetSessionToken: %v", err)
	}
	return session(out.Credentials)
}

func code(t *testing.T, c *Cloud, serial string) *string {
	t.Helper()
	code, err := c.Code(serial)
	if err != nil {
		t.Fatal(err)
	}
	return &code
}

// checkCode checks that err is AWS's refusal with that code and with those
// words in its message. An empty code stands for no error.
func checkCode(t *testing.T, what string, err error, code, words string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v, want no error", what, err)
		}
		return
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), words) {
		t.Errorf("%s: %s: %q, want %s: …%s…", what, api.ErrorCode(), api.ErrorMessage(), code, words)
	}
}

func identity(t *testing.T, c *Cloud, k aws.Credentials) (string, error) {
	out, err := stsAs(c, k).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

func TestCallerIdentity(t *testing.T) {
	c := start(t, Config{})
	out, err := stsAs(c, ann).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *out.Arn != UserARN || *out.Account != Account || !strings.HasPrefix(*out.UserId, "AIDA") {
		t.Errorf("GetCallerIdentity = %s %s %s", *out.Arn, *out.Account, *out.UserId)
	}
	role := assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("hub")})
	spoke := assume(t, c, role, sts.AssumeRoleInput{RoleArn: roleARN("spoke")})
	if got, err := identity(t, c, spoke); got != "arn:aws:sts::444455556666:assumed-role/spoke/test" {
		t.Errorf("identity of spoke = %q, %v", got, err)
	}
	if got, err := identity(t, c, sessionOf(t, c, ann, "")); got != UserARN {
		t.Errorf("identity of a session = %q, %v", got, err)
	}
}

func TestSignatureRefused(t *testing.T) {
	c := start(t, Config{})
	temporary := sessionOf(t, c, ann, "")
	for _, test := range []struct {
		name        string
		key         aws.Credentials
		code, words string
	}{
		{"wrong secret", aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: "wrong"}, "SignatureDoesNotMatch", "does not match"},
		{"unknown key", aws.Credentials{AccessKeyID: "AKIAUNKNOWNUNKNOWN00", SecretAccessKey: "x"}, "InvalidClientTokenId", "is invalid"},
		{"token with an access key", aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey, SessionToken: "x"}, "InvalidClientTokenId", ""},
		{"no token with a session", aws.Credentials{AccessKeyID: temporary.AccessKeyID, SecretAccessKey: temporary.SecretAccessKey}, "InvalidClientTokenId", ""},
	} {
		_, err := identity(t, c, test.key)
		checkCode(t, test.name, err, test.code, test.words)
	}
}

// A client and AWS whose clocks differ by more than 5 minutes do not
// understand each other, and the Date header tells by how much they differ.
// Sessions can be made to end sooner than AWS allows.
func TestSessionLimit(t *testing.T) {
	now := time.Now()
	c := start(t, Config{Now: func() time.Time { return now }})
	for limit, want := range map[time.Duration]time.Duration{0: 900 * time.Second, 2 * time.Minute: 2 * time.Minute, time.Hour: 900 * time.Second} {
		c.SetSessionLimit(limit)
		got, err := stsAs(c, ann).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
		if err != nil {
			t.Fatal(err)
		}
		if lasts := got.Credentials.Expiration.Sub(now.Truncate(time.Second)); lasts != want {
			t.Errorf("with a limit of %v a session lasts %v, want %v", limit, lasts, want)
		}
	}
}

func TestClockSkew(t *testing.T) {
	c := start(t, Config{})
	for offset, words := range map[time.Duration]string{
		4 * time.Minute:  "",
		-4 * time.Minute: "",
		6 * time.Minute:  "Signature expired: ",
		-6 * time.Minute: "Signature not yet current: ",
	} {
		c.SetClockOffset(offset)
		_, err := identity(t, c, ann)
		if words == "" {
			checkCode(t, offset.String(), err, "", "")
		} else {
			checkCode(t, offset.String(), err, "SignatureDoesNotMatch", words)
		}
	}
	c.SetClockOffset(6 * time.Hour)
	resp, err := http.Get(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if got := time.Until(date); err != nil || (got-6*time.Hour).Abs() > 5*time.Second {
		t.Errorf("Date is %v ahead, %v, want 6h", got, err)
	}
	// The SDK corrects itself by that header.
	client := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.URL, Credentials: fixed(ann)})
	if _, err := client.GetCallerIdentity(t.Context(), nil); err != nil {
		t.Errorf("the SDK with retries: %v", err)
	}
}

// One process serves all regions under its own name, but under one of AWS's
// names only what belongs there.
func TestScope(t *testing.T) {
	c := start(t, Config{})
	for _, test := range []struct {
		host, region, code string
	}{
		{"sts.eu-west-1.amazonaws.com", "eu-west-1", ""},
		{"sts.eu-west-1.amazonaws.com", "us-east-1", "SignatureDoesNotMatch"},
		{"sts-fips.us-east-2.amazonaws.com", "us-east-2", ""},
		{"sts.amazonaws.com", "us-east-1", ""},
		{"sts.amazonaws.com", "eu-west-1", "SignatureDoesNotMatch"},
		{"sts.cn-north-1.amazonaws.com.cn", "cn-north-1", ""},
		{"iam.amazonaws.com", "us-east-1", "SignatureDoesNotMatch"},
		{"localhost:1", "ap-south-1", ""},
	} {
		client := sts.New(sts.Options{
			Region:           test.region,
			BaseEndpoint:     aws.String("http://" + test.host),
			RetryMaxAttempts: 1,
			Credentials:      fixed(ann),
			HTTPClient:       &http.Client{Transport: toCloud{c}},
		})
		_, err := client.GetCallerIdentity(t.Context(), nil)
		checkCode(t, test.host+" "+test.region, err, test.code, "scoped")
	}
}

// toCloud sends every request to the Cloud, with the Host header it has.
type toCloud struct{ *Cloud }

func (c toCloud) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = cmp.Or(r.Host, r.URL.Host)
	r.URL.Host = strings.TrimPrefix(c.URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

func TestSessionExpires(t *testing.T) {
	c := start(t, Config{})
	k := assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), DurationSeconds: aws.Int32(900)})
	for _, test := range []struct {
		after time.Duration
		code  string
	}{
		{14 * time.Minute, ""},
		{16 * time.Minute, "ExpiredToken"},
	} {
		c.SetClockOffset(test.after)
		// With retries the SDK adapts to the clock.
		client := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.URL, Credentials: fixed(k)})
		_, err := client.GetCallerIdentity(t.Context(), nil)
		checkCode(t, "a session after "+test.after.String(), err, test.code, "")
	}
}

func TestGetSessionToken(t *testing.T) {
	c := start(t, Config{})
	role := assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly")})
	for _, test := range []struct {
		name        string
		key         aws.Credentials
		in          sts.GetSessionTokenInput
		code, words string
	}{
		{"plain", ann, sts.GetSessionTokenInput{}, "", ""},
		{"shortest", ann, sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)}, "", ""},
		{"longest", ann, sts.GetSessionTokenInput{DurationSeconds: aws.Int32(129600)}, "", ""},
		{"too short", ann, sts.GetSessionTokenInput{DurationSeconds: aws.Int32(899)}, "ValidationError", "greater than or equal to 900"},
		{"too long", ann, sts.GetSessionTokenInput{DurationSeconds: aws.Int32(129601)}, "ValidationError", "less than or equal to 129600"},
		{"with a session", sessionOf(t, c, ann, ""), sts.GetSessionTokenInput{}, "AccessDenied", "Cannot call GetSessionToken with session credentials"},
		{"with a role session", role, sts.GetSessionTokenInput{}, "AccessDenied", "Cannot call GetSessionToken with session credentials"},
		{"serial without code", ann, sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial)}, "AccessDenied", "must provide both"},
		{"code without serial", ann, sts.GetSessionTokenInput{TokenCode: aws.String("000000")}, "AccessDenied", "must provide both"},
		{"wrong form", ann, sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial), TokenCode: aws.String("12345a")}, "ValidationError", "tokenCode"},
		{"other's device", oppara, sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial), TokenCode: code(t, c, MFASerial)}, "AccessDenied", "unable to validate MFA code"},
		{"no such device", ann, sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial + "2"), TokenCode: code(t, c, MFASerial)}, "AccessDenied", "unable to validate MFA code"},
	} {
		_, err := stsAs(c, test.key).GetSessionToken(t.Context(), &test.in)
		checkCode(t, test.name, err, test.code, test.words)
	}
	out, err := stsAs(c, ann).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); (left - 12*time.Hour).Abs() > time.Minute {
		t.Errorf("a session lasts %v by default, want 12h", left)
	}
}

func TestTokenCodeIsGoodForOneCall(t *testing.T) {
	c := start(t, Config{})
	const invalid = "MultiFactorAuthentication failed with invalid MFA one time pass code. "
	get := func(code string) error {
		_, err := stsAs(c, ann).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial), TokenCode: &code})
		return err
	}
	now := step(c.Now())
	d := c.devices[MFASerial]
	checkCode(t, "a code 2 steps old", get(d.code(now-2)), "AccessDenied", invalid)
	checkCode(t, "a code of 3 steps ahead", get(d.code(now+3)), "AccessDenied", invalid)
	first := *code(t, c, MFASerial)
	checkCode(t, "first use", get(first), "", "")
	checkCode(t, "second use", get(first), "AccessDenied", invalid)
	second := *code(t, c, MFASerial)
	if first == second {
		t.Fatalf("Code returned a used code")
	}
	checkCode(t, "next code", get(second), "", "")
	_, err := c.Code(MFASerial)
	if _, ok := errors.AsType[*NoCodeError](err); !ok && step(c.Now()) == now {
		t.Errorf("Code when all are used = %v, want a *NoCodeError", err)
	}
}

// Of many processes that send one code, one gets a session.
func TestTokenCodeRace(t *testing.T) {
	c := start(t, Config{})
	in := &sts.GetSessionTokenInput{SerialNumber: aws.String(MFASerial), TokenCode: code(t, c, MFASerial)}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { stsAs(c, ann).GetSessionToken(t.Context(), in) })
	}
	wg.Wait()
	if got, count := len(c.Done()), c.Count("GetSessionToken"); got != 1 || count != 20 {
		t.Errorf("%d of %d calls with one code were carried out, want 1 of 20", got, count)
	}
}

func TestAssumeRole(t *testing.T) {
	c := start(t, Config{})
	c.AddRole(Role{Account: Account, Name: "team/ops", Trust: []Trust{{Principals: []string{UserARN}}}})
	c.AddRole(Role{Account: Account, Name: "plain", Trust: []Trust{{Principals: []string{"*"}, Deny: []string{"sts:TagSession", "sts:SetSourceIdentity"}}}})
	c.AddUser(User{Account: Account, Name: "bob", Keys: []AccessKey{{ID: "AKIABOBBOBBOBBOBBOB0", Secret: "bob"}}, Deny: []string{"sts:AssumeRole"}})
	bob := aws.Credentials{AccessKeyID: "AKIABOBBOBBOBBOBBOB0", SecretAccessKey: "bob"}
	hub := assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("hub")})
	mfa := sessionOf(t, c, ann, MFASerial)
	name := aws.String("ann-1")
	tags := func(n int) (tags []ststypes.Tag) {
		for i := range n {
			tags = append(tags, ststypes.Tag{Key: aws.String(fmt.Sprint("key", i)), Value: aws.String("v")})
		}
		return tags
	}
	tag := func(k, v string) []ststypes.Tag { return []ststypes.Tag{{Key: &k, Value: &v}} }
	for _, test := range []struct {
		name        string
		key         aws.Credentials
		in          sts.AssumeRoleInput
		code, words string
	}{
		{"plain", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly")}, "", ""},
		{"a role with a path", ann, sts.AssumeRoleInput{RoleArn: roleARN("team/ops")}, "", ""},
		{"another user", oppara, sts.AssumeRoleInput{RoleArn: roleARN("team/ops")}, "AccessDenied", "User: arn:aws:iam::111122223333:user/oppara is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/team/ops"},
		{"no such role", ann, sts.AssumeRoleInput{RoleArn: roleARN("none")}, "AccessDenied", "is not authorized to perform: sts:AssumeRole"},
		{"not a role", ann, sts.AssumeRoleInput{RoleArn: aws.String(UserARN)}, "ValidationError", "is invalid"},
		{"another account", ann, sts.AssumeRoleInput{RoleArn: roleARN("spoke")}, "AccessDenied", ""},
		{"a trusted role", hub, sts.AssumeRoleInput{RoleArn: roleARN("spoke")}, "", ""},
		{"denied to the user", bob, sts.AssumeRoleInput{RoleArn: roleARN("readonly")}, "AccessDenied", "explicit deny"},

		{"no MFA", ann, sts.AssumeRoleInput{RoleArn: roleARN("admin")}, "AccessDenied", "is not authorized"},
		{"MFA in the call", ann, sts.AssumeRoleInput{RoleArn: roleARN("admin"), SerialNumber: aws.String(MFASerial), TokenCode: code(t, c, MFASerial)}, "", ""},
		{"MFA of the session", mfa, sts.AssumeRoleInput{RoleArn: roleARN("admin")}, "", ""},
		{"MFA of the session again", mfa, sts.AssumeRoleInput{RoleArn: roleARN("audit")}, "", ""},
		{"session without MFA", sessionOf(t, c, ann, ""), sts.AssumeRoleInput{RoleArn: roleARN("admin")}, "AccessDenied", ""},
		{"role session to a role with MFA", assume(t, c, mfa, sts.AssumeRoleInput{RoleArn: roleARN("admin")}), sts.AssumeRoleInput{RoleArn: roleARN("audit")}, "AccessDenied", ""},
		{"role session that sends a code", hub, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), SerialNumber: aws.String("arn:aws:iam::111122223333:mfa/oppara"), TokenCode: code(t, c, "arn:aws:iam::111122223333:mfa/oppara")}, "AccessDenied", "unable to validate MFA code"},

		{"external ID", ann, sts.AssumeRoleInput{RoleArn: roleARN("vendor"), ExternalId: aws.String("example-external-id")}, "", ""},
		{"no external ID", ann, sts.AssumeRoleInput{RoleArn: roleARN("vendor")}, "AccessDenied", ""},
		{"wrong external ID", ann, sts.AssumeRoleInput{RoleArn: roleARN("vendor"), ExternalId: aws.String("other")}, "AccessDenied", ""},
		{"malformed external ID", ann, sts.AssumeRoleInput{RoleArn: roleARN("vendor"), ExternalId: aws.String("a b")}, "ValidationError", "externalId"},

		{"short name", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), RoleSessionName: aws.String("a")}, "ValidationError", "roleSessionName"},
		{"long name", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), RoleSessionName: aws.String(strings.Repeat("a", 65))}, "ValidationError", "roleSessionName"},
		{"name with a blank", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), RoleSessionName: aws.String("ann b")}, "ValidationError", `[\w+=,.@-]*`},
		{"all that a name may hold", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), RoleSessionName: aws.String("Aa0_+=,.@-")}, "", ""},

		{"too short", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), DurationSeconds: aws.Int32(899)}, "ValidationError", "900"},
		{"too long for any", ann, sts.AssumeRoleInput{RoleArn: roleARN("long"), DurationSeconds: aws.Int32(43201)}, "ValidationError", "43200"},
		{"too long for the role", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), DurationSeconds: aws.Int32(3601)}, "ValidationError", "exceeds the MaxSessionDuration set for this role"},
		{"12 hours", ann, sts.AssumeRoleInput{RoleArn: roleARN("long"), DurationSeconds: aws.Int32(43200)}, "", ""},
		{"12 hours of a session", mfa, sts.AssumeRoleInput{RoleArn: roleARN("long"), DurationSeconds: aws.Int32(43200)}, "", ""},
		{"an hour of role chaining", hub, sts.AssumeRoleInput{RoleArn: roleARN("long"), DurationSeconds: aws.Int32(3600)}, "", ""},
		{"more of role chaining", hub, sts.AssumeRoleInput{RoleArn: roleARN("long"), DurationSeconds: aws.Int32(3601)}, "ValidationError", "role chaining"},

		{"source identity", ann, sts.AssumeRoleInput{RoleArn: roleARN("traced"), SourceIdentity: aws.String("ann")}, "", ""},
		{"no source identity", ann, sts.AssumeRoleInput{RoleArn: roleARN("traced")}, "AccessDenied", "sts:AssumeRole"},
		{"source identity not allowed", ann, sts.AssumeRoleInput{RoleArn: roleARN("plain"), SourceIdentity: aws.String("ann")}, "AccessDenied", "sts:SetSourceIdentity"},
		{"malformed source identity", ann, sts.AssumeRoleInput{RoleArn: roleARN("traced"), SourceIdentity: aws.String("a/b")}, "ValidationError", "sourceIdentity"},

		{"50 tags", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tags(50)}, "", ""},
		{"51 tags", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tags(51)}, "ValidationError", "50"},
		{"tags not allowed", ann, sts.AssumeRoleInput{RoleArn: roleARN("plain"), Tags: tags(1)}, "AccessDenied", "sts:TagSession"},
		{"long key", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag(strings.Repeat("k", 129), "v")}, "ValidationError", "tag key"},
		{"empty key", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag("", "v")}, "ValidationError", "tag key"},
		{"reserved key", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag("aws:x", "v")}, "ValidationError", "tag key"},
		{"odd key", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag("a*b", "v")}, "ValidationError", "tag key"},
		{"long value", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag("k", strings.Repeat("v", 257))}, "ValidationError", "tag value"},
		{"empty value", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: tag("k", "")}, "", ""},
		{"duplicate keys", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Tags: append(tag("Team", "a"), tag("team", "b")...)}, "InvalidParameterValue", "Duplicate tag keys"},
		{"transitive key without tag", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), TransitiveTagKeys: []string{"team"}}, "InvalidParameterValue", "transitive"},

		{"policy", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Policy: aws.String("{}")}, "", ""},
		{"malformed policy", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Policy: aws.String("{")}, "MalformedPolicyDocument", ""},
		{"long policy", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Policy: aws.String(`"` + strings.Repeat("x", 2047) + `"`)}, "ValidationError", "policy"},
		{"packed too large", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), Policy: aws.String(`"` + strings.Repeat("x", 2046) + `"`), Tags: tags(1)}, "PackedPolicyTooLarge", ""},
		{"11 policy ARNs", ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly"), PolicyArns: slices.Repeat([]ststypes.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}}, 11)}, "ValidationError", "policyArns"},
	} {
		if test.in.RoleSessionName == nil {
			test.in.RoleSessionName = name
		}
		_, err := stsAs(c, test.key).AssumeRole(t.Context(), &test.in)
		checkCode(t, test.name, err, test.code, test.words)
	}
}

func TestAssumeRoleReply(t *testing.T) {
	c := start(t, Config{})
	out, err := stsAs(c, ann).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn:         roleARN("traced"),
		RoleSessionName: aws.String("ann-1"),
		SourceIdentity:  aws.String("ann"),
		Policy:          aws.String(`{"Statement":[]}`),
		DurationSeconds: aws.Int32(1800),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := *out.AssumedRoleUser.Arn; got != "arn:aws:sts::111122223333:assumed-role/traced/ann-1" {
		t.Errorf("Arn = %s", got)
	}
	if got := *out.AssumedRoleUser.AssumedRoleId; !strings.HasPrefix(got, "AROA") || !strings.HasSuffix(got, ":ann-1") {
		t.Errorf("AssumedRoleId = %s", got)
	}
	if got := aws.ToInt32(out.PackedPolicySize); got < 1 || got > 100 {
		t.Errorf("PackedPolicySize = %d, want 1 to 100", got)
	}
	if got := aws.ToString(out.SourceIdentity); got != "ann" {
		t.Errorf("SourceIdentity = %q, want ann", got)
	}
	if left := time.Until(*out.Credentials.Expiration); (left - 30*time.Minute).Abs() > time.Minute {
		t.Errorf("the session lasts %v, want 30m", left)
	}
	if !strings.HasPrefix(*out.Credentials.AccessKeyId, "ASIA") {
		t.Errorf("AccessKeyId = %s, want ASIA…", *out.Credentials.AccessKeyId)
	}
}

// What is transitive goes along a role chain and can't be changed on the way.
func TestRoleChainInherits(t *testing.T) {
	c := start(t, Config{})
	hub := assume(t, c, ann, sts.AssumeRoleInput{
		RoleArn:           roleARN("hub"),
		Tags:              []ststypes.Tag{{Key: aws.String("Team"), Value: aws.String("a")}, {Key: aws.String("Cost"), Value: aws.String("b")}},
		TransitiveTagKeys: []string{"Team"},
		SourceIdentity:    aws.String("ann"),
	})
	next := func(k aws.Credentials, tag string, identity *string) (*sts.AssumeRoleOutput, error) {
		in := &sts.AssumeRoleInput{RoleArn: roleARN("traced"), RoleSessionName: aws.String("next"), SourceIdentity: identity}
		if tag != "" {
			in.Tags = []ststypes.Tag{{Key: &tag, Value: aws.String("new")}}
		}
		return stsAs(c, k).AssumeRole(t.Context(), in)
	}
	_, err := next(hub, "team", nil)
	checkCode(t, "an inherited tag set again", err, "AccessDenied", "inherited")
	_, err = next(hub, "Cost", nil)
	checkCode(t, "a tag that is not transitive set again", err, "", "")
	_, err = next(hub, "", aws.String("eve"))
	checkCode(t, "another source identity", err, "AccessDenied", "sts:SetSourceIdentity")
	out, err := next(hub, "", nil)
	if err != nil || aws.ToString(out.SourceIdentity) != "ann" {
		t.Fatalf("the source identity is not inherited: %v", err)
	}
	_, err = next(session(out.Credentials), "TEAM", nil)
	checkCode(t, "an inherited tag set again two roles on", err, "AccessDenied", "inherited")
}

func TestWebIdentity(t *testing.T) {
	c := start(t, Config{})
	c.AddWebIdentity(WebIdentity{Token: "stale", Issuer: "https://token.example", Subject: "repo:example/app", Expires: time.Now().Add(-time.Hour)})
	c.AddWebIdentity(WebIdentity{Token: "fork", Issuer: "https://token.example", Subject: "repo:eve/app"})
	client := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.URL, RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{}})
	for _, test := range []struct{ role, token, code string }{
		{"deploy", "example.web-identity.token", ""},
		{"deploy", "unknown", "InvalidIdentityToken"},
		{"deploy", "stale", "ExpiredTokenException"},
		{"deploy", "fork", "AccessDenied"},
		{"readonly", "example.web-identity.token", "AccessDenied"},
	} {
		out, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: roleARN(test.role), RoleSessionName: aws.String("ci"), WebIdentityToken: &test.token,
		})
		checkCode(t, test.role+" "+test.token, err, test.code, "")
		if err == nil {
			if got, err := identity(t, c, session(out.Credentials)); got != "arn:aws:sts::111122223333:assumed-role/deploy/ci" {
				t.Errorf("identity = %q, %v", got, err)
			}
		}
	}
	_, err := stsAs(c, ann).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: roleARN("deploy"), RoleSessionName: aws.String("ci")})
	checkCode(t, "AssumeRole of a role for web identities", err, "AccessDenied", "")
}

func TestGetAccessKeyInfo(t *testing.T) {
	c := start(t, Config{})
	out, err := stsAs(c, ann).GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: &oppara.AccessKeyID})
	if err != nil || *out.Account != Account {
		t.Errorf("GetAccessKeyInfo: %v, want account %s", err, Account)
	}
	_, err = stsAs(c, sessionOf(t, c, ann, "")).GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: &oppara.AccessKeyID})
	checkCode(t, "with a session", err, "AccessDenied", "")
}

func TestAccessKeys(t *testing.T) {
	now := time.Now()
	c := start(t, Config{KeyDelay: time.Minute, Now: func() time.Time { return now }})
	client := iamAs(c, ann)
	made, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := made.AccessKey.AccessKeyId
	second := aws.Credentials{AccessKeyID: *id, SecretAccessKey: *made.AccessKey.SecretAccessKey}
	_, err = client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	checkCode(t, "a third key", err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	_, err = identity(t, c, second)
	checkCode(t, "a key that has not spread yet", err, "InvalidClientTokenId", "")
	list, err := client.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{})
	if err != nil || len(list.AccessKeyMetadata) != 2 {
		t.Errorf("ListAccessKeys: %d keys, %v, want 2", len(list.AccessKeyMetadata), err)
	}
	used, err := client.GetAccessKeyLastUsed(t.Context(), &iam.GetAccessKeyLastUsedInput{AccessKeyId: id})
	if err != nil || used.AccessKeyLastUsed.LastUsedDate != nil || *used.AccessKeyLastUsed.ServiceName != "N/A" {
		t.Errorf("GetAccessKeyLastUsed of a new key: %v, want never", err)
	}

	c.SetClockOffset(61 * time.Second)
	_, err = identity(t, c, second)
	checkCode(t, "a key that has spread", err, "", "")
	used, err = client.GetAccessKeyLastUsed(t.Context(), &iam.GetAccessKeyLastUsedInput{AccessKeyId: id})
	if err != nil || used.AccessKeyLastUsed.LastUsedDate == nil || *used.AccessKeyLastUsed.ServiceName != "sts" || *used.UserName != "ann" {
		t.Errorf("GetAccessKeyLastUsed of a used key: %v, want sts", err)
	}
	// The new key does away with the old one.
	client = iamAs(c, second)
	_, err = client.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{AccessKeyId: aws.String(AccessKeyID), Status: "Inactive"})
	checkCode(t, "UpdateAccessKey", err, "", "")
	_, err = identity(t, c, ann)
	checkCode(t, "an inactive key", err, "InvalidClientTokenId", "")
	_, err = client.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{AccessKeyId: aws.String(AccessKeyID), Status: "Gone"})
	checkCode(t, "an unknown status", err, "ValidationError", "status")
	_, err = client.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{AccessKeyId: aws.String(AccessKeyID)})
	checkCode(t, "DeleteAccessKey", err, "", "")
	_, err = client.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{AccessKeyId: aws.String(AccessKeyID)})
	checkCode(t, "DeleteAccessKey again", err, "NoSuchEntity", "cannot be found")
}

func TestIAMCallers(t *testing.T) {
	c := start(t, Config{})
	admin := assume(t, c, sessionOf(t, c, ann, MFASerial), sts.AssumeRoleInput{RoleArn: roleARN("admin")})
	c.AddUser(User{Account: Account, Name: "bob", Keys: []AccessKey{{ID: "AKIABOBBOBBOBBOBBOB0", Secret: "bob"}}, Deny: []string{"iam:GetUser"}})
	for _, test := range []struct {
		name        string
		key         aws.Credentials
		user        *string
		code, words string
	}{
		{"oneself", ann, nil, "", ""},
		{"oneself by name", ann, aws.String("ann"), "", ""},
		{"another user", ann, aws.String("oppara"), "AccessDenied", "iam:GetUser"},
		{"a session without MFA", sessionOf(t, c, ann, ""), nil, "InvalidClientTokenId", "The security token included in the request is invalid"},
		{"a session with MFA", sessionOf(t, c, ann, MFASerial), nil, "", ""},
		{"a role, no name", admin, nil, "ValidationError", "Must specify userName"},
		{"a role", admin, aws.String("ann"), "", ""},
		{"no such user", admin, aws.String("eve"), "NoSuchEntity", "cannot be found"},
		{"a role that may not", assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("readonly")}), aws.String("ann"), "AccessDenied", "not authorized"},
		{"denied", aws.Credentials{AccessKeyID: "AKIABOBBOBBOBBOBBOB0", SecretAccessKey: "bob"}, nil, "AccessDenied", "explicit deny"},
	} {
		_, err := iamAs(c, test.key).GetUser(t.Context(), &iam.GetUserInput{UserName: test.user})
		checkCode(t, test.name, err, test.code, test.words)
	}
	out, err := iamAs(c, ann).ListMFADevices(t.Context(), &iam.ListMFADevicesInput{})
	if err != nil || len(out.MFADevices) != 1 || *out.MFADevices[0].SerialNumber != MFASerial {
		t.Errorf("ListMFADevices of the caller: %d, %v, want ann's device", len(out.MFADevices), err)
	}
}

// What was deleted or made inactive works for a while still, and a list is that of
// a while ago.
func TestSpread(t *testing.T) {
	c := start(t, Config{Spread: 30 * time.Second})
	client := iamAs(c, ann)
	listed := func() string {
		out, err := client.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, k := range out.AccessKeyMetadata {
			text += string(k.Status) + " "
		}
		return text
	}
	made, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := made.AccessKey.AccessKeyId
	second := aws.Credentials{AccessKeyID: *id, SecretAccessKey: *made.AccessKey.SecretAccessKey}
	if got := listed(); got != "Active " {
		t.Errorf("after CreateAccessKey the keys are %q, want one", got)
	}
	c.SetClockOffset(1 * time.Minute)
	if got := listed(); got != "Active Active " {
		t.Errorf("a minute later the keys are %q, want two", got)
	}
	for n, change := range []func() error{
		func() error {
			_, err := client.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{AccessKeyId: id, Status: "Inactive"})
			return err
		},
		func() error {
			_, err := client.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{AccessKeyId: id})
			return err
		},
	} {
		offset := time.Duration(n+2) * time.Minute
		c.SetClockOffset(offset)
		checkCode(t, "a change", change(), "", "")
		before := listed()
		c.SetClockOffset(offset + 29*time.Second)
		if got := listed(); got != before || n == 0 && got != "Active Active " {
			t.Errorf("a moment after change %d the keys are %q", n, got)
		}
		if _, err := identity(t, c, second); n == 0 {
			checkCode(t, "a moment after it was made inactive", err, "", "")
		}
		c.SetClockOffset(offset + time.Minute)
		want := []string{"Active Inactive ", "Active "}[n]
		if got := listed(); got != want {
			t.Errorf("a minute after change %d the keys are %q, want %q", n, got, want)
		}
		_, err = identity(t, c, second)
		checkCode(t, "a minute after a change", err, "InvalidClientTokenId", "")
	}
}

// A user's path is in his ARN; he is named without it. A service control policy
// stands above what he may do.
func TestPathAndDeny(t *testing.T) {
	c := start(t, Config{})
	c.AddUser(User{Account: Account, Name: "pat", Path: "/team/", Keys: []AccessKey{{ID: "AKIAPATPATPATPATPAT0", Secret: "pat"}}})
	pat := aws.Credentials{AccessKeyID: "AKIAPATPATPATPATPAT0", SecretAccessKey: "pat"}
	const arn = "arn:aws:iam::111122223333:user/team/pat"
	if got, err := identity(t, c, pat); err != nil || got != arn {
		t.Errorf("GetCallerIdentity = %q, %v, want %q", got, err, arn)
	}
	for _, name := range []*string{nil, aws.String("pat")} {
		out, err := iamAs(c, pat).GetUser(t.Context(), &iam.GetUserInput{UserName: name})
		if err != nil || *out.User.Arn != arn || *out.User.Path != "/team/" {
			t.Errorf("GetUser: %v, want %s", err, arn)
		}
	}
	_, err := iamAs(c, pat).GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("team/pat")})
	checkCode(t, "a name with a path", err, "ValidationError", "userName")
	c.Deny(Account, "iam:GetUser")
	_, err = iamAs(c, pat).GetUser(t.Context(), &iam.GetUserInput{})
	checkCode(t, "what the organization denies", err, "AccessDenied", "iam:GetUser on resource: "+arn+" with an explicit deny in a service control policy")
	c.Deny(Account)
	_, err = iamAs(c, pat).GetUser(t.Context(), &iam.GetUserInput{})
	checkCode(t, "what it denies no more", err, "", "")
}

func TestS3(t *testing.T) {
	c := start(t, Config{})
	names := func(k aws.Credentials) string {
		out, err := s3As(c, k).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, b := range out.Buckets {
			names = append(names, *b.Name)
		}
		return strings.Join(names, " ")
	}
	if got := names(ann); got != "example-logs" {
		t.Errorf("ann's buckets = %q", got)
	}
	admin := assume(t, c, sessionOf(t, c, ann, MFASerial), sts.AssumeRoleInput{RoleArn: roleARN("admin")})
	if got := names(admin); got != "example-logs example-payroll" {
		t.Errorf("admin's buckets = %q", got)
	}
	spoke := assume(t, c, assume(t, c, ann, sts.AssumeRoleInput{RoleArn: roleARN("hub")}), sts.AssumeRoleInput{RoleArn: roleARN("spoke")})
	if got := names(spoke); got != "example-spoke" {
		t.Errorf("spoke's buckets = %q", got)
	}

	_, err := s3As(c, ann).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("example-payroll")})
	checkCode(t, "a bucket of others", err, "AccessDenied", "")
	_, err = s3As(c, ann).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("none")})
	checkCode(t, "no such bucket", err, "NoSuchBucket", "")
	wrong := ann
	wrong.SecretAccessKey = "wrong"
	_, err = s3As(c, wrong).ListBuckets(t.Context(), nil)
	checkCode(t, "wrong secret", err, "SignatureDoesNotMatch", "")
	wrong.AccessKeyID = "AKIAUNKNOWNUNKNOWN00"
	_, err = s3As(c, wrong).ListBuckets(t.Context(), nil)
	checkCode(t, "unknown key", err, "InvalidAccessKeyId", "")
	c.SetClockOffset(16 * time.Minute)
	_, err = s3As(c, ann).ListBuckets(t.Context(), nil)
	checkCode(t, "clock skew", err, "RequestTimeTooSkewed", "")
}

// Whatever the size of a page, all pages together list each name once.
func TestListObjects(t *testing.T) {
	c := start(t, Config{})
	c.AddBucket(Bucket{Account: Account, Name: "many", Objects: []string{"a/1", "a/2", "b c", "d/1", "e+é"}})
	for size := int32(1); size < 7; size++ {
		for delimiter, want := range map[string]string{
			"":  "a/1 a/2 b c d/1 e+é",
			"/": "a/ b c d/ e+é",
		} {
			var got []string
			in := &s3.ListObjectsV2Input{Bucket: aws.String("many"), MaxKeys: &size, Delimiter: &delimiter}
			for {
				out, err := s3As(c, ann).ListObjectsV2(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range out.Contents {
					got = append(got, *o.Key)
				}
				for _, p := range out.CommonPrefixes {
					got = append(got, *p.Prefix)
				}
				if !aws.ToBool(out.IsTruncated) {
					break
				}
				in.ContinuationToken = out.NextContinuationToken
			}
			slices.Sort(got)
			if got := strings.Join(got, " "); got != want {
				t.Errorf("pages of %d, delimiter %q: %q, want %q", size, delimiter, got, want)
			}
		}
	}
}

func TestCallsAndSecrets(t *testing.T) {
	c := start(t, Config{})
	mfa := sessionOf(t, c, ann, MFASerial)
	admin := assume(t, c, mfa, sts.AssumeRoleInput{RoleArn: roleARN("admin")})
	stsAs(c, ann).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: roleARN("admin"), RoleSessionName: aws.String("test")})
	if got := strings.Join(c.Done(), " "); got != "GetSessionToken AssumeRole" {
		t.Errorf("Done = %q", got)
	}
	calls := c.Calls()
	if len(calls) != 3 {
		t.Fatalf("%d calls, want 3", len(calls))
	}
	if got := calls[0].Params["TokenCode"]; got != "[secret]" {
		t.Errorf("the token code is recorded as %q", got)
	}
	got := calls[2]
	got.Params = nil
	want := Call{Service: "sts", Op: "AssumeRole", Region: "eu-central-1", Host: strings.TrimPrefix(c.URL, "http://"), KeyID: AccessKeyID, Caller: UserARN, Error: "AccessDenied"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("call = %+v, want %+v", got, want)
	}
	secrets := c.Secrets()
	for _, s := range []string{SecretAccessKey, MFASeed, mfa.SecretAccessKey, mfa.SessionToken, admin.SecretAccessKey, admin.SessionToken} {
		if !slices.Contains(secrets, s) {
			t.Errorf("a secret is not in Secrets")
		}
		if strings.Contains(fmt.Sprint(calls), s) {
			t.Errorf("a secret is in Calls")
		}
	}
	c.ResetCalls()
	if n := len(c.Calls()); n != 0 {
		t.Errorf("%d calls after ResetCalls", n)
	}
}

// These requests are not signed.
func TestQueryRefused(t *testing.T) {
	c := start(t, Config{})
	for form, want := range map[string]int{
		"Action=GetCallerIdentity&Version=2011-06-15": 403,
		"Action=GetUser&Version=2010-05-08":           403,
		"Action=GetCallerIdentity&Version=2000-01-01": 400,
		"Action=&Version=2011-06-15":                  400,
	} {
		resp, err := http.Post(c.URL, "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || want == 403 && !strings.Contains(string(body), "<Code>MissingAuthenticationToken</Code>") {
			t.Errorf("%s: status %d, want %d: %s", form, resp.StatusCode, want, body)
		}
	}
}

func TestReadWorld(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":         `{`,
		"unknown member":   `{"Userz":[]}`,
		"more after it":    `{} {}`,
		"account":          `{"Roles":[{"Account":"1","Name":"a"}]}`,
		"two of a name":    `{"Users":[{"Account":"111122223333","Name":"a"},{"Account":"111122223333","Name":"a"}]}`,
		"seed":             `{"Users":[{"Account":"111122223333","Name":"a","MFA":[{"Serial":"arn:aws:iam::111122223333:mfa/a","Seed":"1"}]}]}`,
		"short access key": `{"Users":[{"Account":"111122223333","Name":"a","Keys":[{"ID":"a","Secret":"b"}]}]}`,
		"max session":      `{"Roles":[{"Account":"111122223333","Name":"a","MaxSession":60}]}`,
	} {
		if _, err := ReadWorld([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w, err := ReadWorld([]byte(`{"Users":[{"Account":"111122223333","Name":"eve","Keys":[{"ID":"AKIAEVEEVEEVEEVEEVE0","Secret":"eve"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, Config{World: &w})
	if got, err := identity(t, c, aws.Credentials{AccessKeyID: "AKIAEVEEVEEVEEVEEVE0", SecretAccessKey: "eve"}); got != "arn:aws:iam::111122223333:user/eve" {
		t.Errorf("identity = %q, %v", got, err)
	}
}

func TestAdd(t *testing.T) {
	c := start(t, Config{})
	k, m := c.AddKey(UserARN), c.AddMFA(UserARN)
	s := sessionOf(t, c, aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, m.Serial)
	if got, err := identity(t, c, s); got != UserARN {
		t.Errorf("identity = %q, %v", got, err)
	}
}
