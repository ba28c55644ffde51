// Package chain works out how the credentials of a profile come about: the
// source they start from and the steps that follow. A Chain is plain data.
// Resolving one reads no secret, asks nothing and calls no service, so what the
// program is about to do can be tested, printed and cached by value.
package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Chain says how to obtain the credentials of a profile.
type Chain struct {
	Profile string
	Source  Source
	Steps   []Step // in the order they are taken

	// What the profile says of the calls its credentials are for. It bears on
	// the environment of the child, not on the credentials.

	Region    string            // "" when none is configured
	Endpoints map[string]string // endpoint_url of the profile: by service ID in upper snake case ("S3", "DYNAMODB"), "" for all services
	CABundle  string            // ca_bundle: path of a PEM file, "" for the system's own roots

	MFAProcess string // command that prints a token code; "" when none is configured
}

// A Source is where a chain starts. Just one of its fields is set.
type Source struct {
	Stored      *StoredKey   `json:",omitempty"`
	Process     *Process     `json:",omitempty"`
	WebIdentity *WebIdentity `json:",omitempty"`
	SSO         *SSO         `json:",omitempty"`
}

// StoredKey is an access key in the store.
type StoredKey struct {
	Name string
}

// Process is a credential_process.
type Process struct {
	Command string
	Profile string `json:"-"` // the profile it is configured in
}

// WebIdentity is a call of sts:AssumeRoleWithWebIdentity, which needs no
// credentials to start from. Just one of TokenFile and TokenProcess is set.
type WebIdentity struct {
	Call
	RoleARN      string
	SessionName  string
	TokenFile    string
	TokenProcess string
	Duration     time.Duration
	Profile      string `json:"-"`
}

// SSO is a role of IAM Identity Center.
type SSO struct {
	StartURL  string
	Region    string
	AccountID string
	RoleName  string
	Session   string `json:"-"` // name of the sso-session section, if any
	Profile   string `json:"-"`
}

// A Step exchanges credentials for session credentials. Just one of its
// pointers is set.
type Step struct {
	// Profile is the one the step belongs to: for a role the profile that
	// names it, for a session token the profile of the access key. Listings
	// show it; the credentials do not depend on it.
	Profile string `json:"-"`

	SessionToken *SessionToken `json:",omitempty"`
	AssumeRole   *AssumeRole   `json:",omitempty"`
}

// A Call says where an STS request goes.
type Call struct {
	// Region is where the request is sent and signed for. Session credentials
	// are good in every region of the partition, so it is no part of a
	// chain's key: profiles that differ in region share their MFA session.
	Region string `json:"-"`

	Partition string // "aws", "aws-cn", "aws-us-gov", …
	Endpoint  string `json:",omitempty"` // endpoint_url in force for STS, "" for AWS's own
	Global    bool   `json:",omitempty"` // sts_regional_endpoints = legacy, in a region that it concerns
}

// SessionToken is a call of sts:GetSessionToken.
type SessionToken struct {
	Call
	MFASerial string `json:",omitempty"`
	Duration  time.Duration
}

// AssumeRole is a call of sts:AssumeRole.
type AssumeRole struct {
	Call
	RoleARN        string
	SessionName    string
	ExternalID     string            `json:",omitempty"`
	MFASerial      string            `json:",omitempty"` // empty when an earlier step has already shown the device
	Tags           map[string]string `json:",omitempty"`
	TransitiveTags []string          `json:",omitempty"` // sorted
	SourceIdentity string            `json:",omitempty"`
	Duration       time.Duration

	// Wanted is the duration that was configured, where role chaining cut it
	// down to an hour; otherwise zero.
	Wanted time.Duration `json:"-"`
}

// Key identifies the credentials that the first n steps of c lead to when the
// source is read from the store with that identity (its kind and place: two
// stores may hold different keys of one name). Chains that begin alike share
// their first keys, and any change in a request changes the keys from that
// step on, so a cache by Key is never stale.
func (c Chain) Key(store string, n int) string {
	data, err := json.Marshal(struct {
		Store  string
		Source Source
		Steps  []Step
	}{store, c.Source, c.Steps[:n]})
	if err != nil {
		panic(err) // plain data always encodes
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// String lists the source and the steps of c, one a line. It shows no secret,
// and not the command of a credential_process, which may contain one.
func (c Chain) String() string {
	var b strings.Builder
	switch s := c.Source; {
	case s.Stored != nil:
		fmt.Fprintf(&b, "access key %q from the store\n", s.Stored.Name)
	case s.Process != nil:
		fmt.Fprintf(&b, "credential_process of profile %q\n", s.Process.Profile)
	case s.WebIdentity != nil:
		fmt.Fprintf(&b, "sts:AssumeRoleWithWebIdentity %s for %s\n", s.WebIdentity.RoleARN, short(s.WebIdentity.Duration))
	case s.SSO != nil:
		fmt.Fprintf(&b, "Identity Center role %s of account %s at %s\n", s.SSO.RoleName, s.SSO.AccountID, s.SSO.StartURL)
	}
	for _, s := range c.Steps {
		serial := ""
		switch {
		case s.SessionToken != nil:
			fmt.Fprintf(&b, "sts:GetSessionToken for %s", short(s.SessionToken.Duration))
			serial = s.SessionToken.MFASerial
		case s.AssumeRole != nil:
			fmt.Fprintf(&b, "sts:AssumeRole %s for %s", s.AssumeRole.RoleARN, short(s.AssumeRole.Duration))
			if s.AssumeRole.Wanted != 0 {
				fmt.Fprintf(&b, " instead of %s", short(s.AssumeRole.Wanted))
			}
			serial = s.AssumeRole.MFASerial
		}
		if serial != "" {
			fmt.Fprintf(&b, " with MFA device %s", serial)
		}
		b.WriteString("\n")
	}
	return b.String()
}
