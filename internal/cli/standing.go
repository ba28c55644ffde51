package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/explain"
	"kura/internal/ink"
	"kura/internal/mint"
	"kura/internal/store"
	"kura/internal/width"
)

// A standing is what status shows. Its form in JSON is for programs.
type standing struct {
	Stores   []*storeStanding   `json:"stores"`
	Profiles []*profileStanding `json:"profiles"`
	Others   int                `json:"other_sessions"` // that no profile comes to as it is

	Now   time.Time `json:"-"`
	Asked time.Time `json:"-"` // when the stores said how they are
	home  string
}

// A storeStanding is how a store is.
type storeStanding struct {
	Backend string `json:"backend"`
	Place   string `json:"place,omitempty"`
	Default bool   `json:"default"` // it is that of the profiles that name none
	State   string `json:"state"`   // in its own words, such as "unlocked"
	Locked  *bool  `json:"locked"`  // null where that is not known
	Error   string `json:"error,omitempty"`

	names   map[string]bool // of access keys; nil if it does not tell
	written map[string]time.Time
}

// A profileStanding is how a profile is.
type profileStanding struct {
	Profile string           `json:"profile"`
	Session *sessionStanding `json:"session"`        // that the next command gets, nil: none
	Shared  *sessionStanding `json:"shared_session"` // of its key, that other profiles get theirs from
	MFA     string           `json:"mfa_serial,omitempty"`
	Code    *time.Time       `json:"next_code"` // when a code is needed next, nil: never
	CodeNow bool             `json:"code_needed_now"`
	Key     *keyStanding     `json:"key"` // named like the profile, nil: none
	Error   string           `json:"error,omitempty"`

	missing bool // what is wrong is that there is no key
}

// A sessionStanding is a session in the cache.
type sessionStanding struct {
	Type    string    `json:"type"`
	Expires time.Time `json:"expires"`
	Left    int64     `json:"seconds_left"`
	Lasts   int64     `json:"seconds"` // when it is new; 0 where that is not known
}

// A keyStanding is an access key in a store.
type keyStanding struct {
	Backend string     `json:"backend"`
	Written *time.Time `json:"written,omitempty"` // nil where that is not known
	Days    int        `json:"days"`
}

// standing looks at profiles, or at all of them and the keys that have none.
// What was asked of stores for last is not asked again.
func (a *app) standing(ctx context.Context, profiles []string, last *standing) (*standing, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	a.Environ = a.withoutOuter(config)
	minTTL, err := a.minTTL()
	if err != nil {
		return nil, err
	}
	s := &standing{Now: time.Now(), Profiles: []*profileStanding{}, home: a.home()}
	l := &looking{
		a: a, ctx: ctx, config: config, minTTL: minTTL, s: s,
		of: map[*vault]*storeStanding{}, used: map[string]bool{}, shared: map[string]*sessionStanding{},
	}
	if err := l.stores(last); err != nil {
		return nil, err
	}
	// All are looked at, whichever are shown: sessions belong to several.
	for _, name := range l.all() {
		p, _ := l.profile(name) // the error is shown with it
		s.Profiles = append(s.Profiles, p)
	}
	for _, p := range s.Profiles {
		p.Shared = l.shared[p.Profile]
	}
	if len(profiles) > 0 {
		s.Profiles, err = l.only(profiles)
		return s, err
	}
	sessions, err := a.sessions().List()
	if err != nil {
		return nil, fmt.Errorf("listing the sessions: %w", err)
	}
	for _, found := range sessions {
		if !l.used[found.Key] && found.Expires.After(s.Now) {
			s.Others++
		}
	}
	return s, nil
}

// looking is a standing that is being made.
type looking struct {
	a      *app
	ctx    context.Context
	config *awsconfig.File
	minTTL time.Duration
	s      *standing
	of     map[*vault]*storeStanding
	caches map[*vault]*mint.Cache
	used   map[string]bool // keys of sessions that profiles come to
	shared map[string]*sessionStanding
}

