// Package onepassword talks to 1Password by way of its command-line program, op:
// it reads items with their access keys and token codes, and changes them. It
// does not know what the keys are for, nor how op gets at an account: that is
// up to the app, a service account or a Connect server, as the environment says.
//
// No secret is ever an argument of op or in its environment. What op asks the
// person it asks in the app's window, so all calls of all processes are made one
// after another: two calls at once are two windows.
package onepassword

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"kura/internal/durable"
	"kura/internal/store/program"
)

// Options say which op to run and how. All but Environ may be left out.
type Options struct {
	// Path is the program: an absolute path, or a name to look for in the PATH
	// of Environ. "" means op or, where there is none, the op.exe of the Windows
	// that WSL runs on.
	Path string

	// Environ is the environment of op. Variables of AWS's, and those with
	// which op would print something else, are left out of it.
	Environ []string

	// LockDir is a directory for the lock of the queue that all calls wait in,
	// made when needed. "" means that only the calls of one Client wait for
	// each other.
	LockDir string

	// Names are those of an item's fields.
	Names Names

	// CallTimeout limits each call that asks nobody; 0 means 20 seconds.
	// AskTimeout is for those where the app may be asking; 0 means 2 minutes.
	// QueueTimeout is for waiting for the calls of others; 0 means 3 minutes.
	// SessionTimeout is for all of WriteSession; 0 means 30 seconds.
	CallTimeout, AskTimeout, QueueTimeout, SessionTimeout time.Duration

	// RefusedFor is how long nobody is asked again, for the same Job, once the
	// app's question was dismissed or left open. 0 is for a command that a person
	// has typed; an SDK that calls a credential process at each of its requests
	// would ask for ever. A Job of 0 is no other's: it is not known.
	RefusedFor time.Duration
	Job        int

	// Say tells the user what is being waited for. It may be nil.
	Say func(text string)

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none
}

// A Client is an op program. Its methods may be called concurrently. Their
// errors are an *Error where nothing else is said, and the cause if ctx is done.
type Client struct {
	o     Options
	began time.Time     // see refusedSince
	turn  chan struct{} // holds one value while there is a turn in this process

	mu      sync.Mutex
	version string
	items   map[Ref]recent
}

// recent is an item as it was read a while ago.
type recent struct {
	item *Item
	at   time.Time
}

// recentFor is how long an item that was read need not be read again. It serves
// a single command, which wants the key, the token code and the session cache of
// one item and gets them by one call.
const recentFor = time.Minute

// New returns a Client. It runs nothing yet.
func New(o Options) *Client {
	setDefault(&o.CallTimeout, 20*time.Second)
	setDefault(&o.AskTimeout, 2*time.Minute)
	setDefault(&o.QueueTimeout, 3*time.Minute)
	setDefault(&o.SessionTimeout, 30*time.Second)
	o.Names = o.Names.orDefault()
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{o: o, began: o.Now(), turn: make(chan struct{}, 1), items: map[Ref]recent{}}
}

func setDefault[T comparable](value *T, what T) {
	var zero T
	if *value == zero {
		*value = what
	}
}

// A Ref says which item is meant. IDs are best: they mean one item, whatever
// its title and its vault come to be called, and cost the fewest requests.
type Ref struct {
	Account string // ID, address or shorthand; "" leaves it to op
	Vault   string // ID or name; "" is any, which service accounts refuse
	Item    string // ID or title
}

// A command is a call of op.
type command struct {
	account string
	args    []string
	stdin   []byte // nil is the null device; op reads nothing but a pipe
	fresh   bool   // go past the cache of op's daemon
	local   bool   // it asks neither the server nor the person
}

// words names the command in messages: "op item get".
func (a command) words() string {
	n := min(len(a.args), 2)
	if n == 2 && strings.HasPrefix(a.args[1], "-") {
		n = 1
	}
	return "op " + strings.Join(a.args[:n], " ")
}

// maxOutput is how much op may print, in bytes: a list of many thousand items.
const maxOutput = 16 << 20

// run calls op in turn and has parse read what it prints, which is overwritten
// afterwards. What parse can't read is no answer: op up to 2.32.0 can end with
// status 0 although something went wrong.
func (c *Client) run(ctx context.Context, a command, parse func(out []byte) error) error {
	if a.local {
		return c.exec(ctx, a, parse)
	}
	began := c.o.Now()
	return c.Turn(ctx, func(ctx context.Context) error {
		if err := c.refusedSince(began, a); err != nil {
			return err
		}
		err := c.exec(ctx, a, parse)
		c.noteRefusal(a, err)
		return err
	})
}

