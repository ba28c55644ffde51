package opemu_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/awstest"
	"kura/internal/opemu"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"op": opemu.Main, "opemu": opemu.Main})
}

// TestScript runs the scripts in testdata, which show the programs op and opemu
// at work.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("OPEMU_STATE", filepath.Join(e.WorkDir, "state.json"))
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each call lasts a second with -race
			return nil
		},
	})
}

func newWorld(t *testing.T) *opemu.World {
	t.Helper()
	w, err := opemu.New(opemu.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// keyItem is an item with the access key of the emulated AWS.
func keyItem() opemu.Item {
	return opemu.AccessKey{
		ID:           awstest.AccessKeyID,
		Secret:       awstest.SecretAccessKey,
		MFASerial:    awstest.MFASerial,
		Seed:         awstest.MFASeed,
		SessionCache: true,
	}.Item()
}

// a world with one item.
func keyWorld(t *testing.T) (*opemu.World, opemu.Stored) {
	t.Helper()
	w := newWorld(t)
	return w, w.AddItem(keyItem())
}

// op calls op, which must succeed, and returns what it prints.
func op(t *testing.T, w *opemu.World, args ...string) string {
	t.Helper()
	return succeeded(t, w.Op(t.Context(), opemu.Stdin{}, args...))
}

func succeeded(t *testing.T, r opemu.Result) string {
	t.Helper()
	if r.Exit != 0 {
		t.Fatalf("exit status %d, %s", r.Exit, r.Stderr)
	}
	return r.Stdout
}

// refused checks that a call fails with a text and nothing on stdout.
func refused(t *testing.T, r opemu.Result, exit int, text string) {
	t.Helper()
	if r.Exit != exit || r.Stdout != "" || !strings.Contains(r.Stderr, text) {
		t.Errorf("exit status %d, stdout %q, stderr %q; want %d, %q and %q", r.Exit, r.Stdout, r.Stderr, exit, "", text)
	}
}

func decode(t *testing.T, text string) opemu.Item {
	t.Helper()
	var it opemu.Item
	if err := json.Unmarshal([]byte(text), &it); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return it
}

// waitFor returns once something is so that a call of op brings about.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatal("it has not come about")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// cacheEdit is the JSON of an edit that fills the item's session_cache.
func cacheEdit(t *testing.T, w *opemu.World, id, value string) opemu.Stdin {
	t.Helper()
	it := decode(t, op(t, w, "item", "get", id, "--format", "json", "--cache=false"))
	field(t, it, "session_cache").Value = value
	return opemu.PipeOf(toJSON(t, it))
}

func cacheOf(t *testing.T, w *opemu.World, id string) string {
	t.Helper()
	return field(t, w.Item(id).Item, "session_cache").Value
}

// Behaviour 1: flags stand anywhere, in both forms; variables stand for flags.
func TestFlags(t *testing.T) {
	w, it := keyWorld(t)
	want := op(t, w, "item", "get", it.ID, "--vault", "Private", "--fields", "label=Access Key ID", "--format", "json")
	for _, args := range [][]string{
		{"--format", "json", "item", "get", it.ID, "--vault", "Private", "--fields", "label=Access Key ID"},
		{"--format=json", "--vault=Private", "item", "--fields=label=Access Key ID", "get", it.ID},
		{"item", "get", "--cache=false", "--no-color", "--fields", "Access Key ID", "--format=json", it.ID},
		{"item", "get", "--fields", "label=Access Key ID", "--format=json", "--", it.ID},
		{"item", "get", it.ID, "--fields", "label=Access Key ID", "--format=json", "--account", "my"},
	} {
		if got := op(t, w, args...); got != want {
			t.Errorf("op %q = %q, want %q", args, got, want)
		}
	}

	call := func(variable string, args ...string) opemu.Result {
		return w.Call(t.Context(), opemu.Env{Args: args, Environ: []string{variable}})
	}
	if got := succeeded(t, call("OP_FORMAT=json", "item", "get", it.ID, "--fields", "Access Key ID")); got != want {
		t.Errorf("with OP_FORMAT=json: %q, want %q", got, want)
	}
	if got := succeeded(t, call("OP_FORMAT=json", "item", "get", it.ID, "--otp")); len(got) != 7 {
		t.Errorf("--otp with OP_FORMAT=json: %q, want a code", got)
	}
	refused(t, call("OP_ACCOUNT=other", "vault", "list"), 1, "no account found for filter other")
	if r := call("OP_ACCOUNT=other", "vault", "list", "--account", "my"); r.Exit != 0 {
		t.Errorf("--account does not win over OP_ACCOUNT: %s", r.Stderr)
	}

	for _, args := range [][]string{{"--nonsense", "item", "get", "x"}, {"vault", "list", "--otp"}} {
		r := w.Op(t.Context(), opemu.Stdin{}, args...)
		refused(t, r, 1, "unknown flag: --")
		refused(t, r, 1, "Usage:")
	}
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "items"), 1, `unknown command "items" for "op"`)
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "take"), 1, `unknown command "take" for "op item"`)
}

