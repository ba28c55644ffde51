package opemu

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// read is "op read".
func read(c *call) error {
	ref := c.args.operands[0]
	path, attribute, _ := strings.Cut(ref, "?")
	attribute = strings.TrimPrefix(strings.TrimPrefix(attribute, "attribute="), "attr=")
	wrong := func(why string) error { return fail("could not read secret %s: %s", ref, why) } // [F]
	path, ok := strings.CutPrefix(path, "op://")
	if !ok {
		return wrong("invalid secret reference")
	}
	allowed := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_. /", r)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return !allowed(r) }) {
		return wrong("invalid character in secret reference") // [F]
	}
	parts := strings.Split(path, "/")
	switch {
	case len(parts) < 3:
		return wrong("secret references should match op://<vault>/<item>[/<section>]/<field>")
	case len(parts) > 4:
		return wrong("too many '/': secret references should match op://<vault>/<item>[/<section>]/<field>") // [F]
	}
	q := query{parts[1], parts[0]}
	if err := c.update(func(s *State) error { return c.charge(s, 1, 0) }); err != nil {
		return err
	}
	var value string
	err := c.look(func(s *State) error {
		stored, err := c.findItem(s, c.items(s), q)
		if err != nil {
			return wrong(err.Error())
		}
		section := ""
		if len(parts) == 4 {
			section = parts[2]
		}
		it, name := s.view(stored), parts[len(parts)-1]
		i := slices.IndexFunc(it.Fields, func(f Field) bool {
			return (strings.EqualFold(f.Label, name) || f.ID == name) && inSection(f, section, strings.EqualFold)
		})
		if i < 0 {
			return fail("%q isn't a field in the %q item", name, it.Title) // [F]
		}
		f := it.Fields[i]
		switch attribute {
		case "", "value":
			value = f.Value
		case "otp":
			value = f.TOTP
		case "type":
			value = f.Type
		case "id":
			value = f.ID
		case "purpose":
			value = f.Purpose
		default:
			return wrong("unknown attribute " + strconv.Quote(attribute)) // [I]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !c.args.isSet("no-newline") {
		value += "\n"
	}
	return c.deliver(value)
}

// deliver prints a value, or writes it to the file of --out-file.
func (c *call) deliver(value string) error {
	name := c.args.flags["out-file"]
	if name == "" {
		c.out.WriteString(value)
		return nil
	}
	mode, err := strconv.ParseUint(orElse(c.args.flags["file-mode"], "0600"), 8, 32)
	if err != nil {
		return fail("invalid file mode") // [I]
	}
	if _, err := os.Stat(name); err == nil && !c.args.isSet("force") {
		return fail("file %q already exists, use --force to overwrite it", name) // [I]
	}
	if err := os.WriteFile(name, []byte(value), os.FileMode(mode)); err != nil {
		return fail("%v", err)
	}
	fmt.Fprintln(&c.out, name)
	return nil
}