// sayAfter is when it is worth a word that op is being waited for: most calls
// take a second or two.
const sayAfter = 3 * time.Second

func (c *Client) exec(ctx context.Context, a command, parse func(out []byte) error) error {
	path, err := c.find()
	if err != nil {
		return &Error{Kind: Missing, Command: a.words(), Err: err}
	}
	p := program.Command{
		Path:      path,
		Args:      a.args,
		Environ:   c.environ(a, path),
		Stdin:     a.stdin,
		Timeout:   c.o.CallTimeout,
		MaxOutput: maxOutput,
	}
	if a.account != "" && !c.Headless() {
		p.Args = append(p.Args[:len(p.Args):len(p.Args)], "--account", a.account)
	}
	if !a.local {
		text := "waiting for 1Password"
		if !c.Headless() {
			p.Timeout = c.o.AskTimeout
			text += ", which may be asking for approval"
		}
		defer time.AfterFunc(sayAfter, func() { c.o.Say(text) }).Stop()
	}
	if a.stdin != nil {
		p.Started = c.noteWrite
		defer c.noteWrite(0)
	}
	began := time.Now()
	result, err := p.Run(ctx)
	defer clear(result.Stdout)
	c.o.Log.Debug(a.words(), "took", time.Since(began), "status", result.Code)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		_, timeout := errors.AsType[*program.TimeoutError](err)
		kind := BadOutput
		switch {
		case timeout:
			kind = NoAnswer
		case !errors.Is(err, program.ErrTooMuch):
			kind = Missing // it is there, and does not start
		}
		return &Error{Kind: kind, Command: a.words(), Err: err}
	case result.Code != 0:
		return classify(a.words(), result)
	}
	err = parse(result.Stdout)
	if (err != nil || len(result.Stdout) == 0) && bytes.Contains(result.Stderr, []byte(errorPrefix)) {
		return classify(a.words(), result)
	}
	if err != nil {
		return &Error{Kind: BadOutput, Command: a.words(), Err: err}
	}
	return nil
}

// find returns the path of op.
func (c *Client) find() (string, error) {
	if c.o.Path != "" {
		return program.Find(c.o.Path, c.o.Environ)
	}
	path, err := program.Find("op", c.o.Environ)
	if err != nil {
		if windows, err := program.Find("op.exe", c.o.Environ); err == nil {
			return windows, nil
		}
	}
	return path, err
}

// Headless reports whether op asks nobody here, as the environment has the token
// of a service account or a Connect server.
func (c *Client) Headless() bool {
	has := func(name string) bool { return program.Getenv(c.o.Environ, name) != "" }
	return has("OP_SERVICE_ACCOUNT_TOKEN") || has("OP_CONNECT_HOST") && has("OP_CONNECT_TOKEN")
}

// environ returns the environment of the op at a path.
// OP_BIOMETRIC_UNLOCK_ENABLED stays as it is: forcing it breaks op for those who
// sign in by hand
// (https://github.com/1Password/terraform-provider-onepassword/issues/204).
func (c *Client) environ(a command, path string) []string {
	var environ []string
	for _, entry := range c.o.Environ {
		name, _, _ := strings.Cut(entry, "=")
		switch name = strings.ToUpper(name); {
		case strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "OP_INTEGRATION_"):
		case name == "OP_FORMAT", name == "OP_DEBUG", name == "OP_INCLUDE_ARCHIVE", name == "OP_ISO_TIMESTAMPS":
		default:
			environ = append(environ, entry)
		}
	}
	if a.fresh {
		environ = append(environ, "OP_CACHE=false") // the last one counts; Windows does not know the flag
	}
	environ = append(environ, "OP_INTEGRATION_NAME=kura", "OP_INTEGRATION_ID=KUR", "OP_INTEGRATION_BUILDNUMBER=0010001")
	if strings.HasSuffix(path, ".exe") && runtime.GOOS != "windows" {
		environ = append(environ, "WSLENV="+wslenv(environ))
	}
	return environ
}

