// Package helper is a store in whatever a credential helper of Docker keeps its
// entries in: https://github.com/docker/docker-credential-helpers. Such a program
// is run for each call, with one argument, and gets and prints JSON. It does not
// know what the program does with the entries, and counts on little: helpers
// write in place, normalise URLs, limit how long a secret may be, and differ in
// what they call an error.
package helper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kura/internal/store"
	"kura/internal/store/program"
)

// Options say which program keeps the entries. All but Program and Environ may
// be left out.
type Options struct {
	// Program is a name, such as "pass" or "osxkeychain", or an absolute path.
	// A name is that of docker-credential-NAME if there is one, and else of
	// the program itself.
	Program string

	// Environ is the environment of the program, which is also looked for in
	// its PATH.
	Environ []string

	// TTY is the name of the user's terminal, for GPG_TTY if Environ has none.
	TTY string

	// Terminal and Display say whether the program can ask the user on a
	// terminal or in a window.
	Terminal, Display bool

	// Say tells the user what is being waited for. It may be nil.
	Say func(text string)

	// CallTimeout limits each call of the program that asks nothing; 0 means 10
	// seconds. PromptTimeout is for those where it may be asking; 0 means 2
	// minutes.
	CallTimeout, PromptTimeout time.Duration
}

// ErrNotHelper says that a program does not speak the protocol. The error that
// wraps it wraps store.ErrUnavailable too.
var ErrNotHelper = errors.New("not a credential helper")

