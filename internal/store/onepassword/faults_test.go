package onepassword_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
	op "kura/internal/onepassword"
	"kura/internal/opemu"
	"kura/internal/store/onepassword"
)

// The keys that an item has before a change, and after it.
var oldKey, newKey = key(0), key(1)

// oldSession is no session, but a value that must not be lost.
const oldSession = "an old session"

func newSession() op.Session {
	return op.Session{
		Credentials: cred.Credentials{
			AccessKeyID:     "ASIAIOSFODNN7EXAMPLE",
			SecretAccessKey: cred.NewSecret("session secret"),
			SessionToken:    cred.NewSecret("session token"),
			Expires:         time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		KeyID: oldKey.AccessKeyID,
	}
}

// A change is one that kura makes of an item.
type change struct {
	name  string
	calls []string // of op that it makes and that can go wrong
	own   bool     // in an item of kura's
	none  bool     // which is not there yet
	do    func(ctx context.Context, c *op.Client, vault, item string) error
}

var changes = []change{
	{name: "adopted", calls: []string{"item get", "item edit"}, do: func(ctx context.Context, c *op.Client, vault, item string) error {
		s := onepassword.Open(onepassword.Options{Client: c, Vault: vault, Item: item, Name: "prod"})
		return s.Put(ctx, named("prod"), encode(newKey))
	}},
	{name: "own", own: true, calls: []string{"item list", "item get", "item edit"}, do: putOwn},
	{name: "new", own: true, none: true, calls: []string{"item list", "item create"}, do: putOwn},
	{name: "session", calls: []string{"item get", "item edit"}, do: func(ctx context.Context, c *op.Client, vault, item string) error {
		return c.WriteSession(ctx, op.Ref{Vault: vault, Item: item}, newSession())
	}},
}

func putOwn(ctx context.Context, c *op.Client, vault, _ string) error {
	return onepassword.Open(onepassword.Options{Client: c, Vault: vault}).Put(ctx, named("prod"), encode(newKey))
}

func changeNamed(name string) change {
	return changes[slices.IndexFunc(changes, func(c change) bool { return c.name == name })]
}

// faulty are the faults that strike each call of op that a change makes: once
// and, where that is another matter, from then on.
var faulty = []struct {
	what    string
	fault   opemu.Fault
	lasting bool
}{
	{"a conflict", opemu.Fault{Stderr: "(409) Conflict: Internal server conflict"}, false},
	{"an error of the server", opemu.Fault{}, true},
	{"too many requests", opemu.Fault{Stderr: "Too many requests. Your client has been rate-limited."}, false},
	{"no permission", opemu.Fault{Stderr: "(101) You do not have permission to perform this action"}, false},
	{"a lost reply", opemu.Fault{Mode: opemu.AfterCommit}, true},
	{"a reply that is a conflict", opemu.Fault{Mode: opemu.AfterCommit, Stderr: "(409) Conflict: Internal server conflict"}, false},
	{"a reply that is no answer", opemu.Fault{Mode: opemu.AfterCommit, Stderr: "dial tcp: i/o timeout"}, false},
	{"half a reply", opemu.Fault{Mode: opemu.TruncateStdout}, true},
	{"nothing", opemu.Fault{Mode: opemu.Silent}, true},
	{"an error with status 0", opemu.Fault{Mode: opemu.Exit0Empty}, false},
	{"a panic", opemu.Fault{Mode: opemu.Panic}, false},
	{"no end", opemu.Fault{Mode: opemu.HangCall}, false},
	{"no end of the output", opemu.Fault{Mode: opemu.HangChild, Delay: opemu.Duration(time.Second)}, false},
	{"op is killed", opemu.Fault{Mode: opemu.Killed}, false},
	{"op is killed when it is done", opemu.Fault{Mode: opemu.KilledDone}, true},
	{"kura is killed", opemu.Fault{Mode: opemu.CallerKilled}, false},
	{"kura and op are killed", opemu.Fault{Mode: opemu.BothKilled}, false},
}

// TestFaults has each fault strike each call of op in each change. Whatever
// happens, the item has its former key or the new one, complete, and everything
// else that it had; there is one item; and doing the same again, at once, ends
// with the new key.
func TestFaults(t *testing.T) {
	cases := 0
	for _, c := range changes {
		for n, call := range c.calls {
			for _, f := range faulty {
				for _, times := range []int{1, 0} {
					if times == 0 && !f.lasting {
						continue
					}
					cases++
					f.fault.Match, f.fault.Nth, f.fault.Times = "*", n+1, times
					name := fmt.Sprintf("%s/%s/%s/%d", c.name, call, f.what, times)
					t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { testFault(t, c, call, f.fault) })
				}
			}
		}
	}
	if want := (2 + 3 + 2 + 2) * (17 + 5); cases != want {
		t.Errorf("there were %d cases, want %d", cases, want)
	}
}

