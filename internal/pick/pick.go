// Package pick lets a person choose one of many things by typing a part of its
// name. It is the state of such a choice, what keys make of it, and how it looks
// in so many columns; it does not know the terminal, nor what is chosen.
package pick

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"kura/internal/width"
)

// An Item is something to choose.
type Item struct {
	Name  string
	About string // what it is, in a few words; typed words are looked for here too
}

// A Model is the state of a choice. It does not change: Key returns the next.
type Model struct {
	title   string
	items   []item
	query   string
	matches []int // indexes of items, the best first
	cursor  int   // index of matches, 0 if there are none
}

type item struct {
	Item
	lower, about string // in lower case
}

// An Outcome is what a key has led to.
type Outcome int

// The outcomes.
const (
	Going Outcome = iota
	Chosen
	Canceled
)

// maxQuery is the greatest length of what is typed, in bytes.
const maxQuery = 200

// New returns the choice of one of items, the likeliest first. The title stands
// before what is typed.
func New(title string, items []Item) Model {
	m := Model{title: title}
	for _, it := range items {
		m.items = append(m.items, item{it, strings.ToLower(it.Name), strings.ToLower(it.About)})
	}
	return m.search("")
}

// Query returns what has been typed.
func (m Model) Query() string { return m.query }

// Matches returns the items that match what was typed, the best first.
func (m Model) Matches() []Item {
	var items []Item
	for _, i := range m.matches {
		items = append(items, m.items[i].Item)
	}
	return items
}

// Choice returns the item that is marked, and whether there is one.
func (m Model) Choice() (Item, bool) {
	if len(m.matches) == 0 {
		return Item{}, false
	}
	return m.items[m.matches[m.cursor]].Item, true
}

// page is how far a key for a page goes.
const page = 10

// Key returns what a key makes of m: a character as UTF-8, a control character,
// or the escape sequence that a terminal sends for it. Other keys do nothing.
func (m Model) Key(key string) (Model, Outcome) {
	switch key {
	case "\r", "\n":
		if len(m.matches) > 0 {
			return m, Chosen
		}
	case "\x1b", "\x03", "\x04", "\x07": // Esc, Ctrl-C, Ctrl-D, Ctrl-G
		return m, Canceled
	case "\x1b[A", "\x1bOA", "\x10", "\x1b[Z": // up, Ctrl-P, Shift-Tab
		return m.move(m.cursor-1, true), Going
	case "\x1b[B", "\x1bOB", "\x0e", "\t": // down, Ctrl-N, Tab
		return m.move(m.cursor+1, true), Going
	case "\x1b[5~":
		return m.move(m.cursor-page, false), Going
	case "\x1b[6~":
		return m.move(m.cursor+page, false), Going
	case "\x1b[H", "\x1bOH", "\x1b[1~":
		return m.move(0, false), Going
	case "\x1b[F", "\x1bOF", "\x1b[4~":
		return m.move(len(m.matches)-1, false), Going
	case "\x7f", "\x08":
		_, size := utf8.DecodeLastRuneInString(m.query)
		return m.search(m.query[:len(m.query)-size]), Going
	case "\x15": // Ctrl-U
		return m.search(""), Going
	case "\x17": // Ctrl-W
		return m.search(m.query[:strings.LastIndex(strings.TrimRight(m.query, " "), " ")+1]), Going
	default:
		if len(key) == 2 && key[0] == '\x1b' && key[1] < ' ' {
			return m, Canceled // Esc, and another key at once
		}
		r, size := utf8.DecodeRuneInString(key)
		if size == len(key) && unicode.IsPrint(r) && r != utf8.RuneError && len(m.query)+size <= maxQuery {
			return m.search(m.query + key), Going
		}
	}
	return m, Going
}

// move marks another match. At either end it goes on at the other, around, or
// stays.
func (m Model) move(to int, around bool) Model {
	last := len(m.matches) - 1
	switch {
	case last < 0:
		to = 0
	case around && to < 0:
		to = last
	case around && to > last:
		to = 0
	}
	m.cursor = max(0, min(to, last))
	return m
}

