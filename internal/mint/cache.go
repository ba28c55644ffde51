package mint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/unlocked"
)

// A Cache keeps session credentials in sealed files, one a session. What a
// listing shows stands in the clear at the head of the file, authenticated;
// the credentials are sealed under the cache key, an item of the store. Losing
// the cache, or any part of it, costs another call of STS.
//
// The format is described in docs/store-format.md.
type Cache struct {
	Dir     string      // made when needed
	Store   store.Store // holds the cache key
	StoreID string      // says which store that is

	// Keep holds a copy of the cache key for KeepTTL, so that the store need
	// not be opened at each command.
	Keep    *unlocked.Keep
	KeepTTL time.Duration
}

// A Session is what can be said of cached credentials without unsealing them.
type Session struct {
	Key       string    // the chain's key, and the name of the file
	Profile   string    // whose step the session comes from
	Type      string    // such as "sts.AssumeRole"
	AccessKey string    // name of the access key it was minted from, if any
	Store     string    // Cache.StoreID
	Expires   time.Time // in seconds
}

// head returns what stands in the clear in the file of s: a line for each of
// these fields, in Go's quotes where it is text.
func (s Session) head() []byte {
	return fmt.Appendf(nil, "%q\n%q\n%q\n%q\n%d\n", s.Profile, s.Type, s.AccessKey, s.Store, s.Expires.Unix())
}

const headLines = 5

const (
	sessionMagic  = "kura session 1\n"
	sessionSuffix = ".session"
	maxSession    = 1 << 20 // bytes; session tokens are a few thousand at the most
)

var errMalformed = errors.New("malformed session file")

var errUnsealed = errors.New("not a session that this cache key has sealed")

// List returns the sessions of all stores, in the order of profile, type and
// expiry. It unseals nothing and skips files that are no sessions.
func (c *Cache) List() ([]Session, error) {
	files, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var sessions []Session
	for _, f := range files {
		key, ok := strings.CutSuffix(f.Name(), sessionSuffix)
		if !ok {
			continue
		}
		data, err := durable.ReadFile(filepath.Join(c.Dir, f.Name()), maxSession)
		if err != nil {
			continue // it has been cleared, or is not ours: as good as none
		}
		if s, _, _, err := split(key, data); err == nil {
			sessions = append(sessions, s)
		}
	}
	slices.SortFunc(sessions, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Type, b.Type), a.Expires.Compare(b.Expires))
	})
	return sessions, nil
}

// Look returns the session that the first n steps of a chain have led to, if one
// is cached. It may have expired. Nothing is unsealed: what the head of a file
// says is proven only when the session is used.
func (c *Cache) Look(ch chain.Chain, n int) (Session, bool) {
	if n == 0 && ch.Source.Stored != nil {
		return Session{}, false
	}
	key := c.key(ch, n)
	data, err := durable.ReadFile(c.file(key), maxSession)
	if err != nil {
		return Session{}, false
	}
	s, _, _, err := split(key, data)
	return s, err == nil
}

// Forget removes the sessions that were minted from an access key, and returns
// how many there were. Those that another process is minting from it right now
// will not be found either. It is called after the key was replaced or removed.
func (c *Cache) Forget(accessKey string) (int, error) {
	if err := durable.PrivateDir(c.Dir); err != nil {
		return 0, err
	}
	if err := durable.WriteFile(c.generationFile(accessKey), []byte(rand.Text()), 0o600); err != nil {
		return 0, err
	}
	return c.Clear(func(s Session) bool { return s.AccessKey == accessKey && s.Store == c.StoreID })
}

// generation tells what was minted from an access key apart from what was
// minted from another that had its name before: it is part of the key of each
// session. It is "" for the first.
func (c *Cache) generation(accessKey string) string {
	data, err := durable.ReadFile(c.generationFile(accessKey), maxSession)
	if err != nil {
		return "" // the common case is that there is none
	}
	return string(data)
}

func (c *Cache) generationFile(accessKey string) string {
	sum := sha256.Sum256([]byte(c.StoreID + "\x00" + accessKey))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:16])+".generation")
}

// key returns the key of what the first n steps of a chain lead to.
func (c *Cache) key(ch chain.Chain, n int) string {
	from := c.StoreID
	if stored := ch.Source.Stored; stored != nil {
		from += "\x00" + c.generation(stored.Name)
	}
	return ch.Key(from, n)
}

