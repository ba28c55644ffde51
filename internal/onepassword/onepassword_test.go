package onepassword_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kura/internal/onepassword"
	"kura/internal/opemu"
	"kura/internal/store"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	serial = "arn:aws:iam::111122223333:mfa/ann"
	seed   = "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD"
)

// TestMain lets the test be op, and another process that uses it: that reads the
// item of its argument.
func TestMain(m *testing.M) {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "op" {
		opemu.Main()
	}
	if dir := os.Getenv("TEST_LOCKS"); dir != "" {
		c := onepassword.New(onepassword.Options{Environ: os.Environ(), LockDir: dir})
		_, err := c.Item(context.Background(), onepassword.Ref{Item: os.Args[1]})
		fmt.Println(onepassword.KindOf(err))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newWorld(t *testing.T, version string) *opemu.World {
	t.Helper()
	w, err := opemu.New(opemu.Config{Dir: t.TempDir(), Version: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.LeakCheck(); err != nil {
			t.Error(err)
		}
		for _, call := range w.Journal() {
			takes := call.Command == "item edit" || call.Command == "item create"
			if want := map[bool]opemu.StdinKind{true: opemu.Pipe, false: opemu.Null}[takes]; call.Stdin != want {
				t.Errorf("op %s has a %s as its standard input, want %s", call.Command, call.Stdin, want)
			}
		}
	})
	return w
}

// keyWorld returns a world with an item that has everything, and which it is.
func keyWorld(t *testing.T) (*opemu.World, onepassword.Ref) {
	t.Helper()
	w := newWorld(t, "")
	return w, add(w, keyItem())
}

func keyItem() opemu.Item {
	return opemu.AccessKey{ID: keyID, Secret: secret, MFASerial: serial, Seed: seed, SessionCache: true}.Item()
}

func add(w *opemu.World, it opemu.Item) onepassword.Ref {
	added := w.AddItem(it)
	return onepassword.Ref{Vault: added.Vault.ID, Item: added.ID}
}

// client returns a Client of a world; set, which may be nil, changes its options.
func client(t *testing.T, w *opemu.World, set func(*onepassword.Options)) *onepassword.Client {
	t.Helper()
	o := onepassword.Options{Environ: w.Environ(), LockDir: t.TempDir()}
	if set != nil {
		set(&o)
	}
	return onepassword.New(o)
}

// calls returns the commands of op so far, but for the given number.
func calls(w *opemu.World, skip int) []string {
	var list []string
	for _, call := range w.Journal()[skip:] {
		list = append(list, strings.Join(strings.Fields(call.Command), " "))
	}
	return list
}

func wantCalls(t *testing.T, w *opemu.World, want ...string) {
	t.Helper()
	if got := calls(w, 0); !slices.Equal(got, want) {
		t.Errorf("op was called for %q, want %q", got, want)
	}
}

func wantKind(t *testing.T, what string, err error, want onepassword.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*onepassword.Error](err); !ok || e.Kind != want {
		t.Errorf("%s: %v, want an Error of the kind %q", what, err, want)
	}
}

// One call of op is enough for all that a cold start needs of an item.
func TestOneCall(t *testing.T) {
	w, ref := keyWorld(t)
	c := client(t, w, nil)
	it, err := c.Item(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	key, err := it.Key()
	if err != nil || key.AccessKeyID != keyID || key.SecretAccessKey.Reveal() != secret {
		t.Errorf("Key = %v, %v", key, err)
	}
	if got, err := it.MFASerial(); got != serial || err != nil {
		t.Errorf("MFASerial = %q, %v, want %q", got, err, serial)
	}
	if found := it.Check(); found != nil {
		t.Errorf("Check = %v, want nothing", found)
	}
	code, err := c.Device(ref).Code(t.Context(), serial)
	if want, _ := onepassword.CodeOf(seed, time.Now()); code != want || err != nil {
		t.Errorf("Code = %q, %v, want %q", code, err, want)
	}
	if again, err := c.Item(t.Context(), ref); again != it || err != nil {
		t.Errorf("Item once more is read again: %v", err)
	}
	wantCalls(t, w, "item get")
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", it, *it, it), fmt.Sprintf("%v", it.Fields)} {
		if strings.Contains(text, secret) || strings.Contains(text, seed) {
			t.Error("an item shows its secrets when it is printed")
		}
	}
}

// Op gets no variable of AWS's and none that changes what it prints; what says
// how to sign in it does get.
func TestEnvironment(t *testing.T) {
	w, ref := keyWorld(t)
	c := client(t, w, func(o *onepassword.Options) {
		o.Environ = append(o.Environ, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_PROFILE=x", "OP_FORMAT=human-readable",
			"OP_DEBUG=true", "OP_INCLUDE_ARCHIVE=true", "OP_ACCOUNT=my", "OP_INTEGRATION_NAME=other")
	})
	if _, err := c.Fresh(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	names := w.Journal()[0].EnvNames()
	for _, name := range names {
		if strings.HasPrefix(name, "AWS_") || slices.Contains([]string{"OP_FORMAT", "OP_DEBUG", "OP_INCLUDE_ARCHIVE"}, name) {
			t.Errorf("op has the variable %s", name)
		}
	}
	for _, name := range []string{"OP_ACCOUNT", "OP_CACHE", "OP_INTEGRATION_NAME", "OP_INTEGRATION_ID", "OP_INTEGRATION_BUILDNUMBER"} {
		if !slices.Contains(names, name) {
			t.Errorf("op lacks the variable %s", name)
		}
	}
}

// What op says, in each situation that there are words for, has its own kind.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		line string
		want onepassword.Kind
	}{
		{`"X" isn't an item. Specify the item with its UUID, name, or domain.`, onepassword.NotFound},
		{`"X" isn't an item in the "V" vault. Specify the item with its UUID, name, or domain.`, onepassword.NotFound},
		{`"prompt dismissed (409)" isn't an item. Specify the item with its UUID, name, or domain.`, onepassword.NotFound},
		{`"V" isn't a vault in this account. Specify the vault with its ID or name.`, onepassword.NoVault},
		{`More than one item matches "T". Try again and specify the item by its ID: `, onepassword.Ambiguous},
		{`could not find item X in vault Y, because it has been deleted or archived.`, onepassword.Archived},
		{"You are not currently signed in. Please run `op signin --help` for instructions", onepassword.NotSignedIn},
		{`No accounts configured for use with 1Password CLI.`, onepassword.NoAccounts},
		{`account is not signed in`, onepassword.NotSignedIn},
		{`no account found for filter conflict`, onepassword.NoAccount},
		{`session expired, sign in to create a new session`, onepassword.SessionExpired},
		{`authorization prompt dismissed, please try again`, onepassword.Dismissed},
		{`error initializing client: authorization prompt dismissed, please try again`, onepassword.Dismissed},
		{`authorization timeout`, onepassword.Unanswered},
		{`connecting to desktop app: cannot connect to 1Password app, make sure it is running`, onepassword.NoApp},
		{`connecting to desktop app: read: connection reset`, onepassword.AppTrouble},
		{`connecting to desktop app timed out`, onepassword.AppTrouble},
		{`1Password app is locked, unlock it`, onepassword.Locked},
		{`a vault query must be provided when this command is called by a service account`, onepassword.NeedsVault},
		{`(101) You do not have permission to perform this action`, onepassword.Forbidden},
		{`error initializing client: Authentication: (failed to auth.LookupAuth), Network: (...), Server: (403) (Forbidden (Service Account Deleted)), ...`, onepassword.TokenDeleted},
		{`service account token set, but not authenticated yet`, onepassword.TokenRefused},
		{`Too many requests. Your client has been rate-limited.`, onepassword.RateLimited},
		{`(429) Too Many Requests: You've reached the maximum number of this type of requests ...`, onepassword.RateLimited},
		{`(404) Not Found: The requested resource was not found.`, onepassword.Hidden},
		{`(400) Bad Request: no`, onepassword.BadRequest},
		{`(503) Service Unavailable`, onepassword.Server},
		{`(409) Conflict: Internal server conflict`, onepassword.Conflict},
		{`unknown flag: --x`, onepassword.Outdated},
		{`dial tcp: lookup my.1password.com: no such host`, onepassword.Unreachable},
		{`"too many requests" isn't a field in the "conflict" item`, onepassword.Unknown},
		{`something new`, onepassword.Unknown},
		{``, onepassword.Unknown},
	} {
		if got := onepassword.KindOfLine(c.line); got != c.want {
			t.Errorf("the kind of %q is %q, want %q", c.line, got, c.want)
		}
	}
}

