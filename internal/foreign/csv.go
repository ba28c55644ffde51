package foreign

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"kura/internal/cred"
)

// maxText is how much FromText reads in bytes.
const maxText = 1 << 20

// FromText returns the access keys in a file that the AWS console offers, or
// that somebody has typed. The name is used in errors and notes. It may be
//
//   - a CSV file whose first line names the columns, whatever others there are:
//     "Access key ID" and "Secret access key", as in accessKeys.csv, and "User
//     name", as in the older credentials.csv of one or several users. Users
//     who have no key are left out;
//   - the root user's rootkey.csv of old, with the lines AWSAccessKeyId=ID and
//     AWSSecretKey=SECRET;
//   - an access key ID and a secret access key, a line each.
//
// A record that is no access key is an item with an Err. An error says that
// there is no key at all; it does not quote the text.
func FromText(name string, r io.Reader) ([]Item, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxText+1))
	defer clear(data)
	if err != nil {
		return nil, err
	}
	if len(data) > maxText {
		return nil, fmt.Errorf("%s is longer than 1 MiB", name)
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.Contains(first, ",") {
		return fromCSV(name, text)
	}
	return fromLines(name, text)
}

func fromCSV(name, text string) ([]Item, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	r.LazyQuotes = true // a password may contain quotes
	r.TrimLeadingSpace = true
	columns := make(map[string]int)
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err) // which says where, not what
	}
	for i, column := range header {
		columns[strings.ToLower(strings.TrimSpace(column))] = i + 1
	}
	id, secret, user := columns["access key id"], columns["secret access key"], columns["user name"]
	if id == 0 || secret == 0 {
		return nil, fmt.Errorf(`%s: the first line has no columns "Access key ID" and "Secret access key"`, name)
	}

	var items []Item
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		field := func(column int) string { // counted from 1
			if column < 1 || column > len(record) {
				return ""
			}
			return strings.TrimSpace(record[column-1])
		}
		if field(id) == "" && field(secret) == "" {
			continue
		}
		line, _ := r.FieldPos(0)
		items = append(items, textItem(field(user), fmt.Sprintf("%s:%d", name, line), field(id), field(secret)))
	}
	if items == nil {
		return nil, fmt.Errorf("%s: there is no access key below the first line", name)
	}
	return items, nil
}

// fromLines reads two lines, with or without names.
func fromLines(name, text string) ([]Item, error) {
	lines := strings.Fields(text) // neither of the two has spaces
	if len(lines) == 2 {
		id, ok1 := cutPrefixFold(lines[0], "AWSAccessKeyId=")
		secret, ok2 := cutPrefixFold(lines[1], "AWSSecretKey=")
		if ok1 == ok2 && id != "" && secret != "" {
			return []Item{textItem("", name, id, secret)}, nil
		}
	}
	return nil, fmt.Errorf("%s: want an access key ID and a secret access key, a line each, or a CSV file with columns of these names", name)
}

// cutPrefixFold is strings.CutPrefix without regard to case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func textItem(user, where, id, secret string) Item {
	item := Item{Name: user, Note: where}
	switch {
	case id == "":
		item.Err = &HalfError{where, "access key ID"}
	case secret == "":
		item.Err = &HalfError{where, "secret access key"}
	case strings.ContainsFunc(id+secret, notInKeys):
		item.Err = fmt.Errorf("%s: what stands there is no access key", where)
	default:
		item.Key = cred.Credentials{AccessKeyID: id, SecretAccessKey: cred.NewSecret(secret)}
	}
	return item
}

// notInKeys reports whether r is in no access key: a quote that is left over, a
// space, or what is not ASCII.
func notInKeys(r rune) bool { return r <= ' ' || r == '"' || r > '~' }
