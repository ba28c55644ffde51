package opemu_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/opemu"
)

// A contract is what is expected of op, wherever it is: emulated, always, or
// real, when OP_CONTRACT_REAL is 1. Then OP_CONTRACT_VAULT names a vault for
// the tests to work in; they make items there, and delete them. CONTRIBUTING.md
// says how to run them so.
//
// Every expectation has the grade of what it rests on, as in the package's
// comment. If the real op disappoints one of grade F or I, that is no failure
// but news; the others have been seen or documented.
type contract struct {
	*testing.T
	real  bool
	vault string
	call  func(t *testing.T, in stdin, args ...string) opemu.Result

	// clean says that items are to be deleted at the end, as the account stays.
	clean bool
}

// A stdin is what op finds on its standard input.
type stdin struct {
	kind opemu.StdinKind // Null, Pipe or Regular
	text string
}

func pipe(text string) stdin { return stdin{opemu.Pipe, text} }

// TestContract is the contract suite.
func TestContract(t *testing.T) {
	for _, part := range []struct {
		name  string
		check func(*contract)
	}{
		{"version", checkVersion},
		{"create", checkCreate},
		{"get", checkGet},
		{"otp", checkOTP},
		{"fields", checkFields},
		{"human", checkHuman},
		{"not-found", checkNotFound},
		{"ambiguous", checkAmbiguous},
		{"edit-json", checkEditJSON},
		{"edit-refused", checkEditRefused},
		{"edit-assignments", checkAssignments},
		{"stdin", checkStdin},
		{"template", checkTemplate},
		{"delete", checkDelete},
		{"lists", checkLists},
		{"read", checkRead},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Run("emulated", func(t *testing.T) { part.check(emulatedOp(t)) })
			t.Run("started", func(t *testing.T) { part.check(startedOp(t)) })
			t.Run("real", func(t *testing.T) { part.check(realOp(t)) })
		})
	}
}

func emulatedOp(t *testing.T) *contract {
	w := newWorld(t)
	return &contract{T: t, vault: "Private", call: func(t *testing.T, in stdin, args ...string) opemu.Result {
		return w.Op(t.Context(), opemu.Stdin{Kind: in.kind, Reader: strings.NewReader(in.text)}, args...)
	}}
}

// startedOp is the emulated op, used as the real one is.
func startedOp(t *testing.T) *contract {
	w := newWorld(t)
	w.Update(func(s *opemu.State) { s.Auth.SessionKey = opemu.PerMachine })
	t.Cleanup(func() {
		for _, it := range w.Items() {
			if !it.Deleted {
				t.Errorf("the item %q is left in the vault", it.Title)
			}
		}
	})
	return &contract{T: t, vault: "Private", clean: true, call: func(t *testing.T, in stdin, args ...string) opemu.Result {
		return runOp(t, w.Path(), w.Environ(), in, args...)
	}}
}

// userPath is the PATH without the op of scripts, which testscript.Main puts
// before all others.
var userPath = os.Getenv("PATH")

func realOp(t *testing.T) *contract {
	vault := os.Getenv("OP_CONTRACT_VAULT")
	if os.Getenv("OP_CONTRACT_REAL") != "1" || vault == "" {
		t.Skip("OP_CONTRACT_REAL=1 and OP_CONTRACT_VAULT=... are not set")
	}
	t.Setenv("PATH", userPath)
	return &contract{T: t, real: true, vault: vault, clean: true, call: func(t *testing.T, in stdin, args ...string) opemu.Result {
		return runOp(t, "op", os.Environ(), in, args...)
	}}
}

