// Package pass is a store in the entries of pass, the standard Unix password
// manager, see pass(1). pass and gpg do the work, so that keys, hooks of git and
// settings are those that the user has chosen. Names are read from the directory
// itself, which needs neither.
//
// The entry of an item is kura/<kind>/<name>, as package tree says, and holds the
// data of the item as it is: "pass show kura/access-key/prod" prints it.
package pass

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kura/internal/durable"
	"kura/internal/store"
	"kura/internal/store/program"
	"kura/internal/store/tree"
)

// Options say where a password store is and who can be asked. All but Environ
// may be left out.
type Options struct {
	// Dir is the password store. "" means what PASSWORD_STORE_DIR in Environ
	// says, or else .password-store below Home.
	Dir  string
	Home string

	// Command is the program: a name, or an absolute path. "" means pass.
	Command string

	// Prefix is the subfolder of the password store below which all of this is;
	// "" is none.
	Prefix string

	// Environ is the environment of pass, which is also looked for in its PATH.
	Environ []string

	// TTY is the name of the user's terminal, for GPG_TTY if Environ has none.
	TTY string

	// Terminal and Display say whether gpg-agent can ask for a passphrase on a
	// terminal or in a window. If neither, what it has not cached is locked.
	Terminal, Display bool

	// Say tells the user what is being waited for. It may be nil.
	Say func(text string)

	// CallTimeout limits each call of pass that asks nothing; 0 means 10
	// seconds. PromptTimeout is for those where gpg-agent may be asking, a
	// smartcard be waiting for a touch, or git running hooks; 0 means 2 minutes.
	CallTimeout, PromptTimeout time.Duration
}

var (
	// ErrNobody says that gpg-agent does not know the passphrase of the key, and
	// that there is neither a terminal nor a display on which to ask. The error
	// that wraps it wraps store.ErrLocked too.
	ErrNobody = errors.New("gpg-agent has to ask for a passphrase, and there is no terminal or display")

	// ErrNoPinentry says that gpg-agent could not ask: its pinentry did not
	// start, or has no terminal. The error that wraps it wraps store.ErrLocked
	// too.
	ErrNoPinentry = errors.New("gpg-agent could not ask for the passphrase")

	// ErrNotUnlocked says that gpg-agent has asked, and was told a wrong
	// passphrase, or none in time. The error that wraps it wraps store.ErrLocked too.
	ErrNotUnlocked = errors.New("gpg-agent was not told the right passphrase")
)

// An UninitializedError says that the password store has no file .gpg-id, which
// "pass init" makes. It wraps store.ErrUnavailable.
type UninitializedError struct{ Dir string }

func (e *UninitializedError) Error() string {
	return "there is no .gpg-id in " + e.Dir + ": the password store was never initialized"
}

// Unwrap returns store.ErrUnavailable.
func (e *UninitializedError) Unwrap() error { return store.ErrUnavailable }

// A KeyError says that gpg can't use a key of the password store. It wraps
// store.ErrUnavailable.
type KeyError struct {
	ID     string // as in .gpg-id, or in the entry
	Secret bool   // it lacks the secret key, so it can't decrypt
	Reason string // why it can't encrypt
}

func (e *KeyError) Error() string {
	if e.Secret {
		return fmt.Sprintf("gpg has no secret key for %s", e.ID)
	}
	return fmt.Sprintf("gpg can't encrypt to %s: %s", e.ID, e.Reason)
}

// Unwrap returns store.ErrUnavailable.
func (e *KeyError) Unwrap() error { return store.ErrUnavailable }

// maxData is the greatest size of an item in bytes.
const maxData = 16 << 20

// tempPrefix is how the entries begin that are being written. No item's does.
const tempPrefix = ".tmp-"

// A Store is the part of a password store that is kura's.
type Store struct {
	o    Options
	dir  string // of the password store
	tree tree.Tree
}

var (
	_ store.Opened = (*Store)(nil)
	_ store.Dated  = (*Store)(nil)
)

