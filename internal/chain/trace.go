package chain

import (
	"slices"

	"kura/internal/awsconfig"
)

// Origins say where the settings stand that a chain was made of. They are for
// people: the credentials do not depend on them.
type Origins struct {
	// Path leads from the profile that was asked for, by source_profile, to the
	// one that the chain starts from.
	Path []Link

	Source []Origin   // of the source; none for an access key in the store
	Steps  [][]Origin // of each step
	Rest   []Origin   // of what else the chain says: region, endpoints, MFA process
}

// A Link is a profile on the way to the source.
type Link struct {
	Profile string

	// Source is the source_profile that is set, and Role the role_arn. A source
	// profile is not followed where the store holds a key of the profile.
	Source, Role Origin
}

// An Origin is a setting and where it stands. The zero Origin is one that is not
// set.
type Origin struct {
	Setting string // such as "mfa_serial"
	Value   string
	By      string // the flag or variable that outranks the setting, "" if none does
	Profile string // whose section it stands in, "" for a flag or variable
	File    string // "" for a flag or variable
	Line    int    // counted from 1, 0 when not known
}

// Trace is Resolve, and says where the settings stand. With an error there are
// as many Origins as were found before it.
func Trace(f *awsconfig.File, profile string, o Overrides) (Chain, Origins, error) {
	o.trace = new(trace)
	c, err := Resolve(f, profile, o)
	return c, o.trace.origins, err
}

// A trace collects the settings that are set and were looked at. A nil trace
// collects nothing.
type trace struct {
	found   []Origin // since the last call of take
	origins Origins
}

// note collects what there is of a setting, if it is set.
func (t *trace) note(setting string, s setting) {
	if t != nil && s.value != "" {
		t.found = append(t.found, s.origin(setting))
	}
}

// take returns what was found since the last call.
func (t *trace) take() []Origin {
	if t == nil {
		return nil
	}
	found := t.found
	t.found = nil
	return found
}

// link notes that p is the next profile of the path.
func (t *trace) link(p *profile) {
	if t != nil {
		t.origins.Path = append(t.origins.Path, Link{
			Profile: p.name,
			Source:  p.get("source_profile").origin("source_profile"),
			Role:    p.get("role_arn").origin("role_arn"),
		})
		t.take()
	}
}

// source notes what was found as that of the source.
func (t *trace) source(s Source) {
	if found := t.take(); s.Stored == nil && t != nil {
		is := map[string]string{}
		if s.SSO != nil { // of which a section of its own may say some
			is["sso_start_url"], is["sso_region"] = s.SSO.StartURL, s.SSO.Region
		}
		t.origins.Source = counting(found, is)
	}
}

// step notes what was found as that of a step.
func (t *trace) step(s Step, found []Origin) {
	if t == nil {
		return
	}
	is := map[string]string{"mfa_serial": serialOf(s), "region": s.call().Region}
	t.origins.Steps = append(t.origins.Steps, counting(found, is))
}

// rest notes what was found as that of the chain itself.
func (t *trace) rest() {
	if found := t.take(); t != nil {
		t.origins.Rest = counting(found, nil)
	}
}

// counting returns those of what was found that count. Each setting does once,
// the first that was looked at: of the profiles on the way several may have it.
// Where is says what a setting came to, those with other values do not count.
func counting(found []Origin, is map[string]string) []Origin {
	var list []Origin
	for _, o := range found {
		value, known := is[o.Setting]
		if known && o.Value != value || slices.ContainsFunc(list, func(p Origin) bool { return p.Setting == o.Setting }) {
			continue
		}
		list = append(list, o)
	}
	return list
}

// serialOf returns the MFA device that a step shows, or "".
func serialOf(s Step) string {
	if s.SessionToken != nil {
		return s.SessionToken.MFASerial
	}
	return s.AssumeRole.MFASerial
}

func (s Step) call() Call {
	if s.SessionToken != nil {
		return s.SessionToken.Call
	}
	return s.AssumeRole.Call
}

func (s setting) origin(of string) Origin {
	if s.value == "" {
		return Origin{}
	}
	o := Origin{Setting: of, Value: s.value, Profile: s.profile, File: s.file, Line: s.section.Line(s.lineOf)}
	if s.profile == "" {
		o.By, o.File, o.Line = s.name, "", 0
	}
	return o
}
