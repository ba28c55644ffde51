package chain

import (
	"slices"
	"sync"

	"kura/internal/awsconfig"
)

// A profile is a profile with everything that bears on its settings.
type profile struct {
	name       string
	named      bool // it is the profile that was asked for, not one on the way to its source
	configured bool // it has a section of its own
	sections   []section
	stored     func() bool
	file       *awsconfig.File
	overrides  Overrides
}

// A section is that of the profile itself or one that it inherits from.
type section struct {
	profile string
	awsconfig.Section
}

// newProfile collects the sections of a profile: its own and those it includes,
// or, where the inclusion ends, [default].
func newProfile(f *awsconfig.File, name string, o Overrides) (*profile, error) {
	p := &profile{name: name, file: f, overrides: o}
	p.stored = sync.OnceValue(func() bool { return o.Stored != nil && o.Stored(name) })

	own, ok := f.Profile(name)
	p.configured = ok
	p.sections = []section{{name, own}}
	included := []string{name} // by include_profile from one to the next
	for {
		last := p.sections[len(p.sections)-1]
		next := last.Get("include_profile")
		via := last.profile
		if next == "" {
			next, via = "default", ""
			included = nil
		}
		if slices.Contains(included, next) {
			return nil, &CycleError{"include_profile", append(included, next)}
		}
		if slices.ContainsFunc(p.sections, func(s section) bool { return s.profile == next }) {
			return p, nil // [default] comes back to where it was inherited from
		}
		s, ok := f.Profile(next)
		if !ok && via == "" {
			return p, nil
		}
		if !ok {
			return nil, &NotFoundError{next, via, "include_profile", Near(f.Profiles(), next)}
		}
		p.sections = append(p.sections, section{next, s})
		included = append(included, next)
	}
}

// A setting is a value and where it comes from. One that is not set has no
// value.
type setting struct {
	name    string // of the setting, or of the flag or variable that outranks it
	value   string
	profile string // whose section it stands in, "" for a flag or variable
	file    string
	section awsconfig.Section
	lineOf  string // what to look for in the section to find the line
}

// get returns a setting of p.
func (p *profile) get(name string) setting {
	if s := p.env(p.variable(name)); s.value != "" {
		p.overrides.trace.note(name, s)
		return s
	}
	for _, s := range p.sections {
		if s := p.in(s, name); s.value != "" {
			p.overrides.trace.note(name, s)
			return s
		}
	}
	return setting{}
}

// in returns a setting of one section of p.
func (p *profile) in(s section, name string) setting {
	return setting{name, s.Get(name), s.profile, p.file.Name(), s.Section, name}
}

// env returns an environment variable as a setting.
func (p *profile) env(name string) setting {
	if name == "" || p.overrides.Getenv == nil {
		return setting{}
	}
	return setting{name: name, value: p.overrides.Getenv(name)}
}

// variable returns the environment variable that outranks a setting of p, or
// "". AWS_MFA_SERIAL concerns the whole chain; what describes a role session
// can only be meant for the role that was asked for.
func (p *profile) variable(setting string) string {
	switch setting {
	case "ca_bundle":
		return "AWS_CA_BUNDLE"
	case "mfa_serial":
		return "AWS_MFA_SERIAL"
	case "sts_regional_endpoints":
		return "AWS_STS_REGIONAL_ENDPOINTS"
	case "ignore_configured_endpoint_urls":
		return "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
	}
	if !p.named {
		return ""
	}
	switch setting {
	case "role_arn":
		return "AWS_ROLE_ARN"
	case "role_session_name":
		return "AWS_ROLE_SESSION_NAME"
	case "session_tags":
		return "AWS_SESSION_TAGS"
	case "transitive_session_tags":
		return "AWS_TRANSITIVE_TAGS"
	case "source_identity":
		return "AWS_SOURCE_IDENTITY"
	}
	return ""
}

// region returns the region of p, "" when none is configured.
func (p *profile) region() string {
	if region := p.overrides.Region; region != "" {
		p.overrides.trace.note("region", setting{name: "--region", value: region})
		return region
	}
	for _, name := range [...]string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if s := p.env(name); s.value != "" {
			p.overrides.trace.note("region", s)
			return s.value
		}
	}
	return p.get("region").value
}
