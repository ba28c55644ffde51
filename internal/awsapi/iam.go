package awsapi

import (
	"context"
	"net/url"
	"time"

	"kura/internal/chain"
	"kura/internal/cred"
)

// Calls about the access keys of a user take the user's name, and "" for whom
// the credentials belong to: for the root user, who has none.

// AccessKeyInfo is what IAM says of an access key.
type AccessKeyInfo struct {
	ID      string
	Active  bool
	Created time.Time // in seconds
}

// CreateAccessKey makes an access key for a user. It is not repeated when its
// reply is lost: there would be two keys then, or the first that nobody knows
// would keep the second from being made.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html
func (c *Client) CreateAccessKey(ctx context.Context, from cred.Credentials, user string, to chain.Call) (cred.Credentials, error) {
	params := url.Values{}
	set(params, "UserName", user)
	var out createdKey
	err := c.iam(ctx, to, query{action: "CreateAccessKey", params: params, from: from, once: true}, &out)
	if err != nil {
		return cred.Credentials{}, err
	}
	return cred.Credentials{AccessKeyID: out.ID, SecretAccessKey: cred.NewSecret(out.Secret)}, nil
}

type createdKey struct {
	ID     string `xml:"AccessKey>AccessKeyId"`
	Secret string `xml:"AccessKey>SecretAccessKey"`
}

func (k *createdKey) complete() bool { return k.ID != "" && k.Secret != "" }

// ListAccessKeys returns the access keys of a user. There are two at the most.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func (c *Client) ListAccessKeys(ctx context.Context, from cred.Credentials, user string, to chain.Call) ([]AccessKeyInfo, error) {
	params := url.Values{}
	set(params, "UserName", user)
	var out listedKeys
	if err := c.iam(ctx, to, query{action: "ListAccessKeys", params: params, from: from}, &out); err != nil {
		return nil, err
	}
	var keys []AccessKeyInfo
	for _, k := range out.Keys {
		keys = append(keys, AccessKeyInfo{ID: k.ID, Active: k.Status == "Active", Created: k.Created})
	}
	return keys, nil
}

type listedKeys struct {
	Keys []struct {
		ID      string    `xml:"AccessKeyId"`
		Status  string    `xml:"Status"`
		Created time.Time `xml:"CreateDate"`
	} `xml:"AccessKeyMetadata>member"`
	Truncated string `xml:"IsTruncated"`
}

func (l *listedKeys) complete() bool { return l.Truncated != "" }

// SetAccessKeyActive makes an access key of a user active, or inactive.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html
func (c *Client) SetAccessKeyActive(ctx context.Context, from cred.Credentials, user, id string, active bool, to chain.Call) error {
	params := url.Values{"AccessKeyId": {id}, "Status": {"Inactive"}}
	if active {
		params.Set("Status", "Active")
	}
	set(params, "UserName", user)
	return c.iam(ctx, to, query{action: "UpdateAccessKey", params: params, from: from}, nil)
}

// DeleteAccessKey deletes an access key of a user. When a reply is lost, the
// next attempt finds none: see Error.NoSuchEntity.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html
func (c *Client) DeleteAccessKey(ctx context.Context, from cred.Credentials, user, id string, to chain.Call) error {
	params := url.Values{"AccessKeyId": {id}}
	set(params, "UserName", user)
	return c.iam(ctx, to, query{action: "DeleteAccessKey", params: params, from: from}, nil)
}

// GetAccessKeyLastUsed returns when an access key was used last, as far as AWS
// has noted it yet, and for which service. The time is zero for one that never
// was.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html
func (c *Client) GetAccessKeyLastUsed(ctx context.Context, from cred.Credentials, id string, to chain.Call) (time.Time, string, error) {
	var out lastUse
	err := c.iam(ctx, to, query{action: "GetAccessKeyLastUsed", params: url.Values{"AccessKeyId": {id}}, from: from}, &out)
	if err != nil {
		return time.Time{}, "", err
	}
	if out.Date == nil {
		return time.Time{}, "", nil
	}
	return *out.Date, out.Service, nil
}

type lastUse struct {
	Date    *time.Time `xml:"AccessKeyLastUsed>LastUsedDate"`
	Service string     `xml:"AccessKeyLastUsed>ServiceName"`
	Region  string     `xml:"AccessKeyLastUsed>Region"`
}

func (l *lastUse) complete() bool { return l.Service != "" && l.Region != "" }

// iam makes a call of IAM.
func (c *Client) iam(ctx context.Context, call chain.Call, q query, out answer) error {
	q.service, q.version = "iam", "2010-05-08"
	to, err := iamTarget(call)
	if err != nil {
		return &Error{Op: "iam:" + q.action, Kind: Invalid, Message: err.Error()}
	}
	return c.query(ctx, to, q, out)
}