// Behaviour 2, as far as the contract does not show it: lines without [ERROR],
// and states in which nothing works.
func TestMessages(t *testing.T) {
	w, it := keyWorld(t)
	get := func() opemu.Result { return w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID) }

	w.Update(func(s *opemu.State) { s.Auth.AppRunning = false })
	refused(t, get(), 1, "connecting to desktop app: cannot connect to 1Password app, make sure it is running\n")
	w.Update(func(s *opemu.State) { s.Auth.Mode = opemu.None })
	refused(t, get(), 1, "You are not currently signed in. Please run `op signin --help` for instructions\n")
	w.Update(func(s *opemu.State) { s.Accounts = nil })
	if r := get(); r.Stderr != "No accounts configured for use with 1Password CLI.\n" {
		t.Errorf("without an account: %q, want no prefix", r.Stderr)
	}
	if got := op(t, w, "account", "list", "--format", "json"); got != "[]\n" {
		t.Errorf("account list without an account = %q, want []", got)
	}

	w, it = keyWorld(t)
	op(t, w, "item", "delete", it.ID, "--archive")
	refused(t, get(), 1, "could not find item "+it.ID+" in vault "+it.Vault.ID+", because it has been deleted or archived.\n")
	op(t, w, "item", "get", it.ID, "--include-archive")
}

// Behaviour 3: codes follow the clock of op and are those that AWS takes; what
// is concealed from people depends on the version.
func TestCodesAreAWSs(t *testing.T) {
	w, it := keyWorld(t)
	cloud := awstest.New(awstest.Config{Now: w.Now})
	t.Cleanup(cloud.Close)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.Update(func(s *opemu.State) { s.Now = &start })
	seen := map[string]bool{}
	for range 3 {
		code := strings.TrimSpace(op(t, w, "item", "get", it.ID, "--otp"))
		if want, err := cloud.Code(awstest.MFASerial); code != want {
			t.Errorf("op has the code %s, AWS %s, %v", code, want, err)
		}
		seen[code] = true
		w.Advance(30 * time.Second)
	}
	if len(seen) != 3 {
		t.Errorf("three steps have %d codes", len(seen))
	}
	before := op(t, w, "item", "get", it.ID, "--otp")
	w.Advance(-30 * time.Second)
	w.Update(func(s *opemu.State) { s.ClockSkew = opemu.Duration(30 * time.Second) })
	if got := op(t, w, "item", "get", it.ID, "--otp"); got != before {
		t.Error("a clock skew of 30 s is not one step")
	}

	w.Update(func(s *opemu.State) { s.Version = "2.29.0" })
	if got := op(t, w, "item", "get", it.ID); !strings.Contains(got, awstest.SecretAccessKey) {
		t.Error("op 2.29 conceals what it did not")
	}
}

// Behaviour 4: see the contract. Two fields of one label are both there.
func TestFieldsOfOneLabel(t *testing.T) {
	w := newWorld(t)
	it := keyItem()
	it.Sections = append(it.Sections, opemu.Section{ID: "s2", Label: "two"})
	it.Fields = append(it.Fields, opemu.Field{ID: "second", Section: &it.Sections[1], Type: "CONCEALED", Label: "session_cache", Value: "x"})
	id := w.AddItem(it).ID
	var list []opemu.Field
	if err := json.Unmarshal([]byte(op(t, w, "item", "get", id, "--fields", "label=session_cache", "--format", "json")), &list); err != nil || len(list) != 2 {
		t.Errorf("fields = %v, %v, want an array of 2", list, err)
	}
}

// Behaviour 5: a title that two vaults have is ambiguous, until a vault is named.
func TestLookup(t *testing.T) {
	w, it := keyWorld(t)
	other := keyItem()
	other.Vault.ID = w.Vault("Shared")
	second := w.AddItem(other)
	r := w.Op(t.Context(), opemu.Stdin{}, "item", "get", "aws access key")
	refused(t, r, 1, "More than one item matches \"aws access key\". Try again and specify the item by its ID: \n"+
		"\t* for the item \"AWS Access Key\" in vault Private: "+it.ID+"\n"+
		"\t* for the item \"AWS Access Key\" in vault Shared: "+second.ID+"\n")
	for _, vault := range []string{"Shared", w.Vault("Shared")} {
		if got := decode(t, op(t, w, "item", "get", "AWS Access Key", "--vault", vault, "--format", "json")); got.ID != second.ID {
			t.Errorf("in vault %s: item %s, want %s", vault, got.ID, second.ID)
		}
	}
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID, "--vault", "Shared"), 1, "isn't an item in the \"Shared\" vault")
	w.Update(func(s *opemu.State) { s.ExactTitles = true })
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "get", "aws access key"), 1, "isn't an item.")
	link := strings.TrimSpace(op(t, w, "item", "get", it.ID, "--share-link"))
	if got := decode(t, op(t, w, "item", "get", link, "--format", "json")); got.ID != it.ID {
		t.Errorf("by link: item %s, want %s", got.ID, it.ID)
	}
}

