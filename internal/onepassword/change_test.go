package onepassword_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/cred"
	"kura/internal/onepassword"
	"kura/internal/opemu"
)

// otherKey is what an item's key is changed to.
var otherKey = cred.Credentials{
	AccessKeyID:     "AKIAI44QH8DHBEXAMPLE",
	SecretAccessKey: cred.NewSecret("je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"),
}

func setOther(it *onepassword.Item) error { return it.SetKey(otherKey) }

// value returns the value that an item has in 1Password in a field.
func value(t *testing.T, w *opemu.World, id, label string) string {
	t.Helper()
	fields := w.Item(id).Fields
	i := slices.IndexFunc(fields, func(f opemu.Field) bool { return f.Label == label })
	if i < 0 {
		t.Fatalf("the item has no field %q", label)
	}
	return fields[i].Value
}

// wantWhole checks that an item has all of its fields, with the values they had
// but for those of the key and the session cache, and one of the two keys.
func wantWhole(t *testing.T, what string, w *opemu.World, before opemu.Stored, changed bool) {
	t.Helper()
	after := w.Item(before.ID)
	for _, f := range before.Fields {
		i := slices.IndexFunc(after.Fields, func(g opemu.Field) bool { return g.ID == f.ID })
		if i < 0 {
			t.Errorf("%s: the field %q is lost", what, f.Label)
			continue
		}
		want := f.Value
		switch {
		case !changed:
		case f.Label == "Access Key ID":
			want = otherKey.AccessKeyID
		case f.Label == "Secret Access Key":
			want = otherKey.SecretAccessKey.Reveal()
		case f.Label == "session_cache":
			want = ""
		}
		if after.Fields[i].Value != want {
			t.Errorf("%s: the field %q has the wrong value", what, f.Label)
		}
	}
	if len(after.Fields) != len(before.Fields) || after.Title != before.Title || !reflect.DeepEqual(after.Sections, before.Sections) {
		t.Errorf("%s: there are %d fields, want %d", what, len(after.Fields), len(before.Fields))
	}
}

func TestEdit(t *testing.T) {
	w := newWorld(t, "")
	item := keyItem()
	item.Fields[len(item.Fields)-1].Value = "an old session"
	item.Tags, item.Favorite = []string{"mine"}, true
	ref := add(w, item)
	before := w.Item(ref.Item)
	c := client(t, w, nil)
	if _, err := c.Item(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	it, err := c.Edit(t.Context(), ref, setOther)
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, "Edit", w, before, true)
	if after := w.Item(ref.Item); after.Version != before.Version+1 || it.Version != after.Version || !after.Favorite || !slices.Equal(after.Tags, before.Tags) {
		t.Errorf("version %d, favorite %v, tags %q", after.Version, after.Favorite, after.Tags)
	}
	if key, err := it.Key(); err != nil || key != otherKey {
		t.Errorf("Edit returns an item with the key %v, %v", key, err)
	}
	wantCalls(t, w, "item get", "", "item get", "item edit")

	// Nothing is written where nothing changes, and what was read before the
	// edit is not taken for what there is.
	if _, err := c.Edit(t.Context(), ref, setOther); err != nil {
		t.Error(err)
	}
	if it, err = c.Item(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if key, err := it.Key(); err != nil || key != otherKey {
		t.Errorf("Item after Edit has the key %v, %v", key, err)
	}
	if got := calls(w, 4); !slices.Equal(got, []string{"item get", "item get"}) {
		t.Errorf("then op was called for %q", got)
	}
	why := errors.New("why")
	if _, err := c.Edit(t.Context(), ref, func(*onepassword.Item) error { return why }); !errors.Is(err, why) {
		t.Errorf("Edit with a change that fails: %v", err)
	}
}

// Whatever goes wrong, the item is whole, and Edit says rightly whether it is
// the old one or the new.
func TestEditFaults(t *testing.T) {
	conflict := "(409) Conflict: Internal server conflict"
	for _, c := range []struct {
		what    string
		fault   opemu.Fault
		version string
		want    onepassword.Kind // "ok": it is done
		edits   int
	}{
		{"a conflict", opemu.Fault{Stderr: conflict, Times: 1}, "", "ok", 2},
		{"conflicts without end", opemu.Fault{Stderr: conflict}, "", onepassword.Conflict, 4},
		{"a lost reply", opemu.Fault{Mode: opemu.AfterCommit, Times: 1}, "", "ok", 1},
		{"a reply taken for a conflict", opemu.Fault{Mode: opemu.AfterCommit, Stderr: conflict, Times: 1}, "", "ok", 1},
		{"half a reply", opemu.Fault{Mode: opemu.TruncateStdout}, "", "ok", 1},
		{"an error of the server", opemu.Fault{}, "", onepassword.Server, 1},
		{"an error with status 0", opemu.Fault{Mode: opemu.Exit0Empty}, "2.31.0", onepassword.Server, 1},
		{"a crash", opemu.Fault{Mode: opemu.Panic}, "", onepassword.Crashed, 1},
		{"no answer", opemu.Fault{Mode: opemu.HangCall}, "", onepassword.NoAnswer, 1},
		{"no permission", opemu.Fault{Stderr: "(101) You do not have permission to perform this action"}, "", onepassword.Forbidden, 1},
		{"too many requests", opemu.Fault{Stderr: "Too many requests. Your client has been rate-limited."}, "", onepassword.RateLimited, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, c.version)
			ref := add(w, keyItem())
			before := w.Item(ref.Item)
			c.fault.Match = "item edit"
			w.Fault(c.fault)
			client := client(t, w, func(o *onepassword.Options) {
				if c.fault.Mode == opemu.HangCall {
					o.AskTimeout = 2 * time.Second
				}
			})
			_, err := client.Edit(t.Context(), ref, setOther)
			if c.want == "ok" {
				if err != nil {
					t.Error(err)
				}
			} else {
				wantKind(t, "Edit", err, c.want)
			}
			wantWhole(t, "Edit", w, before, c.want == "ok")
			edits := len(slices.DeleteFunc(calls(w, 0), func(s string) bool { return s != "item edit" }))
			if edits != c.edits {
				t.Errorf("there were %d edits, want %d", edits, c.edits)
			}
		})
	}
}