// A failure of op's is an error of its kind that says what is wrong on one line.
func TestFailures(t *testing.T) {
	w, ref := keyWorld(t)
	w.AddItem(keyItem())
	c := client(t, w, nil)
	hasty := client(t, w, func(o *onepassword.Options) { o.AskTimeout = 300 * time.Millisecond })
	title := onepassword.Ref{Item: "AWS Access Key"}
	for _, f := range []struct {
		what  string
		ref   onepassword.Ref
		fault opemu.Fault
		want  onepassword.Kind
		text  string
	}{
		{"a missing item", onepassword.Ref{Item: "none", Vault: ref.Vault}, opemu.Fault{}, onepassword.NotFound, `"none" isn't an item`},
		{"a flag for an item", onepassword.Ref{Item: "--version"}, opemu.Fault{}, onepassword.NotFound, "names no item"},
		{"standard input for an item", onepassword.Ref{Item: "-"}, opemu.Fault{}, onepassword.NotFound, "names no item"},
		{"a missing vault", onepassword.Ref{Item: ref.Item, Vault: "none"}, opemu.Fault{}, onepassword.NoVault, `"none" isn't a vault`},
		{"two items of one title", title, opemu.Fault{}, onepassword.Ambiguous, "2 items match: "},
		{"a missing account", onepassword.Ref{Item: ref.Item, Account: "none"}, opemu.Fault{}, onepassword.NoAccount, "no account found for filter none"},
		{"no answer", ref, opemu.Fault{Mode: opemu.HangCall}, onepassword.NoAnswer, "was not done after 300ms"},
		{"no end of output", ref, opemu.Fault{Mode: opemu.HangChild}, onepassword.NoAnswer, "was not done after 300ms"},
		{"a crash", ref, opemu.Fault{Mode: opemu.Panic}, onepassword.Crashed, "op has crashed"},
		{"half an answer", ref, opemu.Fault{Mode: opemu.TruncateStdout}, onepassword.BadOutput, "not the JSON"},
		{"a secret in a message", ref, opemu.Fault{Stderr: "could not read secret op://Private/AWS Key/x: " + secret}, onepassword.Unknown, "could not read secret op://[...]"},
	} {
		f.fault.Match, f.fault.Times = "item get", 1
		w.Fault()
		if f.fault.Mode != "" || f.fault.Stderr != "" {
			w.Fault(f.fault)
		}
		caller := c
		if f.want == onepassword.NoAnswer {
			caller = hasty
		}
		_, err := caller.Fresh(t.Context(), f.ref)
		wantKind(t, f.what, err, f.want)
		if text := fmt.Sprint(err); !strings.Contains(text, f.text) || strings.Contains(text, "\n") || strings.Contains(text, secret) {
			t.Errorf("%s: %q, want %q in it", f.what, text, f.text)
		}
	}
	_, err := c.Fresh(t.Context(), title)
	if e, ok := errors.AsType[*onepassword.Error](err); !ok || len(e.Matches) != 2 || !slices.ContainsFunc(e.Matches, func(m onepassword.Match) bool {
		return m == onepassword.Match{Title: "AWS Access Key", Vault: "Private", ID: ref.Item}
	}) {
		t.Errorf("an ambiguous title: %+v, want both items", err)
	}
	w.Fault()
	if err := c.Archive(t.Context(), ref); err != nil {
		t.Error(err)
	}
	_, err = c.Fresh(t.Context(), ref)
	wantKind(t, "an archived item", err, onepassword.Archived)
}