// Open returns the store that the options say. It looks at nothing yet.
func Open(o Options) *Store {
	dir := o.Dir
	if dir == "" {
		dir = program.Getenv(o.Environ, "PASSWORD_STORE_DIR")
	}
	if dir == "" {
		dir = filepath.Join(o.Home, ".password-store")
	}
	if o.Command == "" {
		o.Command = "pass"
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = 10 * time.Second
	}
	if o.PromptTimeout == 0 {
		o.PromptTimeout = 2 * time.Minute
	}
	o.Prefix = strings.Trim(filepath.ToSlash(filepath.Clean("/"+o.Prefix)), "/")
	return &Store{o, dir, tree.Tree{Dir: filepath.Join(dir, filepath.FromSlash(o.Prefix)), Ext: ".gpg"}}
}

// ID implements store.Opened.
func (s *Store) ID(context.Context) (string, error) { return "dir:" + s.tree.Dir, nil }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) ([]byte, error) {
	entry, err := s.existing(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := s.show(ctx, entry)
	if err != nil {
		if has, hasErr := s.tree.Has(entry); !has && hasErr == nil {
			return nil, key.NotFound() // deleted meanwhile
		}
	}
	return data, err
}

// existing returns the entry of an item that there is.
func (s *Store) existing(ctx context.Context, key store.Key) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return "", err
	}
	has, err := s.tree.Has(entry)
	if err == nil && !has {
		err = key.NotFound()
	}
	return entry, err
}

