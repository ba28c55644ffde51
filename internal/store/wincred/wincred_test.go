package wincred

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kura/internal/store"
	"kura/internal/store/storetest"
)

// memory is credentials as Windows documents them: names without regard to
// case, blobs of 2560 bytes at most.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte // by lower-case target
	names map[string]string // targets as they were written, likewise
	turn  chan struct{}

	// fail is asked before each change whether to fail instead.
	fail func(method, target string) error

	// hang, if it is not nil, is waited for by each call.
	hang chan struct{}
}

func newMemory() *memory {
	return &memory{
		blobs: make(map[string][]byte),
		names: make(map[string]string),
		turn:  make(chan struct{}, 1),
		fail:  func(string, string) error { return nil },
	}
}

func (m *memory) enter(method, target string) error {
	if m.hang != nil {
		<-m.hang
	}
	m.mu.Lock()
	return m.fail(method, target)
}

func (m *memory) read(target string) ([]byte, error) {
	err := m.enter("read", target)
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	blob, ok := m.blobs[strings.ToLower(target)]
	if !ok {
		return nil, errMissing
	}
	return bytes.Clone(blob), nil
}

func (m *memory) write(target string, blob []byte) error {
	err := m.enter("write", target)
	defer m.mu.Unlock()
	switch {
	case err != nil:
		return err
	case len(blob) > 5*512:
		return syscall.Errno(1783) // RPC_X_BAD_STUB_DATA
	case len(target) > 220:
		return syscall.Errno(87) // ERROR_INVALID_PARAMETER
	}
	m.blobs[strings.ToLower(target)] = bytes.Clone(blob)
	m.names[strings.ToLower(target)] = target
	return nil
}

func (m *memory) remove(target string) error {
	err := m.enter("remove", target)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if _, ok := m.blobs[strings.ToLower(target)]; !ok {
		return errMissing
	}
	delete(m.blobs, strings.ToLower(target))
	return nil
}

func (m *memory) list(prefix string) (map[string][]byte, error) {
	err := m.enter("list", prefix)
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	found := make(map[string][]byte)
	for lower, blob := range m.blobs {
		if strings.HasPrefix(lower, strings.ToLower(prefix)) {
			found[m.names[lower]] = bytes.Clone(blob)
		}
	}
	return found, nil
}

func (m *memory) lock(ctx context.Context, _ string) (func(), error) {
	select {
	case m.turn <- struct{}{}:
		return func() { <-m.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// targets are the names of all credentials.
func (m *memory) targets() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.blobs))
}

var (
	prod  = store.Key{Kind: store.AccessKey, Name: "Prod/eu"}
	small = []byte("small")
	large = bytes.Repeat([]byte("0123456789abcdef"), 500) // four credentials
)

func TestContract(t *testing.T) {
	storetest.Test(t, func(*testing.T) storetest.Place {
		m := newMemory()
		return storetest.Place{Open: func() store.Opened { return open(m, Options{}) }}
	})
}