// What another device changes stays, be op's cache older, or the change made at
// the wrong moment.
func TestEditElsewhere(t *testing.T) {
	w, ref := keyWorld(t)
	before := w.Item(ref.Item)
	rename := func(title string) {
		w.EditElsewhere(ref.Item, func(it *opemu.Stored) { it.Title = title })
	}
	w.Freeze()
	rename("renamed")
	var log bytes.Buffer
	c := client(t, w, func(o *onepassword.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	if it, err := c.Item(t.Context(), ref); err != nil || it.Title != before.Title {
		t.Fatalf("op's cache is not used: %v, %v", it, err)
	}
	if _, err := c.Edit(t.Context(), ref, setOther); err != nil {
		t.Fatal(err)
	}
	if got := w.Item(ref.Item).Title; got != "renamed" {
		t.Errorf("the title is %q, as op's cache had it", got)
	}
	if log.Len() > 0 {
		t.Errorf("the log is %q, want nothing", log.String())
	}
	// Op has no way to say which version an edit is of. This can only be seen.
	_, err := c.Edit(t.Context(), ref, func(it *onepassword.Item) error {
		rename("renamed again")
		return it.SetKey(cred.Credentials{AccessKeyID: keyID, SecretAccessKey: cred.NewSecret(secret)})
	})
	if err != nil || !strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), secret) {
		t.Errorf("a change between reading and writing: %v, log %q; want a warning", err, log.String())
	}
}