// Behaviour 6: the four ways in which a Go program can start op. Only a pipe is
// read, and one that op has no use for is marked.
func TestStdinKinds(t *testing.T) {
	w, it := keyWorld(t)
	template := cacheEdit(t, w, it.ID, "from stdin")
	text, err := io.ReadAll(template.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "item.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	regular, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	inherited, foreign, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	defer foreign.Close() // nothing ever comes

	for _, test := range []struct {
		stdin io.Reader
		args  []string
		kind  opemu.StdinKind
		marks []opemu.Mark
		cache string
	}{
		{nil, []string{"item", "edit"}, opemu.Null, nil, ""},
		{regular, []string{"item", "edit"}, opemu.Regular, nil, ""},
		{inherited, []string{"item", "get"}, opemu.Pipe, []opemu.Mark{opemu.MarkInherited}, ""},
		{strings.NewReader(string(text)), []string{"item", "edit"}, opemu.Pipe, nil, "from stdin"},
	} {
		cmd := exec.CommandContext(t.Context(), w.Path(), append(test.args, it.ID)...)
		cmd.Env = w.Environ()
		cmd.Stdin = test.stdin
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", test.args, err, out)
		}
		calls := w.Journal()
		last := calls[len(calls)-1]
		if last.Stdin != test.kind || !slices.Equal(last.Marks, test.marks) {
			t.Errorf("%v: stdin %q, marks %q, want %q, %q", test.args, last.Stdin, last.Marks, test.kind, test.marks)
		}
		if got := cacheOf(t, w, it.ID); got != test.cache {
			t.Errorf("%v with %s: session_cache = %q, want %q", test.args, test.kind, got, test.cache)
		}
	}
}

// Behaviour 6, continued: op can also wait for the end of an inherited pipe.
func TestInheritedPipeHangs(t *testing.T) {
	w, it := keyWorld(t)
	w.Update(func(s *opemu.State) { s.HangOnPipe = true })
	inherited, foreign := io.Pipe()
	defer foreign.Close()
	done := make(chan opemu.Result)
	go func() {
		done <- w.Op(t.Context(), opemu.Stdin{Kind: opemu.Pipe, Reader: inherited}, "item", "get", it.ID)
	}()
	foreign.Write([]byte("somebody else's data")) // returns once op has read it
	select {
	case r := <-done:
		t.Fatalf("op ends, with %d, before the pipe does", r.Exit)
	default:
	}
	foreign.Close()
	if r := <-done; r.Exit != 0 {
		t.Errorf("exit status %d: %s", r.Exit, r.Stderr)
	}
}

// Behaviour 7: what JSON does beyond the contract.
func TestEditJSON(t *testing.T) {
	w, it := keyWorld(t)
	w.EditElsewhere(it.ID, func(it *opemu.Stored) { it.Passkey = true })
	edit := cacheEdit(t, w, it.ID, "one")
	reply := decode(t, succeeded(t, w.Op(t.Context(), edit, "item", "edit", it.ID, "--format", "json")))
	if len(reply.UpdatedAt) != len("2023-10-12T19:36:39.776386-07:00") {
		t.Errorf("updated_at of the reply = %q, want microseconds and an offset", reply.UpdatedAt)
	}
	if got := w.Item(it.ID); got.Passkey || !got.PasskeyDestroyed {
		t.Errorf("passkey %v, destroyed %v, want a destroyed one", got.Passkey, got.PasskeyDestroyed)
	}
	if got := cacheOf(t, w, it.ID); got != "one" {
		t.Errorf("session_cache = %q, want %q", got, "one")
	}

	// A stale version of the item is no obstacle: the last one wins.
	stale := decode(t, op(t, w, "item", "get", it.ID, "--format", "json"))
	op(t, w, "item", "edit", it.ID, "added elsewhere[text]=x")
	succeeded(t, w.Op(t.Context(), opemu.PipeOf(toJSON(t, stale)), "item", "edit", it.ID))
	if got := fields(w.Item(it.ID).Item, "added elsewhere"); len(got) != 0 {
		t.Error("a field that the JSON does not have is still there")
	}

	stale.UpdatedAt, stale.ID = "", ""
	refused(t, w.Op(t.Context(), opemu.PipeOf(toJSON(t, stale)), "item", "edit", it.ID), 1, "[ItemValidator] has found 1 errors:")
	w.Update(func(s *opemu.State) { s.StrictTemplate = false })
	succeeded(t, w.Op(t.Context(), opemu.PipeOf(toJSON(t, stale)), "item", "edit", it.ID))

	w.Update(func(s *opemu.State) { s.Version = "2.22.1" })
	version := w.Item(it.ID).Version
	succeeded(t, w.Op(t.Context(), cacheEdit(t, w, it.ID, "two"), "item", "edit", it.ID))
	if got := w.Item(it.ID); got.Version != version || cacheOf(t, w, it.ID) != "one" {
		t.Errorf("op 2.22 takes an item from stdin")
	}
}

