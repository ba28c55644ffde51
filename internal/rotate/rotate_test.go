package rotate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kura/internal/awsapi"
	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/rotate"
	"kura/internal/store"
)

// memory is a store in memory.
type memory struct {
	mu    sync.Mutex
	items map[store.Key][]byte
}

func (m *memory) Get(_ context.Context, key store.Key) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.items[key]
	if !ok {
		return nil, key.NotFound()
	}
	return bytes.Clone(data), nil
}

func (m *memory) Put(_ context.Context, key store.Key, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items[key] = bytes.Clone(data)
	return nil
}

func (m *memory) Delete(_ context.Context, key store.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.items[key]; !ok {
		return key.NotFound()
	}
	delete(m.items, key)
	return nil
}

func (m *memory) List(context.Context, store.Kind) ([]string, error) {
	panic("a rotation lists no items")
}

// A clock is the time of AWS and of a rotation, which passes when that sleeps.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// The user whose key is rotated, and a role that may do so in his place.
const (
	account = "111122223333"
	userARN = "arn:aws:iam::111122223333:user/team/eu/ann"
	roleARN = "arn:aws:iam::111122223333:role/ops"
)

// A kind of world.
type world struct {
	session  bool          // IAM is called with a session
	keyDelay time.Duration // see awstest.Config
	spread   time.Duration
	copies   bool // the key is stored under two more names
}

func (w world) String() string {
	return fmt.Sprintf("session %v, delay %v, spread %v, copies %v", w.session, w.keyDelay, w.spread, w.copies)
}

// A site is where the clouds of many benches are served, one after another, so
// that not each of them has to connect anew.
type site struct {
	server *httptest.Server
	client *awsapi.Client
	cloud  atomic.Pointer[awstest.Cloud]
	clock  atomic.Pointer[clock]
}

func newSite(t testing.TB) *site {
	s := &site{}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.cloud.Load().ServeHTTP(w, r) }))
	t.Cleanup(s.server.Close)
	s.client = &awsapi.Client{Now: func() time.Time { return s.clock.Load().now() }}
	return s
}

// A bench is one world with a stored key.
type bench struct {
	world
	t      testing.TB
	site   *site
	cloud  *awstest.Cloud
	clock  *clock
	store  *memory
	other  *memory // which has a copy
	events []rotate.Event
	forgot []string
	minted int
	lock   string
}

var begin = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newBench(t testing.TB, site *site, w world) *bench {
	b := &bench{
		world: w, t: t, site: site, clock: &clock{at: begin},
		store: &memory{items: map[store.Key][]byte{}}, other: &memory{items: map[store.Key][]byte{}},
	}
	b.cloud = awstest.NewHandler(awstest.Config{
		Now: b.clock.now, KeyDelay: w.keyDelay, Spread: w.spread,
		World: &awstest.World{
			Users: []awstest.User{
				{Account: account, Name: "ann", Path: "/team/eu/", Keys: []awstest.AccessKey{{
					ID: awstest.AccessKeyID, Secret: awstest.SecretAccessKey, Created: begin.Add(-100 * 24 * time.Hour),
				}}},
				{Account: "444455556666", Name: "ann", Keys: []awstest.AccessKey{{ID: "AKIAOTHERANN0EXAMPLE", Secret: "otherotherotherother"}}},
			},
			Roles: []awstest.Role{{Account: account, Name: "ops", IAM: true, Trust: []awstest.Trust{{Principals: []string{"*"}}}}},
		},
	})
	site.cloud.Store(b.cloud)
	site.clock.Store(b.clock)
	b.put(b.store, "work", first())
	b.put(b.store, "unrelated", cred.Credentials{AccessKeyID: "AKIAUNRELATEDEXAMPLE", SecretAccessKey: cred.NewSecret("x")})
	if w.copies {
		copied := first()
		copied.AccountID = account
		b.put(b.store, "copy", copied)
		b.put(b.other, "afar", first())
	}
	return b
}

func first() cred.Credentials {
	return cred.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: cred.NewSecret(awstest.SecretAccessKey)}
}

func (b *bench) put(m *memory, name string, key cred.Credentials) {
	data, err := cred.Encode(key)
	if err != nil {
		b.t.Fatal(err)
	}
	m.items[store.Key{Kind: store.AccessKey, Name: name}] = data
}

// key returns what is stored under a name.
func (b *bench) key(m *memory, name string) cred.Credentials {
	data, err := m.Get(context.Background(), store.Key{Kind: store.AccessKey, Name: name})
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	key, err := cred.Decode(data)
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	return key
}

