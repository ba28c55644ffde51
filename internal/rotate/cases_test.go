package rotate_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kura/internal/awsapi"
	"kura/internal/awstest"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/mint"
	"kura/internal/rotate"
	"kura/internal/store"
	"kura/internal/store/storetest"
)

// count returns how often something was reported.
func (b *bench) count(what rotate.What) int {
	n := 0
	for _, e := range b.events {
		if e.What == what {
			n++
		}
	}
	return n
}

// What policies deny is said with the action and the resource; nothing is lost,
// and the next rotation ends it once it is allowed.
func TestDenied(t *testing.T) {
	site := newSite(t)
	for action, stage := range map[string]rotate.Stage{
		"iam:ListAccessKeys":  rotate.Unchanged,
		"iam:CreateAccessKey": rotate.Unchanged,
		"iam:UpdateAccessKey": rotate.Replaced,
		"iam:DeleteAccessKey": rotate.Off,
	} {
		for _, session := range []bool{true, false} {
			b := newBench(t, site, world{session: session, copies: true})
			b.cloud.Deny(account, action)
			err := b.process(nil).Run(t.Context(), rotate.Options{})
			e, ok := errors.AsType[*rotate.PartialError](err)
			if !ok || e.Stage != stage || !strings.Contains(err.Error(), action+" on resource: "+userARN) {
				t.Errorf("%s denied, session %v: %v, want it and stage %d", action, session, err, stage)
			}
			b.wantWorking(t, action+" denied")
			if _, left := b.store.items[store.Key{Kind: store.Rotation, Name: "work"}]; left != (stage != rotate.Unchanged) {
				t.Errorf("%s denied: a record is left: %v", action, left)
			}
			b.cloud.Deny(account)
			if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil {
				t.Errorf("%s allowed again: %v", action, err)
			}
			b.wantEnd(t, action+" allowed again")
		}
	}
}

// A key that can't be kept is deleted at AWS; if not even that can be done, it is
// named.
func TestNewKeyThatCannotBeKept(t *testing.T) {
	site := newSite(t)
	for _, denied := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			b := newBench(t, site, world{})
			r := b.process(nil)
			puts := 0
			r.Store = storetest.Faulty{Store: b.store, Fail: func(method string, key store.Key) (bool, error) {
				if method == "Put" && key.Kind == store.Rotation {
					if puts++; puts > 1 {
						return after, durable.ErrDiskFull
					}
				}
				return true, nil
			}}
			if denied {
				b.cloud.Deny(account, "iam:DeleteAccessKey")
			}
			err := r.Run(t.Context(), rotate.Options{})
			b.wantWorking(t, "a new key that can't be kept")
			orphan, isOrphan := errors.AsType[*rotate.OrphanError](err)
			if !errors.Is(err, durable.ErrDiskFull) || isOrphan != denied {
				t.Errorf("delete denied %v: %v", denied, err)
			}
			keys := b.keys()
			if _, there := keys[b.key(b.store, "work").AccessKeyID]; !there || len(keys) != 1 && !denied {
				t.Errorf("delete denied %v: AWS has %v", denied, keys)
			}
			if denied && (len(keys) != 2 || !slices.Contains(slices.Collect(mapKeys(keys)), orphan.KeyID) || !strings.Contains(err.Error(), orphan.KeyID)) {
				t.Errorf("the key that is left is not named: %v, AWS has %v", err, keys)
			}
			b.cloud.Deny(account)
			if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil {
				t.Errorf("delete denied %v, with room again: %v", denied, err)
			}
			b.wantEnd(t, "with room again")
		}
	}
}

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A second key is the user's own to delete: it is described, and nothing done.
func TestSecondKey(t *testing.T) {
	site := newSite(t)
	for _, used := range []bool{true, false} {
		b := newBench(t, site, world{})
		second := b.cloud.AddKey(userARN)
		if used {
			key := cred.Credentials{AccessKeyID: second.ID, SecretAccessKey: cred.NewSecret(second.Secret)}
			if _, err := site.client.GetCallerIdentity(t.Context(), key, b.sts()); err != nil {
				t.Fatal(err)
			}
		}
		b.clock.advance(50 * time.Hour)
		err := b.process(nil).Run(t.Context(), rotate.Options{})
		e, ok := errors.AsType[*rotate.SecondKeyError](err)
		if !ok || e.Key.ID != second.ID || !e.Key.Active || e.Used.IsZero() == used || !e.UseKnown {
			t.Fatalf("a second key, used %v: %v", used, err)
		}
		want := userARN + " has a second access key, " + second.ID + ", which is active, 2 days old, never used"
		if used {
			want = strings.Replace(want, "never used", "last used on 2026-06-01 for sts", 1)
		}
		if err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		if ops := strings.Join(b.cloud.Done(), " "); strings.Contains(ops, "CreateAccessKey") || strings.Contains(ops, "DeleteAccessKey") {
			t.Errorf("AWS was called for %s", ops)
		}
	}
}

