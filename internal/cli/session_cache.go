package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/deliver"
	"kura/internal/durable"
	"kura/internal/mint"
	"kura/internal/onepassword"
	"kura/internal/prompt"
	"kura/internal/store/all"
)

// An itemCache is the field session_cache of the item of 1Password that holds an
// access key, where other programs and machines find a session too. A session
// is written to it by another process, once the user has got what he wants: see
// shareSession.
type itemCache struct {
	a   *app
	ref onepassword.Ref
}

// itemCacheOf returns the shared cache of the sessions of a chain, or nil.
func (a *app) itemCacheOf(v *vault, c chain.Chain) mint.SharedCache {
	if c.Source.Stored == nil || !all.SharesSessions(v.settings) {
		return nil
	}
	ref, ok := all.OnePasswordItem(v.Opened, c.Source.Stored.Name)
	if !ok {
		return nil
	}
	return &itemCache{a, ref}
}

// Session implements mint.SharedCache. It reads the item, which also has the key
// and the token code: nobody reads it again.
func (s *itemCache) Session(ctx context.Context, _ string, step chain.SessionToken, after time.Time) (cred.Credentials, bool, error) {
	it, err := s.a.onePassword().Item(ctx, s.ref)
	switch onepassword.KindOf(err) {
	case onepassword.Dismissed, onepassword.Unanswered:
		return cred.Credentials{}, false, err
	}
	var found onepassword.Session
	if err == nil {
		found, err = it.Session(after, step.MFASerial, step.Duration)
	}
	if err != nil {
		s.a.log.Debug("no session in 1Password", "reason", err)
		return cred.Credentials{}, false, nil
	}
	return found.Credentials, true, nil
}

// unshared are the sessions that are still to be written to 1Password.
type unshared struct {
	mu     sync.Mutex
	orders []onepassword.Order
}

// take returns them, and keeps none.
func (u *unshared) take() []onepassword.Order {
	u.mu.Lock()
	defer u.mu.Unlock()
	orders := u.orders
	u.orders = nil
	return orders
}

// Share implements mint.SharedCache.
func (s *itemCache) Share(key cred.Credentials, step chain.SessionToken, minted cred.Credentials) {
	u := &s.a.unshared
	u.mu.Lock()
	u.orders = append(u.orders, onepassword.Order{
		Item:    s.ref,
		Session: onepassword.Session{Credentials: minted, KeyID: key.AccessKeyID, MFASerial: step.MFASerial, Lasts: step.Duration},
	})
	u.mu.Unlock()
	if s.a.serving.Load() {
		s.a.shareSessions() // nobody waits for what a server renews
	}
}

// shareSessions has another process write what sessions this one has minted to
// 1Password: that takes seconds, and nobody is to wait for them. It comes after
// the credentials have been handed out.
//
// Where the app decides by the terminal whom it knows, a process without one is a
// stranger to it, who would be asked for approval once more and out of the blue.
func (a *app) shareSessions() {
	orders := a.unshared.take()
	if len(orders) == 0 {
		return
	}
	if !prompt.Works() && !a.onePassword().Headless() {
		a.log.Debug("the session is not written to 1Password, which would ask again where there is no terminal")
		return
	}
	if reason := a.notShared(); reason != "" {
		a.log.Warn("the last session could not be written to 1Password", "reason", reason)
	}
	for _, order := range orders {
		if err := a.startWriter(order); err != nil {
			a.log.Warn("the session is not written to 1Password", "reason", err)
		}
	}
}

func (a *app) startWriter(order onepassword.Order) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	data, err := order.Encode()
	if err != nil {
		return err
	}
	defer clear(data)
	args := []string{os.Args[0], writeSessionName}
	for flag, value := range map[string]string{"--op-cmd": a.global.opCommand, "--op-fields": a.global.opFields.text} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	return deliver.Detach(path, args, deliver.Scrub(a.Environ), data)
}

const (
	writeSessionName = "write-session"

	maxOrder = 1 << 16 // bytes; a session token has some thousand at the most
)

// writeSessionCommand is what shareSessions starts. It is not for people.
func writeSessionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    writeSessionName,
		Short:  "write a session to an item of 1Password",
		Hidden: true,
		Args:   exactly(),
		RunE:   func(c *cobra.Command, _ []string) error { return a.writeSession(c.Context()) },
	}
}

func (a *app) writeSession(ctx context.Context) error {
	signal.Ignore(syscall.SIGHUP) // the terminal may be closed meanwhile
	data, err := io.ReadAll(io.LimitReader(a.Stdin, maxOrder))
	if err != nil {
		return err
	}
	order, err := onepassword.DecodeOrder(data)
	clear(data)
	if err != nil {
		return err
	}
	err = a.onePassword().WriteSession(ctx, order.Item, order.Session)
	a.noteNotShared(err)
	return err
}

// notSharedFile says why the last session could not be written to 1Password: the
// process that finds out has nobody to tell.
func (a *app) notSharedFile() string { return filepath.Join(a.cacheDir(), "not-shared") }

// notShared returns why the last session could not be written to 1Password, or
// "" if it was.
func (a *app) notShared() string {
	text, err := durable.ReadFile(a.notSharedFile(), 4096)
	if err != nil {
		return "" // the common case is that there is none
	}
	return oneLine(strings.TrimSpace(string(text)))
}

// noteNotShared notes what has become of writing a session.
func (a *app) noteNotShared(failure error) {
	if failure == nil {
		_ = os.Remove(a.notSharedFile()) // most often there is none
		return
	}
	if err := durable.WriteFile(a.notSharedFile(), []byte(failure.Error()+"\n"), 0o600); err != nil {
		a.log.Debug("it is not noted that the session was not written", "reason", err)
	}
}