// Clear removes the sessions that match and returns how many there were.
func (c *Cache) Clear(match func(Session) bool) (int, error) {
	sessions, err := c.List()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range sessions {
		if !match(s) {
			continue
		}
		if err := os.Remove(c.file(s.Key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		n++
	}
	return n, nil
}

// get returns the cached credentials of a key if they are valid after a time.
func (c *Cache) get(ctx context.Context, key string, after time.Time) (cred.Credentials, error) {
	data, err := durable.ReadFile(c.file(key), maxSession)
	if err != nil {
		return cred.Credentials{}, err
	}
	s, head, box, err := split(key, data)
	if err != nil {
		return cred.Credentials{}, err
	}
	if s.Expires.Before(after) {
		return cred.Credentials{}, fmt.Errorf("it expires at %s", s.Expires)
	}
	aead, err := c.aead(ctx, false)
	if err != nil {
		return cred.Credentials{}, err
	}
	n := aead.NonceSize()
	if len(box) < n {
		return cred.Credentials{}, errUnsealed
	}
	plain, err := aead.Open(nil, box[:n], box[n:], additional(key, head))
	if err != nil {
		return cred.Credentials{}, errUnsealed
	}
	got, err := cred.Decode(plain)
	clear(plain)
	return got, err
}

// put seals credentials into the cache, and takes the occasion to remove
// sessions that expired before now.
func (c *Cache) put(ctx context.Context, s Session, credentials cred.Credentials, now time.Time) error {
	if err := durable.PrivateDir(c.Dir); err != nil {
		return err
	}
	aead, err := c.aead(ctx, true)
	if err != nil {
		return err
	}
	s.Store = c.StoreID
	head := s.head()
	plain, err := cred.Encode(credentials)
	if err != nil {
		return err
	}
	defer clear(plain)
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	file := slices.Concat([]byte(sessionMagic), head,
		aead.Seal(nonce, nonce, plain, additional(s.Key, head)))
	if err := durable.WriteFile(c.file(s.Key), file, 0o600); err != nil {
		return err
	}
	_, err = c.Clear(func(s Session) bool { return s.Expires.Before(now) })
	return err
}

func (c *Cache) file(key string) string { return filepath.Join(c.Dir, key+sessionSuffix) }

// split takes a session file apart: what its head says, the head itself, and
// the sealed box.
func split(key string, data []byte) (s Session, head, box []byte, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(sessionMagic))
	if !ok {
		return Session{}, nil, nil, errors.New("not a session file")
	}
	var lines [headLines]string
	box = rest
	for i := range lines {
		line, after, ok := bytes.Cut(box, []byte("\n"))
		if !ok {
			return Session{}, nil, nil, errMalformed
		}
		lines[i], box = string(line), after
	}
	for i, to := range []*string{&s.Profile, &s.Type, &s.AccessKey, &s.Store} {
		if *to, err = strconv.Unquote(lines[i]); err != nil {
			return Session{}, nil, nil, errMalformed
		}
	}
	expires, err := strconv.ParseInt(lines[headLines-1], 10, 64)
	if err != nil {
		return Session{}, nil, nil, errMalformed
	}
	s.Key, s.Expires = key, time.Unix(expires, 0)
	return s, rest[:len(rest)-len(box)], box, nil
}

// additional is what a box is bound to: a session file that was renamed, or
// whose head was altered, does not open.
func additional(key string, head []byte) []byte {
	return slices.Concat([]byte(sessionMagic), []byte(key), []byte("\n"), head)
}

// cacheKeyName is the name of the cache key's item. The kind alone would do;
// a store wants names.
const cacheKeyName = "sessions"

// aead returns the cipher of the cache key. Where the store has none yet, and
// create is set, it makes one.
func (c *Cache) aead(ctx context.Context, create bool) (cipher.AEAD, error) {
	var key []byte
	if c.KeepTTL > 0 { // else what is there is not ours
		key, _ = c.Keep.Get("cache-key " + c.StoreID)
	}
	if len(key) != 32 {
		var err error
		if key, err = c.storedKey(ctx, create); err != nil {
			return nil, fmt.Errorf("the cache key: %w", err)
		}
		// Where the kernel keeps nothing the store is asked again next time.
		_ = c.Keep.Put("cache-key "+c.StoreID, key, c.KeepTTL)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (c *Cache) storedKey(ctx context.Context, create bool) ([]byte, error) {
	item := store.Key{Kind: store.CacheKey, Name: cacheKeyName}
	get := func() ([]byte, error) {
		key, err := c.Store.Get(ctx, item)
		if err == nil && len(key) != 32 {
			err = fmt.Errorf("%w: %d bytes, want 32", store.ErrDamaged, len(key))
		}
		return key, err
	}
	// One that is damaged is replaced: it costs a cache and no more.
	missing := func(err error) bool {
		return create && (errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged))
	}
	key, err := get()
	if !missing(err) {
		return key, err
	}
	// Two processes that find none at once must not make two.
	unlock, err := durable.Lock(ctx, filepath.Join(c.Dir, "cache-key.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if key, err = get(); !missing(err) {
		return key, err
	}
	key = make([]byte, 32)
	rand.Read(key)
	return key, c.Store.Put(ctx, item, key)
}