// Behaviour 8: see the contract. The trap of session_cache: in a section of its
// own, an assignment without the section makes a second one.
func TestAssignmentTrap(t *testing.T) {
	w := newWorld(t)
	it := keyItem()
	section := &opemu.Section{ID: "s1", Label: "aws"}
	it.Sections = append(it.Sections, *section)
	it.Fields[len(it.Fields)-1].Section = section
	id := w.AddItem(it).ID
	op(t, w, "item", "edit", id, "session_cache[password]=eyJ9")
	if got := fields(w.Item(id).Item, "session_cache"); len(got) != 2 {
		t.Errorf("there are %d fields session_cache, want 2", len(got))
	}
	plain := w.AddItem(keyItem()).ID
	op(t, w, "item", "edit", plain, "session_cache[password]=eyJ9")
	if got := fields(w.Item(plain).Item, "session_cache"); len(got) != 1 || got[0].Value != "eyJ9" {
		t.Errorf("in the app's section: %d fields session_cache, want 1", len(got))
	}
	for _, bad := range []string{"x", "x[nonsense]=1", "=1", "nothing[delete]"} {
		if r := w.Op(t.Context(), opemu.Stdin{}, "item", "edit", plain, bad); r.Exit != 1 {
			t.Errorf("the assignment %q is accepted", bad)
		}
	}
}

// Behaviour 8, continued: secrets in arguments and variables are found, as they
// are and in base64, and journal and error do not say which one.
func TestLeakCheck(t *testing.T) {
	const session = "FQoGZXIvYXdzEXAMPLETOKEN??>>"
	coded := base64.StdEncoding.EncodeToString([]byte(`{"Credentials":{"SessionToken":"` + session + `"}}`))
	argument := func(value string) opemu.Env {
		return opemu.Env{Args: []string{"item", "edit", "no such item", "session_cache=" + value}}
	}
	calls := map[string]opemu.Env{
		"an argument":     argument(session),
		"in base64":       argument(coded),
		"a variable":      {Args: []string{"vault", "list"}, Environ: []string{"AWS_SESSION_TOKEN=" + session}},
		"one of the item": {Args: []string{"read", "op://x/y/" + awstest.SecretAccessKey}},
	}
	for _, before := range []string{"", "1", "12", "123"} {
		calls["in base64 after "+before] = argument(base64.StdEncoding.EncodeToString([]byte(before + session + "4")))
		calls["in the URL alphabet after "+before] = argument(base64.RawURLEncoding.EncodeToString([]byte(before + session + "4")))
	}
	for name, call := range calls {
		w, _ := keyWorld(t)
		op(t, w, "item", "get", "AWS Access Key")
		if err := w.LeakCheck(session); err != nil {
			t.Errorf("before: %v", err)
		}
		w.Call(t.Context(), call)
		err := w.LeakCheck(session)
		if err == nil {
			t.Errorf("%s: LeakCheck finds nothing", name)
		} else if strings.Contains(err.Error(), session) || strings.Contains(err.Error(), awstest.SecretAccessKey) {
			t.Errorf("%s: the error has the secret", name)
		}
	}
	w, it := keyWorld(t)
	w.EditElsewhere(it.ID, func(it *opemu.Stored) { field(t, it.Item, "session_cache").Value = coded })
	w.EditElsewhere(it.ID, func(it *opemu.Stored) { field(t, it.Item, "session_cache").Value = "" })
	w.Op(t.Context(), opemu.Stdin{}, "item", "get", coded)
	if w.LeakCheck() == nil {
		t.Error("LeakCheck forgets what a field held once")
	}
}

// Behaviour 9: an item without a vault goes to the private one.
func TestCreateVault(t *testing.T) {
	w := newWorld(t)
	op(t, w, "item", "create", "--category", "apicredential", "--title", "a", "--tags", "x,y", "credential=s3cret-value")
	succeeded(t, w.Op(t.Context(), opemu.PipeOf(toJSON(t, keyItem())), "item", "create", "-", "--vault", "Shared"))
	items := w.Items()
	if len(items) != 2 || items[0].Vault.ID != w.Vault("Private") || items[1].Vault.ID != w.Vault("Shared") {
		t.Fatalf("items = %+v, want one in each vault", items)
	}
	if f := items[0].Fields[2]; f.Label != "credential" || f.Value != "s3cret-value" || len(items[0].Tags) != 2 {
		t.Errorf("the item has %v and tags %v", f.Label, items[0].Tags)
	}
	op(t, w, "item", "create", "--category", "Login", "--dry-run")
	if got := len(w.Items()); got != 2 {
		t.Errorf("--dry-run has made an item")
	}
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "create"), 1, "category")
}