// Op up to 2.32.0 may end with status 0 when the server has failed.
func TestSilentFailure(t *testing.T) {
	w := newWorld(t, "2.31.0")
	ref := add(w, keyItem())
	for text, want := range map[string]onepassword.Kind{
		"(500) Internal Server Error":                             onepassword.Server,
		"(101) You do not have permission to perform this action": onepassword.Forbidden,
	} {
		w.Fault(opemu.Fault{Match: "*", Mode: opemu.Exit0Empty, Stderr: text})
		_, err := client(t, w, nil).Item(t.Context(), ref)
		wantKind(t, "Item", err, want)
		_, err = client(t, w, nil).Vaults(t.Context(), "")
		wantKind(t, "Vaults", err, want)
		wantKind(t, "Archive", client(t, w, nil).Archive(t.Context(), ref), want)
	}
}

func TestMissingProgram(t *testing.T) {
	for _, path := range []string{"", "./op", "/nonexistent/op"} {
		c := onepassword.New(onepassword.Options{Path: path, Environ: []string{"PATH=."}})
		_, err := c.Version(t.Context())
		wantKind(t, "Version", err, onepassword.Missing)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without op: %v, want ErrUnavailable", err)
		}
	}
}

// In WSL the op of Windows does, where there is no other. It gets the variables
// that are op's.
func TestProgramOfWindows(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("op.exe is op there")
	}
	w, ref := keyWorld(t)
	bin := t.TempDir()
	if err := os.Symlink(w.Path(), filepath.Join(bin, "op.exe")); err != nil {
		t.Fatal(err)
	}
	environ := append(w.Environ(), "PATH="+bin, "WSLENV=FOO/p:OP_ACCOUNT/w", "OP_ACCOUNT=my", "OP_DEVICE=x")
	if _, err := client(t, w, func(o *onepassword.Options) { o.Environ = environ }).Fresh(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	const want = "WSLENV=FOO/p:OP_ACCOUNT/w:OP_DEVICE:OP_CACHE:OP_INTEGRATION_NAME:OP_INTEGRATION_ID:OP_INTEGRATION_BUILDNUMBER"
	if got := w.Journal()[0].Environ; !slices.Contains(got, want) {
		t.Errorf("op.exe has the environment %q, want %s in it", got, want)
	}
	environ = append(environ, "PATH="+filepath.Dir(w.Path())+string(filepath.ListSeparator)+bin)
	if _, err := client(t, w, func(o *onepassword.Options) { o.Environ = environ }).Fresh(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if got := w.Journal()[1].Environ; !slices.Contains(got, "WSLENV=FOO/p:OP_ACCOUNT/w") {
		t.Errorf("with op beside op.exe it has the environment %q", got)
	}
}

// An approval and its refusal are for all who wait.
func TestPrompt(t *testing.T) {
	for _, answer := range []struct {
		prompt opemu.PromptAnswer
		want   onepassword.Kind
	}{
		{opemu.Approve, ""}, {opemu.Dismiss, onepassword.Dismissed},
	} {
		t.Run(string(answer.prompt), func(t *testing.T) {
			w, ref := keyWorld(t)
			w.SetPrompt(answer.prompt)
			w.Update(func(s *opemu.State) {
				s.Auth.SessionKey, s.Auth.PromptDelay = opemu.PerMachine, opemu.Duration(2*time.Second)
			})
			locks := t.TempDir()
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					cmd := exec.CommandContext(t.Context(), os.Args[0], ref.Item)
					cmd.Env = append(w.Environ(), "TEST_LOCKS="+locks)
					if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != string(answer.want) {
						t.Errorf("another process: %v, %q, want %q", err, out, answer.want)
					}
				})
			}
			group.Wait()
			if n := w.Prompts(); n != 1 {
				t.Errorf("the person was asked %d times, want once", n)
			}
		})
	}
}

