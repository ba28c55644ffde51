package mint

import (
	"context"
	"fmt"
	"os"
	"time"

	"kura/internal/chain"
	"kura/internal/cred"
)

const (
	// earlyTimeout is how long an early renewal may take. Whoever asked has to
	// wait for it although there are credentials to be had.
	earlyTimeout = 20 * time.Second

	// earlyPause is how long early renewals are left alone after one that came
	// to nothing. An SDK may ask at each of its requests, and a person who has
	// dismissed a question is not to be asked at each of them.
	earlyPause = 5 * time.Minute
)

// early returns what takes the place of cached, the credentials that all of c
// leads to, if it is time to renew them; else, or if that fails, cached itself.
//
// What they are minted from need not be renewed with them: a role session lasts
// as long as it does whatever is left of the session it is assumed with. Nobody
// waits for an early renewal but the process that carries it out.
func (m *Minter) early(ctx context.Context, c chain.Chain, key string, cached cred.Credentials) cred.Credentials {
	if !m.due(c, cached) || m.CodesTyped && m.NeedsCode(ctx, c, m.Now()) != "" {
		return cached
	}
	unlock, err := m.tryLock(key)
	if err != nil {
		m.Log.Debug("no early renewal", "key", key, "reason", err)
	}
	if unlock == nil {
		return cached // or another process is renewing them
	}
	defer unlock()
	if got, err := m.Cache.get(ctx, key, m.Now().Add(m.ahead(c))); err == nil {
		return got // another process has done so in the meantime
	}
	stateFile := m.stateFile(key)
	if ago := m.Now().Sub(readState(stateFile).Early); ago >= 0 && ago < earlyPause {
		return cached
	}
	// Written first, so that the pause has begun even if this process is killed,
	// as SDKs do with one that takes too long.
	m.writeState(stateFile, state{Holder: Holder{os.Getpid(), c.Profile}, Early: m.Now()})

	ctx, cancel := context.WithTimeout(ctx, earlyTimeout)
	defer cancel()
	minted, err := m.mint(ctx, c, len(c.Steps), key)
	if err != nil {
		left := cached.Expires.Sub(m.Now()).Round(time.Second)
		m.Log.Warn(fmt.Sprintf("the credentials of %q, good for %s, could not be renewed yet", c.Profile, left), "reason", err)
		return cached
	}
	if !m.due(c, minted) {
		os.Remove(stateFile) // nobody needs to know any more
	}
	return minted
}

// due reports whether it is time to renew credentials that c leads to.
func (m *Minter) due(c chain.Chain, got cred.Credentials) bool {
	return !got.Expires.IsZero() && got.Expires.Before(m.Now().Add(m.ahead(c)))
}

// ahead is how long before they expire it is time to renew the credentials that
// c leads to.
func (m *Minter) ahead(c chain.Chain) time.Duration {
	if lasts := lifetime(c); lasts > 0 {
		return min(m.Ahead, lasts/2)
	}
	return m.Ahead
}

// lifetime is how long the credentials that c leads to are valid when they are
// new, or 0 if c does not say.
func lifetime(c chain.Chain) time.Duration {
	if n := len(c.Steps); n > 0 {
		if s := c.Steps[n-1].SessionToken; s != nil {
			return s.Duration
		}
		return c.Steps[n-1].AssumeRole.Duration
	}
	if w := c.Source.WebIdentity; w != nil {
		return w.Duration
	}
	return 0
}

// NeedsCode returns the MFA device of which a token code is needed to renew, at a
// time, the credentials that c leads to, or "".
func (m *Minter) NeedsCode(ctx context.Context, c chain.Chain, at time.Time) (serialNumber string) {
	for n := len(c.Steps); n > 0; n-- {
		if serialNumber = serial(c.Steps[n-1]); serialNumber != "" {
			return serialNumber
		}
		if _, ok, _ := m.cached(ctx, m.Cache.key(c, n-1), at.Add(m.MinTTL)); ok {
			return "" // it begins there
		}
	}
	return ""
}

// serial is the MFA device that a step shows, or "".
func serial(s chain.Step) string {
	if s.SessionToken != nil {
		return s.SessionToken.MFASerial
	}
	return s.AssumeRole.MFASerial
}
