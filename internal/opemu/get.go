package opemu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// items returns the items as the call sees them: op's daemon may have old ones.
func (c *call) items(s *State) []Stored {
	if s.Snapshot != nil && c.cached() {
		return s.Snapshot
	}
	return s.Items
}

// printJSON prints as op does, indented.
func (c *call) printJSON(v any) error {
	e := json.NewEncoder(&c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *call) json() bool { return c.format() == "json" }

// itemGet is "op item get".
func itemGet(c *call) error {
	queries := []query{queryOf(c.args.operands[0], c.args.flags["vault"])}
	if c.args.operands[0] == "-" {
		var err error
		if queries, err = c.pipedItems(); err != nil {
			return err
		}
	}
	for _, q := range queries {
		if err := c.get(q); err != nil {
			return err
		}
	}
	return nil
}

// pipedItems reads the items that a call gets through a pipe, such as the
// output of "op item list --format json".
func (c *call) pipedItems() ([]query, error) {
	d := json.NewDecoder(bytes.NewReader(c.input))
	var list []query
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) && len(list) > 0 {
			return list, nil
		}
		var items []Item
		if bytes.HasPrefix(raw, []byte("{")) {
			raw = slices.Concat([]byte("["), raw, []byte("]"))
		}
		if err != nil || json.Unmarshal(raw, &items) != nil {
			return nil, fail("invalid JSON in piped input") // [F]
		}
		for _, it := range items {
			list = append(list, query{it.ID, orElse(c.args.flags["vault"], it.Vault.ID)})
		}
	}
}

// get prints an item, or what the flags ask of it.
func (c *call) get(q query) error {
	err := c.update(func(s *State) error {
		if err := c.needVault(s, q.vault); err != nil {
			return err
		}
		if q.byIDs() {
			return c.charge(s, 1, 0) // [D]
		}
		return c.charge(s, 3, 0)
	})
	if err != nil {
		return err
	}
	return c.look(func(s *State) error {
		stored, err := c.findItem(s, c.items(s), q)
		if err != nil {
			return err
		}
		it := s.view(stored)
		switch {
		case c.args.isSet("otp"):
			return c.printOTP(it)
		case c.args.isSet("share-link"):
			a, err := c.account(s)
			fmt.Fprintf(&c.out, "https://start.1password.com/open/i?a=%s&h=%s&i=%s&v=%s\n", a.AccountUUID, a.URL, it.ID, it.Vault.ID)
			return err
		case c.args.flags["fields"] != "":
			return c.printFields(s, it)
		}
		return c.printItem(s, it)
	})
}

// printOTP prints the code of the first OTP field, whatever the format [S].
func (c *call) printOTP(it Item) error {
	for _, f := range it.Fields {
		if f.Type == "OTP" && f.TOTP != "" {
			fmt.Fprintln(&c.out, f.TOTP)
			return nil
		}
	}
	// The words of op 2 are not known; these are op 1's [I].
	return fail("item %q does not contain a one-time password", it.Title)
}

// printFields prints the fields that --fields names: in JSON one object for
// one, and an array for more, in the order asked for [F].
func (c *call) printFields(s *State, it Item) error {
	var found []Field
	for spec := range strings.SplitSeq(c.args.flags["fields"], ",") {
		name, isType := strings.CutPrefix(spec, "type=")
		name = strings.TrimPrefix(name, "label=")
		n := len(found)
		for _, f := range it.Fields {
			if isType && strings.EqualFold(f.Type, name) || !isType && (sameLabel(f.Label, name) || f.ID == name) {
				found = append(found, f)
			}
		}
		if len(found) == n {
			return fail("%q isn't a field in the %q item", name, it.Title) // [F]
		}
	}
	if !c.json() {
		var values []string
		for _, f := range found {
			values = append(values, c.shown(s, it, f))
		}
		fmt.Fprintln(&c.out, strings.Join(values, ","))
		return nil
	}
	if len(found) == 1 {
		return c.printJSON(found[0])
	}
	return c.printJSON(found)
}

// sameLabel compares labels without case and blanks [D].
func sameLabel(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, " ", ""), strings.ReplaceAll(b, " ", ""))
}

// shown returns a field's value for people: since 2.30.0 it is hidden unless
// --reveal is given [D].
func (c *call) shown(s *State, it Item, f Field) string {
	secret := f.Type == "CONCEALED" || f.Type == "OTP"
	if secret && f.Value != "" && s.since("2.30.0") && !c.args.isSet("reveal") {
		return "[use 'op item get " + it.ID + " --reveal' to reveal]"
	}
	return f.Value
}

// printItem prints an item. JSON has its secrets in the clear, always [D].
func (c *call) printItem(s *State, it Item) error {
	if c.json() {
		return c.printJSON(it)
	}
	// What is for people is not worth more than its shape [I].
	w := tabwriter.NewWriter(&c.out, 0, 0, 4, ' ', 0)
	fmt.Fprintf(w, "ID:\t%s\nTitle:\t%s\nVault:\t%s (%s)\nCreated:\t%s\nUpdated:\t%s\nFavorite:\t%v\nTags:\t%s\nVersion:\t%d\nCategory:\t%s\nFields:\n",
		it.ID, it.Title, it.Vault.Name, it.Vault.ID, it.CreatedAt, it.UpdatedAt, it.Favorite, strings.Join(it.Tags, ","), it.Version, it.Category)
	for _, f := range it.Fields {
		if f.Value != "" {
			fmt.Fprintf(w, "  %s:\t%s\n", orElse(f.Label, f.ID), c.shown(s, it, f))
		}
	}
	return w.Flush()
}

// itemList is "op item list". It never prints fields [R].
func itemList(c *call) error {
	if err := c.update(func(s *State) error { return c.charge(s, 1, 0) }); err != nil {
		return err
	}
	return c.look(func(s *State) error {
		vaults := c.vaults(s)
		if name := c.args.flags["vault"]; name != "" {
			v, err := c.findVault(s, name)
			if err != nil {
				return err
			}
			vaults = []Vault{*v}
		}
		list := []Item{}
		for _, it := range c.items(s) {
			inVault := slices.ContainsFunc(vaults, func(v Vault) bool { return v.ID == it.Vault.ID })
			if inVault && c.listed(it) {
				it := s.view(it)
				it.Fields, it.Sections, it.Files = nil, nil, nil
				list = append(list, it)
			}
		}
		if c.json() {
			return c.printJSON(list)
		}
		w := tabwriter.NewWriter(&c.out, 0, 0, 4, ' ', 0)
		fmt.Fprintln(w, "ID\tTITLE\tVAULT\tEDITED")
		for _, it := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", it.ID, it.Title, it.Vault.Name, it.UpdatedAt)
		}
		return w.Flush()
	})
}

// listed reports whether the flags of a list let an item through.
func (c *call) listed(it Stored) bool {
	if it.Deleted || it.Archived && !c.args.isSet("include-archive") && c.getenv("OP_INCLUDE_ARCHIVE") != "true" {
		return false
	}
	if c.args.isSet("favorite") && !it.Favorite {
		return false
	}
	among := func(flag string, is func(string) bool) bool {
		return c.args.flags[flag] == "" || slices.ContainsFunc(strings.Split(c.args.flags[flag], ","), is)
	}
	return among("categories", func(name string) bool { return categoryOf(name) == it.Category }) &&
		among("tags", func(tag string) bool { return slices.Contains(it.Tags, tag) })
}
