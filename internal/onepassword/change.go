package onepassword

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"kura/internal/cred"
)

// LeastVersion is the first version of op that takes the JSON of an item from a
// pipe to edit it; older ones end with status 0 and have done nothing
// (https://github.com/1Password/terraform-provider-onepassword, v2.1.2,
// internal/onepassword/cli/op.go).
const LeastVersion = "2.23.0"

// A Reason says why an item is not written to.
type Reason string

// The reasons. Op prints neither passkeys nor attachments, so neither survives
// an edit, which replaces all of an item
// (https://developer.1password.com/docs/cli/item-edit/).
const (
	IsLogin  Reason = "it is a login, and an edit would destroy a passkey in it"
	HasFiles Reason = "it has files attached, which an edit might lose"
)

// An UnwritableError says that an item can be read but must not be edited.
type UnwritableError struct {
	Item   string // its title
	Reason Reason
}

func (e *UnwritableError) Error() string {
	return fmt.Sprintf("item %q is not changed: %s", e.Item, e.Reason)
}

func (it *Item) writable() error {
	switch {
	case it.Category == "LOGIN":
		return &UnwritableError{it.Title, IsLogin}
	case it.Files > 0:
		return &UnwritableError{it.Title, HasFiles}
	}
	return nil
}

// A LostError says that an item is not what it was made by an edit: fields are
// missing or have another value. The app has the item's former versions.
type LostError struct {
	Item   string // its title
	Fields []string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("after the edit, item %q is without its former or new value in %s", e.Item, strings.Join(e.Fields, ", "))
}

const maxTries = 4

// Edit has change change an item, and writes it back. Op can only replace all of
// an item, so it is read anew, past all caches, and read again for another try if
// somebody else changes the vault meanwhile; change is then called again. If
// change leaves the item as it is nothing is written. Edit returns the item as it
// has become.
//
// Once it returns nil, every field that there was is there. If a reply is lost
// the item is read again to find out what has become of it. Errors are those of
// change, *UnwritableError and *LostError besides the usual ones.
func (c *Client) Edit(ctx context.Context, ref Ref, change func(*Item) error) (*Item, error) {
	if err := c.canEdit(ctx); err != nil {
		return nil, err
	}
	var it *Item
	err := c.Turn(ctx, func(ctx context.Context) (err error) {
		defer c.forget()
		it, err = c.edit(ctx, ref, change)
		return err
	})
	return it, err
}

func (c *Client) edit(ctx context.Context, ref Ref, change func(*Item) error) (*Item, error) {
	var sent *Item
	var last error // why it was not done at the last try
	for try := 1; ; try++ {
		it, err := c.Fresh(ctx, ref)
		if err != nil && last != nil && ctx.Err() == nil {
			return nil, last
		}
		if err != nil {
			return nil, err
		}
		if err := change(it); err != nil {
			return nil, err
		}
		if !it.changed {
			if sent != nil { // the reply of the last try was lost, but not the edit
				err = compare(sent, it)
			}
			return it, err
		}
		if last != nil && KindOf(last) != Conflict || try > maxTries {
			return nil, last
		}
		if err := it.writable(); err != nil {
			return nil, err
		}
		after, err := c.send(ctx, it)
		if err == nil || !MayBeDone(err) {
			return after, err
		}
		sent, last = it, err
		if KindOf(err) == Conflict && try < maxTries {
			if err := pause(ctx, try); err != nil {
				return nil, err
			}
		}
	}
}

