package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kura/internal/chain"
)

// profiles returns what is wrong with the profiles of the config file.
func (s *Setup) profiles() []Finding {
	var list []Finding
	missing := missingKeys{setup: s, of: map[string][]string{}}
	for _, name := range s.Scope() {
		c, sure, err := s.resolve(name)
		switch {
		case err != nil:
			list = append(list, s.unresolved(err, sure)...)
		default:
			missing.note(c, sure)
			list = append(list, s.steps(c)...)
		}
		list = append(list, s.settings(name)...)
		list = append(list, s.process(name)...)
	}
	return append(list, missing.findings()...)
}

// Chain returns how the credentials of the profile Only come about, and whether
// that is known.
func (s *Setup) Chain() (chain.Chain, bool) {
	if s.Config == nil || s.Only == "" {
		return chain.Chain{}, false
	}
	c, sure, err := s.resolve(s.Only)
	return c, sure && err == nil
}

// resolve works out the chain of a profile. It is sure unless it would be
// another if a store that does not work held a key.
func (s *Setup) resolve(name string) (c chain.Chain, sure bool, err error) {
	sure = true
	c, err = chain.Resolve(s.Config, name, chain.Overrides{
		Getenv: s.Getenv,
		Stored: func(name string) bool {
			has, known := s.Stored(name)
			sure = sure && known
			return has
		},
	})
	return c, sure, err
}

// unresolved says why a profile has no chain.
func (s *Setup) unresolved(err error, sure bool) []Finding {
	f := Finding{Problem, err.Error(), s.Config.Name(), s.Explain(err)}
	if e, ok := errors.AsType[*chain.NotFoundError](err); ok {
		if !sure {
			return nil
		}
		f.Where = at(s.Config, e.Via, e.Setting)
	}
	if e, ok := errors.AsType[*chain.NoSourceError](err); ok {
		if !sure {
			return nil
		}
		f.Where = at(s.Config, e.Profile, "role_arn")
	}
	if e, ok := errors.AsType[*chain.CycleError](err); ok {
		// Each profile that leads to it tells it from another beginning.
		e = &chain.CycleError{Setting: e.Setting, Path: turned(e.Path)}
		f.What = e.Error()
		f.Where = at(s.Config, e.Path[0], e.Setting)
	}
	if e, ok := errors.AsType[*chain.ConflictError](err); ok {
		f.Where = at(s.Config, e.Profile, e.Setting)
	}
	if e, ok := errors.AsType[*chain.SettingError](err); ok {
		plain := *e
		plain.File = ""
		f.What = plain.Error()
		switch {
		case e.Line > 0:
			f.Where = fmt.Sprintf("%s:%d", e.File, e.Line)
		case e.Profile == "":
			f.Where = e.Setting
		}
		if e.Setting == "credential_source" || e.Setting == "login_session" {
			f.Level, f.Fix = Warning, "the AWS CLI can use the profile"
		}
	}
	return []Finding{f}
}

// turned returns a cycle as it is told from the first of its names in the
// alphabet. Before the cycle, path may have a way that leads to it.
func turned(path []string) []string {
	last := len(path) - 1
	cycle := path[slices.Index(path, path[last]):last]
	first := slices.Index(cycle, slices.Min(cycle))
	return slices.Concat(cycle[first:], cycle[:first+1])
}

// steps returns what is to be known of a chain.
func (s *Setup) steps(c chain.Chain) []Finding {
	var list []Finding
	for _, step := range c.Steps {
		role := step.AssumeRole
		if role == nil || role.Wanted == 0 {
			continue
		}
		where := at(s.Config, step.Profile, "duration_seconds")
		if where == s.Config.Name() {
			continue // a variable asks for it, of whatever role there is
		}
		list = append(list, Finding{Note,
			fmt.Sprintf("profile %q asks for %v, but a role that is assumed from a session lasts %v at the most", step.Profile, role.Wanted, role.Duration),
			where, fmt.Sprintf("set duration_seconds to %d or less", role.Duration/time.Second)})
	}
	if serial := serialOf(c); serial != "" && c.MFAProcess == "" && !s.Terminal {
		list = append(list, Finding{Note,
			fmt.Sprintf("there is no terminal here to ask for the token code of %s", serial),
			"", "run it in a terminal, or use --mfa-token or mfa_process in the profile"})
	}
	return list
}

// serialOf returns the first MFA device that a chain needs a code of.
func serialOf(c chain.Chain) string {
	for _, step := range c.Steps {
		switch {
		case step.SessionToken != nil && step.SessionToken.MFASerial != "":
			return step.SessionToken.MFASerial
		case step.AssumeRole != nil && step.AssumeRole.MFASerial != "":
			return step.AssumeRole.MFASerial
		}
	}
	return ""
}

// missingKeys are access keys that profiles start from and that are in no store.
type missingKeys struct {
	setup *Setup
	names []string            // of keys, in the order of the config file
	of    map[string][]string // by key: the profiles
}

// note notes the key of a chain if it is missing. A profile that stands for
// nothing but a region, say, is not expected to have one.
func (m *missingKeys) note(c chain.Chain, sure bool) {
	if c.Source.Stored == nil || !sure {
		return
	}
	name := c.Source.Stored.Name
	if has, known := m.setup.Stored(name); has || !known {
		return
	}
	role := slices.ContainsFunc(c.Steps, func(step chain.Step) bool { return step.AssumeRole != nil })
	asked := false
	for _, profile := range m.setup.asked {
		asked = asked || profile == c.Profile
	}
	if !role && !asked && serialOf(c) == "" && c.Profile != m.setup.Only {
		return
	}
	if m.of[name] == nil {
		m.names = append(m.names, name)
	}
	m.of[name] = append(m.of[name], c.Profile)
}

