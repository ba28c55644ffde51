package opemu

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"
)

// itemEdit is "op item edit". It replaces an item by JSON, or changes single
// fields by assignments, or both.
func itemEdit(c *call) error {
	q := queryOf(c.args.operands[0], c.args.flags["vault"])
	tmpl, err := c.template("cannot edit from template and stdin at the same time") // [F]
	if err != nil {
		return err
	}
	assignments, err := c.assignments(c.args.operands[1:])
	if err != nil {
		return err
	}
	return c.write(func(s *State) (string, error) {
		if err := c.needVault(s, q.vault); err != nil {
			return "", err
		}
		it, err := c.findItem(s, s.Items, q)
		if err != nil {
			return "", err
		}
		q = query{it.ID, it.Vault.ID}
		reads := 5 // [D], one less with the ID of a vault
		if isID(c.args.flags["vault"]) {
			reads = 4
		}
		return it.Vault.ID, c.charge(s, reads, 1)
	}, func(s *State) (Stored, error) {
		it, err := c.findItem(s, s.Items, q)
		if err != nil {
			return Stored{}, err
		}
		it.Item = it.clone()
		if tmpl == nil && len(assignments) == 0 && !c.changesByFlag() {
			return it, errDiscard // what was meant as input may have been ignored
		}
		if tmpl != nil {
			if it, err = replace(it, *tmpl, s.StrictTemplate); err != nil {
				return Stored{}, err
			}
		}
		if err := c.adorn(&it.Item, assignments); err != nil {
			return Stored{}, err
		}
		it.Version++
		it.UpdatedAt = storedTime(s.now())
		*s.item(it.ID) = it
		return it, nil
	})
}

// itemCreate is "op item create".
func itemCreate(c *call) error {
	tmpl, err := c.template("cannot create an item from template and stdin at the same time") // [F]
	if err != nil {
		return err
	}
	assignments, err := c.assignments(c.args.operands)
	if err != nil {
		return err
	}
	category := c.args.flags["category"]
	if tmpl != nil && tmpl.Category != "" {
		if category != "" { // [F], as far as it was seen
			return fail("cannot provide the item category with both the JSON template and the `--category` flag ...")
		}
		category = tmpl.Category
	}
	if category == "" {
		return fail("an item category is required") // [I]
	}
	word := category
	if category = categoryOf(word); category == "" {
		return fail("%q is not a valid item category", word) // [I]
	}
	var vault VaultRef
	return c.write(func(s *State) (string, error) {
		v, err := c.vaultForNew(s)
		if err != nil {
			return "", err
		}
		vault = VaultRef{ID: v.ID}
		return v.ID, c.charge(s, 1, 1) // [I]
	}, func(s *State) (Stored, error) {
		it := Stored{Item: Item{ID: newID(), Vault: vault, Category: category, Fields: templateOf(category)}}
		if tmpl != nil {
			if it, err = replace(it, *tmpl, false); err != nil {
				return Stored{}, err
			}
		}
		if a, err := c.account(s); err == nil {
			it.LastEditedBy = a.UserUUID
		}
		if err := c.adorn(&it.Item, assignments); err != nil {
			return Stored{}, err
		}
		it.Title = orElse(it.Title, category) // [I]
		it.Version = 1
		it.CreatedAt, it.UpdatedAt = storedTime(s.now()), storedTime(s.now())
		s.Items = append(s.Items, it)
		return it, nil
	})
}

// vaultForNew returns the vault for a new item: the person's own, unless the
// call names one [D].
func (c *call) vaultForNew(s *State) (*Vault, error) {
	if name := c.args.flags["vault"]; name != "" {
		return c.findVault(s, name)
	}
	if err := c.needVault(s, ""); err != nil {
		return nil, err
	}
	for _, v := range c.vaults(s) {
		if v.Type == Personal {
			return s.vault(v.ID), nil
		}
	}
	return nil, fail("a vault query must be provided") // [I]
}