// lostKey leaves a bench where a key was made of which nobody knows.
func lostKey(t *testing.T, site *site, w world) *bench {
	for n := 1; n < 30; n++ {
		b := newBench(t, site, w)
		attempt(func() error {
			return b.process(&wrapped{at: n, do: fault{kill: true, after: true}}).Run(context.Background(), rotate.Options{})
		})
		if slices.Contains(b.cloud.Done(), "CreateAccessKey") {
			return b
		}
	}
	t.Fatal("no key is made")
	return nil
}

// Of the keys that have appeared since, only one that was made then and was never
// used is a lost one. Others stay, and are named.
func TestOnlyALostKeyIsDeleted(t *testing.T) {
	site := newSite(t)
	find := func(b *bench) string {
		for id := range b.keys() {
			if id != awstest.AccessKeyID {
				return id
			}
		}
		t.Fatal("no key was lost")
		return ""
	}
	b := lostKey(t, site, world{})
	lost := find(b)
	if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.LostDeleted) != 1 {
		t.Errorf("a lost key: %v, deleted %d", err, b.count(rotate.LostDeleted))
	}
	if slices.Contains(slices.Collect(mapKeys(b.keys())), lost) {
		t.Error("the lost key is left")
	}
	b.wantEnd(t, "a lost key")

	for what, spoil := range map[string]func(*bench, string){
		"made later": func(b *bench, id string) {
			if err := site.client.DeleteAccessKey(t.Context(), first(), "ann", id, chain.Call{Endpoint: site.server.URL}); err != nil {
				t.Fatal(err)
			}
			b.clock.advance(time.Hour)
			b.cloud.AddKey(userARN)
		},
		"used": func(b *bench, id string) {
			if err := site.client.DeleteAccessKey(t.Context(), first(), "ann", id, chain.Call{Endpoint: site.server.URL}); err != nil {
				t.Fatal(err)
			}
			k := b.cloud.AddKey(userARN)
			if _, err := site.client.GetCallerIdentity(t.Context(), cred.Credentials{AccessKeyID: k.ID, SecretAccessKey: cred.NewSecret(k.Secret)}, b.sts()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b := lostKey(t, site, world{})
		spoil(b, find(b))
		id := find(b)
		err := b.process(nil).Run(t.Context(), rotate.Options{})
		if e, ok := errors.AsType[*rotate.SecondKeyError](err); !ok || e.Key.ID != id {
			t.Errorf("a key that was %s: %v, want it named", what, err)
		}
		// Undo ends the rotation and leaves the key alone.
		if err := b.process(nil).Undo(t.Context()); err != nil || b.recordLeft() || len(b.keys()) != 2 {
			t.Errorf("undo with a key that was %s: %v, AWS has %v", what, err, b.keys())
		}
		b.wantWorking(t, what)
	}
}

// AWS may take long to know the new key; as long as it does not, the old one is
// stored and active.
func TestSlowAWS(t *testing.T) {
	site := newSite(t)
	for _, session := range []bool{true, false} {
		b := newBench(t, site, world{session: session, keyDelay: 75 * time.Second, spread: 20 * time.Second})
		if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.Waiting) != 1 {
			t.Errorf("after 75 s: %v, reported %v", err, b.events)
		}
		b.wantEnd(t, "after 75 s")

		b = newBench(t, site, world{session: session, keyDelay: 200 * time.Second})
		err := b.process(nil).Run(t.Context(), rotate.Options{})
		e, ok := errors.AsType[*rotate.PartialError](err)
		if !ok || e.Stage != rotate.Made || b.key(b.store, "work").AccessKeyID != awstest.AccessKeyID {
			t.Errorf("a key that AWS does not know: %v", err)
		}
		if took := b.clock.now().Sub(begin); took > 100*time.Second {
			t.Errorf("it was waited for %v, want about %v", took, rotate.DefaultPatience)
		}
		if keys := b.keys(); !keys[awstest.AccessKeyID] || !keys[e.New] {
			t.Errorf("AWS has %v, want both active", keys)
		}
		b.wantWorking(t, "a key that AWS does not know")
		b.clock.advance(time.Minute)
		if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.Created) != 1 {
			t.Errorf("later: %v, made %d keys", err, b.count(rotate.Created))
		}
		b.wantEnd(t, "later")
	}
}

