package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"kura/internal/chain"
	"kura/internal/cred"
)

// A NotSupportedError says that a source of credentials is configured which
// this version can't use.
type NotSupportedError struct {
	Profile string
	Source  string
}

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("profile %q gets its credentials from %s, which is not supported yet", e.Profile, e.Source)
}

// A SourceError says that what a profile is configured with did not supply
// credentials, or what is needed to get them.
type SourceError struct {
	Profile string
	Setting string // such as "credential_process"
	Err     error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("%s of profile %q: %v", e.Setting, e.Profile, e.Err)
}
func (e *SourceError) Unwrap() error { return e.Err }

// source returns the credentials of a source other than the store.
func (m *Minter) source(ctx context.Context, s chain.Source) (cred.Credentials, error) {
	switch {
	case s.Process != nil:
		out, err := m.Run(ctx, s.Process.Profile, s.Process.Command)
		if err != nil {
			return cred.Credentials{}, &SourceError{s.Process.Profile, "credential_process", err}
		}
		c, err := parseProcess(out)
		clear(out)
		if err != nil {
			return cred.Credentials{}, &SourceError{s.Process.Profile, "credential_process", err}
		}
		return c, nil
	case s.WebIdentity != nil:
		token, err := m.webIdentityToken(ctx, *s.WebIdentity)
		if err != nil {
			return cred.Credentials{}, err
		}
		return m.AWS.AssumeRoleWithWebIdentity(ctx, *s.WebIdentity, token)
	case s.SSO != nil:
		return cred.Credentials{}, Supported(s)
	}
	panic("mint: empty source")
}

// Supported returns a *NotSupportedError if no Minter gets credentials from a
// source of that kind.
func Supported(s chain.Source) error {
	if s.SSO != nil {
		return &NotSupportedError{s.SSO.Profile, "IAM Identity Center (sso_start_url)"}
	}
	return nil
}

func (m *Minter) webIdentityToken(ctx context.Context, w chain.WebIdentity) (cred.Secret, error) {
	if w.TokenProcess != "" {
		out, err := m.Run(ctx, w.Profile, w.TokenProcess)
		if err != nil {
			return cred.Secret{}, &SourceError{w.Profile, "web_identity_token_process", err}
		}
		return cred.NewSecret(strings.TrimSpace(string(out))), nil
	}
	data, err := os.ReadFile(w.TokenFile)
	if err != nil {
		return cred.Secret{}, &SourceError{w.Profile, "web_identity_token_file", err}
	}
	return cred.NewSecret(strings.TrimSpace(string(data))), nil
}

// parseProcess reads the output of a credential_process.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
func parseProcess(out []byte) (cred.Credentials, error) {
	var p struct {
		Version                                               int
		AccessKeyID, SecretAccessKey, SessionToken, AccountID string
		Expiration                                            string
	}
	// A JSON error can quote its input, so it is not wrapped.
	if err := json.Unmarshal(out, &p); err != nil {
		return cred.Credentials{}, errors.New("its output is not the JSON that AWS defines")
	}
	switch {
	case p.Version != 1:
		return cred.Credentials{}, fmt.Errorf("its output has Version %d, want 1", p.Version)
	case p.AccessKeyID == "" || p.SecretAccessKey == "":
		return cred.Credentials{}, errors.New("its output has no AccessKeyId or no SecretAccessKey")
	}
	c := cred.Credentials{
		AccessKeyID:     p.AccessKeyID,
		SecretAccessKey: cred.NewSecret(p.SecretAccessKey),
		SessionToken:    cred.NewSecret(p.SessionToken),
		AccountID:       p.AccountID,
	}
	if p.Expiration != "" {
		t, err := time.Parse(time.RFC3339, p.Expiration)
		if err != nil {
			return cred.Credentials{}, errors.New("its Expiration is not an RFC 3339 time")
		}
		c.Expires = t
	}
	return c, nil
}

// sourceType names a source, and its profile, as aws-vault's listings do.
func sourceType(s chain.Source) (label, profile string) {
	switch {
	case s.Process != nil:
		return "credential_process", s.Process.Profile
	case s.WebIdentity != nil:
		return "sts.AssumeRoleWithWebIdentity", s.WebIdentity.Profile
	}
	return "sso.GetRoleCredentials", s.SSO.Profile
}