// An Error says that a helper has refused a call. It wraps store.ErrLocked if
// the helper seems to mean that, and store.ErrUnavailable otherwise.
type Error struct {
	Program string
	Action  string // get, store, erase or list
	Code    int    // exit status; -1 for a signal

	// Message is the last line on standard error, often "": helpers print errors
	// where they print secrets, from which nothing is quoted.
	Message string

	Locked bool
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: exit status %d", e.Program, e.Action, e.Code)
	if e.Locked {
		text += ": it could not unlock its store"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns store.ErrLocked or store.ErrUnavailable.
func (e *Error) Unwrap() error {
	if e.Locked {
		return store.ErrLocked
	}
	return store.ErrUnavailable
}

// errGone says that a helper has no such entry.
var errGone = errors.New("no such entry")

// maxData is the greatest size of an item in bytes.
const maxData = 64 << 10

// A Store is the entries of a helper that are kura's.
type Store struct{ o Options }

var _ store.Opened = (*Store)(nil)

// Open returns the store that the options say. It runs nothing yet.
func Open(o Options) *Store {
	if o.CallTimeout == 0 {
		o.CallTimeout = 10 * time.Second
	}
	if o.PromptTimeout == 0 {
		o.PromptTimeout = 2 * time.Minute
	}
	return &Store{o}
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) { return "program:" + s.o.Program, nil }

// Get implements store.Store.
//
// The newest version counts. One that can't be read is being written, or being
// removed, or is of a writer that died; then the one before it is still there,
// or a newer one by now.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	var before []entry
	var err error
	for {
		all, listErr := s.list(ctx)
		if listErr != nil {
			return nil, listErr
		}
		heads := headsOf(all, key)
		if len(heads) == 0 {
			return nil, key.NotFound()
		}
		if slices.Equal(heads, before) {
			return nil, err
		}
		before, err = heads, nil
		for _, head := range slices.Backward(heads) {
			data, loadErr := s.load(ctx, head)
			if loadErr == nil {
				return data, nil
			}
			if !mayBeTorn(loadErr) {
				return nil, loadErr
			}
			if err == nil {
				err = loadErr
			}
		}
	}
}

// mayBeTorn reports whether an error of load can be that of a version which is
// not there any more, or not yet whole. Of helpers that don't say so in Docker's
// words, every refusal can.
func mayBeTorn(err error) bool {
	e, refused := errors.AsType[*Error](err)
	return errors.Is(err, store.ErrDamaged) || refused && !e.Locked
}

// load returns the data of a version.
func (s *Store) load(ctx context.Context, head entry) ([]byte, error) {
	secret, err := s.get(ctx, head)
	if err != nil {
		return nil, damaged(err, head)
	}
	h, ok := parseHead(secret)
	if !ok {
		return nil, damaged(errors.New("it is not what this store wrote"), head)
	}
	var text strings.Builder
	text.WriteString(h.text)
	for i := 2; i <= h.parts; i++ {
		part := head
		part.part = i
		secret, err := s.get(ctx, part)
		if err != nil {
			return nil, damaged(err, part)
		}
		text.WriteString(secret)
	}
	data, ok := h.decode(text.String())
	if !ok {
		return nil, damaged(errors.New("it is cut short or corrupt"), head)
	}
	return data, nil
}

// damaged makes an error of an entry one of package store.
func damaged(err error, e entry) error {
	for _, known := range []error{store.ErrLocked, store.ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %s: %w", store.ErrDamaged, e.url(), err)
}

// Put implements store.Store.
//
// A new version is written beside the old ones, its head last, and replaces them
// once it is listed. They are erased afterwards, from the oldest one on, so that
// none of them comes back whenever this process dies.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := check(key); err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	old := of(all, key)
	head := entry{key: key, version: newVersion(old, time.Now())}
	if err := s.save(ctx, head, data); err != nil {
		return err
	}
	for _, e := range old {
		// Where it fails the next Put tries again; nobody reads it meanwhile.
		_ = s.erase(context.WithoutCancel(ctx), e)
	}
	return nil
}

// save writes a version: as few parts as will do, or if the helper refuses them
// as long as the Windows Credential Manager takes them.
func (s *Store) save(ctx context.Context, head entry, data []byte) error {
	err := s.saveParts(ctx, head, encode(data, longPart))
	short := encode(data, shortPart)
	if _, refused := errors.AsType[*Error](err); refused && len(short) > 1 {
		if s.saveParts(ctx, head, short) == nil {
			return nil
		}
	}
	return err
}

func (s *Store) saveParts(ctx context.Context, head entry, parts []string) error {
	for i := len(parts); i >= 1; i-- {
		e, runCtx := head, ctx
		if i > 1 {
			e.part = i
		} else if ctx.Err() == nil {
			// With the head it is done. Were it ended by ctx, Put could not tell
			// whether it was.
			runCtx = context.WithoutCancel(ctx)
		}
		if err := s.store(runCtx, e, parts[i-1]); err != nil {
			// One that did not answer is not waited for again and again.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.CallTimeout)
			defer cancel()
			for ; i <= len(parts); i++ {
				if e.part = i; i == 1 {
					e.part = 0
				}
				_ = s.erase(ctx, e) // it may not be there
			}
			return err
		}
	}
	return nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if err := check(key); err != nil {
		return err
	}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	if len(headsOf(all, key)) == 0 {
		return key.NotFound()
	}
	old := of(all, key)
	var failed error
	for _, e := range old {
		if err := s.erase(ctx, e); err != nil {
			failed = err
		}
	}
	if failed == nil {
		return nil
	}
	// Some helpers fail to erase what another process has.
	if all, err = s.list(ctx); err != nil {
		return err
	}
	for _, e := range old {
		if slices.Contains(all, e) {
			return failed
		}
	}
	return nil
}

// List implements store.Store. Whether the helper asks the user for it, no
// protocol says; those of Docker don't.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		if e.key.Kind == kind && e.part == 0 {
			names = append(names, e.key.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Has implements store.Opened. It runs the helper.
func (s *Store) Has(ctx context.Context, key store.Key) (bool, error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	all, err := s.list(ctx)
	return len(headsOf(all, key)) > 0, err
}

// Check implements store.Opened. Whether a helper is locked can't be told.
func (s *Store) Check(ctx context.Context) (string, error) {
	_, err := s.list(ctx)
	return "", err
}

// Unlock implements store.Opened. It reads an item if there is any.
func (s *Store) Unlock(ctx context.Context) error {
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.part == 0 {
			_, err := s.Get(ctx, e.key)
			return err
		}
	}
	return nil
}

// credentials are what the protocol moves.
type credentials struct{ ServerURL, Username, Secret string }

// listTries is how often list is tried: some helpers look up each entry anew,
// and fail for one that another process is just erasing or writing.
const listTries = 6

// list returns the entries that are kura's, in order.
func (s *Store) list(ctx context.Context) ([]entry, error) {
	out, err := s.run(ctx, "list", nil, s.o.CallTimeout)
	for try := 1; try < listTries; try++ {
		if e, refused := errors.AsType[*Error](err); !refused || e.Locked {
			break
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(try) * 10 * time.Millisecond):
		}
		out, err = s.run(ctx, "list", nil, s.o.CallTimeout)
	}
	if err != nil {
		return nil, err
	}
	var users map[string]string
	if err := json.Unmarshal(out, &users); err != nil {
		return nil, s.notHelper("list") // err may quote the output
	}
	var all []entry
	for url, user := range users {
		if e, ok := parseEntry(url, user); ok {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, entry.compare)
	return slices.Compact(all), nil
}

// get returns the secret of an entry. If the helper has none it is errGone.
func (s *Store) get(ctx context.Context, e entry) (string, error) {
	out, err := s.run(ctx, "get", []byte(e.url()), s.timeout())
	defer clear(out)
	if err != nil {
		return "", err
	}
	var c credentials
	if err := json.Unmarshal(out, &c); err != nil {
		return "", s.notHelper("get") // err may quote the output
	}
	if c.Secret == "" {
		return "", errGone // docker-credential-pass before 0.7 says it like that
	}
	return c.Secret, nil
}

func (s *Store) store(ctx context.Context, e entry, secret string) error {
	stdin, err := json.Marshal(credentials{e.url(), e.user(), secret})
	if err != nil {
		return err
	}
	defer clear(stdin)
	_, err = s.run(ctx, "store", stdin, s.timeout())
	return err
}

// erase removes an entry, or returns any error if there is none.
func (s *Store) erase(ctx context.Context, e entry) error {
	_, err := s.run(ctx, "erase", []byte(e.url()), s.timeout())
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// timeout is that of calls for which the user may be asked.
func (s *Store) timeout() time.Duration {
	if s.o.Terminal || s.o.Display {
		return s.o.PromptTimeout
	}
	return s.o.CallTimeout
}

// maxOutput is how much a helper may print: Docker's own entries are listed too.
const maxOutput = 4 << 20

// run runs the helper and returns what it prints. A refusal is an *Error, or
// errGone.
func (s *Store) run(ctx context.Context, action string, stdin []byte, timeout time.Duration) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	c := program.Command{
		Path: path, Args: []string{action}, Environ: s.environ(), Stdin: stdin,
		Timeout: timeout, MaxOutput: maxOutput, Terminal: s.o.Terminal,
	}
	name := filepath.Base(path)
	if s.o.Say != nil {
		c.Waiting = func() { s.o.Say("waiting for " + name) }
	}
	r, err := c.Run(ctx)
	if err != nil {
		return nil, err
	}
	if r.Code == 0 {
		return r.Stdout, nil
	}
	defer clear(r.Stdout)
	// The text is that of every helper that is built with Docker's library.
	if bytes.Contains(r.Stdout, []byte("credentials not found in native keychain")) {
		return nil, errGone
	}
	return nil, &Error{
		Program: name, Action: action, Code: r.Code, Message: program.Line(r.Stderr),
		Locked: saysLocked(r.Stdout) || saysLocked(r.Stderr),
	}
}

// saysLocked reports whether a helper means that its store is locked, as far as
// is known: of gpg, of libsecret and gnome-keyring, and of macOS.
func saysLocked(text []byte) bool {
	for _, part := range []string{
		"decryption failed: No secret key", "No pinentry", "Operation cancelled",
		"is locked", "a locked ", "prompt dismissed", "prompt was dismissed", "interaction is not allowed",
	} {
		if bytes.Contains(text, []byte(part)) {
			return true
		}
	}
	return false
}

// path returns that of the program. A name is more likely to be that of a helper
// than of what the helper uses, such as pass.
func (s *Store) path() (string, error) {
	if !filepath.IsAbs(s.o.Program) {
		if path, err := program.Find("docker-credential-"+s.o.Program, s.o.Environ); err == nil {
			return path, nil
		}
	}
	return program.Find(s.o.Program, s.o.Environ)
}

// environ returns the environment of the helper. One that uses pass fails at
// once, and does not wait, if there is nobody to ask.
func (s *Store) environ() []string {
	environ := slices.Clip(s.o.Environ)
	if s.o.TTY != "" && program.Getenv(environ, "GPG_TTY") == "" {
		environ = append(environ, "GPG_TTY="+s.o.TTY)
	}
	if !s.o.Terminal && !s.o.Display && program.Getenv(environ, "PASSWORD_STORE_GPG_OPTS") == "" {
		environ = append(environ, "PASSWORD_STORE_GPG_OPTS=--pinentry-mode=error")
	}
	return environ
}

func (s *Store) notHelper(action string) error {
	return fmt.Errorf("%w: %s: %w: what it prints for %q is not JSON of that protocol",
		store.ErrUnavailable, s.o.Program, ErrNotHelper, action)
}