// Put implements store.Store.
//
// pass writes entries in place, so a new one is made and then moved, which takes
// the place of the old one at once. In a git repository pass moves it, which
// commits that; elsewhere it would do no more than move the file. A lock keeps
// two of these, and their commits, from mixing: under it, an entry that is being
// written is one of a process that died, and is removed before what is left of
// that process may move it.
func (s *Store) Put(ctx context.Context, key store.Key, data []byte) error {
	entry, err := s.tree.Entry(key)
	if err != nil {
		return err
	}
	if len(data) > maxData {
		return fmt.Errorf("an item of %d bytes; at most %d can be stored", len(data), maxData)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	unlock, held, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if held {
		if err := s.sweep(ctx); err != nil {
			return err
		}
	}
	temp := tree.Root + "/" + string(key.Kind) + "/" + tempPrefix + rand.Text()
	if err := s.insert(ctx, temp, data); err != nil {
		// If that fails too, what is left is ciphertext that the next Put removes.
		_ = s.drop(context.WithoutCancel(ctx), temp)
		return err
	}
	if err := s.move(context.WithoutCancel(ctx), temp, entry); err != nil {
		_ = s.drop(context.WithoutCancel(ctx), temp)
		return err
	}
	return syncFile(filepath.Dir(s.tree.File(entry)))
}

// move gives an entry another name. It does not end with the caller's ctx, or
// Put could not tell whether it was done.
func (s *Store) move(ctx context.Context, from, to string) error {
	if err := durable.MkdirAll(filepath.Dir(s.tree.File(to)), 0o700); err != nil {
		return tree.Unusable(err)
	}
	if !s.isGit() {
		if err := os.Rename(s.tree.File(from), s.tree.File(to)); err != nil {
			return tree.Unusable(err)
		}
		return nil
	}
	r, err := s.pass(ctx, s.writeTimeout(), nil, "mv", "-f", "--", s.entry(from), s.entry(to))
	if has, hasErr := s.tree.Has(from); !has && hasErr == nil {
		return nil // what may have failed came after it
	}
	if err == nil {
		err = s.fault("pass mv", r)
	}
	return err
}

// insert makes an entry that is on disk once it returns nil.
func (s *Store) insert(ctx context.Context, entry string, data []byte) error {
	if data == nil {
		data = []byte{}
	}
	r, err := s.pass(ctx, s.writeTimeout(), data, "insert", "-m", "-f", "--", s.entry(entry))
	if err != nil {
		return err
	}
	if id, reason, ok := readStatus(r.Stderr).badRecipient(); ok {
		return &KeyError{ID: id, Reason: reason}
	}
	if has, err := s.tree.Has(entry); err != nil {
		return err
	} else if r.Code != 0 || !has {
		return s.fault("pass insert", r)
	}
	return syncFile(s.tree.File(entry))
}

// sweep removes the entries that writers have left which were killed.
func (s *Store) sweep(ctx context.Context) error {
	for _, kind := range store.Kinds() {
		dir := tree.Root + "/" + string(kind) + "/"
		found, err := os.ReadDir(filepath.Dir(s.tree.File(dir + "x")))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return tree.Unusable(err)
		}
		for _, e := range found {
			name, ok := strings.CutSuffix(e.Name(), s.tree.Ext)
			if !ok || !strings.HasPrefix(name, tempPrefix) {
				continue
			}
			if err := s.drop(ctx, dir+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop removes an entry if it is there.
func (s *Store) drop(ctx context.Context, entry string) error {
	if has, err := s.tree.Has(entry); !has {
		return err
	}
	_, err := s.pass(ctx, s.writeTimeout(), nil, "rm", "-f", "--", s.entry(entry))
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key store.Key) error {
	if _, err := s.existing(ctx, key); err != nil {
		return err
	}
	unlock, _, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	entry, err := s.existing(ctx, key)
	if err != nil {
		return err
	}
	r, err := s.pass(ctx, s.writeTimeout(), nil, "rm", "-f", "--", s.entry(entry))
	if err != nil {
		return err
	}
	if has, err := s.tree.Has(entry); has || err != nil {
		return errors.Join(s.fault("pass rm", r), err)
	}
	// pass removes the directory too if it is empty.
	if err := syncFile(filepath.Dir(s.tree.File(entry))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, kind store.Kind) ([]string, error) {
	return s.tree.List(ctx, kind)
}

// Written implements store.Dated. A checkout of git writes all entries.
func (s *Store) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	return s.tree.Written(ctx, kind)
}

// Has implements store.Opened.
func (s *Store) Has(_ context.Context, key store.Key) (bool, error) {
	if !key.IsValid() {
		return false, nil // there can be none of that name
	}
	entry, err := s.tree.Entry(key)
	if err != nil {
		return false, err
	}
	return s.tree.Has(entry)
}

// Check implements store.Opened. It tries to decrypt an item without asking.
func (s *Store) Check(ctx context.Context) (string, error) {
	if _, err := program.Find(s.o.Command, s.o.Environ); err != nil {
		return "", err
	}
	if _, err := s.gpgPath(); err != nil {
		return "", err
	}
	ids, err := s.recipients()
	if err != nil {
		return "", err
	}
	first, err := s.tree.First(ctx)
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", s.wantSecretKey(ctx, ids)
	}
	switch _, err = s.quiet().show(ctx, first); {
	case errors.Is(err, store.ErrLocked):
		return "locked", nil
	case err != nil:
		return "", err
	}
	return "unlocked", nil
}

// Unlock implements store.Opened. It decrypts an item if there is any.
func (s *Store) Unlock(ctx context.Context) error {
	first, err := s.tree.First(ctx)
	if err != nil || first == "" {
		return err
	}
	_, err = s.show(ctx, first)
	return err
}

// entry returns the name by which pass knows an entry of the tree.
func (s *Store) entry(entry string) string {
	if s.o.Prefix == "" {
		return entry
	}
	return s.o.Prefix + "/" + entry
}

// above calls found with each directory from that of kura's entries up to that
// of the password store, until it returns true.
func (s *Store) above(found func(dir string) bool) bool {
	for rest := s.entry(tree.Root); ; rest = rest[:max(0, strings.LastIndexByte(rest, '/'))] {
		if found(filepath.Join(s.dir, filepath.FromSlash(rest))) {
			return true
		}
		if rest == "" {
			return false
		}
	}
}

// isGit reports whether pass commits what it does to kura's entries.
func (s *Store) isGit() bool {
	return s.above(func(dir string) bool {
		_, err := os.Lstat(filepath.Join(dir, ".git"))
		return err == nil
	})
}

// writeTimeout is that of calls that change entries. In a git repository they
// sign, for which gpg-agent may ask, and run hooks, which may push. Were git
// killed meanwhile, its lock would be left behind.
func (s *Store) writeTimeout() time.Duration {
	if s.isGit() {
		return s.o.PromptTimeout
	}
	return s.o.CallTimeout
}

// gpgID returns the path of the file that names the keys of kura's entries, or
// "" if PASSWORD_STORE_KEY does.
func (s *Store) gpgID() (file string, err error) {
	if program.Getenv(s.o.Environ, "PASSWORD_STORE_KEY") != "" {
		return "", nil
	}
	if !s.above(func(dir string) bool {
		file = filepath.Join(dir, ".gpg-id")
		info, err := os.Stat(file)
		return err == nil && info.Mode().IsRegular()
	}) {
		return "", &UninitializedError{s.dir}
	}
	return file, nil
}

// recipients returns the IDs of the keys of kura's entries.
func (s *Store) recipients() ([]string, error) {
	file, err := s.gpgID()
	if err != nil {
		return nil, err
	}
	if file == "" {
		return strings.Fields(program.Getenv(s.o.Environ, "PASSWORD_STORE_KEY")), nil
	}
	text, err := durable.ReadFile(file, 64<<10)
	if err != nil {
		return nil, tree.Unusable(err)
	}
	var ids []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if id := strings.TrimSpace(line); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// lock waits until no other process of kura writes, or asks. The lock is on
// .gpg-id, as a file of its own would be in the way of git and of those who look
// into the password store. Where there is no such file, or it can't be opened
// for writing, the lock is not held.
func (s *Store) lock(ctx context.Context) (unlock func(), held bool, err error) {
	file, err := s.gpgID()
	if err != nil || file == "" {
		return func() {}, false, err
	}
	// Tools for dotfiles make links, which Lock takes for a trick.
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, false, tree.Unusable(err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.o.PromptTimeout,
		fmt.Errorf("%w: another process was writing or asking for %v", store.ErrUnavailable, s.o.PromptTimeout))
	defer cancel()
	if s.o.Say != nil {
		defer time.AfterFunc(time.Second, func() {
			s.o.Say("waiting for another process that uses the password store")
		}).Stop()
	}
	unlock, err = durable.Lock(limited, file)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, durable.ErrReadOnly) {
		return func() {}, false, nil
	}
	return unlock, err == nil, err
}

// pass runs pass.
func (s *Store) pass(ctx context.Context, timeout time.Duration, stdin []byte, args ...string) (program.Result, error) {
	path, err := program.Find(s.o.Command, s.o.Environ)
	if err != nil {
		return program.Result{}, err
	}
	c := program.Command{
		Path: path, Args: args, Environ: s.environ(), Stdin: stdin,
		Timeout: timeout, MaxOutput: maxData,
	}
	if s.o.Say != nil {
		c.Waiting = func() { s.o.Say("waiting for " + filepath.Base(path) + " and gpg") }
	}
	return c.Run(ctx)
}

// environ returns the environment of pass. What the user has set for gpg comes
// after our options, so it counts. With --batch gpg does not ask on the terminal
// itself, which pass leaves to chance; gpg-agent does all the same.
func (s *Store) environ() []string {
	options := []string{"--batch", "--status-fd=2"}
	if !s.o.Terminal && !s.o.Display {
		options = append(options, "--pinentry-mode=error")
	}
	if theirs := program.Getenv(s.o.Environ, "PASSWORD_STORE_GPG_OPTS"); theirs != "" {
		options = append(options, theirs)
	}
	environ := append(slices.Clip(s.o.Environ),
		"PASSWORD_STORE_DIR="+s.dir,
		"PASSWORD_STORE_GPG_OPTS="+strings.Join(options, " "))
	if s.o.TTY != "" && program.Getenv(environ, "GPG_TTY") == "" {
		environ = append(environ, "GPG_TTY="+s.o.TTY)
	}
	return environ
}

// quiet returns the store as it is where nobody can be asked.
func (s *Store) quiet() *Store {
	q := *s
	q.o.Terminal, q.o.Display = false, false
	return &q
}

// show decrypts an entry. If the user has to be asked for that, one process does
// it and the others wait: gpg-agent asks for several at once after a minute, and
// now and then sooner (unprotect in its agent/findkey.c).
func (s *Store) show(ctx context.Context, entry string) ([]byte, error) {
	quiet := s.quiet()
	if s.o.Terminal || s.o.Display {
		quiet.o.CallTimeout = s.o.PromptTimeout // for a touch, which is no question
	}
	data, err := quiet.decrypt(ctx, entry)
	if !s.o.Terminal && !s.o.Display || !errors.Is(err, ErrNobody) {
		return data, err
	}
	unlock, _, err := s.lock(ctx)
	if _, ok := errors.AsType[*UninitializedError](err); err != nil && !ok {
		return nil, err
	}
	defer unlock() // whose turn is next finds the key unlocked
	return s.decrypt(ctx, entry)
}

// decrypt runs "pass show".
func (s *Store) decrypt(ctx context.Context, entry string) ([]byte, error) {
	timeout := s.o.CallTimeout
	if s.o.Terminal || s.o.Display {
		timeout = s.o.PromptTimeout
	}
	r, err := s.pass(ctx, timeout, nil, "show", "--", s.entry(entry))
	if err != nil {
		if readStatus(r.Stderr).has("PINENTRY_LAUNCHED") { // and nobody answered
			err = fmt.Errorf("%w: %w: %w", store.ErrLocked, ErrNotUnlocked, err)
		}
		return nil, err
	}
	st := readStatus(r.Stderr)
	// gpg may exit with 0 for a file that is none of its own.
	if r.Code == 0 && (!st.used || st.has("DECRYPTION_OKAY")) {
		return r.Stdout, nil
	}
	clear(r.Stdout)
	path := s.tree.File(entry)
	switch {
	case !st.used:
		return nil, s.fault("pass show", r)
	case !st.has("ENC_TO") || st.has("DECRYPTION_KEY") || st.has("DECRYPTION_INFO"):
		return nil, fmt.Errorf("%w: %s: gpg says: %s", store.ErrDamaged, path, st.message)
	case st.has("PINENTRY_LAUNCHED"):
		return nil, locked(ErrNotUnlocked, st)
	}
	if err := s.wantSecretKey(ctx, st.values("ENC_TO")); err != nil {
		return nil, err
	}
	if !s.o.Terminal && !s.o.Display {
		return nil, locked(ErrNobody, st)
	}
	return nil, locked(ErrNoPinentry, st)
}

func locked(reason error, st status) error {
	return fmt.Errorf("%w: %w: gpg says: %s", store.ErrLocked, reason, st.message)
}

// wantSecretKey checks that gpg has the secret key of one of some, be it on a
// smartcard that is not there. What gpg says of a key that is missing and of one
// that is locked is the same.
func (s *Store) wantSecretKey(ctx context.Context, ids []string) error {
	path, err := s.gpgPath()
	if err != nil {
		return err
	}
	if len(ids) == 0 || strings.Trim(ids[0], "0") == "" {
		return nil // the entry does not say whom it is for
	}
	c := program.Command{
		Path:    path,
		Args:    append([]string{"--batch", "--with-colons", "--list-secret-keys", "--"}, ids...),
		Environ: s.environ(), Timeout: s.o.CallTimeout, MaxOutput: 1 << 20,
	}
	r, err := c.Run(ctx)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(r.Stdout, []byte("sec:")) && !bytes.Contains(r.Stdout, []byte("\nsec:")) {
		return &KeyError{ID: strings.Join(ids, ", "), Secret: true}
	}
	return nil
}

// gpgPath returns the path of the gpg that pass runs.
func (s *Store) gpgPath() (string, error) {
	if path, err := program.Find("gpg2", s.o.Environ); err == nil {
		return path, nil
	}
	return program.Find("gpg", s.o.Environ)
}

// fault returns the error of a call that did not do its work for a reason that
// is not known better.
func (s *Store) fault(what string, r program.Result) error {
	if _, err := s.gpgPath(); err != nil {
		return err
	}
	if r.Code == 0 {
		return fmt.Errorf("%w: %s did nothing", store.ErrUnavailable, what)
	}
	return fmt.Errorf("%w: %s: exit status %d: %s", store.ErrUnavailable, what, r.Code, readStatus(r.Stderr).message)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return tree.Unusable(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return tree.Unusable(err)
	}
	return nil
}

// An Entries reads what aws-vault has left in a password store: one entry for
// each of its items, and, as it takes whatever there is for its own, all others.
// Those of kura are left out.
type Entries struct{ s *Store }

// OpenEntries returns the entries below Dir and Prefix. It looks at nothing yet.
func OpenEntries(o Options) *Entries { return &Entries{Open(o)} }

// List returns the names of the entries, sorted. It does not decrypt any.
func (e *Entries) List(ctx context.Context) ([]string, error) { return e.s.tree.Others(ctx) }

// Get decrypts an entry that List has returned. Its errors are those of
// Store.Get.
func (e *Entries) Get(ctx context.Context, name string) ([]byte, error) {
	if has, err := e.s.tree.Has(name); err != nil {
		return nil, err
	} else if !has {
		return nil, fmt.Errorf("entry %q: %w", name, store.ErrNotFound)
	}
	return e.s.show(ctx, name)
}