func testFault(t *testing.T, c change, call string, fault opemu.Fault) {
	t.Parallel() // several wait for what hangs
	w := newWorld(t)
	w.Update(func(s *opemu.State) {
		s.Auth.SessionKey = opemu.PerMachine
		s.Version = "2.31.0" // the last that may fail with status 0, but for two
		if fault.Mode == opemu.CallerKilled {
			// Op is there for longer than who comes next.
			late := opemu.Duration(300 * time.Millisecond)
			s.Latency.Commands = map[string]opemu.Duration{"item create": late, "item edit": late}
		}
	})
	other := w.AddItem(fullItem("kura: production")) // which is not to be touched
	before := other
	if !c.none {
		it := fullItem("mine")
		if c.own {
			it.Title, it.Tags = "kura: prod", []string{"mine", "kura"}
		}
		before = w.AddItem(it)
	}
	items := len(w.Items())
	w.Fault(fault)
	locks := t.TempDir()
	var err error
	kuraKilled := fault.Mode == opemu.CallerKilled || fault.Mode == opemu.BothKilled
	if kuraKilled {
		cmd := exec.CommandContext(t.Context(), os.Args[0], c.name, before.Vault.ID, before.ID)
		cmd.Env = append(w.Environ(), "TEST_LOCKS="+locks)
		if out, failed := cmd.CombinedOutput(); failed == nil || cmd.ProcessState.Exited() {
			t.Errorf("the process that was to be killed ends with %v, %s", failed, out)
		}
	} else {
		o := op.Options{Environ: w.Environ(), LockDir: locks}
		if fault.Mode == opemu.HangCall || fault.Mode == opemu.HangChild {
			o.AskTimeout = time.Second
		}
		err = c.do(t.Context(), op.New(o), before.Vault.ID, before.ID)
	}
	struck := w.Journal()
	if i := slices.IndexFunc(struck, func(call opemu.Call) bool { return call.Fault != "" }); i < 0 || strings.Join(strings.Fields(struck[i].Command), " ") != call {
		t.Errorf("the fault did not strike %s", call)
	}

	// What it has come to. That an error means the former item is a promise if
	// what has happened can be found out.
	switch {
	case kuraKilled:
		wantWhole(t, w, c, before, items, either)
	case err == nil:
		wantWhole(t, w, c, before, items, done)
	case fault.Times == 1:
		wantWhole(t, w, c, before, items, undone)
	default:
		wantWhole(t, w, c, before, items, either)
	}
	w.Fault()
	if err := c.do(t.Context(), op.New(op.Options{Environ: w.Environ(), LockDir: locks}), before.Vault.ID, before.ID); err != nil {
		t.Errorf("the same again: %v", err)
	}
	wantWhole(t, w, c, before, items, done)
	if fault.Mode == opemu.CallerKilled {
		for !slices.ContainsFunc(w.Journal(), func(call opemu.Call) bool { return call.Fault == fault.Mode && call.Exit >= 0 }) && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		wantWhole(t, w, c, before, items, done)
	}
	if !reflect.DeepEqual(w.Item(other.ID), other) {
		t.Error("another item was changed")
	}
}