func (m *missingKeys) findings() []Finding {
	var list []Finding
	for _, name := range m.names {
		profiles := m.of[name]
		f := Finding{Problem,
			fmt.Sprintf("there is no access key of %q in the store", name),
			at(m.setup.Config, profiles[0], "source_profile"),
			"@kura add " + m.setup.Quote(name)}
		if i := slices.IndexFunc(profiles, func(p string) bool { return p != name }); i >= 0 {
			f.What += fmt.Sprintf(", which profile %q starts from", profiles[i])
			f.Where = at(m.setup.Config, profiles[i], "source_profile")
		}
		if m.setup.isPlain(name) {
			f.Fix = "@kura import credentials " + m.setup.Quote(name)
		}
		list = append(list, f)
	}
	return list
}

// ownSettings are those that this program alone knows.
var ownSettings = []string{"kura_backend", "kura_browser", "kura_browser_profile", "kura_container"}

// settings returns what is wrong with settings of a profile, beyond what keeps
// it from having a chain.
func (s *Setup) settings(name string) []Finding {
	var list []Finding
	section, _ := s.Config.Profile(name)
	if serial := section.Get("mfa_serial"); notDevice(serial) != "" {
		list = append(list, Finding{Problem,
			fmt.Sprintf("mfa_serial of profile %q is the ARN of %s", name, notDevice(serial)),
			at(s.Config, name, "mfa_serial"),
			`write the ARN of the MFA device, arn:aws:iam::ACCOUNT:mfa/NAME; IAM shows it with the user's security credentials`})
	}
	for _, setting := range section.Names() {
		if strings.HasPrefix(setting, "kura_") && !slices.Contains(ownSettings, setting) {
			list = append(list, Finding{Warning,
				fmt.Sprintf("profile %q has %s, and no setting is called so", name, setting),
				at(s.Config, name, setting), "remove it; there are " + strings.Join(ownSettings, ", ")})
		}
	}
	if source := section.Get("mfa_source"); source != "" {
		if err := s.MFASource(source); err != nil {
			list = append(list, Finding{Problem,
				fmt.Sprintf("mfa_source of profile %q: %v", name, err),
				at(s.Config, name, "mfa_source"), "correct that line; --prompt takes the same"})
		}
	}
	if section.Get("credential_process") != "" && s.hasKey(name) {
		// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
		// leaves the order to each SDK.
		list = append(list, Finding{Warning,
			fmt.Sprintf("profile %q has an access key in a file, and a credential_process: the AWS CLI and boto3 take the process, other programs the key", name),
			at(s.Config, name, "credential_process"), "remove the key from the file"})
	}
	return append(list, s.rolesOfProcess(name)...)
}

// notDevice returns what an mfa_serial is the ARN of, if that is nothing that
// shows token codes. What is no ARN may be the number of a hardware device.
func notDevice(serial string) string {
	parts := strings.SplitN(serial, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	switch kind, _, _ := strings.Cut(parts[5], "/"); kind {
	case "mfa", "sms-mfa":
		return ""
	case "role":
		return "a role, not of an MFA device"
	case "user":
		return "a user, not of an MFA device"
	case "u2f":
		// A FIDO security key or passkey, which has no codes: IAM User Guide,
		// "AWS CLI and API calls with MFA".
		return "a security key, which shows no token codes"
	}
	return "something other than an MFA device"
}

// Roles returns what keeps awsume or the AWS CLI from using the role profiles
// that start from a profile with a credential_process. Examine finds the same,
// but not of a single profile.
func (s *Setup) Roles(source string) []Finding {
	s.findProcesses()
	var list []Finding
	for _, name := range s.Config.Profiles() {
		if section, _ := s.Config.Profile(name); section.Get("source_profile") == source {
			list = append(list, s.rolesOfProcess(name)...)
		}
	}
	return list
}

// rolesOfProcess returns what awsume and the AWS CLI make of a role profile
// whose source profile has a credential_process.
func (s *Setup) rolesOfProcess(name string) []Finding {
	section, _ := s.Config.Profile(name)
	sourceName := section.Get("source_profile")
	source, _ := s.Config.Profile(sourceName)
	if section.Get("role_arn") == "" || source.Get("credential_process") == "" || s.hasKey(sourceName) || sourceName == name {
		return nil
	}
	var list []Finding
	if section.Get("duration_seconds") != "" {
		// default_plugins.py and saml.py of awsume 4.5: a duration makes it skip
		// the source profile's process.
		list = append(list, Finding{Warning,
			fmt.Sprintf("duration_seconds of profile %q makes awsume pass over the credential_process of %q, and find no credentials", name, sourceName),
			at(s.Config, name, "duration_seconds"), "remove duration_seconds, or do without awsume for this profile"})
	}
	if section.Get("mfa_serial") != "" && s.asked[sourceName] != "" {
		list = append(list, Finding{Warning,
			fmt.Sprintf("mfa_serial of profile %q makes the AWS CLI and awsume ask for a token code themselves, after the credential_process of %q", name, sourceName),
			at(s.Config, name, "mfa_serial"), fmt.Sprintf("move mfa_serial to profile %q", sourceName)})
	}
	return list
}
