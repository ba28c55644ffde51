package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kura/internal/ink"
)

// A diagram is boxes below each other, with an arrow from each to the next.
type diagram struct {
	boxes  []box
	arrows []box // arrows[i] leads from boxes[i]
	notes  []string
}

// A box has a title and rows of facts. An arrow is a box without a frame.
type box struct {
	title string
	rows  []row
	bad   bool
}

// A row is a fact, what it is called and where it was set.
type row struct {
	label, value, where string
	style               string // of the value, see package ink
	wide                bool   // the value has no label and takes all the room
}

// byDefault is where stands what nothing sets.
const byDefault = "default"

func (b *box) add(label, value, where string) { b.paint("", label, value, where) }

func (b *box) paint(style, label, value, where string) {
	b.rows = append(b.rows, row{oneLine(label), oneLine(value), oneLine(where), style, false})
}

// diagram lays out what p says.
func (p *Picture) diagram() *diagram {
	d := &diagram{notes: p.Notes}
	if p.Source == nil {
		p.path(d)
		return d
	}
	p.source(d)
	for i := range p.Steps {
		p.step(d, &p.Steps[i])
	}
	p.command(d)
	return d
}

// path draws how far it goes where there is no source.
func (p *Picture) path(d *diagram) {
	for _, l := range p.Path {
		b := box{title: fmt.Sprintf("profile %q", l.Profile)}
		for i := range l.Settings {
			if s := &l.Settings[i]; s.Name != "source_profile" {
				b.add(s.Name, s.Value, p.where(s))
			}
		}
		d.boxes = append(d.boxes, b)
		a := box{title: "is not resolved"}
		if s := find(l.Settings, "source_profile"); s != nil {
			a = box{title: "source_profile"}
			a.add("profile", s.Value, p.where(s))
		}
		d.arrows = append(d.arrows, a)
	}
	if p.Error != nil {
		b := box{title: "error", bad: true}
		b.rows = []row{{value: oneLine(p.Error.Message), style: ink.Red, wide: true}}
		d.boxes = append(d.boxes, b)
	} else if n := len(d.boxes); n > 0 {
		d.arrows = d.arrows[:n-1]
	}
}

func (p *Picture) source(d *diagram) {
	s := p.Source
	switch s.Kind {
	case AccessKey:
		d.boxes = append(d.boxes, p.key(s.Key))
	case Process:
		b := box{title: fmt.Sprintf("credential_process of %q", s.Profile)}
		b.add("command", "is run, and prints credentials", p.where(find(s.Settings, "credential_process")))
		p.cached(&b, s.Cached, "when it is needed")
		d.boxes = append(d.boxes, b)
	case SSO:
		b := box{title: fmt.Sprintf("Identity Center of %q", s.Profile)}
		for i := range s.Settings {
			b.add(label(s.Settings[i].Name), s.Settings[i].Value, p.where(&s.Settings[i]))
		}
		d.boxes = append(d.boxes, b)
	case WebIdentity:
		b := box{title: fmt.Sprintf("web identity token of %q", s.Profile)}
		if file := find(s.Settings, "web_identity_token_file"); file != nil {
			b.add("file", p.short(file.Value), p.where(file))
		}
		if process := find(s.Settings, "web_identity_token_process"); process != nil {
			b.add("command", "is run, and prints the token", p.where(process))
		}
		d.boxes = append(d.boxes, b)
		p.step(d, s.Call)
	}
}

func (p *Picture) key(k *Key) box {
	b := box{title: fmt.Sprintf("access key %q", oneLine(k.Item))}
	b.add("store", strings.TrimSuffix(k.Backend+", "+p.short(k.Place), ", "), cmp.Or(p.where(k.ChosenBy), byDefault))
	switch {
	case k.Stored == nil:
		b.paint(ink.Yellow, "stored", "not known: "+k.Unknown, "")
	case *k.Stored:
		b.paint(ink.Green, "stored", "yes; it stays there", "")
	default:
		b.bad = true
		b.paint(ink.Red, "stored", "no", "")
	}
	return b
}

