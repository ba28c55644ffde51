package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/deliver"
	"kura/internal/durable"
	"kura/internal/explain"
	"kura/internal/mint"
	"kura/internal/store"
	"kura/internal/store/all"
)

func explainCommand(a *app) *cobra.Command {
	var o mintFlags
	var asJSON bool
	format := "text"
	c := &cobra.Command{
		Use:   "explain [PROFILE]",
		Short: "show how a profile gets its credentials",
		Long: `Explain draws how PROFILE gets its credentials: which store has the access key,
what is asked of AWS and where, which file and line, variable or flag each
setting comes from, where MFA codes come from, what is cached until when, and
what the command of exec is given. With the flags of exec it shows what they
change.

It reads no secret, calls nobody but the services and programs that keep keys on
this machine, unlocks nothing and asks nothing. If the profile gets no
credentials it shows how far it goes, then the error, and the exit status is 1.

The formats are text, json, mermaid (a flowchart that GitHub shows in a code
block) and svg (a picture for light and dark pages). In JSON, steps is the list
of calls. Each has a list of settings, with file and line or, in by, the flag or
variable. stored is null where the store does not tell.`,
		Example: `  kura explain admin
  kura explain admin --duration 4h
  kura explain admin --format svg > admin.svg`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declareChain(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&format, "format", format, formatUsage)
	c.RunE = func(c *cobra.Command, args []string) error {
		if asJSON && !c.Flags().Changed("format") {
			format = "json"
		}
		if asJSON && format != "json" {
			return usagef("--json and --format %s exclude each other", format)
		}
		var write func(*explain.Picture, io.Writer) error
		switch format {
		case "text":
			write = func(p *explain.Picture, w io.Writer) error { return p.WriteText(w, a.pen()) }
		case "json":
			write = (*explain.Picture).WriteJSON
		case "mermaid":
			write = (*explain.Picture).WriteMermaid
		case "svg":
			write = (*explain.Picture).WriteSVG
		default:
			return usagef("--format must be one of text, json, mermaid, svg, got %q", format)
		}
		profile, err := a.profileArg(c.Context(), args)
		if err != nil {
			return err
		}
		if strings.TrimSpace(profile) == "" {
			return usagef("the profile has no name")
		}
		p, wrong, err := a.picture(c.Context(), profile, &o, c.Flags())
		if err != nil {
			return err
		}
		return errors.Join(write(p, a.Stdout), wrong)
	}
	return c
}

// picture returns how a profile gets its credentials and, if it does not, what is
// wrong.
func (a *app) picture(ctx context.Context, profile string, o *mintFlags, flags *pflag.FlagSet) (p *explain.Picture, wrong, err error) {
	config, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	a.Environ = a.withoutOuter(config)
	a.global.config = config
	d := &drawing{a: a, ctx: ctx, config: config, flags: flags, keys: map[string]keyState{}}
	d.p = &explain.Picture{Profile: profile, Now: time.Now(), Home: a.home(), Steps: []explain.Step{}, Notes: []string{}}

	c, origins, wrong := d.trace(profile, o)
	if isMissing(wrong) && a.forgetNames() {
		c, origins, wrong = d.trace(profile, o)
	}
	for _, l := range origins.Path {
		link := explain.Link{Profile: l.Profile, Settings: d.settings(l.Source, l.Role)}
		d.p.Path = append(d.p.Path, link)
	}
	for _, name := range slices.Sorted(maps.Keys(d.keys)) {
		if k := d.keys[name]; k.err != nil {
			d.note("the store does not tell now whether it has a key of %q, so none is drawn: %v", name, k.err)
		}
	}
	if d.failed != nil {
		wrong = d.failed
	}
	if wrong == nil {
		wrong = d.chain(c, origins)
	}
	if wrong != nil {
		d.p.Error = &explain.Error{Message: wrong.Error(), Hints: []string{}}
		_, hints := a.explain(wrong)
		for _, hint := range hints {
			d.p.Error.Hints = append(d.p.Error.Hints, strings.ReplaceAll(hint, "@kura", a.name))
		}
	}
	return d.p, wrong, nil
}

// A drawing is a picture that is being made.
type drawing struct {
	a      *app
	ctx    context.Context
	config *awsconfig.File
	flags  *pflag.FlagSet // of the command
	p      *explain.Picture
	keys   map[string]keyState
	failed error // there is no telling which store is meant

	// Of the chain.
	cache  *mint.Cache // nil if it can't be looked at
	minTTL time.Duration
	codes  explain.MFA // without a serial
}

// A keyState is whether the store has an access key, or why it does not tell.
type keyState struct {
	stored bool
	err    error
}

func (d *drawing) note(format string, args ...any) {
	d.p.Notes = append(d.p.Notes, fmt.Sprintf(format, args...))
}

func (d *drawing) trace(profile string, o *mintFlags) (chain.Chain, chain.Origins, error) {
	clear(d.keys)
	return chain.Trace(d.config, profile, chain.Overrides{
		Region:    o.region,
		Duration:  o.duration,
		NoSession: o.noSession,
		User:      d.a.user(),
		Stored:    func(name string) bool { return d.key(name).stored },
		Getenv:    d.a.Getenv,
	})
}

// key reports whether there is an access key of that name. Unlike a command that
// needs the key, it opens nothing to find out.
func (d *drawing) key(name string) keyState {
	if k, ok := d.keys[name]; ok {
		return k
	}
	v, err := d.a.vaultOf(d.config, name)
	if err != nil {
		d.failed = err
		return keyState{err: err}
	}
	ctx, cancel := context.WithTimeout(d.ctx, checkTimeout)
	defer cancel()
	var k keyState
	k.stored, k.err = v.Has(ctx, store.Key{Kind: store.AccessKey, Name: name})
	d.keys[name] = k
	return k
}

// chain draws a chain. The error is why it leads to nothing all the same.
func (d *drawing) chain(c chain.Chain, origins chain.Origins) error {
	v, err := d.a.vault()
	if key := c.Source.Stored; key != nil {
		v, err = d.a.vaultOf(d.config, key.Name)
	}
	if err != nil {
		return err
	}
	if d.minTTL, err = d.a.minTTL(); err != nil {
		return err
	}
	if d.cache, err = d.a.cache(d.ctx, v); err != nil {
		return err
	}
	wrong := d.tokenCodes(v, c, origins)
	if err := d.source(v, c, origins); err != nil {
		wrong = cmp.Or(wrong, err)
	}
	for i, step := range c.Steps {
		s, err := d.step(step, origins.Steps[i])
		if err != nil {
			return err
		}
		s.Cached = d.cached(c, i+1)
		d.p.Steps = append(d.p.Steps, s)
	}
	d.p.Command = d.command(c, origins)
	return wrong
}

// source draws what the chain starts from.
func (d *drawing) source(v *vault, c chain.Chain, origins chain.Origins) error {
	s := &explain.Source{Settings: d.settings(origins.Source...)}
	d.p.Source = s
	switch from := c.Source; {
	case from.Stored != nil:
		s.Kind, s.Profile = explain.AccessKey, from.Stored.Name
		s.Key = &explain.Key{Backend: v.name(), Place: d.a.place(v, from.Stored.Name), Item: from.Stored.Name}
		s.Key.ChosenBy = d.a.storeSetting(d.config, from.Stored.Name)
		if v == d.a.undecided {
			s.Key.Backend, s.Key.Place = "undecided", "the first key that is stored decides"
		}
		last := origins.Path[len(origins.Path)-1]
		if source := last.Source; source.Value != "" && source.Value != last.Profile {
			d.note("the store has a key of %q, which counts more than source_profile = %s", last.Profile, source.Value)
		}
		if d.a.itemCacheOf(v, c) != nil {
			d.note("where nothing is cached, the field session_cache of the item is looked at before a code is asked for")
		}
		switch k := d.key(from.Stored.Name); {
		case k.err != nil:
			s.Key.Unknown = k.err.Error()
		case !k.stored:
			s.Key.Stored = &k.stored
			return &mint.NoKeyError{Name: from.Stored.Name}
		default:
			s.Key.Stored = &k.stored
		}
	case from.Process != nil:
		s.Kind, s.Profile, s.Cached = explain.Process, from.Process.Profile, d.cached(c, 0)
	case from.SSO != nil:
		s.Kind, s.Profile, s.Cached = explain.SSO, from.SSO.Profile, d.cached(c, 0)
	case from.WebIdentity != nil:
		w := from.WebIdentity
		s.Kind, s.Profile = explain.WebIdentity, w.Profile
		call, err := d.call(w.Call)
		if err != nil {
			return err
		}
		call.Operation, call.Profile = "sts:AssumeRoleWithWebIdentity", w.Profile
		call.RoleARN, call.SessionName, call.Seconds = w.RoleARN, w.SessionName, int64(w.Duration/time.Second)
		call.Settings, call.Cached = s.Settings, d.cached(c, 0)
		s.Call = &call
	}
	return mint.Supported(c.Source)
}

// step draws a step.
func (d *drawing) step(step chain.Step, origins []chain.Origin) (explain.Step, error) {
	var s explain.Step
	var err error
	serial := ""
	if t := step.SessionToken; t != nil {
		if s, err = d.call(t.Call); err != nil {
			return s, err
		}
		s.Operation, serial = "sts:GetSessionToken", t.MFASerial
		s.Seconds = int64(t.Duration / time.Second)
	} else {
		r := step.AssumeRole
		if s, err = d.call(r.Call); err != nil {
			return s, err
		}
		s.Operation, serial = "sts:AssumeRole", r.MFASerial
		s.RoleARN, s.SessionName = r.RoleARN, r.SessionName
		s.Seconds, s.Wanted = int64(r.Duration/time.Second), int64(r.Wanted/time.Second)
	}
	s.Profile, s.Settings = step.Profile, d.settings(origins...)
	if serial != "" {
		codes := d.codes
		codes.Serial = serial
		s.MFA = &codes
	}
	return s, nil
}

func (d *drawing) call(c chain.Call) (explain.Step, error) {
	endpoint, region, err := awsapi.STSEndpoint(c)
	if err != nil {
		return explain.Step{}, err
	}
	return explain.Step{Endpoint: endpoint.String(), Region: region}, nil
}

// cached returns what is cached of the first n steps of a chain, or nil.
func (d *drawing) cached(c chain.Chain, n int) *explain.Cached {
	s, ok := d.cache.Look(c, n)
	if !ok {
		return nil
	}
	left := s.Expires.Sub(d.p.Now)
	return &explain.Cached{Expires: s.Expires.UTC(), Left: int64(left / time.Second), Usable: left >= d.minTTL}
}

// tokenCodes notes where the token codes of a chain come from.
func (d *drawing) tokenCodes(v *vault, c chain.Chain, origins chain.Origins) error {
	if _, serial := mfaDevice(c); serial == "" {
		return nil
	}
	if name := "KURA_MFA_TOKEN"; d.a.Getenv(name) != "" {
		d.codes = explain.MFA{Codes: "the environment", ChosenBy: &explain.Setting{Name: "mfa-token", By: name}}
		return nil
	}
	d.codes.Codes = "not known"
	s, err := d.a.promptOf(c)
	if err != nil {
		return err
	}
	switch {
	case s.profile != "":
		section, _ := d.config.Profile(s.profile)
		d.codes.ChosenBy = &explain.Setting{
			Name: "mfa_source", Value: s.text,
			Profile: s.profile, File: d.config.Name(), Line: section.Line("mfa_source"),
		}
	case s.name == mfaProcess:
		i := slices.IndexFunc(origins.Rest, func(o chain.Origin) bool { return o.Setting == "mfa_process" })
		setting := d.settings(origins.Rest[i])[0]
		d.codes.ChosenBy = &setting
	default:
		d.codes.ChosenBy = d.a.flagSetting(d.a.global.promptFlag)
	}
	switch s.name {
	case "terminal":
		d.codes.Codes = "you, at the terminal"
	case mfaProcess:
		d.codes.Codes = "a command, which is run"
	case all.OnePassword:
		item := s.item
		if item.Item == "" {
			if item, err = d.a.itemOfKey(v, c, item); err != nil {
				return err
			}
		}
		d.codes.Codes = "1Password, " + itemName(item.Item, item.Vault)
	default:
		d.codes.Codes = "the program " + s.name
	}
	return nil
}

func itemName(item, vault string) string {
	text := fmt.Sprintf("item %q", item)
	if vault != "" {
		text += fmt.Sprintf(" of vault %q", vault)
	}
	return text
}

// command draws what the command of exec is given. It is what deliver would give
// it, but for the values of what there is none of yet.
func (d *drawing) command(c chain.Chain, origins chain.Origins) *explain.Command {
	to := &explain.Command{Settings: d.settings(origins.Rest...)}
	some := cred.NewSecret("-")
	credentials := cred.Credentials{AccessKeyID: "-", SecretAccessKey: some}
	to.Bare = c.Source.Stored != nil && len(c.Steps) == 0
	if !to.Bare {
		credentials.SessionToken, credentials.Expires = some, d.p.Now
	}
	if n := len(c.Steps); n > 0 && c.Steps[n-1].AssumeRole != nil || n == 0 && c.Source.WebIdentity != nil {
		credentials.AccountID = "-" // STS tells it with a role
	}
	settings := deliver.Settings{
		Profile: c.Profile, Region: c.Region, Endpoints: c.Endpoints, CABundle: c.CABundle,
		Credentials: credentials,
	}
	plain := deliver.Environ(nil, deliver.Settings{Profile: c.Profile, Region: c.Region, Endpoints: c.Endpoints, CABundle: c.CABundle})
	for _, entry := range deliver.Environ(nil, settings) {
		name, value, _ := strings.Cut(entry, "=")
		if !slices.Contains(plain, entry) {
			value = ""
		}
		to.Variables = append(to.Variables, explain.Variable{Name: name, Value: withoutPassword(value)})
	}
	return to
}

// settings returns where settings stand, without values that may hold secrets.
func (d *drawing) settings(origins ...chain.Origin) []explain.Setting {
	list := []explain.Setting{}
	for _, o := range origins {
		if o == (chain.Origin{}) {
			continue
		}
		s := explain.Setting{Name: o.Setting, Value: o.Value, By: o.By, Profile: o.Profile, File: o.File, Line: o.Line}
		if strings.HasSuffix(s.Name, "_process") {
			s.Value = "" // a command line
		}
		s.Value = withoutPassword(s.Value)
		if f := d.flags.Lookup(strings.TrimPrefix(s.By, "--")); f != nil && strings.HasPrefix(s.By, "--") && !f.Changed {
			s.By = d.a.flagVariable(f)
		}
		list = append(list, s)
	}
	return list
}

// withoutPassword returns a URL without the password in it, and any other text as
// it is.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

// flagVariable returns the environment variable that a flag takes its value from,
// or "".
func (a *app) flagVariable(f *pflag.Flag) string {
	for _, name := range envNames(f) {
		if a.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// flagSetting returns where the value of a global flag comes from, or nil if it
// has its default.
func (a *app) flagSetting(f *pflag.Flag) *explain.Setting {
	s := &explain.Setting{Name: f.Name, Value: f.Value.String()}
	if f.Changed {
		s.By = "--" + f.Name
		return s
	}
	if s.By = a.flagVariable(f); s.By != "" {
		return s
	}
	if s.Line = a.settingsLine(f.Name); s.Line == 0 {
		return nil
	}
	s.File = a.settingsFile()
	return s
}

// settingsLine returns the line of the settings file where a setting stands, or 0.
func (a *app) settingsLine(name string) int {
	data, err := durable.ReadFile(a.settingsFile(), 1<<20)
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		key, _, ok := strings.Cut(line, "=")
		if ok && strings.Trim(key, " \t\"'") == name {
			return n
		}
	}
	return 0
}

// storeSetting returns what makes a store that of a profile's key, nil if nothing
// does. It is chosenBy with all that is to know.
func (a *app) storeSetting(config *awsconfig.File, profile string) *explain.Setting {
	section, _ := config.Profile(profile)
	if line := section.Line("kura_backend"); line > 0 && !a.global.backendForAll {
		return &explain.Setting{Name: "kura_backend", Value: section.Get("kura_backend"), Profile: profile, File: config.Name(), Line: line}
	}
	if a.global.backend != "" {
		return a.flagSetting(a.global.backendFlag)
	}
	if text, err := durable.ReadFile(a.choiceFile(), 4096); err == nil {
		return &explain.Setting{Name: "backend", Value: strings.TrimSpace(string(text)), File: a.choiceFile()}
	}
	return nil
}

// place says where a store is or, of one that has places for each, where it keeps
// a key, for people.
func (a *app) place(v *vault, key string) string {
	switch v.name() {
	case "file":
		return a.storeDir(v.settings["dir"])
	case all.OnePassword:
		if item, ok := all.OnePasswordItem(v.Opened, key); ok && key != "" {
			return itemName(item.Item, item.Vault)
		}
	}
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(v.settings)) {
		settings = append(settings, name+" "+v.settings[name])
	}
	return strings.Join(settings, ", ")
}