// write carries out a change of a vault: it looks at the vault, takes its time
// and then makes the change, unless somebody else was faster. Look returns the
// vault's ID, and change the item as it is then; errDiscard with it means that
// there was nothing to change.
func (c *call) write(look func(*State) (string, error), change func(*State) (Stored, error)) error {
	var vault string
	var seen int
	err := c.update(func(s *State) error {
		var err error
		if vault, err = look(s); err != nil {
			return err
		}
		seen = s.vault(vault).ContentVersion
		return c.mayWrite(s, vault)
	})
	if err != nil {
		return err
	}
	if c.cmd.words == "item edit" {
		if err := c.takeTime(); err != nil {
			return err
		}
	}
	return c.update(func(s *State) error {
		v := s.vault(vault)
		if v.ContentVersion != seen {
			return fail("(409) Conflict: Internal server conflict") // [F]
		}
		it, err := change(s)
		if err != nil && !errors.Is(err, errDiscard) {
			return err
		}
		reply := s.view(it)
		if err == nil {
			v.ContentVersion++
			s.Snapshot = nil // an edit from this machine refreshes the daemon's cache
			reply.UpdatedAt = localTime(s.now())
		}
		if c.args.isSet("dry-run") {
			err = errDiscard
		}
		if c.cmd.words == "item delete" {
			return err
		}
		if printed := c.printItem(s, reply); printed != nil {
			return printed
		}
		return err
	})
}

// template returns the JSON that the call gets through a pipe or in the file
// of --template, or nil. Both is an error, with the given text.
func (c *call) template(both string) (*Item, error) {
	name, piped := c.args.flags["template"], c.record.Stdin == Pipe && !slices.Contains(c.record.Marks, MarkIgnored)
	data, invalid := c.input, "invalid JSON in piped input" // [F]
	switch {
	case name != "" && piped: // an empty pipe, too [F]
		return nil, fail("%s", both)
	case name != "":
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return nil, fail("%v", err)
		}
		invalid = "invalid JSON in template file" // [I]
	case !piped:
		return nil, nil
	}
	tmpl := &Item{}
	d := json.NewDecoder(bytes.NewReader(data))
	if d.Decode(tmpl) != nil || len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, fail("%s", invalid)
	}
	return tmpl, nil
}

