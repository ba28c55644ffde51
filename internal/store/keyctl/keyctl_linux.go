package keyctl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kura/internal/store"
)

// A Ring is a keyring that every process of a user or a session has.
type Ring string

const (
	// Persistent is the keyring of a user that outlives his sessions, see
	// persistent-keyring(7). It is gone after three days without use, unless
	// the system has another value in
	// /proc/sys/kernel/keys/persistent_keyring_expiry.
	Persistent Ring = "persistent"

	// User is the keyring of a user that lasts as long as he has processes,
	// see user-keyring(7).
	User Ring = "user"

	// Session is the keyring of a login session and ends with it, see
	// session-keyring(7). Other sessions of the user see another one.
	Session Ring = "session"
)

// Options say where the items are.
type Options struct {
	Ring Ring // "" means Persistent

	// Name begins the name of the keyring in that ring; "" means "kura". A
	// colon and the value of Ring follow: rings can be linked to one another,
	// as that of the user is to that of the session, and the kernel finds
	// what is in the inner one by searching the outer.
	Name string
}

// A QuotaError says that the kernel keeps no more keys for the user, whose
// quota is also used by other programs, see keyrings(7). The numbers are those
// of /proc/key-users, or all zero where that can't be read. It wraps
// store.ErrUnavailable.
type QuotaError struct {
	Keys, MaxKeys   int
	Bytes, MaxBytes int
}

func (e *QuotaError) Error() string {
	if e.MaxKeys == 0 {
		return "the user's quota of kernel keys is full"
	}
	return fmt.Sprintf("the user's quota of kernel keys is full: %d of %d keys, %d of %d bytes are in use",
		e.Keys, e.MaxKeys, e.Bytes, e.MaxBytes)
}

// Unwrap returns store.ErrUnavailable.
func (e *QuotaError) Unwrap() error { return store.ErrUnavailable }

const (
	// maxPart is the greatest size of a key of type "user", in bytes.
	maxPart = 32767

	// maxData is the greatest size of an item, in bytes, as of other backends.
	maxData = 16 << 20

	// spare is what Put leaves of a quota, in bytes: to read and to delete
	// takes a keyring of the thread and a few links, about 20 bytes.
	spare = 512

	// possessorOnly is KEY_POS_ALL: those who possess a key may do everything,
	// the user's other processes, the group and others not even see it.
	possessorOnly = 0x3f000000

	thread = unix.KEY_SPEC_THREAD_KEYRING
	none   = 0 // is no key
)

// A Store is a keyring of keyrings: each item is one, and its data are keys of
// type "user" in it, named "0", "1" and so on, as one key holds no more than
// 32,767 bytes and no less than one. An item is made whole out of sight and
// then linked to the store, which replaces a former one of the same name at
// once. What a writer that is killed has begun ends with its thread.
//
// To read a key by its number a thread must possess it: have a way to it from
// one of its own keyrings. Thus what is worked on is linked to the keyring of
// the thread, and stays alive there even if another process replaces it.
type Store struct{ o Options }

var _ store.Opened = (*Store)(nil)

