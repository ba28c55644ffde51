package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kura/internal/store"
	"kura/internal/store/storetest"
	"kura/internal/transfer"
)

// memory is a store that forgets.
type memory map[string]string

func (m memory) Get(ctx context.Context, key store.Key) ([]byte, error) {
	data, ok := m[key.Name]
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !ok:
		return nil, key.NotFound()
	case data == "damaged":
		return nil, store.ErrDamaged
	}
	return []byte(data), nil
}

func (m memory) Put(ctx context.Context, key store.Key, data []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m[key.Name] = string(data)
	return nil
}

func (m memory) Delete(ctx context.Context, key store.Key) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := m[key.Name]; !ok {
		return key.NotFound()
	}
	delete(m, key.Name)
	return nil
}

func (m memory) List(ctx context.Context, kind store.Kind) ([]string, error) {
	return slices.Sorted(maps.Keys(m)), nil
}

// source is what migrate makes of a store.
func source(t testing.TB, s store.Store, move bool) transfer.Source {
	t.Helper()
	names, err := s.List(t.Context(), store.AccessKey)
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }
	from := transfer.Source{
		Names: names,
		Get:   func(ctx context.Context, name string) ([]byte, error) { return s.Get(ctx, key(name)) },
	}
	if move {
		from.Delete = func(ctx context.Context, name string) error { return s.Delete(ctx, key(name)) }
	}
	return from
}

func always(d transfer.Decision) func(context.Context, string) (transfer.Decision, error) {
	return func(context.Context, string) (transfer.Decision, error) { return d, nil }
}

// run runs a copy and returns a line for each result.
func run(t testing.TB, c transfer.Copy) (string, error) {
	t.Helper()
	var lines []string
	c.Report = func(r transfer.Result) {
		line := r.Name
		if r.As != r.Name {
			line += " as " + r.As
		}
		line += " " + string(r.Outcome)
		if r.Deleted {
			line += ", deleted"
		}
		if r.Err != nil {
			line += ": " + r.Err.Error()
		}
		lines = append(lines, line)
	}
	err := c.Run(t.Context())
	return strings.Join(lines, "\n"), err
}

func wantRun(t testing.TB, c transfer.Copy, want ...string) {
	t.Helper()
	if got, err := run(t, c); err != nil || got != strings.Join(want, "\n") {
		t.Errorf("Run = %v and reports\n%s\nwant nil and\n%s", err, got, strings.Join(want, "\n"))
	}
}

func wantItems(t testing.TB, m memory, want memory) {
	t.Helper()
	if !maps.Equal(m, want) {
		t.Errorf("the store holds %q, want %q", m, want)
	}
}

func TestDecisions(t *testing.T) {
	for _, test := range []struct {
		exists func(context.Context, string) (transfer.Decision, error)
		want   string
		to     memory
	}{
		{nil, "b skipped", memory{"b": "other"}},
		{always(transfer.Skip), "b skipped", memory{"b": "other"}},
		{always(transfer.Overwrite), "b overwritten", memory{"b": "2"}},
		{always(transfer.Rename), "b as b-3 renamed", memory{"b": "other", "b-3": "2"}},
	} {
		from := memory{"a": "1", "b": "2", "b-2": "3", "c": "4"}
		to := memory{"b": "other", "c": "4"}
		c := transfer.Copy{From: source(t, from, false), To: to, Exists: test.exists}
		wantRun(t, c, "a copied", test.want, "b-2 copied", "c already there")
		maps.Copy(test.to, memory{"a": "1", "b-2": "3", "c": "4"})
		wantItems(t, to, test.to)
		wantItems(t, from, memory{"a": "1", "b": "2", "b-2": "3", "c": "4"})
	}
}

// A second run finds what the first has done, renamed items as well.
func TestAgain(t *testing.T) {
	from, to := memory{"a": "1", "b": "2"}, memory{"b": "other", "b-2": "taken"}
	c := transfer.Copy{From: source(t, from, false), To: to, Exists: always(transfer.Rename)}
	wantRun(t, c, "a copied", "b as b-3 renamed")
	wantRun(t, c, "a already there", "b as b-3 already there")
	c.From = source(t, from, true)
	wantRun(t, c, "a already there, deleted", "b as b-3 already there, deleted")
	wantItems(t, from, memory{})
	wantItems(t, to, memory{"a": "1", "b": "other", "b-2": "taken", "b-3": "2"})
}