// Behaviour 10: what a service account can't do.
func TestServiceAccount(t *testing.T) {
	w, private := keyWorld(t)
	it := keyItem()
	it.Vault.ID = w.Vault("Shared")
	it.Title = "shared key"
	shared := w.AddItem(it)
	w.Update(func(s *opemu.State) {
		s.Auth.Mode = opemu.ByToken
		s.Auth.SA = opemu.ServiceAccount{Token: "ops_example", Vaults: map[string]string{shared.Vault.ID: "ro", private.Vault.ID: "rw"}}
	})
	call := func(in opemu.Stdin, args ...string) opemu.Result {
		return w.Call(t.Context(), opemu.Env{Args: args, Stdin: in, Environ: []string{"OP_SERVICE_ACCOUNT_TOKEN=ops_example"}})
	}
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "vault", "list"), 1, "You are not currently signed in.")
	refused(t, call(opemu.Stdin{}, "item", "get", shared.ID), 1, "a vault query must be provided when this command is called by a service account")
	edit := decode(t, succeeded(t, call(opemu.Stdin{}, "item", "get", shared.ID, "--vault", shared.Vault.ID, "--format", "json")))
	refused(t, call(opemu.PipeOf(toJSON(t, edit)), "item", "edit", shared.ID, "--vault", "Shared"), 1, "(101) You do not have permission to perform this action")
	refused(t, call(opemu.Stdin{}, "item", "get", private.ID, "--vault", private.Vault.ID), 1, "isn't a vault in this account")
	if got := succeeded(t, call(opemu.Stdin{}, "vault", "list", "--format", "json")); strings.Contains(got, "Private") || !strings.Contains(got, "Shared") {
		t.Errorf("vault list = %s, want Shared alone", got)
	}
	if got := succeeded(t, call(opemu.Stdin{}, "whoami", "--format", "json")); strings.Contains(got, "email") || !strings.Contains(got, `"SERVICE_ACCOUNT"`) {
		t.Errorf("whoami = %s, want no email", got)
	}
	w.Update(func(s *opemu.State) { s.Auth.SA.Deleted = true })
	refused(t, call(opemu.Stdin{}, "vault", "list"), 1, "Server: (403) (Forbidden (Service Account Deleted))")
	refused(t, call(opemu.Stdin{}, "whoami"), 2, "panic: ")
	w.Update(func(s *opemu.State) { s.Auth.SA = opemu.ServiceAccount{Token: "ops_other"} })
	refused(t, call(opemu.Stdin{}, "vault", "list"), 1, "service account token set, but not authenticated yet")
	if w.Prompts() != 0 {
		t.Error("a service account is asked something")
	}
}

// Behaviour 11: a Connect server wins over all else.
func TestConnect(t *testing.T) {
	w, it := keyWorld(t)
	w.Update(func(s *opemu.State) {
		s.Auth.AppRunning = false
		s.Auth.Connect = opemu.Connect{Host: "http://connect.example", Token: "right"}
		s.Auth.SA = opemu.ServiceAccount{Token: "ops_example", Deleted: true}
	})
	call := func(token string, args ...string) opemu.Result {
		return w.Call(t.Context(), opemu.Env{Args: args, Environ: []string{
			"OP_CONNECT_HOST=http://connect.example", "OP_CONNECT_TOKEN=" + token, "OP_SERVICE_ACCOUNT_TOKEN=ops_example",
		}})
	}
	if got := succeeded(t, call("right", "vault", "list", "--format", "json")); strings.Contains(got, "Private") || !strings.Contains(got, "Shared") {
		t.Errorf("vault list = %s, want Shared alone", got)
	}
	refused(t, call("right", "item", "get", it.ID), 1, "isn't an item")
	refused(t, call("wrong", "vault", "list"), 1, "(401)")
}

// Behaviour 12: the app asks once in a terminal session, again when it was
// idle, after its time, and after it was locked.
func TestDesktopApproval(t *testing.T) {
	w, it := keyWorld(t)
	call := func(tty string, ppid int) opemu.Result {
		return w.Call(t.Context(), opemu.Env{Args: []string{"item", "get", it.ID}, TTY: tty, PPID: ppid})
	}
	asks := func(what string, want int, tty string, ppid int) {
		t.Helper()
		before := w.Prompts()
		succeeded(t, call(tty, ppid))
		if got := w.Prompts() - before; got != want {
			t.Errorf("%s: %d prompts, want %d", what, got, want)
		}
	}
	asks("the first call", 1, "pts/1", 7)
	asks("another call", 0, "pts/1", 8)
	asks("another terminal", 1, "pts/2", 7)
	asks("no terminal", 1, "", 7)
	asks("no terminal, same parent", 0, "", 7)
	asks("no terminal, another parent", 1, "", 8)
	for range 4 {
		w.Advance(9 * time.Minute)
		asks("use within ten minutes", 0, "pts/1", 7)
	}
	w.Advance(10 * time.Minute)
	asks("ten idle minutes", 1, "pts/1", 7)
	w.Update(func(s *opemu.State) { s.Auth.Idle = s.Auth.Max })
	w.Advance(11*time.Hour + 59*time.Minute)
	asks("just under twelve hours", 0, "pts/1", 7)
	w.Advance(time.Minute)
	asks("twelve hours", 1, "pts/1", 7)
	w.Lock()
	asks("the app was locked", 1, "pts/1", 7)
	w.Lock()
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "whoami"), 1, "account is not signed in")
	w.Unlock()
	asks("the app was locked for a while", 1, "pts/1", 7)
	w.Update(func(s *opemu.State) { s.Auth.Locked = true })
	asks("the app is locked", 1, "pts/1", 7)
	if w.State().Auth.Locked {
		t.Error("the app is locked after its dialog")
	}
}