func (b *bench) sts() chain.Call { return chain.Call{Region: "eu-west-1", Endpoint: b.site.server.URL} }

// process returns the rotation as another process has it. What wrap returns takes
// the place of AWS and of the stores.
func (b *bench) process(w *wrapped) *rotate.Rotation {
	client := b.site.client
	r := &rotate.Rotation{
		Name: "work", Store: b.store, AWS: client, STS: b.sts(), IAMEndpoint: b.site.server.URL,
		Patience: rotate.DefaultPatience,
		LockFile: b.lock,
		Waiting:  func() {},
		Now:      client.AWSNow,
		Sleep: func(ctx context.Context, d time.Duration) error {
			b.clock.advance(d)
			return context.Cause(ctx)
		},
		Report: func(e rotate.Event) { b.events = append(b.events, e) },
		Forget: func(_ context.Context, places []rotate.Place) {
			for _, p := range places {
				b.forgot = append(b.forgot, p.Name)
			}
		},
	}
	other := store.Store(b.other)
	if w != nil {
		r.AWS = &interrupted{client, w}
		r.Store, other = w.store(b.store), w.store(b.other)
	}
	r.Copies = []rotate.Place{{Store: r.Store, Name: "unrelated"}, {Store: r.Store, Name: "missing"}}
	if b.copies {
		r.Copies = append(r.Copies, rotate.Place{Store: r.Store, Name: "copy"}, rotate.Place{Store: other, Name: "afar", Where: "the other"})
	}
	if b.session {
		var got *cred.Credentials
		r.Session = func(ctx context.Context, again bool) (cred.Credentials, error) {
			if got == nil || again {
				b.minted++
				s, err := client.AssumeRole(ctx, b.key(b.store, "work"), chain.AssumeRole{Call: b.sts(), RoleARN: roleARN, SessionName: "ann"}, "")
				if err != nil {
					return cred.Credentials{}, err
				}
				got = &s
			}
			return *got, nil
		}
	}
	return r
}

// keys returns the user's keys at AWS: the state of each by its ID.
func (b *bench) keys() map[string]bool {
	b.clock.advance(b.spread) // so that lists are right
	list, err := b.site.client.ListAccessKeys(context.Background(), b.key(b.store, "work"), "ann", chain.Call{Endpoint: b.site.server.URL})
	if err != nil {
		b.t.Fatalf("listing the keys with the one that is stored: %v", err)
	}
	keys := map[string]bool{}
	for _, k := range list {
		keys[k.ID] = k.Active
	}
	return keys
}

// wantWorking checks that all that is stored works.
func (b *bench) wantWorking(t testing.TB, when string) {
	t.Helper()
	for name, m := range map[string]*memory{"work": b.store, "copy": b.store, "afar": b.other} {
		if name != "work" && !b.copies {
			continue
		}
		key := b.key(m, name)
		who, err := b.site.client.GetCallerIdentity(context.Background(), key, b.sts())
		if err != nil || who.ARN != userARN {
			t.Errorf("%s: the stored key of %q is %s: %v, %v", when, name, key.AccessKeyID, who.ARN, err)
		}
	}
}

// wantEnd checks that a rotation has ended: all that is stored is one key, which
// works, and nothing else is left.
func (b *bench) wantEnd(t testing.TB, when string) {
	t.Helper()
	b.wantWorking(t, when)
	id := b.key(b.store, "work").AccessKeyID
	if keys := b.keys(); len(keys) != 1 || !keys[id] {
		t.Errorf("%s: AWS has the keys %v, want %s alone", when, keys, id)
	}
	if b.copies && (b.key(b.store, "copy").AccessKeyID != id || b.key(b.other, "afar").AccessKeyID != id) {
		t.Errorf("%s: the copies are other keys", when)
	}
	if b.copies && b.key(b.store, "copy").AccountID != account {
		t.Errorf("%s: the copy has lost its account", when)
	}
	if _, ok := b.store.items[store.Key{Kind: store.Rotation, Name: "work"}]; ok {
		t.Errorf("%s: a record is left", when)
	}
	if b.key(b.store, "unrelated").AccessKeyID != "AKIAUNRELATEDEXAMPLE" {
		t.Errorf("%s: an unrelated key was changed", when)
	}
}

// wrapped counts the calls of AWS and of the stores, and goes wrong at one.
type wrapped struct {
	ops []string // the calls so far
	at  int      // that goes wrong; 0: none does
	do  fault
}

// A fault is what goes wrong with a call.
type fault struct {
	name  string
	kill  bool // the process is no more
	after bool // when it has had its effect
	store error
	aws   *awsapi.Error
}