func TestMove(t *testing.T) {
	from, to := memory{"a": "1", "b": "2", "c": "3"}, memory{"b": "other", "c": "damaged"}
	wantRun(t, transfer.Copy{From: source(t, from, true), To: to}, "a copied, deleted", "b skipped", "c skipped")
	wantItems(t, from, memory{"b": "2", "c": "3"})
	c := transfer.Copy{From: source(t, from, true), To: to, Exists: always(transfer.Overwrite)}
	wantRun(t, c, "b overwritten, deleted", "c overwritten, deleted")
	wantItems(t, from, memory{})
	wantItems(t, to, memory{"a": "1", "b": "2", "c": "3"})
}

// An item may be gone from the source by itself when it is deleted there.
func TestMoveOfWhatIsGone(t *testing.T) {
	from, to := memory{"a": "1"}, memory{}
	c := transfer.Copy{From: source(t, from, true), To: to}
	del := c.From.Delete
	c.From.Delete = func(ctx context.Context, name string) error {
		delete(from, name)
		return del(ctx, name)
	}
	wantRun(t, c, "a copied, deleted")
}

// A dry run reads no item and changes nothing.
func TestDryRun(t *testing.T) {
	var calls []string
	to := storetest.Faulty{Store: memory{"b": "other"}, Fail: func(method string, _ store.Key) (bool, error) {
		calls = append(calls, method)
		return true, nil
	}}
	c := transfer.Copy{From: source(t, memory{"a": "1", "b": "2"}, true), To: to, DryRun: true}
	c.From.Get = func(context.Context, string) ([]byte, error) { panic("an item is read") }
	c.From.Delete = func(context.Context, string) error { panic("an item is deleted") }
	wantRun(t, c, "a would be copied", "b would be compared")
	if !slices.Equal(calls, []string{"List"}) {
		t.Errorf("calls = %q, want List", calls)
	}
	to.Fail = func(string, store.Key) (bool, error) { return false, store.ErrLocked }
	c.To = to
	if _, err := run(t, c); !errors.Is(err, store.ErrLocked) {
		t.Errorf("Run with a store that can't list: %v, want ErrLocked", err)
	}
}

// Which errors concern one item, and which end the run.
func TestErrors(t *testing.T) {
	odd, full := errors.New("odd"), errors.New("full")
	for _, test := range []struct {
		err  error
		ends bool
	}{
		{odd, false},
		{store.ErrDenied, false},
		{store.ErrLocked, true},
		{store.ErrUnavailable, true},
		{full, true},
	} {
		for _, method := range []string{"Get", "Put"} {
			from := memory{"a": "1", "b": "2"}
			c := transfer.Copy{
				From: source(t, from, true),
				To: storetest.Faulty{Store: memory{}, Fail: func(m string, key store.Key) (bool, error) {
					if m == method && key.Name == "a" {
						return false, fmt.Errorf("%s: %w", m, test.err)
					}
					return true, nil
				}},
				Fatal: func(err error) bool { return errors.Is(err, full) },
			}
			got, err := run(t, c)
			if test.ends {
				if !errors.Is(err, test.err) || !strings.HasPrefix(fmt.Sprint(err), `"a": `) || got != "" {
					t.Errorf("Run = %v and reports %q, want %v of %q", err, got, test.err, "a")
				}
				wantItems(t, from, memory{"a": "1", "b": "2"})
				continue
			}
			if want := fmt.Sprintf("a failed: %s: %v\nb copied, deleted", method, test.err); err != nil || got != want {
				t.Errorf("Run = %v and reports %q, want %q", err, got, want)
			}
			wantItems(t, from, memory{"a": "1"})
		}
	}
}

func TestSourceErrors(t *testing.T) {
	lost := errors.New("lost")
	for _, method := range []string{"Get", "Delete"} {
		to := memory{}
		from := storetest.Faulty{Store: memory{"a": "1", "b": "2"}, Fail: func(m string, key store.Key) (bool, error) {
			if m == method && key.Name == "a" {
				return false, lost
			}
			return true, nil
		}}
		want := "a failed: reading it: lost"
		if method == "Delete" {
			want = "a copied: deleting it where it came from: lost"
		}
		wantRun(t, transfer.Copy{From: source(t, from, true), To: to}, want, "b copied, deleted")
	}
}