// wslenv returns the WSLENV of an environment with op's own variables added: a
// program of Windows gets those from WSL that it names
// (https://learn.microsoft.com/windows/wsl/filesystems).
func wslenv(environ []string) string {
	var names []string
	if set := program.Getenv(environ, "WSLENV"); set != "" {
		names = strings.Split(set, ":")
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		named := func(n string) bool { return n == name || strings.HasPrefix(n, name+"/") } // NAME/FLAGS
		if strings.HasPrefix(name, "OP_") && !slices.ContainsFunc(names, named) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ":")
}

// turnOf is the key of the Client whose turn a context belongs to.
type turnOf struct{}

// Turn calls do while no other call of op is made, by this process or another.
// The calls that do makes with the ctx it is given belong to the turn.
func (c *Client) Turn(ctx context.Context, do func(ctx context.Context) error) error {
	if ctx.Value(turnOf{}) == c {
		return do(ctx)
	}
	release, err := c.queue(ctx)
	if err != nil {
		return err
	}
	defer release()
	return do(context.WithValue(ctx, turnOf{}, c))
}

// queue waits until it is this caller's turn.
func (c *Client) queue(ctx context.Context) (release func(), err error) {
	defer time.AfterFunc(time.Second, func() { c.o.Say("waiting for another process, which is using 1Password") }).Stop()
	wait, cancel := context.WithTimeout(ctx, c.o.QueueTimeout)
	defer cancel()
	busy := func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &Error{Kind: Busy, Command: "op"}
	}
	select {
	case c.turn <- struct{}{}:
	case <-wait.Done():
		return nil, busy()
	}
	leave := func() { <-c.turn }
	if c.o.LockDir == "" {
		return leave, nil
	}
	var unlock func()
	if err = durable.PrivateDir(c.o.LockDir); err == nil {
		unlock, err = durable.Lock(wait, filepath.Join(c.o.LockDir, "op.lock"))
	}
	switch {
	case err == nil:
		c.waitForWrite(wait)
		return func() { unlock(); leave() }, nil
	case wait.Err() != nil:
		leave()
		return nil, busy()
	}
	c.o.Log.Warn("no queue for 1Password between processes", "reason", err)
	return leave, nil
}

// parseJSON returns a function that reads JSON into v. Its error does not quote
// what was read.
func parseJSON(v any) func([]byte) error {
	return func(out []byte) error {
		if json.Unmarshal(out, v) != nil {
			return errNotJSON
		}
		return nil
	}
}

var errNotJSON = errors.New("not the JSON that was expected")