// fullItem returns an item with the old key and much that is not kura's.
func fullItem(title string) opemu.Item {
	it := opemu.AccessKey{
		Title: title, ID: oldKey.AccessKeyID, Secret: oldKey.SecretAccessKey.Reveal(),
		MFASerial: "arn:aws:iam::111122223333:mfa/ann", Seed: "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD", SessionCache: true,
	}.Item()
	it.Fields[len(it.Fields)-1].Value = oldSession
	it.Fields[0].Value = "notes, \"quoted\"\nand more"
	it.Sections = append(it.Sections, opemu.Section{ID: "mine", Label: "私の"})
	it.Fields = append(it.Fields,
		opemu.Field{ID: "pin", Section: &it.Sections[1], Type: "CONCEALED", Label: "PIN", Value: "0042"},
		opemu.Field{ID: "empty", Section: &it.Sections[1], Type: "STRING", Label: "empty"},
		opemu.Field{ID: "TOTP_other", Section: &it.Sections[1], Type: "OTP", Label: "console", Value: "JBSWY3DPEHPK3PXP"},
	)
	it.Tags, it.Favorite = []string{"mine"}, true
	it.URLs = []opemu.URL{{Label: "console", Primary: true, Href: "https://example.com/"}}
	return it
}

type outcome string

const (
	undone outcome = "not done"
	done   outcome = "done"
	either outcome = "done or not done"
)

// wantWhole checks what has become of an item.
func wantWhole(t *testing.T, w *opemu.World, c change, before opemu.Stored, items int, want outcome) {
	t.Helper()
	all := w.Items()
	if c.none {
		if n := len(all) - items; n == 0 && want != done {
			return
		} else if n != 1 || want == undone {
			t.Fatalf("there are %d new items, want it %s", n, want)
		}
		made := all[len(all)-1]
		keyOf := map[string]string{}
		for _, f := range made.Fields {
			keyOf[f.Label] = f.Value
		}
		if made.Title != "kura: prod" || !slices.Equal(made.Tags, []string{"kura"}) || made.Archived ||
			keyOf["Access Key ID"] != newKey.AccessKeyID || keyOf["Secret Access Key"] != newKey.SecretAccessKey.Reveal() {
			t.Error("the new item is not whole")
		}
		return
	}
	if len(all) != items {
		t.Fatalf("there are %d items, want %d", len(all), items)
	}
	if errs := differs(c, before, w.Item(before.ID), true); errs != nil && (want == done || differs(c, before, w.Item(before.ID), false) != nil) {
		t.Errorf("want it %s: %v", want, errs)
	} else if errs == nil && want == undone {
		t.Error("it is done, want it not done")
	}
}

// differs returns what an item has in another way than after a change, or than
// before it if the change was not done.
func differs(c change, before, after opemu.Stored, isDone bool) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(after.Fields) != len(before.Fields) {
		wrong("there are %d fields, want %d", len(after.Fields), len(before.Fields))
	}
	for _, f := range before.Fields {
		switch {
		case !isDone:
		case c.name == "session" && f.Label == "session_cache":
			session, err := newSession().Encode()
			if err != nil {
				panic(err)
			}
			f.Value = session.Reveal()
		case c.name == "session":
		case f.Label == "Access Key ID":
			f.Value = newKey.AccessKeyID
		case f.Label == "Secret Access Key":
			f.Value = newKey.SecretAccessKey.Reveal()
		case f.Label == "session_cache":
			f.Value = ""
		}
		i := slices.IndexFunc(after.Fields, func(g opemu.Field) bool { return g.ID == f.ID })
		if i < 0 {
			wrong("the field %q is lost", f.Label)
		} else if !reflect.DeepEqual(after.Fields[i], f) {
			wrong("the field %q is another", f.Label)
		}
	}
	one, other := before, after
	one.Fields, other.Fields = nil, nil
	one.Version, other.Version, one.UpdatedAt, other.UpdatedAt = 0, 0, "", ""
	if !reflect.DeepEqual(one, other) {
		wrong("what is no field has become %+v, want %+v", other, one)
	}
	return errors.Join(errs...)
}
