// Package unlocked keeps small secrets between commands in the kernel's memory
// for a limited time, so that a store is unlocked once and not once a command.
// It does not know what the secrets are. Only Linux can do it; elsewhere, and
// where a container forbids it, nothing is kept.
package unlocked

import (
	"errors"
	"time"
)

// A Keep is a place for secrets that may be gone at any time. Every process of
// the user that asks by the same namespace finds them, whatever terminal or
// session it runs in. A nil *Keep keeps nothing.
type Keep struct{ prefix string }

// Open returns the keep of a namespace. It asks the system for nothing yet.
func Open(namespace string) *Keep { return &Keep{"kura:" + namespace + ":"} }

var errNil = errors.New("keeping secrets in the kernel is switched off")

// Get returns the secret kept under a name, and whether there is one.
func (k *Keep) Get(name string) ([]byte, bool) {
	if k == nil {
		return nil, false
	}
	return get(k.prefix + name)
}

// Put keeps a secret of at most 32,767 bytes under a name, in place of a former
// one, until ttl has passed, give or take a second. A ttl of zero or less keeps
// nothing, and nor does a system that can't; neither is an error.
func (k *Keep) Put(name string, data []byte, ttl time.Duration) error {
	if k == nil || ttl <= 0 {
		return nil
	}
	return put(k.prefix+name, data, ttl)
}

// Drop drops the secret kept under a name, if there is one.
func (k *Keep) Drop(name string) error {
	if k == nil {
		return nil
	}
	return drop(k.prefix + name)
}

// Forget drops all secrets of the namespace at once, and of those that are named
// like it with a colon after it.
func (k *Keep) Forget() error {
	if k == nil {
		return nil
	}
	return forget(k.prefix)
}

// Works returns nil if secrets can be kept here, and otherwise the reason why
// not, for a diagnosis.
func (k *Keep) Works() error {
	if k == nil {
		return errNil
	}
	return works()
}