// What is stored stays readable: the format is part of what kura promises.
func TestFormat(t *testing.T) {
	m := newMemory()
	long := store.Key{Kind: store.AccessKey, Name: strings.Repeat("ü", 100)}
	for target, blob := range map[string]string{
		"kura:access-key:%50rod%2feu":              "kura1 %50rod%2feu 5 0123456789abcdef\nsmall",
		"kura:cache-key:parts":                     "kura1 parts 6 fedcba9876543210\nab",
		"kura:cache-key:parts:fedcba9876543210.01": "cd",
		"kura:cache-key:parts:fedcba9876543210.02": "ef",
		"kura:access-key:%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%bc%c3%~83af2e24c464bea3ce77f43643ef76b5": "kura1 " + strings.Repeat("%c3%bc", 100) + " 1 0123456789abcdef\nl",
	} {
		if err := m.write(target, []byte(blob)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(m, Options{})
	wantData(t, s, prod, small)
	wantData(t, s, store.Key{Kind: store.CacheKey, Name: "parts"}, []byte("abcdef"))
	wantData(t, s, long, []byte("l"))
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, []string{prod.Name, long.Name}) {
		t.Errorf("List = %q, %v, want two names", got, err)
	}

	if err := s.Put(t.Context(), prod, large); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, target := range m.targets() {
		if strings.HasPrefix(target, "kura:access-key:%50rod%2feu") {
			got = append(got, target)
		}
	}
	h, _, ok := parseHead(m.blobs[got[0]])
	if want := []string{got[0], h.part(got[0], 1), h.part(got[0], 2), h.part(got[0], 3)}; !ok || !slices.Equal(got, want) {
		t.Errorf("an item of %d bytes is %q, want a head and three parts", len(large), got)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("prod", []byte("data"))
	f.Add("\n \xff%", large)
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if len(name) > 255 || len(data) > maxData {
			return
		}
		want, blobs := split(name, data)
		got, joined, ok := parseHead(blobs[0])
		if !ok || got != want {
			t.Fatalf("parseHead = %+v, %v, want %+v", got, ok, want)
		}
		for i, blob := range blobs {
			if len(blob) > maxBlob {
				t.Errorf("blob %d has %d bytes", i, len(blob))
			}
			if i > 0 {
				joined = append(joined, blob...)
				target, generation, ok := parsePart(want.part("p:k:n", i))
				if target != "p:k:n" || generation != want.generation || !ok {
					t.Errorf("parsePart = %q, %q, %v", target, generation, ok)
				}
			}
		}
		if !bytes.Equal(joined, data) {
			t.Errorf("%d bytes come back as %d others", len(data), len(joined))
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("kura1 prod 5 0123456789abcdef\nsmall"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		h, data, ok := parseHead(blob)
		if ok && (len(data) > h.size || h.size > maxData || !bytes.HasSuffix(blob, data)) {
			t.Errorf("parseHead = %+v with %d bytes of data", h, len(data))
		}
	})
}

// A writer may be killed between any two calls of Windows, and Windows may
// refuse any of them: the item is the old one or the new one, and the next
// change leaves no part of another.
func TestInterrupted(t *testing.T) {
	broken := errors.New("broken")
	for _, old := range [][]byte{nil, small, large} {
		for _, data := range [][]byte{small, large[1:]} {
			for _, killed := range []bool{true, false} {
				for step, done := 0, false; !done; step++ {
					m := newMemory()
					if old != nil {
						check(t, open(m, Options{}).Put(t.Context(), prod, old))
					}
					n, dead := 0, false
					m.fail = func(method, target string) error {
						if n++; n-1 == step || dead {
							dead = killed
							return broken
						}
						return nil
					}
					err := open(m, Options{}).Put(t.Context(), prod, data)
					done = n <= step
					m.fail = func(string, string) error { return nil }
					s := open(m, Options{})
					got, getErr := s.Get(t.Context(), prod)
					want := old
					if err == nil {
						want = data
					}
					if want == nil && !errors.Is(getErr, store.ErrNotFound) || want != nil && !bytes.Equal(got, want) {
						t.Errorf("step %d of a Put over %d bytes: Put: %v; Get = %d bytes, %v, want %d", step, len(old), err, len(got), getErr, len(want))
					}
					check(t, s.Put(t.Context(), prod, large))
					wantData(t, s, prod, large)
					if got := m.targets(); len(got) != 4 {
						t.Errorf("step %d of a Put over %d bytes, and another, leave %q", step, len(old), got)
					}
				}
			}
		}
	}
}

// A Get that has read the head when another process replaces or deletes the
// item is as good as one before or after.
func TestReplacedBetween(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*Store) error
		want []byte
		err  error
	}{
		{"replaced", func(s *Store) error { return s.Put(context.Background(), prod, large[16:]) }, large[16:], nil},
		{"deleted", func(s *Store) error { return s.Delete(context.Background(), prod) }, nil, store.ErrNotFound},
	} {
		m := newMemory()
		s := open(m, Options{})
		check(t, s.Put(t.Context(), prod, large))
		m.fail = func(method, target string) error {
			if strings.HasSuffix(target, ".02") {
				m.fail = func(string, string) error { return nil }
				m.mu.Unlock()
				check(t, c.do(open(m, Options{})))
				m.mu.Lock()
			}
			return nil
		}
		got, err := s.Get(t.Context(), prod)
		if !bytes.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("Get of an item that is %s meanwhile = %d bytes, %v, want %d, %v", c.name, len(got), err, len(c.want), c.err)
		}
	}
}

func TestDamaged(t *testing.T) {
	target := "kura:access-key:%50rod%2feu"
	for name, harm := range map[string]func(m *memory){
		"no head":      func(m *memory) { m.blobs[target] = []byte("secret") },
		"another name": func(m *memory) { m.blobs[target] = []byte("kura1 other 0 0123456789abcdef\n") },
		"cut":          func(m *memory) { m.blobs[target] = bytes.TrimRight(m.blobs[target], "0123456789abcdef") },
		"no part":      func(m *memory) { m.remove(m.targets()[2]) },
		"longer part":  func(m *memory) { m.blobs[m.targets()[3]] = large[:maxBlob] },
	} {
		m := newMemory()
		s := open(m, Options{})
		check(t, s.Put(t.Context(), prod, large))
		harm(m)
		_, err := s.Get(t.Context(), prod)
		if !errors.Is(err, store.ErrDamaged) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Get: %v, want ErrDamaged", name, err)
		}
		check(t, s.Put(t.Context(), prod, small))
		wantData(t, s, prod, small)
	}
}