// What an edit would destroy is not edited.
func TestEditRefused(t *testing.T) {
	twice := keyItem()
	twice.Fields = append(twice.Fields, opemu.Field{ID: "x", Type: "CONCEALED", Label: "Session Cache", Value: "eyJ9"})
	files := keyItem()
	files.Files = []json.RawMessage{json.RawMessage(`{"id":"f"}`)}
	login := keyItem()
	login.Category = "LOGIN"
	for _, c := range []struct {
		what string
		item opemu.Item
		want func(error) bool
	}{
		{"a login", login, func(err error) bool {
			e, ok := errors.AsType[*onepassword.UnwritableError](err)
			return ok && e.Reason == onepassword.IsLogin
		}},
		{"an item with files", files, func(err error) bool {
			e, ok := errors.AsType[*onepassword.UnwritableError](err)
			return ok && e.Reason == onepassword.HasFiles
		}},
		{"an item with two session caches", twice, func(err error) bool {
			e, ok := errors.AsType[*onepassword.FieldError](err)
			return ok && e.Problem == onepassword.Duplicate
		}},
	} {
		w := newWorld(t, "")
		ref := add(w, c.item)
		w.Update(func(s *opemu.State) { s.Items[0].Passkey = true })
		_, err := client(t, w, nil).Edit(t.Context(), ref, setOther)
		if !c.want(err) {
			t.Errorf("SetKey of %s: %v", c.what, err)
		}
		if err := client(t, w, nil).WriteSession(t.Context(), ref, session(time.Hour)); !c.want(err) {
			t.Errorf("WriteSession to %s: %v", c.what, err)
		}
		if slices.Contains(calls(w, 0), "item edit") || !w.Item(ref.Item).Passkey {
			t.Errorf("%s was edited", c.what)
		}
		if it, err := client(t, w, nil).Item(t.Context(), ref); err != nil || !slices.ContainsFunc(it.Check(), c.want) {
			t.Errorf("Check of %s does not tell: %v", c.what, err)
		}
	}
	w := newWorld(t, "2.22.9")
	_, err := client(t, w, nil).Edit(t.Context(), add(w, keyItem()), setOther)
	wantKind(t, "with an old op", err, onepassword.Outdated)
	wantCalls(t, w, "")
}

// Fields that are missing are added beside those that are there.
func TestEditAdds(t *testing.T) {
	w := newWorld(t, "")
	ref := add(w, opemu.AccessKey{ID: keyID}.Item())
	w.EditElsewhere(ref.Item, func(it *opemu.Stored) {
		it.Fields = slices.DeleteFunc(it.Fields, func(f opemu.Field) bool { return f.Label == "Secret Access Key" })
	})
	key := otherKey
	key.AccountID = "111122223333"
	it, err := client(t, w, nil).Edit(t.Context(), ref, func(it *onepassword.Item) error { return it.SetKey(key) })
	if err != nil {
		t.Fatal(err)
	}
	if got, err := it.Key(); got != key || err != nil {
		t.Errorf("Key = %v, %v, want %v", got, err, key)
	}
	for _, f := range w.Item(ref.Item).Fields {
		if f.Label == "Secret Access Key" && (f.Type != "CONCEALED" || f.Section == nil || f.Section.ID != "add more") {
			t.Errorf("the new field is %s, in the section %v", f.Type, f.Section)
		}
	}
}

func TestCreate(t *testing.T) {
	w := newWorld(t, "")
	c := client(t, w, nil)
	vault := w.Vault("Shared")
	it, err := c.Create(t.Context(), "", vault, onepassword.NewItem{Title: "new", Tags: []string{"kura"}, Key: otherKey, Serial: serial})
	if err != nil {
		t.Fatal(err)
	}
	kept := w.Item(it.ID)
	if kept.Category != "API_CREDENTIAL" || kept.Title != "new" || kept.Vault.ID != vault || !slices.Equal(kept.Tags, []string{"kura"}) {
		t.Errorf("the new item is %+v", kept.Title)
	}
	if got, err := it.Key(); got != otherKey || err != nil {
		t.Errorf("Key = %v, %v", got, err)
	}
	if got, err := it.MFASerial(); got != serial || err != nil {
		t.Errorf("MFASerial = %q, %v", got, err)
	}
	if got := value(t, w, it.ID, "Access Key ID"); got != otherKey.AccessKeyID {
		t.Errorf("the field for the key ID has %q", got)
	}
	wantCalls(t, w, "item create")
}

func TestArchive(t *testing.T) {
	for _, fault := range []opemu.Fault{
		{}, {Mode: opemu.AfterCommit, Times: 1}, {Stderr: "(409) Conflict: Internal server conflict", Times: 1},
	} {
		w, ref := keyWorld(t)
		c := client(t, w, nil)
		if fault.Times > 0 {
			fault.Match = "item delete"
			w.Fault(fault)
		}
		if err := c.Archive(t.Context(), ref); err != nil || !w.Item(ref.Item).Archived || w.Item(ref.Item).Deleted {
			t.Errorf("with the fault %q: %v", fault.Mode, err)
		}
		wantKind(t, "Archive twice", c.Archive(t.Context(), ref), onepassword.Archived)
	}
}