// Goroutines share an answer as processes do. Who asks again of his own accord
// is asked again.
func TestPromptAgain(t *testing.T) {
	w, ref := keyWorld(t)
	w.SetPrompt(opemu.Dismiss)
	w.Update(func(s *opemu.State) { s.Auth.PromptDelay = opemu.Duration(200 * time.Millisecond) })
	c := client(t, w, func(o *onepassword.Options) { o.Job = 1 })
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			_, err := c.Fresh(t.Context(), ref)
			wantKind(t, "Fresh", err, onepassword.Dismissed)
		})
	}
	group.Wait()
	if n := w.Prompts(); n != 1 {
		t.Errorf("the person was asked %d times, want once", n)
	}
	w.SetPrompt(opemu.Approve)
	patient := *c.Options()
	patient.RefusedFor = time.Minute
	_, err := onepassword.New(patient).Item(t.Context(), ref)
	wantKind(t, "for a caller who never gives up", err, onepassword.Dismissed)
	patient.Job++
	if _, err := onepassword.New(patient).Item(t.Context(), ref); err != nil {
		t.Errorf("for another caller: %v", err)
	}
	if _, err := c.Item(t.Context(), ref); err != nil {
		t.Errorf("after the person has changed his mind: %v", err)
	}
}

// Where the system knows no jobs, every program is another one.
func TestPromptWithoutJobs(t *testing.T) {
	w, ref := keyWorld(t)
	w.SetPrompt(opemu.Dismiss)
	c := client(t, w, nil)
	_, err := c.Fresh(t.Context(), ref)
	wantKind(t, "Fresh", err, onepassword.Dismissed)
	w.SetPrompt(opemu.Approve)
	patient := *c.Options()
	patient.RefusedFor = time.Minute
	if _, err := onepassword.New(patient).Item(t.Context(), ref); err != nil {
		t.Errorf("for another caller: %v", err)
	}
}