// Behaviour 12, continued: what the person makes of it, and what never asks.
func TestPromptAnswers(t *testing.T) {
	w, it := keyWorld(t)
	get := func() opemu.Result { return w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID) }
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "whoami"), 1, "account is not signed in")
	op(t, w, "account", "list")
	op(t, w, "--version")
	if got := w.Prompts(); got != 0 {
		t.Fatalf("%d prompts so far, want none", got)
	}
	w.SetPrompt(opemu.Dismiss)
	refused(t, get(), 1, "authorization prompt dismissed, please try again")
	w.SetPrompt(opemu.Timeout)
	refused(t, get(), 1, "authorization timeout")

	w.SetPrompt(opemu.Hang)
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	if r := w.Op(ctx, opemu.Stdin{}, "item", "get", it.ID); r.Exit != 137 || r.Stdout != "" {
		t.Errorf("a call that was killed: exit status %d, stdout %q", r.Exit, r.Stdout)
	}
	calls := w.Journal()
	if last := calls[len(calls)-1]; last.Exit != -1 || !last.Prompt {
		t.Errorf("the journal has %d, %v for a call that hung in a prompt", last.Exit, last.Prompt)
	}

	done := make(chan opemu.Result)
	go func() { done <- get() }()
	waitFor(t, func() bool { return w.Prompts() == 4 })
	w.SetPrompt(opemu.Approve)
	succeeded(t, <-done)
	op(t, w, "whoami")
}

// Behaviour 12, continued: parallel calls stack prompts.
func TestPromptsStack(t *testing.T) {
	w, it := keyWorld(t)
	w.SetPrompt(opemu.Hang)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if r := w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID); r.Exit != 0 {
				t.Errorf("exit status %d: %s", r.Exit, r.Stderr)
			}
		})
	}
	waitFor(t, func() bool { return w.Prompts() == 2 })
	w.SetPrompt(opemu.Approve)
	calls.Wait()
}

// The ways of signing in by hand.
func TestManualSession(t *testing.T) {
	w, it := keyWorld(t)
	w.Update(func(s *opemu.State) { s.Auth.Mode = opemu.Manual })
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID), 1, "You are not currently signed in.")
	token := strings.TrimSpace(op(t, w, "signin", "--raw"))
	op(t, w, "item", "get", it.ID, "--session", token)
	r := w.Call(t.Context(), opemu.Env{Args: []string{"item", "get", it.ID}, Environ: []string{"OP_SESSION_my=" + token}})
	succeeded(t, r)
	w.Advance(31 * time.Minute)
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID, "--session", token), 1, "session expired, sign in to create a new session")
}

// Behaviour 13: op's daemon does not know what other devices do.
func TestStaleCache(t *testing.T) {
	w, it := keyWorld(t)
	w.Freeze()
	w.EditElsewhere(it.ID, func(it *opemu.Stored) { field(t, it.Item, "session_cache").Value = "new" })
	read := func(args ...string) string {
		t.Helper()
		it := decode(t, op(t, w, append([]string{"item", "get", it.ID, "--format", "json"}, args...)...))
		return field(t, it, "session_cache").Value
	}
	if got := read(); got != "" {
		t.Errorf("session_cache = %q, want what it was", got)
	}
	if got := read("--cache=false"); got != "new" {
		t.Errorf("with --cache=false session_cache = %q, want %q", got, "new")
	}
	r := w.Call(t.Context(), opemu.Env{Args: []string{"item", "get", it.ID, "--format=json"}, Environ: []string{"OP_CACHE=false"}})
	if got := decode(t, succeeded(t, r)); field(t, got, "session_cache").Value != "new" {
		t.Error("OP_CACHE=false is not honoured")
	}
	op(t, w, "item", "edit", it.ID, "note[text]=x")
	if got := read(); got != "new" {
		t.Errorf("after an edit session_cache = %q, want %q", got, "new")
	}
}

// Behaviour 14: of two edits of a vault at once, the slower is refused.
func TestConflict(t *testing.T) {
	w, it := keyWorld(t)
	other := w.AddItem(keyItem())
	edit := cacheEdit(t, w, it.ID, "mine")
	w.Update(func(s *opemu.State) {
		s.Latency.Commands = map[string]opemu.Duration{"item edit": opemu.Duration(300 * time.Millisecond)}
	})
	done := make(chan opemu.Result)
	go func() { done <- w.Op(t.Context(), edit, "item", "edit", it.ID) }()
	waitFor(t, func() bool { return w.State().Usage.Writes > 0 }) // it has looked at the vault
	w.EditElsewhere(other.ID, func(it *opemu.Stored) {})
	refused(t, <-done, 1, "(409) Conflict: Internal server conflict")
	if got := cacheOf(t, w, it.ID); got != "" {
		t.Errorf("session_cache = %q after a conflict, want what it was", got)
	}
}

