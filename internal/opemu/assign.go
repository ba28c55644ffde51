package opemu

import (
	"slices"
	"strings"
)

// An assignment is a statement of the form
//
//	[<section>.]<field>[[<type>]]=<value>
//
// in which a backslash takes the meaning from '.', '=' and '\' in the names of
// section and field [D].
type assignment struct {
	section, field string
	kind           string // a field type in JSON's words; "" for none given
	remove         bool   // its type is "delete"
	value          string
}

func parseAssignment(text string) (assignment, error) {
	var a assignment
	names, value, hasValue := cutPlain(text, '=')
	a.value = value
	if at := strings.LastIndexByte(names, '['); at >= 0 && strings.HasSuffix(names, "]") {
		word := names[at+1 : len(names)-1]
		if a.kind, a.remove = fieldType(word); a.kind == "" && !a.remove {
			return a, fail("%q is not a valid field type", word) // [I]
		}
		names = names[:at]
	}
	if !hasValue && !a.remove {
		return a, fail("%q is not a valid assignment statement", names) // [I]
	}
	section, field, ok := cutPlain(names, '.')
	if !ok {
		section, field = "", names
	}
	a.section, a.field = unescape(section), unescape(field)
	if a.field == "" {
		return a, fail("an assignment statement names no field") // [I]
	}
	return a, nil
}

// fieldType translates the word for a type in an assignment [D].
func fieldType(word string) (kind string, remove bool) {
	switch word {
	case "password", "concealed":
		return "CONCEALED", false
	case "text":
		return "STRING", false
	case "email":
		return "EMAIL", false
	case "url":
		return "URL", false
	case "date":
		return "DATE", false
	case "monthYear":
		return "MONTH_YEAR", false
	case "phone":
		return "PHONE", false
	case "otp":
		return "OTP", false
	}
	return "", word == "delete"
}

// cutPlain is strings.Cut at the first sep that no backslash stands before.
func cutPlain(text string, sep byte) (before, after string, found bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case sep:
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// unescape drops the backslashes that take a meaning away.
func unescape(name string) string {
	return strings.NewReplacer(`\.`, `.`, `\=`, `=`, `\\`, `\`).Replace(name)
}

// inSection reports whether a field is in a section, given by label or ID. ""
// is no section, or one without a label: the app puts a person's own fields
// into such a section, and they are found without naming it [I].
func inSection(f Field, section string, same func(a, b string) bool) bool {
	if section == "" {
		return f.Section == nil || f.Section.Label == ""
	}
	return f.Section != nil && (same(f.Section.Label, section) || f.Section.ID == section)
}

func exactly(a, b string) bool { return a == b }

// apply carries out an assignment, as it was observed of op 2.19 [R].
func (a assignment) apply(it *Item) error {
	i := slices.IndexFunc(it.Fields, func(f Field) bool {
		return (f.Label == a.field || f.ID == a.field) && inSection(f, a.section, exactly)
	})
	switch {
	case a.remove && i < 0:
		return fail("%q isn't a field in the %q item", a.field, it.Title) // [I]
	case a.remove && isBuiltIn(it.Category, it.Fields[i].ID):
		it.Fields[i].Value = "" // [I]
	case a.remove:
		gone := it.Fields[i]
		it.Fields = slices.Delete(it.Fields, i, i+1)
		it.dropIfEmpty(gone.Section)
	case i >= 0:
		it.Fields[i].Value = a.value // the ID is kept
		if a.kind != "" {
			it.Fields[i].Type = a.kind // a password can so be made visible
		}
	default:
		a.add(it)
	}
	return nil
}

// add adds the field of an assignment that names none there is.
func (a assignment) add(it *Item) {
	kind := orElse(a.kind, "CONCEALED") // [D]
	f := Field{ID: newFieldID(kind), Type: kind, Label: a.field, Value: a.value}
	if a.section == "" {
		it.Fields = append(it.Fields, f)
		return
	}
	i := slices.IndexFunc(it.Sections, func(s Section) bool { return s.Label == a.section || s.ID == a.section })
	if i < 0 {
		f.Section = &Section{"Section_" + newID(), a.section}
		it.Sections = slices.Insert(it.Sections, 0, *f.Section)
		it.Fields = append(it.Fields, f)
		return
	}
	section := it.Sections[i]
	f.Section = &section
	at := len(it.Fields)
	for j, g := range it.Fields {
		if g.Section != nil && g.Section.ID == section.ID {
			at = j + 1
		}
	}
	it.Fields = slices.Insert(it.Fields, at, f)
}

// dropIfEmpty removes a section in which no field is left.
func (it *Item) dropIfEmpty(section *Section) {
	if section == nil || slices.ContainsFunc(it.Fields, func(f Field) bool { return f.Section != nil && f.Section.ID == section.ID }) {
		return
	}
	it.Sections = slices.DeleteFunc(it.Sections, func(s Section) bool { return s.ID == section.ID })
}
