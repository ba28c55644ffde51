package doctor

import (
	"fmt"
	"slices"
	"strings"

	"kura/internal/awsconfig"
	"kura/internal/foreign"
)

// keysInFiles returns the long-term access keys that stand in a file as plain
// text.
func (s *Setup) keysInFiles(f *awsconfig.File) []Finding {
	if f == nil {
		return nil
	}
	var list []Finding
	for _, item := range foreign.FromFile(f) {
		switch {
		case !s.inScope(item.Name):
		case item.Err != nil:
			list = append(list, Finding{Warning,
				fmt.Sprintf("half an access key stands under %q, as plain text", item.Name),
				item.Note, "remove it"})
		case isLongTerm(item):
			list = append(list, Finding{Problem,
				fmt.Sprintf("the access key of %q stands in the file as plain text", item.Name),
				item.Note, "@kura import credentials --strip " + s.Quote(item.Name)})
		}
	}
	return list
}

// isLongTerm reports whether a key is valid until somebody deletes it.
func isLongTerm(item foreign.Item) bool {
	return item.Err == nil && item.Key.SessionToken.IsZero() && !strings.HasPrefix(item.Key.AccessKeyID, "ASIA")
}

// isPlain reports whether a long-term access key of that name stands in a file.
func (s *Setup) isPlain(name string) bool {
	return s.anyKey(func(item foreign.Item) bool { return item.Name == name && isLongTerm(item) })
}

// hasKey reports whether an access key of any kind stands in a file for a
// profile.
func (s *Setup) hasKey(profile string) bool {
	return s.anyKey(func(item foreign.Item) bool { return item.Name == profile && item.Err == nil })
}

func (s *Setup) anyKey(f func(foreign.Item) bool) bool {
	for _, file := range []*awsconfig.File{s.Credentials, s.Config} {
		if file != nil && slices.ContainsFunc(foreign.FromFile(file), f) {
			return true
		}
	}
	return false
}

// duplicates returns the sections and settings that a file has twice. The SDKs
// of AWS merge them, but what is written in Python refuses the whole file:
// https://docs.python.org/3/library/configparser.html#configparser.RawConfigParser
// is strict, and botocore and awsume leave it so.
func (s *Setup) duplicates(f *awsconfig.File) []Finding {
	if f == nil {
		return nil
	}
	var list []Finding
	twice := func(what string, line, first int) {
		list = append(list, Finding{Problem,
			fmt.Sprintf("%s is there already, in line %d: the AWS CLI, boto3 and awsume refuse the whole file", what, first),
			fmt.Sprintf("%s:%d", f.Name(), line), "make one of the two"})
	}
	sections, settings := map[string]int{}, map[string]int{}
	line := 0
	for text := range strings.Lines(strings.TrimPrefix(string(f.Bytes()), "\ufeff")) {
		line++
		if strings.ContainsAny(text[:1], " \t\r\n#;") {
			continue // of a setting above, or of none
		}
		if text[0] == '[' {
			header, _, _ := strings.Cut(text[1:], "]")
			if first := sections[header]; first > 0 {
				twice("the section ["+header+"]", line, first)
			} else {
				sections[header] = line
			}
			clear(settings)
			continue
		}
		end := strings.IndexAny(text, "=:")
		if end < 0 {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(text[:end]))
		if first := settings[name]; first > 0 {
			twice("the setting "+name, line, first)
		} else {
			settings[name] = line
		}
	}
	return list
}