// Behaviour 15: requests are counted by what calls cost, and limited.
func TestLimits(t *testing.T) {
	w, it := keyWorld(t)
	reads := func(args ...string) int {
		t.Helper()
		before := w.State().Usage.Reads
		op(t, w, args...)
		return w.State().Usage.Reads - before
	}
	if got := reads("item", "get", it.ID, "--vault", it.Vault.ID); got != 1 {
		t.Errorf("get by IDs costs %d reads, want 1", got)
	}
	if got := reads("item", "get", "AWS Access Key"); got != 3 {
		t.Errorf("get by title costs %d reads, want 3", got)
	}
	if got := reads("item", "edit", it.ID, "a[text]=1"); got != 5 {
		t.Errorf("edit costs %d reads, want 5", got)
	}
	if got := reads("item", "edit", it.ID, "a[text]=1", "--vault", it.Vault.ID); got != 4 {
		t.Errorf("edit with a vault costs %d reads, want 4", got)
	}
	if got := w.State().Usage.Writes; got != 2 {
		t.Errorf("two edits cost %d writes, want 2", got)
	}
	w.Update(func(s *opemu.State) { s.Limits = opemu.Limits{ReadsPerHour: 16, WritesPerHour: 2} })
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "edit", it.ID, "a[text]=2"), 1, "Too many requests. Your client has been rate-limited.")
	op(t, w, "item", "get", it.ID)
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "item", "get", it.ID), 1, "Too many requests.")
	w.Advance(time.Hour)
	op(t, w, "item", "get", it.ID)
}

// Behaviour 16: faults strike the calls they are meant for, before or after
// these have an effect.
func TestFaults(t *testing.T) {
	w, it := keyWorld(t)
	edit := func(value string) opemu.Result {
		return w.Op(t.Context(), cacheEdit(t, w, it.ID, value), "item", "edit", it.ID, "--format", "json")
	}
	conflict := opemu.Fault{Match: "item edit", Nth: 2, Times: 2, Stderr: "(409) Conflict: Internal server conflict"}
	w.Fault(conflict)
	for i, want := range []int{0, 1, 1, 0} {
		if r := edit("v"); r.Exit != want {
			t.Errorf("edit %d: exit status %d, want %d", i+1, r.Exit, want)
		}
	}

	w.Fault(opemu.Fault{Match: "item edit", Stderr: "lost", Mode: opemu.AfterCommit})
	refused(t, edit("committed"), 1, "lost")
	if got := cacheOf(t, w, it.ID); got != "committed" {
		t.Errorf("session_cache = %q, want %q: it was too late for the fault", got, "committed")
	}

	w.Fault(opemu.Fault{Match: "item edit", Stderr: "refused", Exit: 4})
	refused(t, edit("refused"), 4, "refused")
	if got := cacheOf(t, w, it.ID); got != "committed" {
		t.Errorf("session_cache = %q, want %q", got, "committed")
	}

	w.Fault(opemu.Fault{Match: "item get", Times: 1, Mode: opemu.TruncateStdout})
	if got := op(t, w, "item", "get", it.ID, "--format", "json"); json.Valid([]byte(got)) || got == "" {
		t.Errorf("a truncated reply is %q", got)
	}

	w.Fault(opemu.Fault{Match: "*", Mode: opemu.Panic})
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "vault", "list"), 2, "goroutine 1 [running]")

	w.Fault(opemu.Fault{Match: "vault list", Stderr: "(500)", Mode: opemu.Exit0Empty})
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "vault", "list"), 1, "(500)")
	w.Update(func(s *opemu.State) { s.Version = "2.32.0" })
	refused(t, w.Op(t.Context(), opemu.Stdin{}, "vault", "list"), 0, "(500)")
	w.Fault(opemu.Fault{Match: "item edit", Mode: opemu.Silent})
	if r := edit("unheard"); r != (opemu.Result{}) || cacheOf(t, w, it.ID) != "committed" {
		t.Errorf("a silent call = %+v", r)
	}
	w.Fault(opemu.Fault{Match: "item edit", Mode: opemu.Killed})
	if r := edit("unheard"); r.Exit != 137 || cacheOf(t, w, it.ID) != "committed" {
		t.Errorf("a call that is killed = %+v", r)
	}
	w.Fault(opemu.Fault{Match: "item edit", Mode: opemu.KilledDone})
	if r := edit("committed again"); r.Exit != 137 || r.Stdout != "" || cacheOf(t, w, it.ID) != "committed again" {
		t.Errorf("a call that is killed when it is done = %+v", r)
	}
}

// Behaviour 16, continued: op and what calls it are killed. Op goes on without
// who has called it.
func TestKilled(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	w, it := keyWorld(t)
	for _, test := range []struct {
		mode  opemu.FaultMode
		says  string // what a script says that calls op
		exits int    // op
	}{
		{opemu.Killed, "status 137", -1},
		{opemu.KilledDone, "status 137", -1},
		{opemu.CallerKilled, "", 0},
		{opemu.BothKilled, "", -1},
	} {
		w.Fault(opemu.Fault{Match: "item get", Mode: test.mode})
		var out bytes.Buffer // op itself may be there for longer
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" item get "$1" >/dev/null; echo status $?`, w.Path(), it.ID)
		cmd.Env, cmd.Stdout = w.Environ(), &out
		err := cmd.Run()
		if got := strings.TrimSpace(out.String()); got != test.says || (err == nil) != (test.says != "") {
			t.Errorf("%s: the caller says %q, %v, want %q", test.mode, got, err, test.says)
		}
		waitFor(t, func() bool { calls := w.Journal(); return calls[len(calls)-1].Exit == test.exits })
	}
}

