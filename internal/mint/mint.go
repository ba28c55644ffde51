// Package mint carries out chains. It is the only package that caches
// credentials and the only one that takes locks for them. It asks nobody
// anything: what it needs from a person comes through functions it is given.
package mint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kura/internal/awsapi"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/store"
)

// A Minter turns chains into credentials.
type Minter struct {
	Store store.Store // holds the access keys
	AWS   *awsapi.Client
	Cache *Cache

	// LockDir is where locks between processes are kept. It is made when
	// needed. Where it can't be used, processes do not wait for each other.
	LockDir string

	// TokenCode asks for a code of the MFA device with that serial.
	TokenCode func(ctx context.Context, serial string) (string, error)

	// Run runs a command of the profile's configuration (credential_process,
	// web_identity_token_process) and returns what it prints.
	Run func(ctx context.Context, profile, command string) ([]byte, error)

	// Waiting is told, once, that another process is being waited for.
	Waiting func(Holder)

	// CodesFrom says where TokenCode gets codes from: such a terminal, such a
	// command. A question that was dismissed there is not asked again by each
	// process that waits and would ask in the same place.
	CodesFrom string

	// MinTTL is how long cached credentials must still be valid to be used.
	MinTTL time.Duration

	// Least is MinTTL for what Credentials returns as a whole; what it starts from
	// need not last as long. Where it is set, even new ones may end sooner, as
	// they are the best there is. 0: MinTTL.
	Least time.Duration

	// Ahead is how long they should be valid where a program is to be served
	// that asks for new ones well before they expire. What has less left, and
	// yet enough for MinTTL, is renewed early; where that fails it is handed
	// out as it is. Half of what a session lasts is enough, so that short ones
	// are cached at all. 0: nothing is renewed early.
	Ahead time.Duration

	// CodesTyped says that a person types what TokenCode returns. Nobody is
	// asked for a code while there are credentials that will do.
	CodesTyped bool

	// Shared is another cache for the sessions of access keys. It may be nil.
	Shared SharedCache

	// Drop is told that AWS has refused the access key of that name, so that
	// Store returns what it holds now and nothing that is kept of it. It may be
	// nil.
	Drop func(ctx context.Context, name string)

	Now func() time.Time
	Log *slog.Logger
}

// A SharedCache keeps sessions that GetSessionToken has made where other
// programs, and other machines, find them too. It is looked at where Cache has
// none, and before anybody is asked for a token code.
type SharedCache interface {
	// Session returns a session that the step would make of the access key of
	// that name, if there is one that is valid after a time. An error is
	// somebody's refusal to have it looked at; to go on would be to ask again.
	Session(ctx context.Context, name string, step chain.SessionToken, after time.Time) (c cred.Credentials, ok bool, err error)

	// Share takes a session that the step has made of an access key. It returns
	// at once: what it does with it must not keep anybody waiting.
	Share(key cred.Credentials, step chain.SessionToken, minted cred.Credentials)
}

// DefaultMinTTL is the MinTTL that aws-vault uses.
const DefaultMinTTL = 5 * time.Minute

// Credentials returns the credentials that c leads to.
func (m *Minter) Credentials(ctx context.Context, c chain.Chain) (cred.Credentials, error) {
	if m.Least > 0 {
		return m.Renew(ctx, c, m.Now().Add(m.Least))
	}
	return m.prefix(ctx, c, len(c.Steps))
}

// Renew is Credentials for who needs them to be valid after a time. What is
// cached and ends sooner is minted anew, which may ask for a token code; what the
// last step starts from need not last as long. New ones that end sooner, too, are
// the best there is.
func (m *Minter) Renew(ctx context.Context, c chain.Chain, after time.Time) (cred.Credentials, error) {
	n := len(c.Steps)
	if n == 0 && c.Source.Stored != nil {
		return m.accessKey(ctx, c.Source.Stored.Name)
	}
	key := m.Cache.key(c, n)
	cached := func() (cred.Credentials, bool, error) { return m.cached(ctx, key, after) }
	if got, ok, err := cached(); ok || err != nil {
		return got, err
	}
	return m.mintOnce(ctx, c, n, key, cached)
}