// assignments parses the operands that are none other. A "-" says that there
// is a pipe, which op looks at anyway.
func (c *call) assignments(operands []string) ([]assignment, error) {
	var list []assignment
	for _, text := range operands {
		if text == "-" {
			continue
		}
		a, err := parseAssignment(text)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// changesByFlag reports whether flags of an edit change something.
func (c *call) changesByFlag() bool {
	return slices.ContainsFunc([]string{"title", "tags", "url", "favorite", "generate-password"}, func(flag string) bool {
		_, ok := c.args.flags[flag]
		return ok
	})
}

// adorn carries out assignments and flags.
func (c *call) adorn(it *Item, assignments []assignment) error {
	for _, a := range assignments {
		if err := a.apply(it); err != nil {
			return err
		}
	}
	for flag, value := range c.args.flags {
		switch flag {
		case "title":
			it.Title = value
		case "tags":
			it.Tags = strings.Split(value, ",")
		case "url":
			it.URLs = []URL{{Primary: true, Href: value}}
		case "favorite":
			it.Favorite = value == "true"
		case "generate-password":
			i := slices.IndexFunc(it.Fields, func(f Field) bool { return f.Purpose == "PASSWORD" })
			if i < 0 {
				return fail("cannot generate a password for an item of this category") // [I]
			}
			it.Fields[i].Value = newID() + newID()[:6]
		}
	}
	return nil
}

// invalid is how the server refuses an item [F].
func invalid(why string) error {
	return fail("unable to process line 1: Validation: Couldn't validate the item: \"[ItemValidator] has found 1 errors: {1. %s}\"", why)
}

// replace returns what becomes of an item by JSON: its own fields are replaced
// by those of the JSON, which keep the IDs they carry, while built-in fields
// stay, at least empty [F]. A passkey does not survive [D]. What op computes is
// not looked at, and neither are version and vault. A strict replace demands
// what op 2.35.0 does.
func replace(it Stored, tmpl Item, strict bool) (Stored, error) {
	if strict {
		if tmpl.ID != it.ID { // an ID is needed [F], this one [I]
			return it, invalid("Item uuid must match")
		}
		updated, err := time.Parse(time.RFC3339Nano, tmpl.UpdatedAt)
		if err != nil || updated.Unix() <= 0 {
			return it, invalid("Item updatedAt must be > 1970-01-01") // [F]
		}
	}
	sections := slices.Clone(tmpl.Sections)
	for i, s := range sections {
		if slices.ContainsFunc(sections[:i], func(other Section) bool { return other.ID == s.ID }) {
			return it, invalid("Section ids must be unique") // refused [F], with other words [I]
		}
	}
	var fields []Field
	for _, f := range it.Fields {
		if !isBuiltIn(it.Category, f.ID) {
			continue
		}
		if i := slices.IndexFunc(tmpl.Fields, func(g Field) bool { return g.ID == f.ID }); i >= 0 {
			g := tmpl.Fields[i]
			f.Value, f.Entropy, f.PasswordDetails = g.Value, g.Entropy, g.PasswordDetails
		}
		fields = append(fields, f)
	}
	for _, f := range tmpl.Fields {
		if isBuiltIn(it.Category, f.ID) {
			continue
		}
		f.Type = orElse(f.Type, "STRING") // [I]
		if !knownType(f.Type) {
			return it, invalid("Field type is unknown") // [I]
		}
		if f.ID == "" {
			f.ID = newFieldID(f.Type)
		}
		if slices.ContainsFunc(fields, func(g Field) bool { return g.ID == f.ID }) {
			return it, invalid("Field ids must be unique") // [I]
		}
		f.TOTP, f.Reference = "", ""
		if f.Section != nil {
			i := slices.IndexFunc(sections, func(s Section) bool { return s.ID == f.Section.ID })
			if i < 0 {
				sections = append(sections, *f.Section) // [I]
				i = len(sections) - 1
			}
			section := sections[i]
			f.Section = &section
		}
		fields = append(fields, f)
	}
	it.Title = orElse(tmpl.Title, it.Title)
	it.Favorite, it.Tags, it.URLs = tmpl.Favorite, tmpl.Tags, tmpl.URLs
	it.Sections, it.Fields = sections, fields
	if it.Passkey {
		it.Passkey, it.PasskeyDestroyed = false, true
	}
	return it, nil
}

// itemDelete is "op item delete". It says nothing.
func itemDelete(c *call) error {
	queries := []query{queryOf(c.args.operands[0], c.args.flags["vault"])}
	if c.args.operands[0] == "-" {
		var err error
		if queries, err = c.pipedItems(); err != nil {
			return err
		}
	}
	for _, q := range queries {
		err := c.write(func(s *State) (string, error) {
			if err := c.needVault(s, q.vault); err != nil {
				return "", err
			}
			it, err := c.findItem(s, s.Items, q)
			if err != nil {
				return "", err
			}
			q = query{it.ID, it.Vault.ID}
			return it.Vault.ID, c.charge(s, 1, 1) // [I]
		}, func(s *State) (Stored, error) {
			it := s.item(q.item)
			if c.args.isSet("archive") {
				it.Archived = true
			} else {
				*it = Stored{Item: Item{ID: it.ID, Vault: it.Vault}, Deleted: true}
			}
			return *it, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// templateGet is "op item template get".
func templateGet(c *call) error {
	category := categoryOf(c.args.operands[0])
	if category == "" {
		return fail("%q is not a valid item category", c.args.operands[0]) // [I]
	}
	return c.printJSON(struct {
		Title    string  `json:"title"`
		Category string  `json:"category"`
		Fields   []Field `json:"fields"`
	}{"", category, templateOf(category)})
}

// localTime is how the reply to a write has its time: local, to the
// microsecond [R], while later reads have UTC and seconds.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02T15:04:05.000000-07:00") }

func storedTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