// stores asks the stores how they are.
func (l *looking) stores(last *standing) error {
	vaults, err := l.a.vaults(l.config)
	if err != nil {
		return err
	}
	l.caches = map[*vault]*mint.Cache{}
	for i, v := range vaults {
		if l.caches[v], err = l.a.cache(l.ctx, v); err != nil {
			return err
		}
		if last != nil && i < len(last.Stores) && last.Stores[i].Backend == v.name() {
			l.of[v] = last.Stores[i]
		} else {
			l.of[v] = l.store(v)
			l.of[v].Default = i == 0
		}
		l.s.Stores = append(l.s.Stores, l.of[v])
	}
	l.s.Asked = l.s.Now
	if last != nil {
		l.s.Asked = last.Asked
	}
	return nil
}

// store asks a store how it is and which keys it has.
func (l *looking) store(v *vault) *storeStanding {
	ctx, cancel := context.WithTimeout(l.ctx, checkTimeout)
	defer cancel()
	s := &storeStanding{Backend: v.name(), Place: l.a.place(v, "")}
	if v == l.a.undecided {
		s.State, s.Place = "undecided: the first key that is stored decides", ""
		s.names = map[string]bool{}
		return s
	}
	note, err := v.Check(ctx)
	var names []string
	if err == nil {
		s.State = note
		if strings.Contains(note, "locked") {
			locked := !strings.Contains(note, "unlocked")
			s.Locked = &locked
		}
		names, err = v.List(ctx, store.AccessKey)
	}
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.names = setOf(names)
	s.written = v.writtenAt(ctx)
	return s
}

// writtenAt returns when the access keys were written of which the store knows.
func (v *vault) writtenAt(ctx context.Context) map[string]time.Time {
	dated, ok := v.dated()
	if !ok {
		return nil
	}
	written, err := dated.Written(ctx, store.AccessKey)
	if err != nil {
		return nil // the age is left out
	}
	return written
}

// all returns the profiles in the order of the file, then the keys without one.
func (l *looking) all() []string {
	names := l.config.Profiles()
	known := setOf(names)
	for _, s := range l.s.Stores {
		var keys []string
		for name := range s.names {
			if !known[name] {
				keys = append(keys, name)
			}
		}
		slices.Sort(keys)
		names = append(names, keys...)
	}
	return names
}

// only returns those profiles of the standing that were asked for.
func (l *looking) only(names []string) ([]*profileStanding, error) {
	list := []*profileStanding{}
	for _, name := range names {
		i := slices.IndexFunc(l.s.Profiles, func(p *profileStanding) bool { return p.Profile == name })
		if i < 0 {
			_, err := l.profile(name) // says what is like it
			return nil, cmp.Or(err, error(&chain.NotFoundError{Profile: name}))
		}
		list = append(list, l.s.Profiles[i])
	}
	return list, nil
}

// profile looks at one. The error is also in what it returns.
func (l *looking) profile(name string) (*profileStanding, error) {
	p := &profileStanding{Profile: name}
	if v, err := l.a.vaultOf(l.config, name); err == nil {
		p.Key = l.of[v].key(name, l.s.Now)
	}
	c, err := chain.Resolve(l.config, name, chain.Overrides{
		User:   l.a.user(),
		Getenv: l.a.Getenv,
		Stored: func(name string) bool {
			v, err := l.a.vaultOf(l.config, name)
			return err == nil && l.of[v].names[name]
		},
	})
	if err == nil {
		err = mint.Supported(c.Source)
	}
	if err != nil {
		p.Error = err.Error()
		return p, err
	}
	v, err := l.a.vault()
	from := c.Source.Stored
	if from != nil {
		v, err = l.a.vaultOf(l.config, from.Name)
	}
	if err != nil {
		p.Error = err.Error()
		return p, err
	}
	s := l.of[v]
	if from != nil && s.names != nil && !s.names[from.Name] {
		p.Error, p.missing = (&mint.NoKeyError{Name: from.Name}).Error(), true
	}
	l.sessions(p, c, l.caches[v])
	return p, nil
}