// Other credentials in the same place are left alone and not listed.
func TestOthers(t *testing.T) {
	m := newMemory()
	others := []string{"kura:access-key:foreign", "KURA:access-key:upper", "kura:access-key", "kura:", "kurage:access-key:a",
		"kura:access-key:a:b", "git:https://example.com", "aws-vault:aws-vault:prod"}
	for _, target := range others {
		check(t, m.write(target, []byte("kura1 another 0 0123456789abcdef\n")))
	}
	s := open(m, Options{})
	check(t, s.Put(t.Context(), prod, large))
	if got, err := s.List(t.Context(), store.AccessKey); err != nil || !slices.Equal(got, []string{prod.Name}) {
		t.Errorf("List = %q, %v, want %q", got, err, prod.Name)
	}
	check(t, s.Delete(t.Context(), prod))
	if got := m.targets(); len(got) != len(others) {
		t.Errorf("of %q are left %q", others, got)
	}
	if got, err := open(m, Options{Prefix: "Kura"}).List(t.Context(), store.AccessKey); err != nil || len(got) > 0 {
		t.Errorf("List of another prefix = %q, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for code, want := range map[syscall.Errno][]error{
		5:    {store.ErrDenied},
		8:    {store.ErrUnavailable, ErrFull},
		1312: {store.ErrUnavailable, ErrNoCredentialSet},
		1783: {store.ErrUnavailable},
	} {
		m := newMemory()
		s := open(m, Options{})
		m.fail = func(string, string) error { return code }
		_, getErr := s.Get(t.Context(), prod)
		_, hasErr := s.Has(t.Context(), prod)
		_, listErr := s.List(t.Context(), prod.Kind)
		_, checkErr := s.Check(t.Context())
		for method, err := range map[string]error{
			"Get": getErr, "Has": hasErr, "List": listErr, "Check": checkErr,
			"Put": s.Put(t.Context(), prod, small), "Delete": s.Delete(t.Context(), prod),
		} {
			for _, want := range want {
				if !errors.Is(err, want) {
					t.Errorf("error %d: %s: %v, want %v", code, method, err, want)
				}
			}
		}
	}
	err := open(newMemory(), Options{}).Put(t.Context(), prod, make([]byte, maxData+1))
	if want := fmt.Sprintf("an item of %d bytes; at most %d can be stored", maxData+1, maxData); err == nil || err.Error() != want {
		t.Errorf("Put of too much: %v, want %s", err, want)
	}
}

// Nothing waits for ever: not for Windows, and not for another writer.
func TestHangs(t *testing.T) {
	for name, hang := range map[string]func(*memory){
		"Windows": func(m *memory) { m.hang = make(chan struct{}); t.Cleanup(func() { close(m.hang) }) },
		"writer":  func(m *memory) { m.turn <- struct{}{} },
	} {
		m := newMemory()
		hang(m)
		err := open(m, Options{Timeout: 10 * time.Millisecond}).Put(t.Context(), prod, small)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s hangs: Put: %v, want ErrUnavailable", name, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
		if err := open(m, Options{}).Delete(ctx, prod); !errors.Is(err, gone) {
			t.Errorf("%s hangs: Delete: %v, want the cause of the end", name, err)
		}
	}
}

func TestID(t *testing.T) {
	ids := make(map[string]bool)
	for _, prefix := range []string{"", "other", "Other"} {
		id, err := open(nil, Options{Prefix: prefix}).ID(t.Context())
		check(t, err)
		ids[id] = true
	}
	if !ids["prefix:kura"] || len(ids) != 3 {
		t.Errorf("the IDs of three prefixes are %v", ids)
	}
}

func TestEntries(t *testing.T) {
	m := newMemory()
	for _, name := range []string{"prod", "Dev/eu", "sts.GetSessionToken,c3Jj,,1795242592"} {
		check(t, m.write("aws-vault:aws-vault:"+name, []byte("{"+name)))
	}
	check(t, m.write("aws-vault:other:x", nil))
	e := openEntries(m, Options{Prefix: "aws-vault:aws-vault:"})
	got, err := e.List(t.Context())
	if want := []string{"Dev/eu", "prod", "sts.GetSessionToken,c3Jj,,1795242592"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %q, %v, want %q", got, err, want)
	}
	if got, err := e.Get(t.Context(), "Dev/eu"); err != nil || string(got) != "{Dev/eu" {
		t.Errorf("Get = %q, %v", got, err)
	}
	if _, err := e.Get(t.Context(), "missing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a missing entry: %v, want ErrNotFound", err)
	}
}

func wantData(t *testing.T, s *Store, key store.Key, want []byte) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%q) = %d bytes, %v, want %d bytes", key.Name, len(got), err, len(want))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