// Version returns the version of op, such as "2.39.0". It asks nobody.
func (c *Client) Version(ctx context.Context) (string, error) {
	c.mu.Lock()
	version := c.version
	c.mu.Unlock()
	if version != "" {
		return version, nil
	}
	err := c.run(ctx, command{args: []string{"--version"}, local: true}, func(out []byte) error {
		version = strings.TrimSpace(string(out))
		if _, ok := numbers(version); !ok {
			return errors.New("not a version")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = version
	return version, nil
}

// Since reports whether a version of op is at least another one. Of a
// pre-release, such as 2.19.0-beta.01, the end does not count.
func Since(version, least string) bool {
	have, ok := numbers(version)
	want, _ := numbers(least)
	for i := range have {
		if have[i] != want[i] {
			return ok && have[i] > want[i]
		}
	}
	return ok
}

// numbers splits "2.19.0-beta.01" into 2, 19 and 0.
func numbers(version string) (n [3]int, ok bool) {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.Split(version, ".")
	if len(parts) != len(n) {
		return n, false
	}
	for i, part := range parts {
		if part == "" || len(part) > 6 {
			return n, false
		}
		for _, digit := range []byte(part) {
			if digit < '0' || digit > '9' {
				return n, false
			}
			n[i] = 10*n[i] + int(digit-'0')
		}
	}
	return n, true
}

// An Account is one that op is set up for.
type Account struct {
	URL       string `json:"url"`
	Email     string `json:"email"`
	UserID    string `json:"user_uuid"`
	ID        string `json:"account_uuid"`
	Shorthand string `json:"shorthand"`
}

// Accounts returns the accounts that op is set up for. It asks nobody.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	var list []Account
	err := c.run(ctx, command{args: []string{"account", "list", "--format", "json"}, local: true}, parseJSON(&list))
	return list, err
}

// SignedIn returns nil if op can be used without a question to the person, and
// an error of the kind NotSignedIn if there will be one, or if it can't be used
// at all: op tells no more without asking.
func (c *Client) SignedIn(ctx context.Context, account string) error {
	var who struct{}
	return c.run(ctx, command{account: account, args: []string{"whoami", "--format", "json"}, local: true}, parseJSON(&who))
}

// Ready returns nil if op can be used here: at once or, as asks says, after a
// question to the person. It asks nobody, and so can't tell the latter from an op
// that is signed out.
func (c *Client) Ready(ctx context.Context, account string) (asks bool, err error) {
	err = c.SignedIn(ctx, account)
	if KindOf(err) != NotSignedIn || c.Headless() {
		return false, err
	}
	accounts, err := c.Accounts(ctx)
	if err == nil && len(accounts) == 0 {
		err = &Error{Kind: NoAccounts, Command: "op account list"}
	}
	return err == nil, err
}

// A Vault holds items.
type Vault struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Vaults returns the vaults of an account, from 1Password's server: op's own
// cache answers even while the app is locked.
func (c *Client) Vaults(ctx context.Context, account string) ([]Vault, error) {
	var list []Vault
	err := c.run(ctx, command{account: account, args: []string{"vault", "list", "--format", "json"}, fresh: true}, parseJSON(&list))
	return list, err
}

// A Summary is what a list says of an item.
type Summary struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Tags     []string `json:"tags"`
	Category string   `json:"category"`
	Vault    Vault    `json:"vault"`
	Changed  string   `json:"updated_at"` // RFC 3339

	// Info is what the app shows below the title, such as the user of a login.
	Info string `json:"additional_information"`
}

// Items returns the items of a vault, without those in the archive; "" is all
// vaults. With a tag it returns those that have it. What was archived or made by
// another device a moment ago may be missed: op keeps a cache.
func (c *Client) Items(ctx context.Context, account, vault, tag string) ([]Summary, error) {
	return c.list(ctx, account, vault, tag, false)
}

// FreshItems is Items past op's cache.
func (c *Client) FreshItems(ctx context.Context, account, vault, tag string) ([]Summary, error) {
	return c.list(ctx, account, vault, tag, true)
}

func (c *Client) list(ctx context.Context, account, vault, tag string, fresh bool) ([]Summary, error) {
	args := []string{"item", "list", "--format", "json"}
	if vault != "" {
		args = append(args, "--vault", vault)
	}
	if tag != "" {
		args = append(args, "--tags", tag)
	}
	var list []Summary
	err := c.run(ctx, command{account: account, args: args, fresh: fresh}, parseJSON(&list))
	return list, err
}

// itemCommand returns a call of a command about an item.
func itemCommand(verb string, ref Ref, flags ...string) (command, error) {
	args := []string{"item", verb, ref.Item}
	if ref.Item == "" || ref.Item[0] == '-' { // it would be a flag, or "-"
		return command{}, &Error{Kind: NotFound, Command: "op item " + verb}
	}
	if ref.Vault != "" {
		args = append(args, "--vault", ref.Vault)
	}
	return command{account: ref.Account, args: append(args, flags...)}, nil
}

// Item returns an item with all that is in it, by one call of op. What this
// Client has read in the last minute is not read again, unless it was changed
// here. The item must not be changed.
func (c *Client) Item(ctx context.Context, ref Ref) (*Item, error) {
	if it := c.recent(ref); it != nil {
		return it, nil
	}
	var it *Item
	err := c.Turn(ctx, func(ctx context.Context) (err error) {
		if it = c.recent(ref); it != nil { // since, by another goroutine
			return nil
		}
		if it, err = c.get(ctx, ref, false); err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.items[ref] = recent{it, c.o.Now()}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// Fresh is like Item, but asks 1Password's server, which op's cache and this
// Client may lag behind.
func (c *Client) Fresh(ctx context.Context, ref Ref) (*Item, error) { return c.get(ctx, ref, true) }

func (c *Client) recent(ref Ref) *Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.items[ref]
	if age := c.o.Now().Sub(r.at); !ok || age < 0 || age >= recentFor {
		delete(c.items, ref)
		return nil
	}
	return r.item
}

// forget drops what was read: something has been changed.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.items)
}

func (c *Client) get(ctx context.Context, ref Ref, fresh bool) (it *Item, err error) {
	a, err := itemCommand("get", ref, "--format", "json")
	if err != nil {
		return nil, err
	}
	a.fresh = fresh
	err = c.run(ctx, a, func(out []byte) (err error) {
		it, err = c.decode(out)
		return err
	})
	if err != nil {
		return nil, err
	}
	it.account = ref.Account
	return it, nil
}