// Who has dismissed a question about the source is not asked again for each of
// its items.
func TestLockedSource(t *testing.T) {
	for _, test := range []struct{ method, want string }{
		{"Get", ""}, {"Delete", "a copied: deleting it where it came from: " + store.ErrLocked.Error()},
	} {
		asked := 0
		from := storetest.Faulty{Store: memory{"a": "1", "b": "2"}, Fail: func(m string, key store.Key) (bool, error) {
			if m != test.method {
				return true, nil
			}
			asked++
			return false, store.ErrLocked
		}}
		got, err := run(t, transfer.Copy{From: source(t, from, true), To: memory{}})
		if !errors.Is(err, store.ErrLocked) || got != test.want || asked != 1 {
			t.Errorf("Run = %v and reports %q after %d questions, want ErrLocked and %q after 1", err, got, asked, test.want)
		}
	}
}

// What can't be proved to have arrived is not deleted.
func TestUnproved(t *testing.T) {
	from := memory{"a": "1"}
	to := &liar{memory: memory{}}
	wantRun(t, transfer.Copy{From: source(t, from, true), To: to}, "a failed: "+transfer.ErrDiffers.Error())
	wantItems(t, from, memory{"a": "1"})
}

// liar is a store that keeps other data than it is given.
type liar struct{ memory }

func (l *liar) Put(ctx context.Context, key store.Key, data []byte) error {
	return l.memory.Put(ctx, key, append(data, ' '))
}

// Nothing is lost where an item is brought to where it is, by another name of
// that place.
func TestSamePlace(t *testing.T) {
	m := memory{"a": "1", "b": "2"}
	got, err := run(t, transfer.Copy{From: source(t, m, true), To: m})
	if want := "a already there: " + transfer.ErrSamePlace.Error(); !errors.Is(err, transfer.ErrSamePlace) || got != want {
		t.Errorf("Run = %v and reports %q, want ErrSamePlace and %q", err, got, want)
	}
	wantItems(t, m, memory{"a": "1", "b": "2"})

	// Not even if the run is to end just then.
	c := transfer.Copy{From: source(t, m, true), To: m, Report: func(transfer.Result) {}}
	ctx, cancel := context.WithCancel(t.Context())
	del := c.From.Delete
	c.From.Delete = func(ctx context.Context, name string) error {
		defer cancel()
		return del(ctx, name)
	}
	if err := c.Run(ctx); !errors.Is(err, transfer.ErrSamePlace) {
		t.Errorf("Run = %v, want ErrSamePlace", err)
	}
	wantItems(t, m, memory{"a": "1", "b": "2"})
}

// Nor if deleting fails after it has had its effect.
func TestSamePlaceAndAFault(t *testing.T) {
	m, lost := memory{"a": "1"}, errors.New("lost")
	c := transfer.Copy{From: source(t, m, true), To: m}
	del := c.From.Delete
	c.From.Delete = func(ctx context.Context, name string) error { return errors.Join(del(ctx, name), lost) }
	if _, err := run(t, c); !errors.Is(err, transfer.ErrSamePlace) {
		t.Errorf("Run = %v, want ErrSamePlace", err)
	}
	wantItems(t, m, memory{"a": "1"})
}

// An item that somebody replaces while it is on its way is not deleted: the new
// one has not arrived anywhere. Nor is one replaced that has got another at its
// destination.
func TestChangedMeanwhile(t *testing.T) {
	from, to := memory{"a": "1"}, memory{}
	c := transfer.Copy{From: source(t, from, true), To: storetest.Faulty{Store: to, Fail: func(method string, _ store.Key) (bool, error) {
		if method == "Put" {
			from["a"] = "new"
		}
		return true, nil
	}}}
	wantRun(t, c, "a copied: "+transfer.ErrChanged.Error())
	wantItems(t, from, memory{"a": "new"})

	c = transfer.Copy{From: source(t, memory{"a": "1"}, true), To: to}
	c.From.Delete = func(context.Context, string) error {
		to["a"] = "newer"
		return nil
	}
	wantRun(t, c, "a already there, deleted")
	wantItems(t, to, memory{"a": "newer"})
}

func TestCanceled(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	to := storetest.Faulty{Store: memory{}, Fail: func(string, store.Key) (bool, error) {
		cancel(why)
		return true, nil
	}}
	c := transfer.Copy{From: source(t, memory{"a": "1", "b": "2"}, true), To: to}
	c.Report = func(r transfer.Result) { t.Errorf("%q was reported as %s", r.Name, r.Outcome) }
	if err := c.Run(ctx); !errors.Is(err, why) {
		t.Errorf("Run = %v, want the cause of the cancellation", err)
	}
}