// prefix returns the credentials that the first n steps of c lead to.
func (m *Minter) prefix(ctx context.Context, c chain.Chain, n int) (cred.Credentials, error) {
	if n == 0 && c.Source.Stored != nil {
		return m.accessKey(ctx, c.Source.Stored.Name)
	}
	key := m.Cache.key(c, n)
	cached := func() (cred.Credentials, bool, error) { return m.cached(ctx, key, m.Now().Add(m.MinTTL)) }
	if got, ok, err := cached(); ok || err != nil {
		if ok && n == len(c.Steps) {
			got = m.early(ctx, c, key, got)
		}
		return got, err
	}
	return m.mintOnce(ctx, c, n, key, cached)
}

// mintOnce mints what the first n steps of c lead to, unless another process does
// so meanwhile: then it returns what is cached.
//
// Processes that need the same credentials at once wait for the first of them,
// so that the user is asked once. All take longer prefixes' locks before
// shorter ones', so that none can wait for another in a circle.
func (m *Minter) mintOnce(ctx context.Context, c chain.Chain, n int, key string, cached func() (cred.Credentials, bool, error)) (cred.Credentials, error) {
	unlock, got, err := m.lock(ctx, key, c.Profile, cached)
	if err != nil || unlock == nil {
		return got, err
	}
	minted, err := m.mint(ctx, c, n, key)
	unlock(err)
	if err != nil {
		return cred.Credentials{}, err
	}
	return minted, nil
}

// mint makes the credentials of the first n steps of c, and remembers them under
// key.
func (m *Minter) mint(ctx context.Context, c chain.Chain, n int, key string) (cred.Credentials, error) {
	minted, found, err := m.shared(ctx, c, n)
	switch {
	case found || err != nil:
	case n == 0:
		minted, err = m.source(ctx, c.Source)
	default:
		var from cred.Credentials
		if from, err = m.prefix(ctx, c, n-1); err == nil {
			minted, err = m.take(ctx, c, n, &from)
		}
		if err == nil && m.isShared(c, n) {
			m.Shared.Share(from, *c.Steps[0].SessionToken, minted)
		}
	}
	if err != nil {
		return cred.Credentials{}, err
	}
	m.remember(ctx, c, n, key, minted)
	return minted, nil
}

// isShared reports whether what the first n steps of c lead to has a place in
// the shared cache.
func (m *Minter) isShared(c chain.Chain, n int) bool {
	return m.Shared != nil && n == 1 && c.Source.Stored != nil && c.Steps[0].SessionToken != nil
}

// shared returns what the shared cache has of the first n steps of c. Where it
// takes nobody to mint them anew, it is no use if it has to be renewed at once.
func (m *Minter) shared(ctx context.Context, c chain.Chain, n int) (cred.Credentials, bool, error) {
	if !m.isShared(c, n) {
		return cred.Credentials{}, false, nil
	}
	least := m.MinTTL
	if n == len(c.Steps) && !m.CodesTyped {
		least = max(least, m.ahead(c))
	}
	return m.Shared.Session(ctx, c.Source.Stored.Name, *c.Steps[0].SessionToken, m.Now().Add(least))
}

