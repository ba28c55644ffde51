package backup

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// version is that of the format which this package reads and writes.
const version = 1

const (
	magic = "kura-backup "
	last  = "end"
)

// encode returns the text of a backup. A line of printable ASCII stands as it is
// after "| "; what is anything else is quoted after "= ".
func encode(c Contents) []byte {
	size := 100
	for _, item := range c.Items {
		size += 100 + 4*len(item.Name) + 6*len(item.Data)
	}
	text := make([]byte, 0, size) // so that growing leaves no copies behind
	text = fmt.Appendf(text, "%s%d\nmade: %s\n\n", magic, version, c.Made.UTC().Format(time.RFC3339))
	for _, item := range c.Items {
		text = fmt.Appendf(text, "access-key: %s\n", strconv.QuoteToASCII(item.Name))
		for line := range bytes.Lines(item.Data) {
			if plain, ok := bytes.CutSuffix(line, []byte("\n")); ok && isPlain(plain) {
				text = append(append(text, "| "...), line...)
			} else {
				text = append(text, "= "...)
				text = strconv.AppendQuoteToASCII(text, string(line))
				text = append(text, '\n')
			}
		}
		text = append(text, '\n')
	}
	return append(text, last+"\n"...)
}

func isPlain(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Decode reads the text of a backup, as age decrypts it. Errors are those of
// Read, and quote no data.
func Decode(text []byte) (Contents, error) {
	rest, ok := bytes.CutPrefix(text, []byte(magic))
	if !ok {
		return Contents{}, ErrNotBackup
	}
	line := 1
	next := func() (string, bool) {
		var now []byte
		now, rest, ok = bytes.Cut(rest, []byte("\n"))
		line++
		return string(now), ok
	}
	malformed := func() error { return fmt.Errorf("%w: line %d of its text", ErrDamaged, line-1) }

	number, ok := next()
	v, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil || v < 1:
		return Contents{}, malformed()
	case v > version:
		return Contents{}, &VersionError{v}
	}
	var c Contents
	made, ok := next()
	made, isMade := strings.CutPrefix(made, "made: ")
	at, err := time.Parse(time.RFC3339, made)
	c.Made = at.UTC()
	if year := c.Made.Year(); !ok || !isMade || err != nil || year < 1 || year > 9999 {
		return Contents{}, malformed()
	}
	for {
		now, ok := next()
		if !ok {
			return Contents{}, malformed() // it is cut short
		}
		kind, data, _ := strings.Cut(now, " ")
		switch {
		case now == "":
			continue
		case now == last && len(rest) == 0:
			if err := check(c.Items); err != nil {
				return Contents{}, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return c, nil
		case kind == "access-key:":
			name, err := strconv.Unquote(data)
			if err != nil {
				return Contents{}, malformed()
			}
			c.Items = append(c.Items, Item{Name: name})
			continue
		case len(c.Items) == 0:
			return Contents{}, malformed()
		}
		item := &c.Items[len(c.Items)-1]
		switch kind {
		case "|":
			item.Data = append(append(item.Data, data...), '\n')
		case "=":
			data, err := strconv.Unquote(data)
			if err != nil {
				return Contents{}, malformed()
			}
			item.Data = append(item.Data, data...)
		default:
			return Contents{}, malformed()
		}
	}
}