// sessions looks for what is cached of a chain. A code is needed when none of the
// sessions is left that it takes a code to get, or that were minted from those.
func (l *looking) sessions(p *profileStanding, c chain.Chain, cache *mint.Cache) {
	shown := slices.IndexFunc(c.Steps, func(s chain.Step) bool { return serialOf(s) != "" })
	var last time.Time
	for n := len(c.Steps); n >= 0; n-- {
		found, ok := cache.Look(c, n)
		if !ok {
			continue
		}
		l.used[found.Key] = true
		if !found.Expires.After(l.s.Now) {
			continue
		}
		s := &sessionStanding{
			Type: found.Type, Expires: found.Expires.UTC(),
			Left: int64(found.Expires.Sub(l.s.Now) / time.Second), Lasts: int64(lasts(c, n) / time.Second),
		}
		if n == len(c.Steps) {
			p.Session = s
		} else if old := l.shared[found.Profile]; old == nil || old.Left < s.Left {
			l.shared[found.Profile] = s
		}
		if n > shown && found.Expires.After(last) {
			last = found.Expires
		}
	}
	if shown < 0 {
		return
	}
	p.MFA = serialOf(c.Steps[shown])
	code := last.Add(-l.minTTL)
	if p.CodeNow = !code.After(l.s.Now); p.CodeNow {
		code = l.s.Now
	}
	code = code.UTC().Truncate(time.Second)
	p.Code = &code
}

// serialOf is the MFA device that a step shows, or "".
func serialOf(s chain.Step) string {
	if s.SessionToken != nil {
		return s.SessionToken.MFASerial
	}
	return s.AssumeRole.MFASerial
}

// lasts is how long what the first n steps of a chain lead to is valid when it is
// new, 0 where the chain does not say.
func lasts(c chain.Chain, n int) time.Duration {
	switch {
	case n == 0 && c.Source.WebIdentity != nil:
		return c.Source.WebIdentity.Duration
	case n == 0:
		return 0
	case c.Steps[n-1].SessionToken != nil:
		return c.Steps[n-1].SessionToken.Duration
	}
	return c.Steps[n-1].AssumeRole.Duration
}

// key returns what is known of a key, nil if there is none.
func (s *storeStanding) key(name string, now time.Time) *keyStanding {
	if s == nil || !s.names[name] {
		return nil
	}
	k := &keyStanding{Backend: s.Backend}
	if at, ok := s.written[name]; ok {
		at = at.UTC().Truncate(time.Second)
		k.Written, k.Days = &at, int(now.Sub(at)/(24*time.Hour))
	}
	return k
}

// A tableCell is text in a style.
type tableCell struct{ style, text string }

// The columns of the table of profiles.
const (
	profileColumn = iota
	barColumn
	leftColumn
	sessionColumn
	codeColumn
	keyColumn
	tableColumns
)

const barColumns = 10

// soon is how many seconds before its end a session is marked.
const soon = 600

// lines returns what people see, without line ends. Lines fit the pen.
func (s *standing) lines(pen ink.Pen) []string {
	var lines []string
	for _, t := range s.Stores {
		lines = append(lines, t.line(pen, s.home))
	}
	rows := [][tableColumns]tableCell{{
		profileColumn: {ink.Bold, "Profile"}, leftColumn: {ink.Bold, "Left"}, sessionColumn: {ink.Bold, "Session"},
		codeColumn: {ink.Bold, "Next code"}, keyColumn: {ink.Bold, "Key"},
	}}
	for _, p := range s.Profiles {
		rows = append(rows, p.row(pen, s.Now))
	}
	lines = append(lines, "")
	lines = append(lines, fit(pen, rows)...)
	if s.Others > 0 {
		text := fmt.Sprintf("%s that no profile leads to as it is: see list", count(s.Others, "session"))
		lines = append(lines, "", pen.Paint(ink.Dim, pen.Cut(text, cmp.Or(pen.Columns, len(text)))))
	}
	return lines
}

