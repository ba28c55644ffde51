package unlocked

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The secrets are keys of type "user" in the user's persistent keyring, see
// persistent-keyring(7). The user keyring would not do: a process with another
// session keyring (systemd, sshd, "keyctl session") can find its keys but not
// read them. Asking for the persistent keyring links it to a keyring of the
// asker, which makes the asker a possessor of the keys in it.

// possessorOnly is KEY_POS_ALL: those who possess a key may do everything,
// the user's other processes, the group and others not even see it.
const possessorOnly = 0x3f000000

// ring returns the persistent keyring, linked to the keyring of this thread. A
// process keyring would belong to the threads made after it and no others, so
// it is no better; the caller must not change threads. Both end with execve.
func ring() (int, error) {
	return unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, -1, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
}

// get tries without holding its thread first: to hold one makes the runtime
// start another, which costs more than all the rest. If the scheduler does
// change threads between the calls the key is not found there.
func get(desc string) ([]byte, bool) {
	if data, ok := search(desc); ok {
		return data, true
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return search(desc)
}

func search(desc string) ([]byte, bool) {
	ring, err := ring()
	if err != nil {
		return nil, false
	}
	id, err := unix.KeyctlSearch(ring, "user", desc, 0)
	if err != nil {
		return nil, false
	}
	data, err := read(id)
	return data, err == nil
}

func put(desc string, data []byte, ttl time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := ring()
	if err != nil {
		return nil // a system that can't
	}
	// The key gets its limits before others see it: linking it is what
	// replaces a former one.
	id, err := unix.AddKey("user", desc, data, unix.KEY_SPEC_THREAD_KEYRING)
	if err != nil {
		return fmt.Errorf("keeping a secret in the kernel: %w", err)
	}
	err = unix.KeyctlSetperm(id, possessorOnly)
	if err == nil {
		_, err = unix.KeyctlInt(unix.KEYCTL_SET_TIMEOUT, id, seconds(ttl), 0, 0)
	}
	if err == nil {
		_, err = unix.KeyctlInt(unix.KEYCTL_LINK, id, ring, 0, 0)
	}
	_, unlinkErr := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	if err := errors.Join(err, unlinkErr); err != nil {
		return fmt.Errorf("keeping a secret in the kernel: %w", err)
	}
	return nil
}

// seconds rounds up, as a timeout of 0 seconds would be none at all. The kernel
// counts whole seconds of the clock, so the first one can be short.
func seconds(ttl time.Duration) int {
	return int(min((ttl-1)/time.Second+1, math.MaxInt32))
}

func drop(desc string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := ring()
	if err != nil {
		return nil // then nothing was kept
	}
	id, err := unix.KeyctlSearch(ring, "user", desc, 0)
	if err == nil {
		_, err = unix.KeyctlInt(unix.KEYCTL_INVALIDATE, id, 0, 0, 0)
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("forgetting a secret in the kernel: %w", err)
	}
	return nil
}

// isGone reports whether an error says that there is no such key any more.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOKEY) || errors.Is(err, unix.EKEYEXPIRED) || errors.Is(err, unix.EKEYREVOKED)
}

func forget(prefix string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := ring()
	if err != nil {
		return nil // then nothing was kept
	}
	ids, err := read(ring)
	for ; len(ids) >= 4; ids = ids[4:] {
		id := int(int32(binary.NativeEndian.Uint32(ids)))
		// A key that has expired since can't be described, nor need it be.
		desc, descErr := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
		if fields := strings.SplitN(desc, ";", 5); descErr != nil || len(fields) < 5 || !strings.HasPrefix(fields[4], prefix) {
			continue
		}
		if _, e := unix.KeyctlInt(unix.KEYCTL_INVALIDATE, id, 0, 0, 0); e != nil && !isGone(e) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("forgetting the secrets in the kernel: %w", err)
	}
	return nil
}

// read returns the payload of a key or, for a keyring, the keys in it.
func read(id int) ([]byte, error) {
	buf := make([]byte, 512)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
		if err != nil {
			return nil, err
		}
		if n <= len(buf) {
			return buf[:n], nil
		}
		buf = make([]byte, n)
	}
}

func works() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := ring(); err != nil {
		return fmt.Errorf("the kernel's persistent keyring: %w", err)
	}
	return nil
}