// call carries out a call, unless it is the one that goes wrong before.
func (w *wrapped) call(op string, do func() error) error {
	w.ops = append(w.ops, op)
	isStore := op == "Get" || op == "Put" || op == "Delete"
	if len(w.ops) != w.at {
		return do()
	}
	var err error
	if w.do.after {
		err = do()
	}
	if w.do.kill {
		runtime.Goexit()
	}
	switch {
	case err != nil:
		return err
	case isStore && w.do.store != nil:
		return w.do.store
	case !isStore && w.do.aws != nil:
		return w.do.aws
	case !w.do.after:
		return do()
	}
	return nil
}

func (w *wrapped) store(s store.Store) store.Store { return &interruptedStore{s, w} }

type interruptedStore struct {
	store.Store
	w *wrapped
}

func (s *interruptedStore) Get(ctx context.Context, key store.Key) (data []byte, err error) {
	err = s.w.call("Get", func() error { data, err = s.Store.Get(ctx, key); return err })
	return data, err
}

func (s *interruptedStore) Put(ctx context.Context, key store.Key, data []byte) error {
	return s.w.call("Put", func() error { return s.Store.Put(ctx, key, data) })
}

func (s *interruptedStore) Delete(ctx context.Context, key store.Key) error {
	return s.w.call("Delete", func() error { return s.Store.Delete(ctx, key) })
}

// interrupted is AWS as a process sees it that may be interrupted.
type interrupted struct {
	aws rotate.AWS
	w   *wrapped
}

func (i *interrupted) GetCallerIdentity(ctx context.Context, from cred.Credentials, to chain.Call) (who awsapi.Identity, err error) {
	err = i.w.call("GetCallerIdentity", func() error { who, err = i.aws.GetCallerIdentity(ctx, from, to); return err })
	return who, err
}

func (i *interrupted) ListAccessKeys(ctx context.Context, from cred.Credentials, user string, to chain.Call) (keys []awsapi.AccessKeyInfo, err error) {
	err = i.w.call("ListAccessKeys", func() error { keys, err = i.aws.ListAccessKeys(ctx, from, user, to); return err })
	return keys, err
}

func (i *interrupted) CreateAccessKey(ctx context.Context, from cred.Credentials, user string, to chain.Call) (key cred.Credentials, err error) {
	err = i.w.call("CreateAccessKey", func() error { key, err = i.aws.CreateAccessKey(ctx, from, user, to); return err })
	if err != nil {
		return cred.Credentials{}, err
	}
	return key, err
}

func (i *interrupted) SetAccessKeyActive(ctx context.Context, from cred.Credentials, user, id string, active bool, to chain.Call) error {
	return i.w.call("SetAccessKeyActive", func() error { return i.aws.SetAccessKeyActive(ctx, from, user, id, active, to) })
}

func (i *interrupted) DeleteAccessKey(ctx context.Context, from cred.Credentials, user, id string, to chain.Call) error {
	return i.w.call("DeleteAccessKey", func() error { return i.aws.DeleteAccessKey(ctx, from, user, id, to) })
}

func (i *interrupted) GetAccessKeyLastUsed(ctx context.Context, from cred.Credentials, id string, to chain.Call) (at time.Time, service string, err error) {
	err = i.w.call("GetAccessKeyLastUsed", func() error { at, service, err = i.aws.GetAccessKeyLastUsed(ctx, from, id, to); return err })
	return at, service, err
}

// errKilled says that a process ended before it could say anything.
var errKilled = errors.New("killed")

// attempt runs do as a process would: one that may be killed.
func attempt(do func() error) error {
	err := errKilled
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = do()
	}()
	<-done
	return err
}

// faults are what can go wrong with any call. Being killed before a call is being
// killed after the one before it. Two are about making a key only.
var faults = []fault{
	{name: "killed", kill: true, after: true},
	{name: "reply lost, denied after", after: true, store: store.ErrDenied, aws: &awsapi.Error{Op: "test", Kind: awsapi.Unreachable, Message: "lost"}},
	{name: "unreachable, full", store: durable.ErrDiskFull, aws: &awsapi.Error{Op: "test", Kind: awsapi.Unreachable, Message: "no answer"}},
	{name: "refused, locked", store: store.ErrLocked, aws: &awsapi.Error{Op: "test", Kind: awsapi.Denied, Code: "AccessDenied", Message: "not authorized"}},
	{name: "throttled, unavailable", store: store.ErrUnavailable, aws: &awsapi.Error{Op: "test", Kind: awsapi.Throttled, Code: "Throttling", Message: "Rate exceeded"}},
	{name: "500 after, unavailable after", after: true, store: store.ErrUnavailable, aws: &awsapi.Error{Op: "test", Kind: awsapi.Unavailable, Code: "InternalFailure", Message: "error"}},
}