func (m *Minter) accessKey(ctx context.Context, name string) (cred.Credentials, error) {
	data, err := m.Store.Get(ctx, store.Key{Kind: store.AccessKey, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return cred.Credentials{}, &NoKeyError{Name: name, Err: err}
	}
	if err != nil {
		return cred.Credentials{}, fmt.Errorf("reading the access key of %q: %w", name, err)
	}
	c, err := cred.Decode(data)
	clear(data)
	if err != nil {
		return cred.Credentials{}, fmt.Errorf("reading the access key of %q: %w", name, err)
	}
	return c, nil
}

// A NoKeyError says that the store has no access key of a profile.
type NoKeyError struct {
	Name string
	Err  error // the store's
}

func (e *NoKeyError) Error() string {
	return fmt.Sprintf("profile %q has no access key in the store", e.Name)
}

// Unwrap returns e.Err.
func (e *NoKeyError) Unwrap() error { return e.Err }

// take carries out the step after the first n-1 of c, from the credentials that
// those lead to. Where these are an access key that was replaced meanwhile, they
// become the new one.
//
// A code that a program made may have been used by another program, or on
// another machine, which looks to AWS like a wrong one. So it is worth another
// try with the next; a person would want to know first.
func (m *Minter) take(ctx context.Context, c chain.Chain, n int, from *cred.Credentials) (cred.Credentials, error) {
	got, err := m.try(ctx, c, n, from)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Kind == awsapi.BadTokenCode && !m.CodesTyped {
		m.Log.Debug("trying the next token code", "reason", err)
		got, err = m.try(ctx, c, n, from)
	}
	return got, err
}

func (m *Minter) try(ctx context.Context, c chain.Chain, n int, from *cred.Credentials) (cred.Credentials, error) {
	step := c.Steps[n-1]
	code, err := m.tokenCode(ctx, serial(step))
	if err != nil {
		return cred.Credentials{}, err
	}
	got, err := m.call(ctx, step, *from, code)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Kind == awsapi.InvalidKey && n == 1 && c.Source.Stored != nil {
		// AWS looks at the key first, so the code is still good.
		if again, ok := m.replaced(ctx, c.Source.Stored.Name, *from); ok {
			*from = again
			got, err = m.call(ctx, step, again, code)
		}
	}
	return got, err
}

// replaced returns the access key of that name if it is another one by now than
// AWS has refused: it may have been rotated while somebody looked for a token code.
func (m *Minter) replaced(ctx context.Context, name string, refused cred.Credentials) (cred.Credentials, bool) {
	if m.Drop != nil {
		m.Drop(ctx, name)
	}
	now, err := m.accessKey(ctx, name)
	if err != nil || now.AccessKeyID == refused.AccessKeyID {
		return cred.Credentials{}, false
	}
	m.Log.Debug("the access key was replaced meanwhile", "name", name)
	return now, true
}

func (m *Minter) call(ctx context.Context, step chain.Step, from cred.Credentials, code string) (cred.Credentials, error) {
	if step.SessionToken != nil {
		return m.AWS.GetSessionToken(ctx, from, *step.SessionToken, code)
	}
	return m.AWS.AssumeRole(ctx, from, *step.AssumeRole, code)
}

func (m *Minter) tokenCode(ctx context.Context, serial string) (string, error) {
	if serial == "" {
		return "", nil
	}
	code, err := m.TokenCode(ctx, serial)
	if err != nil {
		return "", &codeError{err}
	}
	return code, nil
}

// A codeError says that there is no token code.
type codeError struct{ err error }

// IsCodeError reports whether an error is for want of a token code.
func IsCodeError(err error) bool {
	_, ok := errors.AsType[*codeError](err)
	return ok
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// cached returns cached credentials that are valid after a time. A cache that
// can't be read is no worse than an empty one, so errors only cost a line of
// log. The exception is a store that stays locked: minting would ask for the
// same passphrase again, so that is an error at once.
func (m *Minter) cached(ctx context.Context, key string, after time.Time) (cred.Credentials, bool, error) {
	c, err := m.Cache.get(ctx, key, after)
	switch {
	case errors.Is(err, store.ErrLocked):
		return cred.Credentials{}, false, fmt.Errorf("reading the session cache: %w", err)
	case err != nil:
		m.Log.Debug("no cached session", "key", key, "reason", err)
		return cred.Credentials{}, false, nil
	}
	m.Log.Debug("cached session", "key", key, "expires", c.Expires)
	return c, true, nil
}

// remember caches minted credentials. Those that don't expire are not worth a
// place where they could outlive their source.
//
// The key was worked out before the access key was read. If that was replaced
// since, the key is not looked for any more, and nor is the session.
func (m *Minter) remember(ctx context.Context, c chain.Chain, n int, key string, minted cred.Credentials) {
	if minted.Expires.IsZero() {
		return
	}
	s := Session{Key: key, Expires: minted.Expires}
	if c.Source.Stored != nil {
		s.AccessKey = c.Source.Stored.Name
	}
	if n == 0 {
		s.Type, s.Profile = sourceType(c.Source)
	} else {
		s.Type, s.Profile = stepType(c.Steps[n-1]), c.Steps[n-1].Profile
	}
	if err := m.Cache.put(ctx, s, minted, m.Now()); err != nil {
		m.Log.Warn("the session is not cached", "reason", err)
	}
}

// stepType names a step as aws-vault's listings do.
func stepType(s chain.Step) string {
	if s.SessionToken != nil {
		return "sts.GetSessionToken"
	}
	return "sts.AssumeRole"
}