// An edit that has lost something is an error that names it.
func TestLost(t *testing.T) {
	sent := decode(t, keyItem())
	without := func(change func(*opemu.Field)) *onepassword.Item {
		item := keyItem()
		for i := range item.Fields {
			item.Fields[i].ID = sent.Fields[i].ID
			if item.Fields[i].Label == "one-time password" {
				change(&item.Fields[i])
			}
		}
		return decode(t, item)
	}
	for what, c := range map[string]struct {
		change func(*opemu.Field)
		lost   bool
	}{
		"nothing": {func(*opemu.Field) {}, false},
		"a field": {func(f *opemu.Field) { f.ID = "another" }, true},
		"a value": {func(f *opemu.Field) { f.Value = "" }, true},
	} {
		err := onepassword.Compare(sent, without(c.change))
		e, ok := errors.AsType[*onepassword.LostError](err)
		if ok != c.lost || ok && !slices.Equal(e.Fields, []string{"one-time password"}) {
			t.Errorf("an edit that loses %s: %v", what, err)
		}
	}
	changed := decode(t, keyItem())
	for i := range changed.Fields {
		changed.Fields[i].ID = sent.Fields[i].ID
	}
	if err := changed.SetKey(otherKey); err != nil {
		t.Fatal(err)
	}
	if err := onepassword.Compare(changed, sent); err == nil {
		t.Error("an edit that changes nothing is taken for one that was done")
	}
}

// Nor is that taken for done which was lost together with the reply.
func TestLostReply(t *testing.T) {
	w, ref := keyWorld(t)
	w.Fault(opemu.Fault{Match: "item edit", Mode: opemu.AfterCommit},
		opemu.Fault{Match: "item get", Nth: 2, Mode: opemu.Slow, Delay: opemu.Duration(time.Second)})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for w.Item(ref.Item).Version == 1 && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		w.EditElsewhere(ref.Item, func(it *opemu.Stored) {
			it.Fields = slices.DeleteFunc(it.Fields, func(f opemu.Field) bool { return f.Type == "OTP" })
		})
	}()
	_, err := client(t, w, nil).Edit(t.Context(), ref, setOther)
	<-stop
	if e, ok := errors.AsType[*onepassword.LostError](err); !ok || !slices.Equal(e.Fields, []string{"one-time password"}) {
		t.Errorf("Edit = %v, want a LostError", err)
	}
}

func TestEditEndsWithContext(t *testing.T) {
	w, ref := keyWorld(t)
	w.Fault(opemu.Fault{Match: "item edit", Stderr: "(409) Conflict: Internal server conflict"})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := client(t, w, nil).Edit(ctx, ref, setOther); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Edit when ctx is done: %v, want its cause", err)
	}
}

// FuzzItem checks that an item is written as it was read, whatever is in it, but
// for the field that was set.
func FuzzItem(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","vault":{"id":"v"},"fields":[{"id":"x","type":"STRING","value":"v","n":1e400,"<":"&"}],"version":12345678901234567890123}`,
		`{"id":"a","vault":{"id":"v"},"version":3,"Fields":[{}],"unknown":[1.50,null,{"b":1,"a":2}]}`,
		`{"id":"a","vault":{"id":"v"},"fields":[{"id":"x","totp":"123456"},{}],"sections":[]}`,
		`[]`, ``, `{"id":"a"}`, `{"id":"a","vault":{"id":"v"},"fields":[1]}`,
	} {
		f.Add([]byte(seed), 0, "new <value> \u2028")
	}
	f.Fuzz(func(t *testing.T, data []byte, field int, text string) {
		same, err := onepassword.ReadItem(data, -1, "")
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Error("the error quotes the item")
			}
			return
		}
		if got, want := decodeJSON(t, same), decodeJSON(t, data); !reflect.DeepEqual(got, want) {
			t.Fatalf("an item is written as %v, want %v", got, want)
		}
		set, err := onepassword.ReadItem(data, field, text)
		if err != nil {
			t.Fatal(err)
		}
		want, got := decodeJSON(t, data), decodeJSON(t, set)
		if fields, ok := want["fields"].([]any); ok && field >= 0 && field < len(fields) {
			member, ok := fields[field].(map[string]any)
			if !ok {
				return // null, which has no members
			}
			delete(member, "value")
			if wanted := decodeString(t, text); wanted != "" {
				member["value"] = wanted
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("with field %d set, an item is written as %v, want %v", field, got, want)
		}
	})
}

func decodeJSON(t *testing.T, data []byte) (v map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return v
}

// decodeString returns a text as it is after JSON, which is UTF-8.
func decodeString(t *testing.T, text string) (s string) {
	t.Helper()
	data, err := json.Marshal(text)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}