// A new key that somebody deletes, or makes inactive, when it is stored: the old
// one comes back, if it can.
func TestNewKeyThatStopsWorking(t *testing.T) {
	site := newSite(t)
	b := newBench(t, site, world{session: true, copies: true})
	r := b.process(nil)
	r.Report = func(e rotate.Event) {
		b.events = append(b.events, e)
		if e.What == rotate.Inactive {
			b.cloud.SetKeyActive(b.key(b.store, "work").AccessKeyID, false)
		}
	}
	err := r.Run(t.Context(), rotate.Options{})
	if err == nil || b.count(rotate.TakenBack) != 1 || b.key(b.store, "work").AccessKeyID != awstest.AccessKeyID {
		t.Errorf("a new key that is made inactive: %v, reported %v", err, b.events)
	}
	b.wantWorking(t, "a new key that is made inactive")
	if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil {
		t.Errorf("again: %v", err)
	}
	b.wantEnd(t, "again")

	// The process ends before it notices.
	b = newBench(t, site, world{session: false, copies: true})
	r = b.process(nil)
	r.Report = func(e rotate.Event) {
		if e.What == rotate.Stored && e.Name == "afar" {
			id := b.key(b.store, "work").AccessKeyID
			b.cloud.Deny(account, "iam:UpdateAccessKey")
			b.cloud.SetKeyActive(id, false)
		}
	}
	if err = r.Run(t.Context(), rotate.Options{}); err == nil {
		t.Error("no error")
	}
	b.cloud.Deny(account)
	err = b.process(nil).Run(t.Context(), rotate.Options{})
	b.wantWorking(t, "a new key that is inactive at the next start")
	if err == nil {
		b.wantEnd(t, "a new key that is inactive at the next start")
	}
}