// runOp starts a program, also when the test is over.
func runOp(t *testing.T, program string, environ []string, in stdin, args ...string) opemu.Result {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = environ
	switch in.kind {
	case opemu.Pipe:
		cmd.Stdin = strings.NewReader(in.text)
	case opemu.Regular:
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(in.text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = f
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return opemu.Result{Stdout: out.String(), Stderr: errs.String(), Exit: cmd.ProcessState.ExitCode()}
}

// expect checks one expectation.
func (c *contract) expect(grade, what string, got, want any) {
	c.Helper()
	met := fmt.Sprint(got) == fmt.Sprint(want)
	unsure := grade == "F" || grade == "I"
	switch {
	case c.real && unsure:
		c.Logf("please confirm [%s] %s: got %q, want %q: %v", grade, what, fmt.Sprint(got), fmt.Sprint(want), met)
	case !met:
		c.Errorf("[%s] %s = %q, want %q", grade, what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

// expectRefusal checks that a call fails with exit status 1 and a message,
// in which text is to be found.
func (c *contract) expectRefusal(grade string, r opemu.Result, text string) {
	c.Helper()
	got := strings.TrimSuffix(r.Stderr, "\n")
	line := regexp.MustCompile(`(?s)^\[ERROR] \d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2} (.+)$`).FindStringSubmatch(got)
	c.expect("S", "that stderr begins with [ERROR] and the time", line != nil, true)
	if line != nil && strings.Contains(line[1], text) {
		got = text
	}
	c.expect(grade, "the message", got, text)
	c.expect("R", "the exit status", r.Exit, 1)
	c.expect("R", "stdout", r.Stdout, "")
}

// must calls op, which must succeed.
func (c *contract) must(in stdin, args ...string) string {
	c.Helper()
	r := c.call(c.T, in, args...)
	if r.Exit != 0 {
		c.Fatalf("op %q: exit status %d, %s", args, r.Exit, r.Stderr)
	}
	return r.Stdout
}

// item decodes what op prints of an item.
func (c *contract) item(text string) opemu.Item {
	c.Helper()
	var it opemu.Item
	if err := json.Unmarshal([]byte(text), &it); err != nil {
		c.Fatalf("an item is %q: %v", text, err)
	}
	return it
}

func (c *contract) get(id string) opemu.Item {
	c.Helper()
	return c.item(c.must(stdin{}, "item", "get", id, "--vault", c.vault, "--format", "json"))
}

// example is what the items of the contract are made of: fields of all the
// sorts that an access key needs.
const example = `{
  "title": %q,
  "category": "API_CREDENTIAL",
  "sections": [{"id": "keys", "label": "keys"}, {"id": "add more"}],
  "fields": [
    {"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain", "value": "a note"},
    {"section": {"id": "keys"}, "type": "STRING", "label": "Access Key ID", "value": "AKIAIOSFODNN7EXAMPLE"},
    {"section": {"id": "keys"}, "type": "CONCEALED", "label": "Secret Access Key", "value": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
    {"section": {"id": "add more"}, "type": "OTP", "label": "one-time password", "value": "JBSWY3DPEHPK3PXP"},
    {"section": {"id": "add more"}, "type": "CONCEALED", "label": "session_cache"}
  ]
}`

// make creates an item, which is deleted at the end.
func (c *contract) make(title string) opemu.Item {
	c.Helper()
	text := fmt.Sprintf(example, title)
	it := c.item(c.must(pipe(text), "item", "create", "-", "--vault", c.vault, "--format", "json"))
	c.remove(it.ID)
	return it
}

func (c *contract) remove(id string) {
	c.Cleanup(func() {
		if c.clean { // which fails for one that the test itself has deleted
			c.call(c.T, stdin{}, "item", "delete", id, "--vault", c.vault)
		}
	})
}

// title returns a title that no other item has.
func (c *contract) title() string { return fmt.Sprintf("kura contract %d", time.Now().UnixNano()) }

// field returns the fields with a label.
func fields(it opemu.Item, label string) []opemu.Field {
	return slices.DeleteFunc(slices.Clone(it.Fields), func(f opemu.Field) bool { return f.Label != label })
}

func field(t *testing.T, it opemu.Item, label string) *opemu.Field {
	t.Helper()
	for i := range it.Fields {
		if it.Fields[i].Label == label {
			return &it.Fields[i]
		}
	}
	t.Fatalf("the item has no field %q", label)
	return nil
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func isFreshID(id string) bool { return regexp.MustCompile(`^[\da-z]{26}$`).MatchString(id) }

func checkVersion(c *contract) {
	out := c.must(stdin{}, "--version")
	c.expect("R", "that the version has three numbers and a newline", regexp.MustCompile(`^\d+\.\d+\.\d+\S*\n$`).MatchString(out), true)
}

func checkCreate(c *contract) {
	title := c.title()
	it := c.make(title)
	c.expect("S", "the title", it.Title, title)
	c.expect("R", "version of a new item", it.Version, 1)
	c.expect("R", "that the item's ID is 26 characters", isFreshID(it.ID), true)
	c.expect("R", "that a field's ID is 26 characters", isFreshID(field(c.T, it, "Access Key ID").ID), true)
	otp := field(c.T, it, "one-time password").ID
	c.expect("R", "that an OTP field's ID is TOTP_ and 26 characters", strings.HasPrefix(otp, "TOTP_") && isFreshID(otp[5:]), true)
	c.expect("R", "that built-in fields are there unasked", len(fields(it, "hostname")), 1)
	c.expect("R", "what the vault is called", it.Vault.Name != "", true)

	r := c.call(c.T, pipe(fmt.Sprintf(example, title)), "item", "create", "-", "--vault", c.vault, "--category", "API Credential")
	c.expectRefusal("F", r, "cannot provide the item category with both the JSON template and the `--category` flag")
}

func checkGet(c *contract) {
	id := c.make(c.title()).ID
	text := c.must(stdin{}, "--format", "json", "item", "get", id, "--vault", c.vault)

	var order []string
	d := json.NewDecoder(strings.NewReader(text))
	d.Token()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			c.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			c.Fatal(err)
		}
		if key != "last_edited_by" && key != "additional_information" { // not always there
			order = append(order, key.(string))
		}
	}
	c.expect("R", "the order of the members", order, "[id title version vault category created_at updated_at sections fields]")

	it := c.item(text)
	var raw struct{ Fields []map[string]any }
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		c.Fatal(err)
	}
	for _, f := range raw.Fields {
		if f["label"] == "session_cache" {
			_, there := f["value"]
			c.expect("R", "that an empty field has a value", there, false)
			c.expect("R", "the type of a concealed field", f["type"], "CONCEALED")
		}
	}
	c.expect("D", "a concealed value in JSON without --reveal", field(c.T, it, "Secret Access Key").Value, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	otp := field(c.T, it, "one-time password")
	c.expect("R", "the value of an OTP field", otp.Value, "JBSWY3DPEHPK3PXP")
	c.expect("R", "that an OTP field has a code of 6 digits", regexp.MustCompile(`^\d{6}$`).MatchString(otp.TOTP), true)
	c.expect("R", "the reference of a field", field(c.T, it, "Access Key ID").Reference, "op://"+it.Vault.Name+"/"+it.Title+"/keys/Access Key ID")
	c.expect("R", "that a read has UTC", strings.HasSuffix(it.UpdatedAt, "Z"), true)

	c.expect("R", "that a get of an item by title is one by ID", c.get(it.Title).ID, it.ID)
	link := "https://start.1password.com/open/i?a=X&h=my.1password.com&i=" + it.ID + "&v=" + it.Vault.ID
	c.expect("D", "that a get of an item by its link is one by ID", c.get(link).ID, it.ID)
	c.expect("I", "that a title in other case is found", c.call(c.T, stdin{}, "item", "get", strings.ToUpper(it.Title)).Exit, 0)
}

func checkOTP(c *contract) {
	it := c.make(c.title())
	// A code may change between two calls, but not twice.
	var code, shown string
	for range 2 {
		code = strings.TrimSuffix(c.must(stdin{}, "item", "get", it.ID, "--vault", c.vault, "--otp", "--format", "json"), "\n")
		again := c.get(it.ID)
		shown = field(c.T, again, "one-time password").TOTP
		if shown == code {
			break
		}
	}
	c.expect("D", "the code of --otp, which no format changes", code, shown)

	none := c.item(c.must(stdin{}, "item", "create", "--category", "API Credential", "--title", c.title(), "--vault", c.vault, "--format", "json"))
	c.remove(none.ID)
	r := c.call(c.T, stdin{}, "item", "get", none.ID, "--vault", c.vault, "--otp")
	c.expect("I", "exit status of --otp without an OTP field", r.Exit, 1)
	if c.real {
		c.Logf("please tell [I] what --otp says without an OTP field: %q", r.Stderr)
	}
}

func checkFields(c *contract) {
	it := c.make(c.title())
	get := func(fields string) opemu.Result {
		return c.call(c.T, stdin{}, "item", "get", it.ID, "--vault", c.vault, "--format", "json", "--fields", fields)
	}
	var one opemu.Field
	json.Unmarshal([]byte(get("label=Access Key ID").Stdout), &one)
	c.expect("F", "the field asked for alone, an object", one.Value, "AKIAIOSFODNN7EXAMPLE")
	json.Unmarshal([]byte(get("type=otp").Stdout), &one)
	c.expect("R", "the field asked for by type", one.Label, "one-time password")
	json.Unmarshal([]byte(get("label=accesskeyid").Stdout), &one)
	c.expect("D", "the field asked for without blanks", one.Label, "Access Key ID")
	var two []opemu.Field
	json.Unmarshal([]byte(get("label=Secret Access Key,label=Access Key ID").Stdout), &two)
	c.expect("F", "how many fields there are in an array", len(two), 2)
	if len(two) == 2 {
		c.expect("F", "the order of the fields", two[0].Label, "Secret Access Key")
	}
	c.expectRefusal("F", get("label=nonsense"), fmt.Sprintf("%q isn't a field in the %q item", "nonsense", it.Title))
}

func checkHuman(c *contract) {
	it := c.make(c.title())
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	hidden := c.must(stdin{}, "item", "get", it.ID, "--vault", c.vault)
	c.expect("D", "that the output for people has the secret", strings.Contains(hidden, secret), false)
	c.expect("F", "that it says how to see it", strings.Contains(hidden, "[use 'op item get "+it.ID+" --reveal' to reveal]"), true)
	open := c.must(stdin{}, "item", "get", it.ID, "--vault", c.vault, "--reveal")
	c.expect("D", "that --reveal shows the secret", strings.Contains(open, secret), true)
}

func checkNotFound(c *contract) {
	c.expectRefusal("R", c.call(c.T, stdin{}, "item", "get", "kura has no such item"),
		`"kura has no such item" isn't an item. Specify the item with its UUID, name, or domain.`)
	c.expectRefusal("R", c.call(c.T, stdin{}, "item", "get", "kura has no such item", "--vault="+c.vault),
		`"kura has no such item" isn't an item in the "`+c.vault+`" vault. Specify the item with its UUID, name, or domain.`)
	c.expectRefusal("R", c.call(c.T, stdin{}, "item", "get", "x", "--vault", "kura has no such vault"),
		`"kura has no such vault" isn't a vault in this account. Specify the vault with its ID or name.`)
	c.expectRefusal("R", c.call(c.T, stdin{}, "--account", "nobody.example", "vault", "list"), "no account found for filter nobody.example")
	c.expectRefusal("F", c.call(c.T, stdin{}, "item", "get", "x", "--nonsense"), "unknown flag: --nonsense")
}

func checkAmbiguous(c *contract) {
	title := c.title()
	a, b := c.make(title), c.make(title)
	r := c.call(c.T, stdin{}, "item", "get", title)
	c.expectRefusal("R", r, `More than one item matches "`+title+`". Try again and specify the item by its ID: `+"\n\t* for the item \""+title+"\" in vault "+a.Vault.Name+": ")
	for _, it := range []opemu.Item{a, b} {
		c.expect("R", "that an ID is listed", strings.Contains(r.Stderr, ": "+it.ID), true)
	}
}

func checkEditJSON(c *contract) {
	it := c.make(c.title())
	whole := c.get(it.ID)
	cache := field(c.T, whole, "session_cache")
	cache.Value = "c2Vzc2lvbg=="
	whole.Fields = slices.DeleteFunc(whole.Fields, func(f opemu.Field) bool {
		return f.Label == "Access Key ID" || f.Label == "notesPlain"
	})
	whole.Fields = append(whole.Fields, opemu.Field{Section: &opemu.Section{ID: "keys"}, Type: "STRING", Label: "added", Value: "x"})
	reply := c.item(c.must(pipe(toJSON(c.T, whole)), "item", "edit", it.ID, "--vault", c.vault, "--format", "json"))
	c.expect("R", "the version after an edit", reply.Version, it.Version+1)
	after := c.get(it.ID)
	c.expect("S", "the value of a field whose value was changed", field(c.T, after, "session_cache").Value, "c2Vzc2lvbg==")
	c.expect("F", "the ID of a field that was sent", field(c.T, after, "session_cache").ID, field(c.T, it, "session_cache").ID)
	c.expect("F", "how many there are of a field that was not sent", len(fields(after, "Access Key ID")), 0)
	c.expect("F", "the value of a built-in field that was not sent", field(c.T, after, "notesPlain").Value, "a note")
	c.expect("F", "that a field sent without an ID has one", isFreshID(field(c.T, after, "added").ID), true)
	c.expect("R", "the value of an OTP field that was sent", field(c.T, after, "one-time password").Value, "JBSWY3DPEHPK3PXP")
	_, err := time.Parse("2006-01-02T15:04:05.999999Z", after.UpdatedAt)
	c.expect("R", "that a read has the time in UTC", err, nil)

	long := strings.Repeat("c2Vz", 1000) // a session has about 2 kB
	field(c.T, after, "session_cache").Value = long
	c.must(pipe(toJSON(c.T, after)), "item", "edit", it.ID, "--vault", c.vault)
	c.expect("I", "the length of a long value", len(field(c.T, c.get(it.ID), "session_cache").Value), len(long))
}

func checkEditRefused(c *contract) {
	it := c.make(c.title())
	edit := func(change func(*opemu.Item)) opemu.Result {
		whole := c.get(it.ID)
		change(&whole)
		return c.call(c.T, pipe(toJSON(c.T, whole)), "item", "edit", it.ID, "--vault", c.vault)
	}
	c.expectRefusal("F", edit(func(it *opemu.Item) { it.UpdatedAt = "" }),
		`unable to process line 1: Validation: Couldn't validate the item: "[ItemValidator] has found 1 errors: {1. Item updatedAt must be > 1970-01-01}"`)
	c.expect("F", "exit status without an ID", edit(func(it *opemu.Item) { it.ID = "" }).Exit, 1)
	c.expect("F", "exit status with one section twice", edit(func(it *opemu.Item) { it.Sections = append(it.Sections, it.Sections[0]) }).Exit, 1)
	c.expect("R", "the version after refused edits", c.get(it.ID).Version, it.Version)
}

func checkAssignments(c *contract) {
	it := c.make(c.title())
	edit := func(statement string) opemu.Item {
		c.Helper()
		return c.item(c.must(stdin{}, "item", "edit", it.ID, statement, "--vault", c.vault, "--format", "json"))
	}
	after := edit("keys.Access Key ID=changed")
	c.expect("R", "the value of a field in the section named", field(c.T, after, "Access Key ID").Value, "changed")
	c.expect("R", "the ID of that field", field(c.T, after, "Access Key ID").ID, field(c.T, it, "Access Key ID").ID)
	c.expect("R", "the version", after.Version, it.Version+1)
	local, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", after.UpdatedAt)
	c.expect("R", "that the reply has the time with a fraction", err == nil && strings.Contains(after.UpdatedAt, "."), true)
	_, offset := local.Zone()
	_, want := time.Now().Zone()
	c.expect("R", "the offset of the time in the reply", offset, want)

	after = edit("keys.Secret Access Key[text]=visible")
	c.expect("R", "the type of a field after an assignment with another", field(c.T, after, "Secret Access Key").Type, "STRING")

	after = edit("other.Access Key ID[text]=second")
	c.expect("R", "how many fields there are after naming another section", len(fields(after, "Access Key ID")), 2)
	first := after.Sections[0]
	c.expect("R", "the label of the first section, which is new", first.Label, "other")
	c.expect("R", "that its ID is Section_ and 26 characters", strings.HasPrefix(first.ID, "Section_") && isFreshID(first.ID[8:]), true)
	c.expect("R", "the label of the last field, which is new", after.Fields[len(after.Fields)-1].Label, "Access Key ID")

	after = edit("keys.third[text]=x")
	i := slices.IndexFunc(after.Fields, func(f opemu.Field) bool { return f.Label == "third" })
	c.expect("R", "the field before a new one in a section", after.Fields[i-1].Label, "Secret Access Key")

	after = edit(`dotted\.name\=x[text]=a\=b`)
	c.expect("R", "the section of a field without one", field(c.T, after, "dotted.name=x").Section == nil, true)
	c.expect("D", "a value, in which a backslash is one", field(c.T, after, "dotted.name=x").Value, `a\=b`)

	after = edit("other.Access Key ID[delete]")
	c.expect("R", "how many fields there are after [delete]", len(fields(after, "Access Key ID")), 1)
	c.expect("R", "that the section which is empty then is there", slices.ContainsFunc(after.Sections, func(s opemu.Section) bool { return s.Label == "other" }), false)
}

func checkStdin(c *contract) {
	it := c.make(c.title())
	whole := c.get(it.ID)
	field(c.T, whole, "session_cache").Value = "new"
	r := c.call(c.T, stdin{opemu.Regular, toJSON(c.T, whole)}, "item", "edit", it.ID, "--vault", c.vault)
	c.expect("F", "exit status of an edit with a file for stdin", r.Exit, 0)
	c.expect("F", "what the edit with a file has changed", field(c.T, c.get(it.ID), "session_cache").Value, "")

	r = c.call(c.T, pipe("this is not JSON"), "item", "edit", it.ID, "--vault", c.vault)
	c.expectRefusal("F", r, "invalid JSON in piped input")

	r = c.call(c.T, stdin{opemu.Regular, fmt.Sprintf(example, c.title())},
		"item", "create", "-", "--category", "API Credential", "--title", c.title(), "--vault", c.vault, "--format", "json")
	c.expect("F", "exit status of a create with a file for stdin", r.Exit, 0)
	empty := c.item(r.Stdout)
	c.remove(empty.ID)
	c.expect("F", "how many fields the new item has of those in the file", len(fields(empty, "Access Key ID")), 0)
}

func checkTemplate(c *contract) {
	it := c.make(c.title())
	file := filepath.Join(c.TempDir(), "template.json")
	whole := c.get(it.ID)
	field(c.T, whole, "session_cache").Value = "from a file"
	if err := os.WriteFile(file, []byte(toJSON(c.T, whole)), 0o600); err != nil {
		c.Fatal(err)
	}
	c.must(stdin{}, "item", "edit", it.ID, "--vault", c.vault, "--template", file)
	c.expect("D", "a value from --template", field(c.T, c.get(it.ID), "session_cache").Value, "from a file")
	r := c.call(c.T, pipe(toJSON(c.T, whole)), "item", "edit", it.ID, "--vault", c.vault, "--template", file)
	c.expectRefusal("F", r, "cannot edit from template and stdin at the same time")
	r = c.call(c.T, pipe(toJSON(c.T, whole)), "item", "create", "--vault", c.vault, "--template", file)
	c.expectRefusal("F", r, "cannot create an item from template and stdin at the same time")
}

func checkDelete(c *contract) {
	it := c.make(c.title())
	c.expect("R", "what delete prints", c.must(stdin{}, "item", "delete", it.ID, "--vault", c.vault), "")
	r := c.call(c.T, stdin{}, "item", "get", it.ID, "--vault", it.Vault.ID)
	c.expectRefusal("F", r, "could not find item "+it.ID+" in vault "+it.Vault.ID+", because it has been deleted or archived.")
}

func checkLists(c *contract) {
	it := c.make(c.title())
	var items []opemu.Item
	if err := json.Unmarshal([]byte(c.must(stdin{}, "item", "list", "--vault", c.vault, "--categories", "API Credential", "--format", "json")), &items); err != nil {
		c.Fatal(err)
	}
	listed := slices.IndexFunc(items, func(other opemu.Item) bool { return other.ID == it.ID })
	c.expect("R", "that a new item is listed", listed >= 0, true)
	if listed >= 0 {
		c.expect("R", "how many fields a list shows", len(items[listed].Fields), 0)
	}
	keys := func(text string) []string {
		var list []map[string]any
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
			c.Fatalf("a list is %q: %v", text, err)
		}
		var keys []string
		for key := range list[0] {
			if key != "shorthand" { // not always there
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		return keys
	}
	c.expect("R", "members of a vault", keys(c.must(stdin{}, "vault", "list", "--format", "json")), "[content_version id name]")
	c.expect("R", "members of an account", keys(c.must(stdin{}, "account", "list", "--format", "json")), "[account_uuid email url user_uuid]")
	c.expect("R", "members of whoami", keys("["+c.must(stdin{}, "whoami", "--format", "json")+"]"), "[account_uuid email url user_type user_uuid]")
}

func checkRead(c *contract) {
	it := c.make(c.title())
	ref := "op://" + it.Vault.ID + "/" + it.ID + "/"
	c.expect("D", "what read prints", c.must(stdin{}, "read", ref+"keys/Access Key ID"), "AKIAIOSFODNN7EXAMPLE\n")
	c.expect("D", "what read -n prints", c.must(stdin{}, "read", "-n", ref+"keys/access key id"), "AKIAIOSFODNN7EXAMPLE")
	c.expect("D", "the type that read prints", c.must(stdin{}, "read", ref+"one-time password?attribute=type"), "OTP\n")
	c.expect("D", "the length of a code that read prints", len(c.must(stdin{}, "read", ref+"one-time password?attribute=otp")), 7)
	c.expectRefusal("F", c.call(c.T, stdin{}, "read", "op://Private/鍵/x"), "invalid character in secret reference")
	c.expectRefusal("F", c.call(c.T, stdin{}, "read", "op://a/b/c/d/e"), "too many '/'")
}