// Open returns the store in a keyring. It asks the kernel for nothing yet. No
// method waits for more than half a second, so there is no deadline to set.
func Open(o Options) *Store {
	if o.Ring == "" {
		o.Ring = Persistent
	}
	if o.Name == "" {
		o.Name = "kura"
	}
	return &Store{o}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (data []byte, err error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	err = s.do(ctx, false, func(ring int) error {
		item, err := search(ring, "keyring", describe(key), thread)
		if err != nil {
			return err
		}
		if item == none {
			return key.NotFound()
		}
		defer drop(item)
		data, err = readItem(item)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

func readItem(item int) ([]byte, error) {
	parts, err := keysIn(item)
	if err != nil {
		return nil, err
	}
	data := []byte{}
	for i := range parts {
		part, err := search(item, "user", strconv.Itoa(i), none)
		if err != nil {
			return nil, err
		}
		if part == none {
			return nil, fmt.Errorf("%w: part %d of %d is missing", store.ErrDamaged, i+1, len(parts))
		}
		b, err := read(part)
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
		clear(b)
	}
	return data, nil
}

// Put implements store.Store. Nil means that the kernel has the item, which is
// all that can be had: see the package's comment. The former item counts to
// the quota until it is replaced; if both don't fit the error is a *QuotaError.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := key.Check(); err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	return s.do(ctx, true, func(ring int) error {
		left, err := add("user", "spare", make([]byte, spare), thread)
		if err != nil {
			return err
		}
		defer drop(left)
		item, err := add("keyring", describe(key), nil, thread)
		if err != nil {
			return err
		}
		defer drop(item)
		parts := 0
		for part := range slices.Chunk(data, maxPart) {
			if _, err := add("user", strconv.Itoa(parts), part, item); err != nil {
				return err
			}
			parts++
		}
		return fail("KEYCTL_LINK", link(item, ring))
	})
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	return s.do(ctx, false, func(ring int) error {
		for {
			item, err := search(ring, "keyring", describe(key), none)
			if err != nil {
				return err
			}
			if item == none {
				return key.NotFound()
			}
			err = unlink(item, ring)
			if !isGone(err) {
				return fail("KEYCTL_UNLINK", err)
			}
			// Another process has replaced it, or deleted it.
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	})
}

// List implements store.Store. Keys in the keyring that are no items are left
// out.
func (s *Store) List(ctx context.Context, kind store.Kind) (names []string, err error) {
	err = s.do(ctx, false, func(ring int) error {
		for range 100 {
			whole := false
			if names, whole, err = list(ring, kind); whole || err != nil {
				return err
			}
		}
		return nil // it is changed faster than it can be read
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// list returns the names of the items of a kind, and whether the keyring was
// the same all the while: an item that was replaced could be missing from
// names, though it was always there.
func list(ring int, kind store.Kind) (names []string, whole bool, err error) {
	if ring == none {
		return nil, true, nil
	}
	items, err := keysIn(ring)
	if err != nil {
		return nil, false, err
	}
	whole = true
	for _, item := range items {
		// It is "type;uid;gid;permissions;description".
		desc, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, item)
		if isGone(err) || errors.Is(err, unix.EACCES) {
			// Without its link this thread does not possess it any more.
			whole = false
			continue
		}
		if err != nil {
			return nil, false, fail("KEYCTL_DESCRIBE", err)
		}
		fields := strings.SplitN(desc, ";", 5)
		if len(fields) < 5 || fields[0] != "keyring" {
			continue
		}
		escaped, ok := strings.CutPrefix(fields[4], string(kind)+":")
		if !ok {
			continue
		}
		if name, ok := store.Unescape(escaped); ok && store.Escape(name) == escaped {
			names = append(names, name)
		}
	}
	return names, whole, nil
}

// Has implements store.Opened.
func (s *Store) Has(ctx context.Context, key store.Key) (has bool, err error) {
	if valid := key.Check() == nil; !valid {
		return false, nil
	}
	err = s.do(ctx, false, func(ring int) error {
		item, err := search(ring, "keyring", describe(key), none)
		has = item != none
		return err
	})
	return has, err
}

// ID implements store.Opened. It can't tell one session from another.
func (s *Store) ID(context.Context) (string, error) { return s.description(), nil }

// Check implements store.Opened.
func (s *Store) Check(ctx context.Context) (string, error) {
	err := s.do(ctx, false, func(int) error { return nil })
	if err != nil {
		return "", err
	}
	switch s.o.Ring {
	case User:
		return "until your last process ends", nil
	case Session:
		return "until the session ends", nil
	}
	return "until a restart", nil
}

// Unlock implements store.Opened. The store is never locked.
func (s *Store) Unlock(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// do calls f with the keyring of the store, linked to that of this thread, or
// with none if the store was never used and is not to be made. If the quota is
// full it tries again for a while: the kernel gives back what was unlinked some
// milliseconds later.
func (s *Store) do(ctx context.Context, create bool, f func(ring int) error) error {
	deadline := time.Now().Add(time.Second / 2)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := s.try(create, f)
		if _, full := errors.AsType[*QuotaError](err); !full || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Store) try(create bool, f func(ring int) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	base, err := s.base()
	if err != nil {
		return err
	}
	ring, err := search(base, "keyring", s.description(), thread)
	if ring == none && create && err == nil {
		ring, err = s.create(base)
	}
	if err != nil {
		return err
	}
	if ring != none {
		defer drop(ring)
	}
	return f(ring)
}

func (s *Store) description() string { return s.o.Name + ":" + string(s.o.Ring) }

// base returns the ring that the keyring of the store is in, as something that
// this thread possesses.
func (s *Store) base() (int, error) {
	switch s.o.Ring {
	case Persistent:
		id, err := unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, -1, thread, 0, 0)
		return id, fail("KEYCTL_GET_PERSISTENT", err)
	case User:
		// It is possessed by this name only, not by its number.
		return unix.KEY_SPEC_USER_KEYRING, nil
	case Session:
		// Where there is no session the kernel makes one for each thread that
		// adds a key. This way it takes one that all of the user's have.
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return id, fail("KEYCTL_GET_KEYRING_ID", err)
	}
	return none, fmt.Errorf("%w: there is no keyring %q", store.ErrUnavailable, s.o.Ring)
}

// create makes the keyring of the store in a ring, or returns the one that
// another process has made meanwhile.
func (s *Store) create(base int) (int, error) {
	ring, err := add("keyring", s.description(), nil, thread)
	if err != nil {
		return none, err
	}
	// To link it could replace another's, and the items in that. Only
	// KEYCTL_MOVE can be told not to, and only since Linux 5.3.
	_, err = unix.KeyctlInt(unix.KEYCTL_MOVE, ring, thread, base, unix.KEYCTL_MOVE_EXCL)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return ring, fail("KEYCTL_LINK", link(ring, base))
	case err != nil && !errors.Is(err, unix.EEXIST):
		drop(ring)
		return none, fail("KEYCTL_MOVE", err)
	}
	// Now the one in the base is linked to the thread.
	return search(base, "keyring", s.description(), thread)
}

// describe returns the description of the keyring that is an item.
func describe(key store.Key) string { return string(key.Kind) + ":" + store.Escape(key.Name) }

// add makes a key that only those see who possess it.
func add(typ, desc string, data []byte, ring int) (int, error) {
	id, err := unix.AddKey(typ, desc, data, ring)
	if err != nil {
		return none, fail("add_key", err)
	}
	if err := unix.KeyctlSetperm(id, possessorOnly); err != nil {
		return none, errors.Join(fail("KEYCTL_SETPERM", err), unlink(id, ring))
	}
	return id, nil
}

// search returns the key of a description in a ring, or none, and links it to
// another ring unless that is none.
func search(ring int, typ, desc string, dest int) (int, error) {
	if ring == none {
		return none, nil
	}
	id, err := unix.KeyctlSearch(ring, typ, desc, dest)
	if isGone(err) {
		return none, nil
	}
	if err != nil {
		return none, fail("KEYCTL_SEARCH", err)
	}
	return id, nil
}

// link and unlink leave it to the caller to name the call.
func link(id, ring int) error {
	_, err := unix.KeyctlInt(unix.KEYCTL_LINK, id, ring, 0, 0)
	return err
}

func unlink(id, ring int) error {
	_, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, ring, 0, 0)
	return err
}

// drop unlinks what is linked to the thread. If it can't, it ends with the thread.
func drop(id int) { _ = unlink(id, thread) }

// keysIn returns the keys in a keyring.
func keysIn(ring int) ([]int, error) {
	list, err := read(ring)
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(list)/4)
	for i := range ids {
		ids[i] = int(int32(binary.NativeEndian.Uint32(list[4*i:])))
	}
	return ids, nil
}

// read returns the payload of a key, which for a keyring are the numbers of the
// keys in it.
func read(id int) ([]byte, error) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
		if err != nil {
			return nil, fail("KEYCTL_READ", err)
		}
		if n <= len(buf) {
			return buf[:n], nil
		}
		buf = make([]byte, n)
	}
}

// isGone reports whether an error says that there is no such key, or not any
// more.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOKEY) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EKEYEXPIRED) || errors.Is(err, unix.EKEYREVOKED)
}

// fail makes the error of a call of the kernel one of package store. A container
// or a kernel without keyrings answers EPERM, EACCES, ENOSYS or EOPNOTSUPP.
func fail(call string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EDQUOT):
		return quota()
	}
	return fmt.Errorf("%w: the kernel's call %s: %w", store.ErrUnavailable, call, err)
}

// quota returns the state of the user's quota.
func quota() error {
	e := new(QuotaError)
	data, _ := os.ReadFile("/proc/key-users") // without it there are no numbers
	for line := range strings.Lines(string(data)) {
		uid, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		if uid != strconv.Itoa(os.Getuid()) {
			continue
		}
		var usage, keys, ready int
		_, err := fmt.Sscanf(counts, "%d %d/%d %d/%d %d/%d", &usage, &keys, &ready, &e.Keys, &e.MaxKeys, &e.Bytes, &e.MaxBytes)
		if err != nil {
			return new(QuotaError)
		}
	}
	return e
}