// Undo is for as long as the old key is there; what is in the way is left alone.
func TestUndoAndFinish(t *testing.T) {
	site := newSite(t)
	for _, session := range []bool{true, false} {
		b := newBench(t, site, world{session: session, copies: true})
		if err := b.process(nil).Undo(t.Context()); !errors.Is(err, rotate.ErrNothingToUndo) {
			t.Errorf("undo of nothing: %v", err)
		}
		if err := b.process(nil).Finish(t.Context()); err != nil || b.count(rotate.NothingLeft) != 1 {
			t.Errorf("finish of nothing: %v", err)
		}
		run := func(keep time.Duration) error { return b.process(nil).Run(t.Context(), rotate.Options{Keep: keep}) }
		if err := run(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		if len(b.forgot) != 3 {
			t.Errorf("forgotten were the sessions of %q, want of three", b.forgot)
		}
		b.clock.advance(23 * time.Hour)
		kept, ok := errors.AsType[*rotate.KeptError](run(24 * time.Hour))
		if !ok || kept.Old != awstest.AccessKeyID || !kept.Until.Equal(begin.Add(24*time.Hour+kept.Until.Sub(begin)%time.Hour)) {
			t.Errorf("a rotation while the old key is kept: %v", kept)
		}
		if err := b.process(nil).Undo(t.Context()); err != nil || b.key(b.store, "work").AccessKeyID != awstest.AccessKeyID {
			t.Errorf("undo: %v", err)
		}
		b.wantEnd(t, "undo")
		if err := b.process(nil).Undo(t.Context()); !errors.Is(err, rotate.ErrNothingToUndo) {
			t.Errorf("undo again: %v", err)
		}

		// Somebody else has deleted the old key.
		if err := run(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		now := b.key(b.store, "work")
		if err := site.client.DeleteAccessKey(t.Context(), now, "ann", awstest.AccessKeyID, chain.Call{Endpoint: site.server.URL}); err != nil {
			t.Fatal(err)
		}
		if err := b.process(nil).Undo(t.Context()); !errors.Is(err, rotate.ErrNothingToUndo) || b.key(b.store, "work") != now {
			t.Errorf("undo without the old key: %v", err)
		}
		b.forgot = nil
		b.clock.advance(2 * time.Hour)
		if err := b.process(nil).Finish(t.Context()); err != nil || b.key(b.store, "work") != now || b.forgot != nil {
			t.Errorf("finish: %v, forgotten were %q", err, b.forgot)
		}
		b.wantEnd(t, "finish")

		// After the time the next rotation deletes it and goes on.
		if err := run(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		b.clock.advance(24 * time.Hour)
		if err := run(0); err != nil || b.count(rotate.Finished) != 3 {
			t.Errorf("a rotation after the time: %v, %d", err, b.count(rotate.Finished))
		}
		b.wantEnd(t, "a rotation after the time")
	}
}

// Keys are of the user that they were of: not of one of the same name elsewhere.
func TestOtherAccounts(t *testing.T) {
	b := newBench(t, newSite(t), world{})
	other := cred.Credentials{AccessKeyID: "AKIAOTHERANN0EXAMPLE", SecretAccessKey: cred.NewSecret("otherotherotherother")}
	r := b.process(nil)
	r.Session = func(context.Context, bool) (cred.Credentials, error) { return other, nil }
	err := r.Run(t.Context(), rotate.Options{})
	if _, ok := errors.AsType[*rotate.OtherAccountError](err); !ok || b.recordLeft() {
		t.Errorf("a session of another account: %v", err)
	}
	// It does not take the keys for gone when it goes on with a rotation, either.
	if err := b.process(nil).Run(t.Context(), rotate.Options{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	r = b.process(nil)
	r.Session = func(context.Context, bool) (cred.Credentials, error) { return other, nil }
	err = r.Finish(t.Context())
	if _, ok := errors.AsType[*rotate.OtherAccountError](err); !ok || !b.recordLeft() || len(b.keys()) != 2 {
		t.Errorf("a session of another account finishes: %v", err)
	}
	if err := b.process(nil).Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A role's session stored as if it were a key.
	s, err := b.site.client.AssumeRole(t.Context(), first(), chain.AssumeRole{Call: b.sts(), RoleARN: roleARN, SessionName: "ann"}, "")
	if err != nil {
		t.Fatal(err)
	}
	b.put(b.store, "work", s)
	err = b.process(nil).Run(t.Context(), rotate.Options{})
	if _, ok := errors.AsType[*rotate.NotUserError](err); !ok {
		t.Errorf("session credentials that are stored: %v", err)
	}
}

// Another key that is stored while a rotation is under way is not touched; once the
// two are gone, what is left of it is, too.
func TestAnotherKeyIsStoredMeanwhile(t *testing.T) {
	b := newBench(t, newSite(t), world{})
	if err := b.process(nil).Run(t.Context(), rotate.Options{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	now := b.key(b.store, "work")
	other := cred.Credentials{AccessKeyID: "AKIAOTHERANN0EXAMPLE", SecretAccessKey: cred.NewSecret("otherotherotherother")}
	b.put(b.store, "work", other)
	err := b.process(nil).Run(t.Context(), rotate.Options{})
	e, ok := errors.AsType[*rotate.StaleError](err)
	if !ok || e.Old != awstest.AccessKeyID || e.New != now.AccessKeyID || !b.recordLeft() {
		t.Errorf("another user's key: %v", err)
	}
	b.put(b.store, "work", now)
	if err := b.process(nil).Finish(t.Context()); err != nil {
		t.Error(err)
	}
	b.wantEnd(t, "the right key again")
}

// A copy that can't be read, or written, keeps the old key alive.
func TestCopyThatCannotBeReplaced(t *testing.T) {
	site := newSite(t)
	for _, method := range []string{"Get", "Put"} {
		b := newBench(t, site, world{copies: true})
		refuse := func(s store.Store) store.Store {
			return storetest.Faulty{Store: s, Fail: func(m string, key store.Key) (bool, error) {
				if m == method && (key.Name == "copy" || key.Name == "afar") {
					return false, store.ErrDenied
				}
				return true, nil
			}}
		}
		r := b.process(nil)
		for i := range r.Copies {
			r.Copies[i].Store = refuse(r.Copies[i].Store)
		}
		err := r.Run(t.Context(), rotate.Options{})
		if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), `"copy"`) {
			t.Errorf("%s refused: %v, want it named", method, err)
		}
		b.wantWorking(t, method+" refused")
		if !b.keys()[awstest.AccessKeyID] {
			t.Errorf("%s refused: the old key is no longer active", method)
		}
		if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil {
			t.Errorf("%s allowed again: %v", method, err)
		}
		b.wantEnd(t, method+" allowed again")
	}
	// What is damaged is nobody's key.
	b := newBench(t, site, world{})
	b.store.items[store.Key{Kind: store.AccessKey, Name: "unrelated"}] = []byte("garbage")
	r := b.process(nil)
	if err := r.Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.Unread) != 1 {
		t.Errorf("a damaged item: %v, reported %v", err, b.events)
	}
}

// A plan changes nothing, and calls nothing but what reads.
func TestPlan(t *testing.T) {
	site := newSite(t)
	for _, w := range []world{{}, {session: true, copies: true}} {
		b := newBench(t, site, w)
		before := len(b.store.items)
		plan, err := b.process(nil).Plan(t.Context(), rotate.Options{})
		if err != nil || len(plan) < 6 || plan[len(plan)-1].What != rotate.Deleted || len(b.store.items) != before {
			t.Errorf("Plan = %v, %v", plan, err)
		}
		if plan, err := b.process(nil).Plan(t.Context(), rotate.Options{OlderThan: 101 * 24 * time.Hour}); err != nil || len(plan) != 1 || plan[0].What != rotate.TooYoung {
			t.Errorf("Plan of a key of 100 days = %v, %v", plan, err)
		}
		if err := b.process(nil).Run(t.Context(), rotate.Options{OlderThan: 101 * 24 * time.Hour}); err != nil || b.count(rotate.TooYoung) != 1 {
			t.Errorf("Run with a key of 100 days: %v", err)
		}
		if ops := strings.Join(b.cloud.Done(), " "); strings.Contains(ops, "CreateAccessKey") {
			t.Errorf("a plan has called %s", ops)
		}
		b = lostKey(t, site, world{})
		b.cloud.ResetCalls()
		if plan, err = b.process(nil).Plan(t.Context(), rotate.Options{}); err != nil || plan[1].What != rotate.LostDeleted || len(b.keys()) != 2 {
			t.Errorf("Plan with a lost key = %v, %v", plan, err)
		}
		if ops := strings.Join(b.cloud.Done(), " "); ops != "ListAccessKeys GetAccessKeyLastUsed ListAccessKeys" {
			t.Errorf("a plan, and a look at the keys, have called %s", ops)
		}
	}
}

// The clock of this machine may be wrong.
func TestClockSkew(t *testing.T) {
	site := newSite(t)
	for _, offset := range []time.Duration{-3 * time.Minute, 4 * time.Minute, -2 * time.Hour, 26 * time.Hour} {
		b := newBench(t, site, world{})
		b.cloud.SetClockOffset(offset)
		client := &awsapi.Client{Now: b.clock.now}
		r := b.process(nil)
		r.AWS, r.Now = client, client.AWSNow
		// A key is made and lost, with a record by this machine's time.
		n := 0
		w := &wrapped{do: fault{kill: true, after: true}}
		for n = 1; !slices.Contains(b.cloud.Done(), "CreateAccessKey"); n++ {
			w.ops, w.at = nil, n
			r.AWS = &interrupted{client, w}
			attempt(func() error { return r.Run(context.Background(), rotate.Options{}) })
		}
		r.AWS = client
		if err := r.Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.LostDeleted) != 1 {
			t.Errorf("AWS %v ahead: %v, deleted %d", offset, err, b.count(rotate.LostDeleted))
		}
		who, err := client.GetCallerIdentity(t.Context(), b.key(b.store, "work"), b.sts())
		if err != nil || who.ARN != userARN || b.recordLeft() {
			t.Errorf("AWS %v ahead: %v", offset, err)
		}
		client.GetCallerIdentity(t.Context(), first(), b.sts())
	}
}

// Two at once: one rotates, the other finds that it was done.
func TestTwoAtOnce(t *testing.T) {
	b := newBench(t, newSite(t), world{session: true})
	b.lock = filepath.Join(t.TempDir(), "rotate")
	var mu sync.Mutex
	var wg sync.WaitGroup
	waits := make(chan struct{})
	for i := range 2 {
		r := b.process(nil)
		r.Report = func(e rotate.Event) {
			mu.Lock()
			b.events = append(b.events, e)
			mu.Unlock()
			if e.What == rotate.Creating {
				select { // until the other one has begun to wait
				case <-waits:
				case <-time.After(10 * time.Second):
					t.Error("the other one does not wait")
				}
			}
		}
		r.Waiting = sync.OnceFunc(func() { close(waits) })
		wg.Go(func() {
			if err := r.Run(context.Background(), rotate.Options{}); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if b.count(rotate.Finished) != 1 || b.count(rotate.Meanwhile) != 1 {
		t.Errorf("reported were %v", b.events)
	}
	b.wantEnd(t, "two at once")

	// Who waits ends with its context.
	hold, err := durable.TryLock(b.lock)
	if err != nil {
		t.Fatal(err)
	}
	defer hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.process(nil).Run(ctx, rotate.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that is done: %v", err)
	}
}

// Commands that run during a rotation, at any moment, get credentials that work.
func TestExecsMeanwhile(t *testing.T) {
	site := newSite(t)
	b := newBench(t, site, world{keyDelay: 300 * time.Millisecond})
	b.clock.at = time.Now()
	real := time.NewTicker(time.Millisecond)
	defer real.Stop()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-real.C:
				b.clock.advance(10 * time.Millisecond) // time flies
			case <-done:
				return
			}
		}
	}()
	var got, reread atomic.Int32
	var wg sync.WaitGroup
	dir := t.TempDir()
	for i := range 100 {
		wg.Go(func() {
			for n := 0; ; n++ {
				m := &mint.Minter{
					Store: b.store, AWS: site.client, Now: b.clock.now, Log: slog.New(slog.DiscardHandler),
					Cache:   &mint.Cache{Dir: filepath.Join(dir, string(rune('a'+i%26)), string(rune('a'+i/26))), Store: &memory{items: map[store.Key][]byte{}}},
					LockDir: filepath.Join(dir, "locks", string(rune('a'+i%26))+string(rune('a'+i/26))),
					MinTTL:  100 * 24 * time.Hour, // nothing that is cached will do
					Drop:    func(context.Context, string) { reread.Add(1) },
				}
				c, err := m.Credentials(context.Background(), chain.Chain{
					Profile: "role", Source: chain.Source{Stored: &chain.StoredKey{Name: "work"}},
					Steps: []chain.Step{{AssumeRole: &chain.AssumeRole{Call: b.sts(), RoleARN: roleARN, SessionName: "exec", Duration: time.Hour}}},
				})
				if err == nil {
					_, err = site.client.GetCallerIdentity(context.Background(), c, b.sts())
				}
				if err != nil {
					t.Errorf("exec %d: %v", i, err)
					return
				}
				got.Add(1)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 2 {
		r := b.process(nil)
		r.Sleep = func(_ context.Context, d time.Duration) error { time.Sleep(d / 20); return nil }
		if err := r.Run(t.Context(), rotate.Options{}); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	b.wantEnd(t, "a hundred execs")
	t.Logf("%d execs, %d of which had read a key that was replaced", got.Load(), reread.Load())
}

// unknown is AWS as it is when IAM does not know a new key yet, and STS does.
type unknown struct {
	rotate.AWS
	refusals int
}

func (u *unknown) SetAccessKeyActive(ctx context.Context, from cred.Credentials, user, id string, active bool, to chain.Call) error {
	if from.AccessKeyID != awstest.AccessKeyID && u.refusals > 0 {
		u.refusals--
		return &awsapi.Error{Op: "iam:UpdateAccessKey", Kind: awsapi.InvalidKey, Code: "InvalidClientTokenId"}
	}
	return u.AWS.SetAccessKeyActive(ctx, from, user, id, active, to)
}

// doors is AWS of which one door in two knows a new key for a while.
type doors struct {
	rotate.AWS
	calls int
}

func (d *doors) GetCallerIdentity(ctx context.Context, from cred.Credentials, to chain.Call) (awsapi.Identity, error) {
	if from.AccessKeyID != awstest.AccessKeyID {
		if d.calls++; d.calls == 2 || d.calls == 4 {
			return awsapi.Identity{}, &awsapi.Error{Op: "sts:GetCallerIdentity", Kind: awsapi.InvalidKey, Code: "InvalidClientTokenId"}
		}
	}
	return d.AWS.GetCallerIdentity(ctx, from, to)
}

// That AWS has accepted a key once does not mean that it will the next time.
func TestDoors(t *testing.T) {
	b := newBench(t, newSite(t), world{})
	r := b.process(nil)
	d := &doors{AWS: r.AWS}
	r.AWS = d
	r.Report = func(e rotate.Event) {
		if e.What == rotate.Stored && d.calls < 7 {
			t.Errorf("the new key is stored after %d calls with it", d.calls)
		}
	}
	if err := r.Run(t.Context(), rotate.Options{}); err != nil {
		t.Error(err)
	}
	b.wantEnd(t, "the end")
}

// The old key does not make itself inactive: that IAM knows the new one has to be
// seen first.
func TestTheNewKeySignsTheEndOfTheOld(t *testing.T) {
	b := newBench(t, newSite(t), world{})
	r := b.process(nil)
	r.AWS = &unknown{r.AWS, 3}
	if err := r.Run(t.Context(), rotate.Options{}); err != nil {
		t.Error(err)
	}
	for _, call := range b.cloud.Calls() {
		if call.Op == "UpdateAccessKey" && call.KeyID == awstest.AccessKeyID {
			t.Error("the old key has signed its own end")
		}
	}
	b.wantEnd(t, "the end")
}

// A session that AWS refuses is made anew, once.
func TestSessionThatIsRefused(t *testing.T) {
	b := newBench(t, newSite(t), world{session: true})
	r := b.process(nil)
	mint, asked := r.Session, 0
	r.Session = func(ctx context.Context, again bool) (cred.Credentials, error) {
		if again {
			asked++
		}
		s, err := mint(ctx, again)
		if asked == 0 {
			s.AccessKeyID = "ASIAREVOKED00EXAMPLE"
		}
		return s, err
	}
	if err := r.Run(t.Context(), rotate.Options{}); err != nil || asked != 1 {
		t.Errorf("%v, a new session was asked for %d times, want 1", err, asked)
	}
	b.wantEnd(t, "the end")
}

// A context that is done stops a rotation between two calls, with what is left.
func TestCanceled(t *testing.T) {
	site := newSite(t)
	for _, what := range []rotate.What{rotate.Creating, rotate.Created, rotate.Proved, rotate.Stored, rotate.Inactive, rotate.Deleting} {
		b := newBench(t, site, world{session: true})
		ctx, cancel := context.WithCancel(t.Context())
		r := b.process(nil)
		r.Report = func(e rotate.Event) {
			b.events = append(b.events, e)
			if e.What == what {
				cancel()
			}
		}
		err := r.Run(ctx, rotate.Options{})
		if _, ok := errors.AsType[*rotate.PartialError](err); !ok || !errors.Is(err, context.Canceled) {
			t.Errorf("canceled at event %d: %v", what, err)
		}
		b.wantWorking(t, "canceled")
		if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.LostDeleted) > 0 {
			t.Errorf("again: %v, reported %v", err, b.events)
		}
		b.wantEnd(t, "again")
	}
}

// A process that ends as it says what it has done, as one does whose output nobody
// reads, has kept what it says.
func TestEndsAtReport(t *testing.T) {
	site := newSite(t)
	for _, what := range []rotate.What{rotate.Creating, rotate.Created, rotate.Proved, rotate.Stored, rotate.Inactive, rotate.Deleting, rotate.Deleted} {
		b := newBench(t, site, world{session: true})
		r := b.process(nil)
		r.Report = func(e rotate.Event) {
			b.events = append(b.events, e)
			if e.What == what {
				runtime.Goexit()
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			err := r.Run(t.Context(), rotate.Options{})
			t.Errorf("Run returned %v after event %d", err, what)
		}()
		<-ended
		b.wantWorking(t, "ended")
		if err := b.process(nil).Run(t.Context(), rotate.Options{}); err != nil || b.count(rotate.LostDeleted) > 0 {
			t.Errorf("again: %v, reported %v", err, b.events)
		}
		b.wantEnd(t, "again")
	}
}