// Behaviour 16, continued: a call that hangs does not end by a signal that can
// be ignored, and may leave a child that holds its output.
func TestHang(t *testing.T) {
	if _, err := exec.LookPath("sleep"); err != nil {
		t.Skip("there is no program sleep")
	}
	w, it := keyWorld(t)
	w.Fault(opemu.Fault{Match: "item get", Mode: opemu.HangChild, Delay: opemu.Duration(300 * time.Millisecond)})
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), w.Path(), "item", "get", it.ID)
	cmd.Env, cmd.Stdout = w.Environ(), out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	waitFor(t, func() bool {
		calls := w.Journal()
		return len(calls) > 0 && slices.Contains(calls[0].Marks, opemu.MarkHangs)
	})
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-ended:
		t.Fatalf("the call has ended by a signal that it ignores: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	cmd.Process.Kill()
	<-ended
	if _, err := io.ReadAll(r); err != nil { // its child lets go of the pipe in time
		t.Error(err)
	}

	w.Fault(opemu.Fault{Match: "item get", Mode: opemu.HangCall})
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if r := w.Op(ctx, opemu.Stdin{}, "item", "get", it.ID); r.Exit != 137 {
		t.Errorf("exit status %d of a call that was killed, want 137", r.Exit)
	}
}

// Behaviour 17: control from a shell.
func TestControl(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	run := func(args ...string) opemu.Result {
		var out, errs strings.Builder
		e := opemu.Env{Args: args, Environ: []string{"OPEMU_STATE=" + state}, Stdout: &out, Stderr: &errs}
		program := opemu.Run
		if args[0] == "ctl" {
			program = opemu.Control
		}
		exit := program(t.Context(), e)
		return opemu.Result{Stdout: out.String(), Stderr: errs.String(), Exit: exit}
	}
	succeeded(t, run("ctl", "init"))
	it := decode(t, succeeded(t, run("item", "get", "AWS Access Key", "--format", "json")))
	// The item is that of the emulated AWS.
	for label, want := range map[string]string{
		"Access Key ID":     awstest.AccessKeyID,
		"Secret Access Key": awstest.SecretAccessKey,
		"mfa serial":        awstest.MFASerial,
		"one-time password": awstest.MFASeed,
	} {
		if got := field(t, it, label).Value; got != want {
			t.Errorf("%s = %q, want %q", label, got, want)
		}
	}
	succeeded(t, run("ctl", "lock"))
	succeeded(t, run("ctl", "dismiss"))
	refused(t, run("vault", "list"), 1, "prompt dismissed")
	succeeded(t, run("ctl", "approve"))
	succeeded(t, run("vault", "list"))
	succeeded(t, run("ctl", "set", "version", "2.20"))
	if got := succeeded(t, run("--version")); got != "2.20\n" {
		t.Errorf("version = %q, want 2.20", got)
	}
	succeeded(t, run("ctl", "set", "auth.idle", "1m"))
	succeeded(t, run("ctl", "advance", "2m"))
	refused(t, run("whoami"), 1, "not signed in")
	succeeded(t, run("ctl", "fault", "vault list", "times=1", "stderr=(404) Not Found", "exit=4"))
	refused(t, run("vault", "list"), 4, "(404) Not Found")
	succeeded(t, run("vault", "list"))
	succeeded(t, run("ctl", "fault", "*", "mode=panic"))
	succeeded(t, run("ctl", "fault", "none"))
	succeeded(t, run("ctl", "unlock"))
	succeeded(t, run("ctl", "realistic"))
	if got := succeeded(t, run("ctl", "dump")); !json.Valid([]byte(got)) || !strings.Contains(got, `"prompt_delay": "2s"`) {
		t.Errorf("dump = %s, want the state with realistic delays", got)
	}
	got := strings.Split(succeeded(t, run("ctl", "journal")), "\n")
	if !strings.Contains(got[0], `"argv":["item","get","AWS Access Key"`) || !strings.Contains(got[0], `"environ":["OPEMU_STATE"]`) {
		t.Errorf("the journal begins with %q", got[0])
	}
	for _, bad := range [][]string{
		{"ctl", "init"}, {"ctl", "set", "auth.nonsense", "1"}, {"ctl", "set", "auth.prompt", "maybe"},
		{"ctl", "fault", "item grab"}, {"ctl", "fault", "item get", "mode=odd"}, {"ctl", "lock", "x"}, {"ctl", "nonsense"},
	} {
		if r := run(bad...); r.Exit != 1 {
			t.Errorf("opemu %q: exit status %d, want 1", bad, r.Exit)
		}
	}
}

// Commands take their time, and no longer than they are given.
func TestLatency(t *testing.T) {
	w, it := keyWorld(t)
	w.Update(func(s *opemu.State) {
		s.BeRealistic()
		s.Latency.Scale, s.Auth.PromptDelay = 0.1, 0
	})
	began := time.Now()
	op(t, w, "item", "get", it.ID)
	if took := time.Since(began); took < 72*time.Millisecond {
		t.Errorf("a get took %v, want 90 ms, or a fifth less", took)
	}
	ctx, stop := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("killed"))
	defer stop()
	if r := w.Op(ctx, opemu.Stdin{}, "item", "edit", it.ID, "a[text]=1"); r.Exit != 137 || len(fields(w.Item(it.ID).Item, "a")) != 0 {
		t.Errorf("a call that was killed in between: exit status %d, or it had an effect", r.Exit)
	}
}
