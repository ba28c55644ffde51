package awsapi

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/chain"
	"kura/internal/cred"
)

// GetSessionToken returns a session of the access key from. The token code is
// sent as it is; "" is for a step without MFA. A call with a token code is not
// repeated when its reply is lost, since AWS takes a code once.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func (c *Client) GetSessionToken(ctx context.Context, from cred.Credentials, step chain.SessionToken, tokenCode string) (cred.Credentials, error) {
	params := url.Values{}
	setDuration(params, step.Duration)
	set(params, "SerialNumber", step.MFASerial)
	set(params, "TokenCode", tokenCode)
	var out session
	if err := c.sts(ctx, step.Call, query{
		action:  "GetSessionToken",
		params:  params,
		from:    from,
		once:    tokenCode != "",
		secrets: []cred.Secret{cred.NewSecret(tokenCode)},
	}, &out); err != nil {
		return cred.Credentials{}, err
	}
	account := from.AccountID
	if account == "" {
		account = arnAccount(step.MFASerial) // a user's device is of the user's account
	}
	return out.credentials(account), nil
}

// AssumeRole returns a session of a role. The token code is sent as it is; ""
// is for a step without MFA. A call with a token code is not repeated when its
// reply is lost, since AWS takes a code once.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (c *Client) AssumeRole(ctx context.Context, from cred.Credentials, step chain.AssumeRole, tokenCode string) (cred.Credentials, error) {
	params := url.Values{}
	setDuration(params, step.Duration)
	set(params, "RoleArn", step.RoleARN)
	set(params, "RoleSessionName", step.SessionName)
	set(params, "ExternalId", step.ExternalID)
	set(params, "SerialNumber", step.MFASerial)
	set(params, "TokenCode", tokenCode)
	set(params, "SourceIdentity", step.SourceIdentity)
	for i, key := range slices.Sorted(maps.Keys(step.Tags)) {
		member := "Tags.member." + strconv.Itoa(i+1)
		params.Set(member+".Key", key)
		params.Set(member+".Value", step.Tags[key])
	}
	for i, key := range step.TransitiveTags {
		params.Set("TransitiveTagKeys.member."+strconv.Itoa(i+1), key)
	}
	var out session
	if err := c.sts(ctx, step.Call, query{
		action:  "AssumeRole",
		params:  params,
		from:    from,
		once:    tokenCode != "",
		secrets: []cred.Secret{cred.NewSecret(tokenCode)},
	}, &out); err != nil {
		return cred.Credentials{}, err
	}
	return out.credentials(arnAccount(out.ARN)), nil
}

// AssumeRoleWithWebIdentity returns a session of a role for an identity token,
// which is sent as it is. The call is not signed.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
func (c *Client) AssumeRoleWithWebIdentity(ctx context.Context, w chain.WebIdentity, token cred.Secret) (cred.Credentials, error) {
	params := url.Values{}
	setDuration(params, w.Duration)
	set(params, "RoleArn", w.RoleARN)
	set(params, "RoleSessionName", w.SessionName)
	set(params, "WebIdentityToken", token.Reveal())
	var out session
	if err := c.sts(ctx, w.Call, query{
		action:  "AssumeRoleWithWebIdentity",
		params:  params,
		secrets: []cred.Secret{token},
	}, &out); err != nil {
		return cred.Credentials{}, err
	}
	return out.credentials(arnAccount(out.ARN)), nil
}

// A FederationToken is a call of sts:GetFederationToken.
type FederationToken struct {
	chain.Call
	Name     string // 2 to 32 letters, digits and characters of _+=,.@-
	Policy   string // what the session may do, of what the user may; JSON
	Duration time.Duration
}