// search returns m with what matches another query, the best marked.
func (m Model) search(query string) Model {
	m.query, m.cursor = query, 0
	words := strings.Fields(strings.ToLower(query))
	costs := make(map[int]int, len(m.items))
	m.matches = nil
	for i := range m.items {
		if cost, ok := m.items[i].cost(words); ok {
			costs[i] = cost
			m.matches = append(m.matches, i)
		}
	}
	slices.SortStableFunc(m.matches, func(a, b int) int { return costs[a] - costs[b] })
	return m
}

// cost says how far an item is from what was typed, and whether it matches at
// all, which is if each word does. Their order does not matter.
func (it *item) cost(words []string) (sum int, ok bool) {
	for _, word := range words {
		at := strings.Index(it.lower, word)
		switch {
		case it.lower == word:
		case at == 0:
			sum++
		case at > 0 && !isWord(it.lower[at-1]):
			sum += 2
		case at > 0:
			sum += 3
		case strings.Contains(it.about, word):
			sum += 5
		case contains(it.lower, word):
			sum += 8
		default:
			return 0, false
		}
	}
	return sum, true
}

// isWord reports whether a name goes on with the byte, rather than beginning
// another word after it.
func isWord(b byte) bool {
	return b >= utf8.RuneSelf || 'a' <= b && b <= 'z' || '0' <= b && b <= '9'
}

// contains reports whether s has the characters of word in their order, with
// others between them.
func contains(s, word string) bool {
	for _, r := range word {
		i := strings.IndexRune(s, r)
		if i < 0 {
			return false
		}
		s = s[i+utf8.RuneLen(r):]
	}
	return true
}

// A Style is what a line is set off with. Without colour it is text alone.
type Style struct{ Colour bool }

// Lines returns m as lines for so many columns and rows: what is typed, the
// matches around the marked one, and how many there are if not all are shown.
// No line is as wide as the columns, so that none is broken.
func (m Model) Lines(columns, rows int, style Style) []string {
	room := max(columns-1, 1)
	lines := []string{width.Cut(m.title, max(room-8, 0)) + tail(plain(m.query), max(8, room-width.Of(m.title)), room)}
	if columns < 10 {
		lines[0] = tail(plain(m.query), room, room)
	}
	height := max(1, min(rows-3, 12))
	from := m.cursor - m.cursor%height
	to := min(from+height, len(m.matches))
	names := 0
	for _, i := range m.matches[from:to] {
		names = max(names, width.Of(plain(m.items[i].Name)))
	}
	for n, i := range m.matches[from:to] {
		lines = append(lines, m.line(m.items[i].Item, names, room, from+n == m.cursor, style))
	}
	switch {
	case len(m.matches) == 0:
		lines = append(lines, width.Cut("  nothing matches", room))
	case len(m.matches) > height:
		lines = append(lines, width.Cut(fmt.Sprintf("  %d of %d", m.cursor+1, len(m.matches)), room))
	}
	return lines[:min(len(lines), max(rows-1, 1))]
}

// line returns the line of an item, with its second column where there is room
// for a good part of it.
func (m Model) line(it Item, names, room int, marked bool, style Style) string {
	const mark, gap, least = 2, 2, 12
	line := "  "
	if marked {
		line = "> "
	}
	about := plain(it.About)
	left := room - mark - names - gap
	if about != "" && left >= min(least, width.Of(about)) {
		line += width.Pad(plain(it.Name), names+gap)
		about = width.Cut(about, left)
	} else {
		line += width.Cut(plain(it.Name), max(room-mark, 0))
		about = ""
	}
	line = width.Cut(line, room)
	switch {
	case style.Colour && marked:
		return "\x1b[1m" + line + about + "\x1b[0m"
	case style.Colour && about != "":
		return line + "\x1b[2m" + about + "\x1b[0m"
	}
	return line + about
}

// tail returns the end of s that fits n columns, of which there are no more than
// room.
func tail(s string, n, room int) string {
	n = min(n, room)
	for width.Of(s) > n {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}

// plain replaces what would do something to the terminal: controls, and what
// turns the direction of the text.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