// A way is what a person does: it is prepared without faults, then done with one.
type way struct {
	name    string
	prepare func(*bench)
	do      func(context.Context, *rotate.Rotation) error
}

func ways() []way {
	ctx := context.Background()
	kept := func(b *bench) {
		if err := b.process(nil).Run(ctx, rotate.Options{Keep: 24 * time.Hour}); err != nil {
			b.t.Fatal(err)
		}
	}
	return []way{
		{"rotate", nil, func(ctx context.Context, r *rotate.Rotation) error { return r.Run(ctx, rotate.Options{}) }},
		{"rotate and keep", nil, func(ctx context.Context, r *rotate.Rotation) error {
			return r.Run(ctx, rotate.Options{Keep: 24 * time.Hour})
		}},
		{"finish", kept, func(ctx context.Context, r *rotate.Rotation) error { return r.Finish(ctx) }},
		{"undo", kept, func(ctx context.Context, r *rotate.Rotation) error { return r.Undo(ctx) }},
	}
}

// Wherever a rotation is interrupted, what is stored works at that moment, and
// the next one ends with one key.
func TestInterrupted(t *testing.T) {
	site, cases := newSite(t), 0
	for _, test := range []struct {
		world
		faults int // how many of them: they differ little from world to world
	}{
		{world{session: true}, len(faults)},
		{world{session: false}, 3},
		{world{session: true, keyDelay: 12 * time.Second, spread: 8 * time.Second, copies: true}, 2},
		{world{session: false, keyDelay: 12 * time.Second, spread: 8 * time.Second}, 1},
	} {
		for i, way := range ways() {
			ops := interruptOnce(t, site, "no fault", test.world, way, 0, fault{})
			for at := range len(ops) {
				if at > 0 && ops[at] == "GetCallerIdentity" && ops[at] == ops[at-1] {
					continue // one proof is like the other
				}
				for n, f := range faults[:test.faults] {
					if n > 3 && i > 0 {
						continue
					}
					cases++
					name := fmt.Sprintf("%v: %s, call %d, %s: %s", test.world, way.name, at+1, ops[at], f.name)
					interruptOnce(t, site, name, test.world, way, at+1, f)
				}
			}
		}
	}
	t.Logf("%d cases", cases)
	if cases < 500 {
		t.Errorf("%d cases, want hundreds", cases)
	}
}

// interruptOnce lets one call go wrong, and returns which there were.
func interruptOnce(t *testing.T, site *site, name string, w world, way way, at int, f fault) []string {
	b := newBench(t, site, w)
	defer func() {
		if t.Failed() {
			t.Fatalf("%s: %v", name, b.events)
		}
	}()
	if way.prepare != nil {
		way.prepare(b)
	}
	ctx := context.Background()
	calls := &wrapped{at: at, do: f}
	err := attempt(func() error { return way.do(ctx, b.process(calls)) })
	b.wantWorking(t, name)
	if orphan, ok := errors.AsType[*rotate.OrphanError](err); ok {
		t.Fatalf("%s: %v", name, orphan) // one fault is no reason
	}
	partial, ok := errors.AsType[*rotate.PartialError](err)
	if ok && partial.Stage == rotate.Unchanged && len(b.keys()) != 1 {
		t.Errorf("%s: %v, and there are %v", name, err, b.keys())
	}
	// The user, or cron, does it again.
	err = b.process(nil).Run(ctx, rotate.Options{})
	if kept, ok := errors.AsType[*rotate.KeptError](err); ok {
		b.wantWorking(t, name+", again")
		if keys := b.keys(); len(keys) != 2 || keys[kept.Old] {
			t.Errorf("%s, again: %v, and there are %v", name, err, keys)
		}
		b.clock.advance(25 * time.Hour)
		err = b.process(nil).Finish(ctx)
	}
	if err == nil && b.recordLeft() {
		b.clock.advance(25 * time.Hour) // it was kept just now
		err = b.process(nil).Finish(ctx)
	}
	if err != nil {
		t.Errorf("%s, again: %v", name, err)
	}
	b.wantEnd(t, name+", again")
	return calls.ops
}

func (b *bench) recordLeft() bool {
	_, err := b.store.Get(context.Background(), store.Key{Kind: store.Rotation, Name: "work"})
	return err == nil
}