// line says how a store is.
func (t *storeStanding) line(pen ink.Pen, home string) string {
	style, state := ink.Green, cmp.Or(t.State, "ready")
	switch {
	case t.Error != "":
		style, state = ink.Red, t.Error
	case t.Locked != nil && *t.Locked:
		style = ink.Yellow
	case t.Locked == nil:
		style = ""
	}
	place := explain.Short(home, t.Place)
	parts := []tableCell{{ink.Bold, "Store"}, {"", oneLine(t.Backend)}, {style, oneLine(state)}, {ink.Dim, oneLine(place)}}
	var b strings.Builder
	room := cmp.Or(pen.Columns, 1<<20)
	for i, part := range parts {
		if i > 0 && part.text != "" {
			if room -= 2; room < 4 {
				break
			}
			b.WriteString("  ")
		}
		text := pen.Cut(part.text, room)
		room -= width.Of(text)
		b.WriteString(pen.Paint(part.style, text))
	}
	return b.String()
}

// row returns the cells of a profile.
func (p *profileStanding) row(pen ink.Pen, now time.Time) (row [tableColumns]tableCell) {
	row[profileColumn] = tableCell{"", oneLine(p.Profile)}
	row[leftColumn], row[codeColumn], row[keyColumn] = tableCell{ink.Dim, "-"}, tableCell{ink.Dim, "-"}, tableCell{ink.Dim, "-"}
	row[sessionColumn] = tableCell{ink.Dim, "-"}
	if k := p.Key; k != nil {
		row[keyColumn] = tableCell{"", "yes"}
		if k.Written != nil {
			row[keyColumn].text = fmt.Sprintf("%dd", k.Days)
			if now.Sub(*k.Written) > maxKeyAge {
				row[keyColumn].style = ink.Yellow
			}
		}
	}
	switch {
	case p.missing:
		row[sessionColumn] = tableCell{ink.Dim, "no access key"}
	case p.Error != "":
		row[sessionColumn] = tableCell{ink.Red, "error: see explain"}
	}
	if session := cmp.Or(p.Session, p.Shared); session != nil {
		part := float64(session.Left) / float64(max(session.Lasts, session.Left, 1))
		style := ink.Green
		if session.Left < soon {
			style = ink.Yellow
		}
		row[barColumn] = tableCell{style, pen.Bar(part, barColumns)}
		row[leftColumn] = tableCell{style, explain.Left(session.Left)}
		row[sessionColumn] = tableCell{"", oneLine(session.Type)}
	}
	switch {
	case p.CodeNow && !p.missing:
		row[codeColumn] = tableCell{ink.Yellow, "now"}
	case p.Code != nil && !p.CodeNow:
		row[codeColumn] = tableCell{"", "in " + explain.Left(int64(p.Code.Sub(now)/time.Second))}
	}
	return row
}

// fit aligns the cells of rows. Where they are wider than the terminal it leaves
// out columns, those first that say least, and cuts the names of profiles.
func fit(pen ink.Pen, rows [][tableColumns]tableCell) []string {
	var widths [tableColumns]int
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], width.Of(c.text))
		}
	}
	total := func() int {
		n := 0
		for _, w := range widths {
			if w > 0 {
				n += w + 2
			}
		}
		return n - 2
	}
	if limit := pen.Columns; limit > 0 {
		for _, drop := range []int{sessionColumn, barColumn, keyColumn} {
			if total()-widths[profileColumn]+min(widths[profileColumn], 16) > limit {
				widths[drop] = 0
			}
		}
		if over := total() - limit; over > 0 {
			widths[profileColumn] = max(widths[profileColumn]-over, 4)
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		pending := 0
		for i, c := range row {
			if widths[i] == 0 {
				continue
			}
			text := pen.Cut(c.text, widths[i])
			if text != "" {
				b.WriteString(strings.Repeat(" ", pending))
				pending = 0
				b.WriteString(pen.Paint(c.style, text))
			}
			pending += widths[i] - width.Of(text) + 2
		}
		lines = append(lines, b.String())
	}
	return lines
}