// Nor is what an item says of it that was being read just then.
func TestCanceledWhileReading(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := transfer.Copy{From: source(t, memory{"a": "1", "b": "2"}, true), To: memory{}}
	c.From.Get = func(context.Context, string) ([]byte, error) {
		cancel(why)
		return nil, errors.New("the program was killed")
	}
	c.Report = func(r transfer.Result) { t.Errorf("%q was reported as %s", r.Name, r.Outcome) }
	if err := c.Run(ctx); !errors.Is(err, why) {
		t.Errorf("Run = %v, want the cause of the cancellation", err)
	}
}

func TestExistsEnds(t *testing.T) {
	nobody := errors.New("nobody to ask")
	c := transfer.Copy{
		From:   source(t, memory{"a": "1", "b": "2"}, true),
		To:     memory{"a": "other"},
		Exists: func(context.Context, string) (transfer.Decision, error) { return 0, nobody },
	}
	if got, err := run(t, c); !errors.Is(err, nobody) || got != "" {
		t.Errorf("Run = %v and reports %q, want %v and nothing", err, got, nobody)
	}
}

func TestDataAreCleared(t *testing.T) {
	data := []byte("secret")
	c := transfer.Copy{From: transfer.Source{
		Names: []string{"a"},
		Get:   func(context.Context, string) ([]byte, error) { return data, nil },
	}, To: memory{}}
	wantRun(t, c, "a copied")
	if !bytes.Equal(data, make([]byte, 6)) {
		t.Error("the data of the source were not cleared")
	}
}

// Wherever a run is cut short, by whatever error, before or after the call has
// had its effect, no item is lost; and a second run does all that is left.
func TestFaults(t *testing.T) {
	odd := errors.New("odd")
	originals := memory{"a": "1", "b": "2", "c": "3"}
	for decision, final := range map[transfer.Decision]memory{
		transfer.Skip:      {"a": "1", "b": "other", "c": "3"},
		transfer.Overwrite: {"a": "1", "b": "2", "c": "3"},
		transfer.Rename:    {"a": "1", "b": "other", "b-2": "2", "c": "3"},
	} {
		for _, failure := range []error{odd, store.ErrLocked, context.Canceled} {
			for _, apply := range []bool{false, true} {
				calls := 0
				for n := 1; ; n++ {
					from, to := maps.Clone(originals), memory{"b": "other", "c": "3"}
					ctx, cancel := context.WithCancel(t.Context())
					calls = 0
					fail := func(method string, _ store.Key) (bool, error) {
						if calls++; calls != n {
							return true, nil
						}
						if errors.Is(failure, context.Canceled) {
							defer cancel()
							return true, nil
						}
						return apply, failure
					}
					c := transfer.Copy{
						From:   source(t, from, true),
						To:     storetest.Faulty{Store: to, Fail: fail},
						Exists: always(decision),
						Report: func(transfer.Result) {},
					}
					faulty := source(t, storetest.Faulty{Store: from, Fail: func(method string, key store.Key) (bool, error) {
						if method == "List" {
							return true, nil
						}
						return fail(method, key)
					}}, true)
					c.From = faulty
					c.Run(ctx)
					cancel()
					what := fmt.Sprintf("decision %d, call %d: %v, carried out: %v", decision, n, failure, apply)
					for name, data := range originals {
						if from[name] != data && to[name] != data && to[name+"-2"] != data {
							t.Errorf("%s: item %s is lost", what, name)
						}
					}
					if decision != transfer.Overwrite && to["b"] != "other" {
						t.Errorf("%s: the other item is lost", what)
					}

					c.From, c.To = source(t, from, true), to
					if got, err := run(t, c); err != nil || strings.Contains(got, ": ") {
						t.Errorf("%s: the second run: %v, and reports %q", what, err, got)
					}
					wantItems(t, to, final)
					left := memory{}
					if decision == transfer.Skip {
						left["b"] = "2"
					}
					wantItems(t, from, left)
					if t.Failed() {
						t.Fatal(what)
					}
					if calls < n {
						break // all calls had their turn
					}
				}
				if calls < 9 {
					t.Errorf("decision %d makes %d calls, want 9 or more", decision, calls)
				}
			}
		}
	}
}