// pause waits before another try: 100 to 200 ms at first, then twice as long
// each time.
func pause(ctx context.Context, try int) error {
	least := 100 * time.Millisecond << (try - 1)
	select {
	case <-time.After(least + rand.N(least)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// MayBeDone reports whether a change that ended with an error may have happened
// all the same, or may happen at another try.
func MayBeDone(err error) bool {
	if _, ok := errors.AsType[*Error](err); !ok {
		return false
	}
	switch KindOf(err) {
	case Unknown, Conflict, Server, Unreachable, BadOutput, Crashed, NoAnswer:
		return true
	}
	return false
}

// canEdit returns an error if op is too old to edit items.
func (c *Client) canEdit(ctx context.Context) error {
	version, err := c.Version(ctx)
	if err == nil && !Since(version, LeastVersion) {
		err = &Error{Kind: Outdated, Command: "op item edit", Version: version}
	}
	return err
}

// send replaces an item and checks what op says has become of it.
func (c *Client) send(ctx context.Context, it *Item) (after *Item, err error) {
	data, err := it.encode()
	if err != nil {
		return nil, err
	}
	defer clear(data)
	a, err := itemCommand("edit", Ref{it.account, it.Vault.ID, it.ID}, "--format", "json")
	if err != nil {
		return nil, err
	}
	a.stdin = data
	err = c.run(ctx, a, func(out []byte) (err error) {
		after, err = c.decode(out)
		return err
	})
	if err != nil {
		return nil, err
	}
	after.account = it.account
	if after.ID != it.ID || after.Version <= it.Version {
		return nil, &Error{Kind: BadOutput, Command: a.words(), Text: "op has taken the edit, and changed nothing"}
	}
	if err := compare(it, after); err != nil {
		return nil, err
	}
	if after.Version > it.Version+1 {
		c.o.Log.Warn("an item of 1Password was changed by somebody else a moment ago, and that change may be lost; the app has its former versions",
			"item", it.Title, "version", after.Version)
	}
	return after, nil
}

// compare returns a *LostError unless each field of an item that was sent is in
// what has become of it, with its value if that was changed. What 1Password
// makes of other values, such as dates, is its own affair.
func compare(sent, after *Item) error {
	var lost []string
	for _, f := range sent.Fields {
		i := slices.IndexFunc(after.Fields, func(g Field) bool {
			return g.ID == f.ID || f.ID == "" && g.Label == f.Label && g.value == f.value
		})
		if i < 0 || f.changed && after.Fields[i].value != f.value || !f.IsEmpty() && after.Fields[i].IsEmpty() {
			lost = append(lost, f.name())
		}
	}
	if lost != nil {
		return &LostError{sent.Title, lost}
	}
	return nil
}

// A NewItem is what an item is made of.
type NewItem struct {
	Title  string
	Tags   []string
	Key    cred.Credentials
	Serial string // of the MFA device; "" is none
	Data   []byte // see Item.Data; nil: Key
}

// Create makes an item of the category "API Credential" in a vault; "" leaves
// the vault to op. An error does not mean that there is no item: the reply may
// have been lost.
func (c *Client) Create(ctx context.Context, account, vault string, n NewItem) (*Item, error) {
	head, err := json.Marshal(struct {
		Title    string   `json:"title"`
		Category string   `json:"category"`
		Tags     []string `json:"tags,omitempty"`
	}{n.Title, "API_CREDENTIAL", n.Tags})
	if err != nil {
		return nil, err
	}
	made := &Item{Title: n.Title, names: c.o.Names}
	if json.Unmarshal(head, &made.members) != nil {
		return nil, errNotJSON
	}
	if n.Data != nil {
		err = made.SetData(n.Data)
	} else {
		err = made.SetKey(n.Key)
	}
	if err == nil && n.Serial != "" {
		err = made.add("STRING", c.o.Names.MFASerial, cred.NewSecret(n.Serial), nil)
	}
	if err != nil {
		return nil, err
	}
	data, err := made.encode()
	if err != nil {
		return nil, err
	}
	defer clear(data)
	// The category is in the JSON: given twice it is an error.
	a := command{account: account, args: []string{"item", "create", "-", "--format", "json"}, stdin: data}
	if vault != "" {
		a.args = append(a.args, "--vault", vault)
	}
	var after *Item
	err = c.run(ctx, a, func(out []byte) (err error) {
		after, err = c.decode(out)
		return err
	})
	if err != nil {
		return nil, err
	}
	after.account = account
	return after, compare(made, after)
}

// Archive moves an item to the archive, where the app can bring it back from. An
// item that is not there, or is archived, is an error of the kind NotFound or
// Archived.
func (c *Client) Archive(ctx context.Context, ref Ref) error { return c.remove(ctx, ref, "--archive") }

// Delete is Archive for an item that nobody is to bring back.
func (c *Client) Delete(ctx context.Context, ref Ref) error { return c.remove(ctx, ref) }

func (c *Client) remove(ctx context.Context, ref Ref, flags ...string) error {
	a, err := itemCommand("delete", ref, flags...)
	if err != nil {
		return err
	}
	return c.Turn(ctx, func(ctx context.Context) error {
		defer c.forget()
		for try := 1; ; try++ {
			err := c.run(ctx, a, wantNothing)
			if err == nil || !MayBeDone(err) || try > maxTries {
				return err
			}
			switch _, got := c.Fresh(ctx, ref); {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case KindOf(got) == Archived, KindOf(got) == NotFound:
				return nil // the reply was lost
			case KindOf(err) != Conflict:
				return err
			}
			if err := pause(ctx, try); err != nil {
				return err
			}
		}
	})
}

// wantNothing is for a command that prints nothing. It can't tell whether that
// is all that went well, but exec looks for an error then.
func wantNothing(out []byte) error {
	if len(out) > 0 {
		return errNotJSON
	}
	return nil
}