// A question that nobody answers ends with op killed, and one that the caller
// does not wait for at once.
func TestUnansweredPrompt(t *testing.T) {
	w, ref := keyWorld(t)
	w.SetPrompt(opemu.Hang)
	c := client(t, w, func(o *onepassword.Options) { o.AskTimeout, o.LockDir = 300*time.Millisecond, "" })
	_, err := c.Item(t.Context(), ref)
	wantKind(t, "Item", err, onepassword.NoAnswer)
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
	defer cancel()
	if _, err := c.Item(ctx, ref); !errors.Is(err, why) {
		t.Errorf("Item with a ctx that ends: %v, want its cause", err)
	}
	if _, err := c.Accounts(t.Context()); err != nil {
		t.Errorf("Accounts, which asks nobody: %v", err)
	}
	wantKind(t, "SignedIn", c.SignedIn(t.Context(), ""), onepassword.NotSignedIn)
	for _, call := range w.Journal() {
		if p, err := os.FindProcess(call.PID); err == nil && call.Exit < 0 && p.Signal(syscall.Signal(0)) == nil {
			t.Errorf("op, process %d, is still there", call.PID)
		}
	}
}

// Who waits too long for others gives up; who does not want a queue has none.
func TestQueueEnds(t *testing.T) {
	w, ref := keyWorld(t)
	locks := t.TempDir()
	first := client(t, w, func(o *onepassword.Options) { o.LockDir = locks })
	var log bytes.Buffer
	for what, c := range map[string]*onepassword.Client{
		"another process":   client(t, w, func(o *onepassword.Options) { o.LockDir, o.QueueTimeout = locks, 50*time.Millisecond }),
		"another goroutine": nil,
	} {
		err := first.Turn(t.Context(), func(ctx context.Context) error {
			if _, err := first.Item(ctx, ref); err != nil {
				t.Errorf("a call in its own turn: %v", err)
			}
			if c == nil {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, err := first.Fresh(ctx, ref)
				return err
			}
			_, err := c.Item(ctx, ref)
			return err
		})
		if c != nil {
			wantKind(t, what, err, onepassword.Busy)
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want the cause of ctx", what, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t, w, func(o *onepassword.Options) { o.LockDir, o.Log = file, slog.New(slog.NewTextHandler(&log, nil)) })
	if _, err := c.Item(t.Context(), ref); err != nil || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("without a directory for locks: %v, log %q; want a warning", err, log.String())
	}
}

// A service account asks nobody and must be told the vault; its account is the
// one that the token says.
func TestServiceAccount(t *testing.T) {
	w := newWorld(t, "")
	shared := keyItem()
	shared.Vault.ID = w.Vault("Shared")
	ref := add(w, shared)
	private := add(w, keyItem())
	w.Update(func(s *opemu.State) {
		s.Auth.Mode = opemu.ByToken
		s.Auth.SA = opemu.ServiceAccount{Token: "ops_x", Vaults: map[string]string{ref.Vault: "ro"}}
	})
	c := client(t, w, func(o *onepassword.Options) { o.Environ = append(o.Environ, "OP_SERVICE_ACCOUNT_TOKEN=ops_x") })
	ref.Account = "another"
	if _, err := c.Item(t.Context(), ref); err != nil || !c.Headless() {
		t.Errorf("Item = %v, Headless = %v", err, c.Headless())
	}
	if args := w.Journal()[0].Args; slices.Contains(args, "--account") {
		t.Errorf("op %q names an account beside the token", args)
	}
	_, err := c.Item(t.Context(), onepassword.Ref{Item: ref.Item})
	wantKind(t, "without a vault", err, onepassword.NeedsVault)
	_, err = c.Item(t.Context(), private)
	wantKind(t, "a private vault", err, onepassword.NoVault)
	_, err = c.Edit(t.Context(), ref, func(it *onepassword.Item) error { return it.SetKey(otherKey) })
	wantKind(t, "writing to a vault to read", err, onepassword.Forbidden)
	w.Update(func(s *opemu.State) { s.Limits.ReadsPerHour = 1 })
	_, err = c.Fresh(t.Context(), ref)
	wantKind(t, "too many requests", err, onepassword.RateLimited)
	w.Update(func(s *opemu.State) { s.Auth.SA.Deleted = true })
	_, err = c.Fresh(t.Context(), ref)
	wantKind(t, "a deleted account", err, onepassword.TokenDeleted)
}

func TestLists(t *testing.T) {
	w, ref := keyWorld(t)
	c := client(t, w, nil)
	if v, err := c.Version(t.Context()); v != "2.39.0" || err != nil {
		t.Errorf("Version = %q, %v", v, err)
	}
	a, err := c.Accounts(t.Context())
	if want := w.State().Accounts[0]; err != nil || len(a) != 1 || a[0].ID != want.AccountUUID || a[0].URL != want.URL {
		t.Errorf("Accounts = %+v, %v", a, err)
	}
	if v, err := c.Vaults(t.Context(), ""); err != nil || len(v) != 2 || v[0].Name != "Private" || v[0].ID != ref.Vault {
		t.Errorf("Vaults = %+v, %v", v, err)
	}
	tagged := keyItem()
	tagged.Tags = []string{"x"}
	id := add(w, tagged).Item
	if it, err := c.Items(t.Context(), a[0].ID, ref.Vault, "x"); err != nil || len(it) != 1 || it[0].ID != id || it[0].Category != "API_CREDENTIAL" {
		t.Errorf("Items = %+v, %v", it, err)
	}
	if it, err := c.Items(t.Context(), "", "", ""); err != nil || len(it) != 2 {
		t.Errorf("Items of all vaults = %+v, %v", it, err)
	}
}

func TestSince(t *testing.T) {
	for _, c := range []struct {
		have, least string
		want        bool
	}{
		{"2.23.0", "2.23.0", true}, {"2.22.9", "2.23.0", false}, {"2.30.3", "2.23.0", true}, {"3.0.0", "2.23.0", true},
		{"2.23.0-beta.01", "2.23.0", true}, {"1.99.99", "2.23.0", false}, {"2.100.0", "2.23.0", true},
		{"", "2.23.0", false}, {"2.99", "2.23.0", false}, {"x.y.z", "0.0.0", false},
	} {
		if got := onepassword.Since(c.have, c.least); got != c.want {
			t.Errorf("Since(%q, %q) = %v, want %v", c.have, c.least, got, c.want)
		}
	}
}

// What looks like a secret is not shown, and what says which item is.
func TestRedact(t *testing.T) {
	for line, want := range map[string]string{
		"item 3oznm6vzf4bs5mfll62isfewca is gone": "item 3oznm6vzf4bs5mfll62isfewca is gone",
		"key " + keyID + ", " + secret + ".":      "key [...], [...].",
		"token ops_eyJzaWduSW4":                   "token [...]",
		"could not read op://a b/c d/e: no":       "could not read op://[...]",
		"otpauth://totp/x?secret=" + seed:         "otpauth://[...]",
		"a\x1b[31mb\u202e":                        "a?[31mb?",
		"日本語 isn't a field":                       "日本語 isn't a field",
	} {
		if got := onepassword.RedactedLine(line); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
	if n := len(onepassword.RedactedLine(strings.Repeat("word ", 1000))); n > 310 {
		t.Errorf("a long line is shown with %d bytes", n)
	}
}