// GetFederationToken returns a session of the user whose access key from is, for
// the console and for what is no call of IAM or STS. AWS refuses it to session
// credentials.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html
func (c *Client) GetFederationToken(ctx context.Context, from cred.Credentials, f FederationToken) (cred.Credentials, error) {
	params := url.Values{}
	setDuration(params, f.Duration)
	set(params, "Name", f.Name)
	set(params, "Policy", f.Policy)
	var out struct {
		session
		User string `xml:"FederatedUser>Arn"`
	}
	if err := c.sts(ctx, f.Call, query{action: "GetFederationToken", params: params, from: from}, &out); err != nil {
		return cred.Credentials{}, err
	}
	return out.credentials(arnAccount(out.User)), nil
}

// An Identity is who credentials belong to.
type Identity struct {
	Account string // 12 digits
	ARN     string
	UserID  string // AWS's unique ID of the user, or of the role and the session's name
}

// Partition returns the partition of i, "" if it has none.
func (i Identity) Partition() string {
	_, rest, _ := strings.Cut(i.ARN, ":")
	name, _, _ := strings.Cut(rest, ":")
	return name
}

// UserName returns the name of an IAM user, which stands after the path in the
// ARN; it is "" for the root user. Others are no users.
func (i Identity) UserName() (name string, ok bool) {
	parts := strings.SplitN(i.ARN, ":", 6)
	if len(parts) < 6 || parts[2] != "iam" {
		return "", false
	}
	if parts[5] == "root" {
		return "", true
	}
	path, ok := strings.CutPrefix(parts[5], "user/")
	name = path[strings.LastIndexByte(path, '/')+1:]
	return name, ok && name != ""
}

// GetCallerIdentity returns who from belongs to. No policy can forbid it, so
// it tells whether credentials work.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func (c *Client) GetCallerIdentity(ctx context.Context, from cred.Credentials, to chain.Call) (Identity, error) {
	var out identityAnswer
	err := c.sts(ctx, to, query{action: "GetCallerIdentity", params: url.Values{}, from: from}, &out)
	if err != nil {
		return Identity{}, err
	}
	return Identity(out), nil
}

type identityAnswer struct {
	Account string `xml:"Account"`
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
}

func (a *identityAnswer) complete() bool { return a.Account != "" && a.ARN != "" }

// sts makes a call of STS.
func (c *Client) sts(ctx context.Context, call chain.Call, q query, out answer) error {
	q.service, q.version = "sts", "2011-06-15"
	to, err := stsTarget(call)
	if err != nil {
		return &Error{Op: "sts:" + q.action, Kind: Invalid, Message: err.Error()}
	}
	return c.query(ctx, to, q, out)
}

// A session is an answer that holds session credentials and, if they are of a
// role, the ARN of the role's session.
type session struct {
	AccessKeyID     string    `xml:"Credentials>AccessKeyId"`
	SecretAccessKey string    `xml:"Credentials>SecretAccessKey"`
	SessionToken    string    `xml:"Credentials>SessionToken"`
	Expires         time.Time `xml:"Credentials>Expiration"`
	ARN             string    `xml:"AssumedRoleUser>Arn"`
}

func (s *session) complete() bool {
	return s.AccessKeyID != "" && s.SecretAccessKey != "" && s.SessionToken != "" && !s.Expires.IsZero()
}

func (s *session) credentials(account string) cred.Credentials {
	return cred.Credentials{
		AccessKeyID:     s.AccessKeyID,
		SecretAccessKey: cred.NewSecret(s.SecretAccessKey),
		SessionToken:    cred.NewSecret(s.SessionToken),
		Expires:         s.Expires.UTC(),
		AccountID:       account,
	}
}

func set(params url.Values, name, value string) {
	if value != "" {
		params.Set(name, value)
	}
}

// setDuration leaves a duration of zero to AWS.
func setDuration(params url.Values, d time.Duration) {
	if d != 0 {
		params.Set("DurationSeconds", strconv.Itoa(int(d/time.Second)))
	}
}

// arnAccount returns the account in an ARN, "" when there is none:
// arn:partition:service:region:account:resource.
func arnAccount(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}
