package mint_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kura/internal/awsapi"
	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/mint"
	"kura/internal/store"
)

// memory is a store in memory that counts what is read.
type memory struct {
	mu     sync.Mutex
	items  map[store.Key][]byte
	gets   map[store.Kind]int
	locked bool
}

func (m *memory) Get(_ context.Context, key store.Key) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets[key.Kind]++
	if m.locked {
		return nil, store.ErrLocked
	}
	data, ok := m.items[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(data), nil
}

func (m *memory) Put(_ context.Context, key store.Key, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items[key] = bytes.Clone(data)
	return nil
}

func (m *memory) Delete(context.Context, store.Key) error            { panic("mint deletes no items") }
func (m *memory) List(context.Context, store.Kind) ([]string, error) { panic("mint lists no items") }

// A bench is a minter with an emulated AWS and a store that holds the access
// key "base".
type bench struct {
	*mint.Minter
	cloud *awstest.Cloud
	store *memory
	dir   string
	asked atomic.Int32 // how often a token code was asked for
	log   bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{cloud: awstest.New(awstest.Config{}), dir: t.TempDir()}
	t.Cleanup(b.cloud.Close)
	key, err := cred.Encode(cred.Credentials{
		AccessKeyID:     awstest.AccessKeyID,
		SecretAccessKey: cred.NewSecret(awstest.SecretAccessKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.store = &memory{
		items: map[store.Key][]byte{{Kind: store.AccessKey, Name: "base"}: key},
		gets:  map[store.Kind]int{},
	}
	b.Minter = b.process()
	return b
}

// process returns another minter with the same store, cache and AWS, as another
// process has it.
func (b *bench) process() *mint.Minter {
	return &mint.Minter{
		Store:   b.store,
		AWS:     &awsapi.Client{},
		Cache:   &mint.Cache{Dir: filepath.Join(b.dir, "sessions"), Store: b.store, StoreID: "memory"},
		LockDir: filepath.Join(b.dir, "locks"),
		TokenCode: func(_ context.Context, serial string) (string, error) {
			b.asked.Add(1)
			return b.cloud.Code(serial)
		},
		MinTTL: mint.DefaultMinTTL,
		Now:    time.Now,
		Log:    slog.New(slog.NewTextHandler(&b.log, nil)),
	}
}

// admin is the chain of a role that asks for MFA.
func (b *bench) admin(role string) chain.Chain {
	call := chain.Call{Partition: "aws", Endpoint: b.cloud.URL}
	return chain.Chain{
		Profile: role,
		Source:  chain.Source{Stored: &chain.StoredKey{Name: "base"}},
		Steps: []chain.Step{
			{Profile: "base", SessionToken: &chain.SessionToken{Call: call, MFASerial: awstest.MFASerial, Duration: 8 * time.Hour}},
			{Profile: role, AssumeRole: &chain.AssumeRole{Call: call, RoleARN: "arn:aws:iam::" + awstest.Account + ":role/" + role, SessionName: "test", Duration: time.Hour}},
		},
	}
}

func (b *bench) want(t *testing.T, ops string) {
	t.Helper()
	if got := strings.Join(b.cloud.Done(), " "); got != ops {
		t.Errorf("AWS was called for %q, want %q", got, ops)
	}
}

func (b *bench) mint(t *testing.T, c chain.Chain) cred.Credentials {
	t.Helper()
	got, err := b.Credentials(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSessionsAreShared(t *testing.T) {
	b := newBench(t)
	first := b.mint(t, b.admin("admin"))
	if first.LongTerm() || first.AccountID != awstest.Account {
		t.Errorf("got %v of account %q, want session credentials of %s", first, first.AccountID, awstest.Account)
	}
	if again := b.mint(t, b.admin("admin")); again != first {
		t.Errorf("a second time: %v, want the same: %v", again, first)
	}
	b.want(t, "GetSessionToken AssumeRole")

	b.mint(t, b.admin("audit"))
	b.want(t, "GetSessionToken AssumeRole AssumeRole")
	if n := b.asked.Load(); n != 1 {
		t.Errorf("%d token codes, want 1", n)
	}
}

func TestACachedSessionNeedsNoAccessKey(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	clear(b.store.gets)
	b.mint(t, b.admin("admin"))
	if n := b.store.gets[store.AccessKey]; n != 0 {
		t.Errorf("the access key was read %d times for a cached session, want 0", n)
	}
}

func TestEditsAreNotServedFromTheCache(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	for name, edit := range map[string]func(*chain.AssumeRole){
		"duration":     func(r *chain.AssumeRole) { r.Duration = 30 * time.Minute },
		"session name": func(r *chain.AssumeRole) { r.SessionName = "other" },
		"tags":         func(r *chain.AssumeRole) { r.Tags = map[string]string{"team": "a"} },
		"external ID":  func(r *chain.AssumeRole) { r.ExternalID = "x1" },
		"role":         func(r *chain.AssumeRole) { r.RoleARN = strings.Replace(r.RoleARN, "admin", "audit", 1) },
	} {
		c := b.admin("admin")
		edit(c.Steps[1].AssumeRole)
		b.cloud.ResetCalls()
		b.mint(t, c)
		if got := strings.Join(b.cloud.Done(), " "); got != "AssumeRole" {
			t.Errorf("after an edit of the %s AWS was called for %q, want AssumeRole", name, got)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	b.Now = func() time.Time { return time.Now().Add(56 * time.Minute) }
	b.mint(t, b.admin("admin"))
	b.want(t, "GetSessionToken AssumeRole AssumeRole")
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 100 {
		m := b.process()
		wg.Go(func() {
			if _, err := m.Credentials(t.Context(), b.admin("admin")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.want(t, "GetSessionToken AssumeRole")
	if n := b.asked.Load(); n != 1 {
		t.Errorf("%d token codes, want 1", n)
	}
}

func TestAFailureIsShared(t *testing.T) {
	b := newBench(t)
	const waiters = 20
	all, refuse := make(chan struct{}, waiters), make(chan struct{})
	refused := errors.New("dismissed")
	var errs [waiters]error
	var wg sync.WaitGroup
	for i := range waiters {
		m := b.process()
		m.TokenCode = func(context.Context, string) (string, error) {
			b.asked.Add(1)
			<-refuse
			return "", refused
		}
		// The clock is looked at for the cache first, then as waiting begins.
		looks := 0
		m.Now = func() time.Time {
			if looks++; looks == 2 {
				defer func() { all <- struct{}{} }()
			}
			return time.Now()
		}
		wg.Go(func() { _, errs[i] = m.Credentials(t.Context(), b.admin("admin")) })
	}
	for range waiters {
		<-all
	}
	close(refuse)
	wg.Wait()
	for i, err := range errs {
		shared, ok := errors.AsType[*mint.SharedError](err)
		if !errors.Is(err, refused) && (!ok || shared.Text != "dismissed") {
			t.Errorf("process %d: %v, want the refusal or word of it", i, err)
		}
	}
	if n := b.asked.Load(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}

	// Who comes later is no part of it.
	b.mint(t, b.admin("admin"))
}

// Another program may have used a code that a program makes: the next one is
// tried, once. A person hears of it first.
func TestAUsedCodeIsTriedAgainWithTheNext(t *testing.T) {
	for _, test := range []struct {
		typed bool
		bad   int32 // so many codes are not good
		asked int32
		ok    bool
	}{
		{false, 1, 2, true},
		{false, 2, 2, false},
		{true, 1, 1, false},
	} {
		b := newBench(t)
		b.CodesTyped = test.typed
		b.TokenCode = func(_ context.Context, serial string) (string, error) {
			if b.asked.Add(1) <= test.bad {
				return "000000", nil
			}
			return b.cloud.Code(serial)
		}
		_, err := b.Credentials(t.Context(), b.admin("admin"))
		e, refused := errors.AsType[*awsapi.Error](err)
		if test.ok != (err == nil) || !test.ok && (!refused || e.Kind != awsapi.BadTokenCode) || b.asked.Load() != test.asked {
			t.Errorf("typed %v, %d bad codes: %v after %d codes, want %d and success %v",
				test.typed, test.bad, err, b.asked.Load(), test.asked, test.ok)
		}
	}
}

func TestWhatAWSSaysIsShared(t *testing.T) {
	b := newBench(t)
	b.cloud.SetFault("AssumeRole", awstest.Fault{Kind: awstest.Error500})
	release := make(chan struct{})
	b.TokenCode = func(_ context.Context, serial string) (string, error) {
		<-release
		return b.cloud.Code(serial)
	}
	done := make(chan error)
	go func() { _, err := b.Credentials(t.Context(), b.admin("admin")); done <- err }()
	var shared error
	second := b.process()
	second.Waiting = func(h mint.Holder) {
		if h.PID != os.Getpid() || h.Profile != "admin" {
			t.Errorf("told of %+v, want this process and admin", h)
		}
		close(release)
	}
	for len(globFiles(t, b.LockDir, "*.state")) < 2 {
		time.Sleep(time.Millisecond)
	}
	_, shared = second.Credentials(t.Context(), b.admin("admin"))
	first := <-done
	for _, err := range []error{first, shared} {
		e, ok := errors.AsType[*awsapi.Error](err)
		if !ok || e.Kind != awsapi.Unavailable || e.Op != "sts:AssumeRole" {
			t.Errorf("%v, want an *awsapi.Error of kind Unavailable", err)
		}
	}
	if _, ok := errors.AsType[*mint.SharedError](shared); !ok {
		t.Errorf("the second: %v, want the first's error", shared)
	}
}

func TestWhatFailsElsewhereIsNotShared(t *testing.T) {
	b := newBench(t)
	noTerminal := errors.New("no terminal")
	entered, leave := make(chan struct{}), make(chan struct{})
	first := b.process()
	first.CodesFrom = "another place"
	first.TokenCode = func(context.Context, string) (string, error) {
		close(entered)
		<-leave
		return "", noTerminal
	}
	done := make(chan error)
	go func() { _, err := first.Credentials(t.Context(), b.admin("admin")); done <- err }()
	<-entered
	b.Waiting = func(mint.Holder) { close(leave) }
	b.mint(t, b.admin("admin"))
	if err := <-done; !errors.Is(err, noTerminal) {
		t.Errorf("the first: %v, want its own error", err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	b := newBench(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	first := b.process()
	first.TokenCode = func(context.Context, string) (string, error) {
		close(entered)
		<-leave
		return "", context.Canceled
	}
	done := make(chan error)
	go func() { _, err := first.Credentials(t.Context(), b.admin("admin")); done <- err }()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Credentials(ctx, b.admin("admin")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline that has passed", err)
	}
	close(leave)
	<-done
}

func TestASpoiledCacheIsAMiss(t *testing.T) {
	b := newBench(t)
	spoil := map[string]func([]byte) []byte{
		"truncated": func(d []byte) []byte { return d[:len(d)-1] },
		"empty":     func([]byte) []byte { return nil },
		"flipped":   func(d []byte) []byte { d[len(d)-1] ^= 1; return d },
		"head changed": func(d []byte) []byte {
			return bytes.Replace(d, []byte(`"admin"`), []byte(`"Admin"`), 1)
		},
		"garbage": func([]byte) []byte { return []byte("kura session 1\n\"\"\n\"\"\n\"\"\n\"\"\n99999999999\n") },
	}
	for name, f := range spoil {
		b.mint(t, b.admin("admin"))
		b.cloud.ResetCalls()
		file := filepath.Join(b.Cache.Dir, b.admin("admin").Key("memory\x00", 2)+".session")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f(data), 0o600); err != nil {
			t.Fatal(err)
		}
		b.mint(t, b.admin("admin"))
		if got := strings.Join(b.cloud.Done(), " "); got != "AssumeRole" {
			t.Errorf("%s: AWS was called for %q, want AssumeRole", name, got)
		}
	}
}

func TestARenamedSessionIsAMiss(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("audit"))
	file := func(role string) string {
		return filepath.Join(b.Cache.Dir, b.admin(role).Key("memory\x00", 2)+".session")
	}
	if err := os.Rename(file("audit"), file("admin")); err != nil {
		t.Fatal(err)
	}
	b.cloud.ResetCalls()
	b.mint(t, b.admin("admin"))
	b.want(t, "AssumeRole")
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	b := newBench(t)
	blocked := filepath.Join(b.dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Cache.Dir, b.LockDir = filepath.Join(blocked, "sessions"), filepath.Join(blocked, "locks")
	b.mint(t, b.admin("admin"))
	if !strings.Contains(b.log.String(), "the session is not cached") {
		t.Errorf("no warning that the session is not cached: %s", b.log.String())
	}
}

func TestALockedStoreIsAskedOnce(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	b.store.locked = true
	clear(b.store.gets)
	if _, err := b.Credentials(t.Context(), b.admin("admin")); !errors.Is(err, store.ErrLocked) {
		t.Errorf("%v, want that the store is locked", err)
	}
	if n := b.store.gets[store.CacheKey] + b.store.gets[store.AccessKey]; n != 1 {
		t.Errorf("the locked store was asked %d times, want 1", n)
	}
}

func TestASessionOfAKeyThatWasReplacedIsNotServed(t *testing.T) {
	b := newBench(t)
	// The key is replaced while a session is minted from the one before it.
	b.TokenCode = func(_ context.Context, serial string) (string, error) {
		if _, err := b.Cache.Forget("base"); err != nil {
			t.Error(err)
		}
		return b.cloud.Code(serial)
	}
	b.mint(t, b.admin("admin"))
	b.cloud.ResetCalls()
	b.TokenCode = b.process().TokenCode
	b.mint(t, b.admin("admin"))
	b.want(t, "GetSessionToken AssumeRole")

	n, err := b.Cache.Forget("base")
	if err != nil || n != 4 {
		t.Errorf("Forget = %d, %v, want the sessions of both", n, err)
	}
}

// An access key that is rotated while the user looks for the token code is not
// the one that the session is made of, and the code is not lost.
func TestAKeyThatIsReplacedMeanwhile(t *testing.T) {
	b := newBench(t)
	made := b.cloud.AddKey(awstest.UserARN)
	code := b.TokenCode
	b.TokenCode = func(ctx context.Context, serial string) (string, error) {
		fresh, err := cred.Encode(cred.Credentials{AccessKeyID: made.ID, SecretAccessKey: cred.NewSecret(made.Secret)})
		if err != nil {
			t.Fatal(err)
		}
		b.store.Put(ctx, store.Key{Kind: store.AccessKey, Name: "base"}, fresh)
		b.cloud.SetKeyActive(awstest.AccessKeyID, false)
		return code(ctx, serial)
	}
	var dropped []string
	b.Drop = func(_ context.Context, name string) { dropped = append(dropped, name) }
	b.mint(t, b.admin("admin"))
	b.want(t, "GetSessionToken AssumeRole")
	if b.asked.Load() != 1 || strings.Join(dropped, " ") != "base" {
		t.Errorf("a code was asked for %d times, and dropped were %q; want 1 and base", b.asked.Load(), dropped)
	}
}

func TestADamagedCacheKeyIsReplaced(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	b.store.items[store.Key{Kind: store.CacheKey, Name: "sessions"}] = []byte("short")
	b.mint(t, b.admin("admin"))
	b.cloud.ResetCalls()
	b.mint(t, b.admin("admin"))
	b.want(t, "")
}

func TestListAndClear(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	if err := os.WriteFile(filepath.Join(b.Cache.Dir, "stray.session"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.store.locked = true // neither listing nor clearing opens the store
	sessions, err := b.Cache.List()
	if err != nil || len(sessions) != 2 {
		t.Fatalf("List = %v, %v, want two sessions", sessions, err)
	}
	if s := sessions[0]; s.Profile != "admin" || s.Type != "sts.AssumeRole" || s.AccessKey != "base" || s.Store != "memory" {
		t.Errorf("the first session is %+v", s)
	}
	if s := sessions[1]; s.Profile != "base" || s.Type != "sts.GetSessionToken" {
		t.Errorf("the second session is %+v", s)
	}
	n, err := b.Cache.Clear(func(s mint.Session) bool { return s.Profile == "admin" })
	if err != nil || n != 1 {
		t.Errorf("Clear = %d, %v, want 1", n, err)
	}
	if left := globFiles(t, b.Cache.Dir, "*.session"); len(left) != 2 {
		t.Errorf("%q left, want the other session and the stray file", left)
	}
}

func TestLookUnsealsNothing(t *testing.T) {
	b := newBench(t)
	c := b.admin("admin")
	if s, ok := b.Cache.Look(c, 2); ok {
		t.Errorf("Look finds %+v in an empty cache", s)
	}
	got, err := b.Credentials(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	before := b.store.gets[store.CacheKey]
	closed := &mint.Cache{Dir: b.Cache.Dir, StoreID: b.Cache.StoreID} // with no store to open it
	s, ok := closed.Look(c, 2)
	if !ok || s.Profile != "admin" || s.Type != "sts.AssumeRole" || !s.Expires.Equal(got.Expires) {
		t.Errorf("Look = %+v, %v, want the session of admin until %v", s, ok, got.Expires)
	}
	if s, ok := closed.Look(c, 1); !ok || s.Type != "sts.GetSessionToken" {
		t.Errorf("Look at the first step = %+v, %v, want what it led to", s, ok)
	}
	if s, ok := closed.Look(c, 0); ok {
		t.Errorf("Look at an access key = %+v, want none", s)
	}
	if s, ok := closed.Look(b.admin("audit"), 2); ok {
		t.Errorf("Look finds %+v, of another role", s)
	}
	if got := b.store.gets[store.CacheKey]; got != before {
		t.Errorf("the cache key was read %d times", got-before)
	}
}

func TestNothingSecretInTheOpen(t *testing.T) {
	b := newBench(t)
	b.mint(t, b.admin("admin"))
	for _, file := range append(globFiles(t, b.Cache.Dir, "*"), globFiles(t, b.LockDir, "*")...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range b.cloud.Secrets() {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s holds a secret in the clear", file)
			}
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", file, info.Mode())
		}
	}
}

func TestMissingAccessKey(t *testing.T) {
	b := newBench(t)
	c := b.admin("admin")
	c.Source.Stored.Name = "gone"
	_, err := b.Credentials(t.Context(), c)
	if e, ok := errors.AsType[*mint.NoKeyError](err); !ok || e.Name != "gone" {
		t.Errorf("%v, want a *NoKeyError of gone", err)
	}
}

func TestProcessSource(t *testing.T) {
	b := newBench(t)
	ran := 0
	out := `{"Version":1,"AccessKeyId":"ASIAEXAMPLEEXAMPLE12","SecretAccessKey":"s","SessionToken":"t","Expiration":"2999-01-01T00:00:00+02:00"}`
	b.Run = func(context.Context, string, string) ([]byte, error) { ran++; return []byte(out), nil }
	c := chain.Chain{Profile: "p", Source: chain.Source{Process: &chain.Process{Command: "x", Profile: "p"}}}
	for range 2 {
		got := b.mint(t, c)
		if got.AccessKeyID != "ASIAEXAMPLEEXAMPLE12" || got.Expires.Year() != 2998 && got.Expires.Year() != 2999 {
			t.Errorf("got %v", got)
		}
	}
	if ran != 1 {
		t.Errorf("the process ran %d times, want once: its answer is cached", ran)
	}

	for _, bad := range []string{
		"", "secret: s3cr3t", `{"Version":2,"AccessKeyId":"A","SecretAccessKey":"s3cr3t"}`,
		`{"Version":1,"SecretAccessKey":"s3cr3t"}`, `{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s3cr3t","Expiration":"soon"}`,
	} {
		out = bad
		other := c
		other.Source = chain.Source{Process: &chain.Process{Command: "y", Profile: "p"}}
		_, err := b.Credentials(t.Context(), other)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("output %q: %v, want an error that does not quote it", bad, err)
		}
	}
}

func TestWebIdentitySource(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "token")
	if err := os.WriteFile(file, []byte(awstest.Default().WebIdentities[0].Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := chain.Chain{Profile: "ci", Source: chain.Source{WebIdentity: &chain.WebIdentity{
		Call:    chain.Call{Partition: "aws", Endpoint: b.cloud.URL},
		RoleARN: "arn:aws:iam::" + awstest.Account + ":role/deploy", SessionName: "ci", TokenFile: file, Duration: time.Hour,
	}}}
	b.mint(t, c)
	b.mint(t, c)
	b.want(t, "AssumeRoleWithWebIdentity")
}

func globFiles(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