// step draws a call and what it leads to.
func (p *Picture) step(d *diagram, s *Step) {
	a := box{title: s.Operation}
	where := func(name string) string { return p.where(find(s.Settings, name)) }
	endpoint := strings.TrimPrefix(strings.TrimSuffix(s.Endpoint, "/"), "https://")
	a.add("at", endpoint, where("endpoint_url"))
	a.add("region", s.Region, cmp.Or(where("region"), byDefault))
	known := []string{"endpoint_url", "region", "role_arn", "role_session_name", "duration_seconds", "mfa_serial",
		"web_identity_token_file", "web_identity_token_process"}
	if s.RoleARN != "" {
		a.add("role", s.RoleARN, where("role_arn"))
		a.add("named", s.SessionName, cmp.Or(where("role_session_name"), byDefault))
	}
	for i := range s.Settings {
		if o := &s.Settings[i]; !slices.Contains(known, o.Name) {
			a.add(label(o.Name), o.Value, p.where(o))
		}
	}
	if s.MFA != nil {
		a.paint(ink.Cyan, "MFA device", s.MFA.Serial, where("mfa_serial"))
		a.paint(ink.Cyan, "code from", s.MFA.Codes, cmp.Or(p.where(s.MFA.ChosenBy), byDefault))
	}
	from := cmp.Or(where("duration_seconds"), byDefault)
	switch {
	case s.Wanted > 0:
		a.paint(ink.Yellow, "lasts", fmt.Sprintf("%s, not %s: AWS allows no more to a chained role", lasting(s.Seconds), lasting(s.Wanted)), from)
	case s.RoleARN != "" && s.Seconds > 3600:
		a.add("lasts", lasting(s.Seconds)+", if the role's maximum allows", from)
	default:
		a.add("lasts", lasting(s.Seconds), from)
	}
	d.arrows = append(d.arrows, a)

	b := box{title: fmt.Sprintf("session of %q", s.Profile)}
	if s.RoleARN != "" {
		b.title = fmt.Sprintf("role session of %q", s.Profile)
	}
	without := "the next command asks AWS for it"
	if s.MFA != nil {
		without = "the next command asks AWS for it, with a code"
	}
	p.cached(&b, s.Cached, without)
	d.boxes = append(d.boxes, b)
}

// cached adds what is cached, or what happens without.
func (p *Picture) cached(b *box, c *Cached, without string) {
	if c == nil {
		b.paint(ink.Yellow, "cached", "no: "+without, "")
		return
	}
	style, until := ink.Green, ""
	if !c.Usable {
		style, until = ink.Yellow, "; "+without
	}
	left := "has expired"
	if c.Left > 0 {
		at := c.Expires.In(p.Now.Location())
		layout := "15:04"
		if at.YearDay() != p.Now.YearDay() || at.Year() != p.Now.Year() {
			layout = "2006-01-02 15:04"
		}
		left = fmt.Sprintf("%s left, until %s", Left(c.Left), at.Format(layout))
	}
	b.paint(style, "cached", left+until, "")
}

// Left writes a time that is left, in two units at the most and never rounded up.
func Left(seconds int64) string {
	switch {
	case seconds >= 24*3600:
		return fmt.Sprintf("%dd%02dh", seconds/(24*3600), seconds/3600%24)
	case seconds >= 3600:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
	case seconds >= 60:
		return fmt.Sprintf("%dm", seconds/60)
	}
	return fmt.Sprintf("%ds", max(seconds, 0))
}

func (p *Picture) command(d *diagram) {
	if p.Command == nil {
		return
	}
	d.arrows = append(d.arrows, box{title: "kura exec " + oneLine(p.Profile) + " -- COMMAND"})
	b := box{title: "COMMAND"}
	var secret []string
	for _, v := range p.Command.Variables {
		if v.Value == "" {
			secret = append(secret, v.Name)
		}
	}
	if p.Command.Bare {
		b.paint(ink.Yellow, "gets", "the access key itself, which does not expire", "")
	}
	for i, name := range secret {
		label := ""
		if i == 0 && !p.Command.Bare {
			label = "gets"
		}
		b.add(label, name, "")
	}
	for i, v := range p.Command.Variables {
		if v.Value == "" {
			continue
		}
		from := ""
		switch {
		case strings.HasSuffix(v.Name, "REGION"):
			from = "region"
		case strings.HasPrefix(v.Name, "AWS_ENDPOINT_URL"):
			from = "endpoint_url"
		case v.Name == "AWS_CA_BUNDLE":
			from = "ca_bundle"
		}
		label := ""
		if i == 0 {
			label = "is told"
		}
		b.add(label, v.Name+"="+v.Value, p.where(find(p.Command.Settings, from)))
	}
	d.boxes = append(d.boxes, b)
}

// label is what a setting is called for people, where its name is not short.
func label(setting string) string {
	switch setting {
	case "external_id":
		return "external ID"
	case "source_identity":
		return "identity"
	case "session_tags":
		return "tags"
	case "transitive_session_tags":
		return "kept tags"
	case "sso_session":
		return "session"
	case "sso_start_url":
		return "portal"
	case "sso_region":
		return "region"
	case "sso_account_id":
		return "account"
	case "sso_role_name":
		return "role"
	case "sts_regional_endpoints":
		return "endpoints"
	case "ignore_configured_endpoint_urls":
		return "own URLs"
	}
	return setting
}
