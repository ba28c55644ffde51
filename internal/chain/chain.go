// Package chain works out how the credentials of a profile come about: the
// source they start from and the steps that follow. A Chain is plain data.
// Resolving one reads no secret, asks nothing and calls no service, so what the
// program is about to do can be tested, printed and cached by value.
package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

	// STS is where further calls of STS go that are made with the credentials.
	STS Call

	// IAMEndpoint is the endpoint_url in force for IAM, "" for AWS's own.
	IAMEndpoint string
}

// A Source is where a chain starts. Just one of its fields is set.
type Source struct {
	Stored      *StoredKey
	Process     *Process
	WebIdentity *WebIdentity
	SSO         *SSO
}

// StoredKey is an access key in the store.
type StoredKey struct {
	Name string
}

// Process is a credential_process.
type Process struct {
	Command string
	Profile string // the profile it is configured in
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
	Profile      string
}

// SSO is a role of IAM Identity Center.
type SSO struct {
	StartURL  string
	Region    string
	AccountID string
	RoleName  string
	Session   string // name of the sso-session section, if any
	Profile   string
}

// A Step exchanges credentials for session credentials. Just one of its
// pointers is set.
type Step struct {
	// Profile is the one the step belongs to: for a role the profile that
	// names it, for a session token the profile of the access key. Listings
	// show it; the credentials do not depend on it.
	Profile string

	SessionToken *SessionToken
	AssumeRole   *AssumeRole
}

// A Call says where an STS request goes.
type Call struct {
	// Region is where the request is sent and signed for. Session credentials
	// are good in every region of the partition, so it is no part of a
	// chain's key: profiles that differ in region share their MFA session.
	Region string

	Partition string // "aws", "aws-cn", "aws-us-gov", …
	Endpoint  string // endpoint_url in force for STS, "" for AWS's own
	Global    bool   // sts_regional_endpoints = legacy, in a region that it concerns
}

// SessionToken is a call of sts:GetSessionToken.
type SessionToken struct {
	Call
	MFASerial string
	Duration  time.Duration
}

// AssumeRole is a call of sts:AssumeRole.
type AssumeRole struct {
	Call
	RoleARN        string
	SessionName    string
	ExternalID     string
	MFASerial      string // empty when an earlier step has already shown the device
	Tags           map[string]string
	TransitiveTags []string // sorted
	SourceIdentity string
	Duration       time.Duration

	// Wanted is the duration that was configured, where role chaining cut it
	// down to an hour; otherwise zero.
	Wanted time.Duration
}

// Key identifies the credentials that the first n steps of c lead to when the
// source is read from the store with that identity (its kind and place: two
// stores may hold different keys of one name). Chains that begin alike share
// their first keys, and any change in a request changes the keys from that
// step on, so a cache by Key is never stale.
//
// The hash is written out field by field, because encoding/json would take a
// tenth of the time of a whole cached command. TestKeyCoversAllFields finds a
// field that was forgotten.
func (c Chain) Key(store string, n int) string {
	h := hasher{make([]byte, 0, 512)}
	h.text("kura chain 1", store)
	c.Source.hash(&h)
	for _, step := range c.Steps[:n] {
		step.hash(&h)
	}
	sum := sha256.Sum256(h.buf)
	return hex.EncodeToString(sum[:16])
}

// A hasher collects what is hashed, each text with its length before it, so
// that no two sequences of texts are the same.
type hasher struct{ buf []byte }

func (h *hasher) text(texts ...string) {
	for _, t := range texts {
		h.number(len(t))
		h.buf = append(h.buf, t...)
	}
}

func (h *hasher) number(n int) { h.buf = binary.AppendVarint(h.buf, int64(n)) }

func (h *hasher) duration(d time.Duration) { h.buf = binary.AppendVarint(h.buf, int64(d)) }

func (s Source) hash(h *hasher) {
	switch {
	case s.Stored != nil:
		h.text("stored", s.Stored.Name)
	case s.Process != nil:
		h.text("process", s.Process.Command)
	case s.WebIdentity != nil:
		w := s.WebIdentity
		h.text("web identity", w.RoleARN, w.SessionName, w.TokenFile, w.TokenProcess)
		h.duration(w.Duration)
		w.Call.hash(h)
	case s.SSO != nil:
		h.text("sso", s.SSO.StartURL, s.SSO.Region, s.SSO.AccountID, s.SSO.RoleName)
	}
}

func (s Step) hash(h *hasher) {
	switch {
	case s.SessionToken != nil:
		t := s.SessionToken
		h.text("session token", t.MFASerial)
		h.duration(t.Duration)
		t.Call.hash(h)
	case s.AssumeRole != nil:
		r := s.AssumeRole
		h.text("role", r.RoleARN, r.SessionName, r.ExternalID, r.MFASerial, r.SourceIdentity)
		h.number(len(r.Tags))
		for _, name := range slices.Sorted(maps.Keys(r.Tags)) {
			h.text(name, r.Tags[name])
		}
		h.number(len(r.TransitiveTags))
		h.text(r.TransitiveTags...)
		h.duration(r.Duration)
		r.Call.hash(h)
	}
}

func (c Call) hash(h *hasher) {
	h.text(c.Partition, c.Endpoint, strconv.FormatBool(c.Global))
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
