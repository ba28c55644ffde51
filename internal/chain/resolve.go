package chain

import (
	"cmp"
	"slices"
	"time"

	"kura/internal/awsconfig"
)

// Overrides are what outranks the config file, and the facts that Resolve can't
// find in it.
type Overrides struct {
	Region    string        // --region: for every profile of the chain
	Duration  time.Duration // --duration: for every call; 0 when not given
	NoSession bool          // --no-session: leave GetSessionToken out

	// User is the person's name, for the names of role sessions.
	User string

	// Stored reports whether the store holds an access key of that name. It is
	// called only when the answer matters, and once per name. Nil: none does.
	Stored func(name string) bool

	// Getenv looks up an environment variable, "" when it is not set. Nil is
	// an empty environment. The variables read are AWS_REGION,
	// AWS_DEFAULT_REGION, AWS_CA_BUNDLE, AWS_STS_REGIONAL_ENDPOINTS,
	// AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>,
	// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS and aws-vault's: AWS_MFA_SERIAL,
	// AWS_ASSUME_ROLE_TTL, AWS_SESSION_TOKEN_TTL and
	// AWS_CHAINED_SESSION_TOKEN_TTL for every profile of the chain;
	// AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_SESSION_TAGS,
	// AWS_TRANSITIVE_TAGS and AWS_SOURCE_IDENTITY for the named one only.
	Getenv func(name string) string

	trace *trace // see Trace
}

// Resolve returns the chain of the named profile. Its errors are
// *NotFoundError, *CycleError, *ConflictError, *NoSourceError and
// *SettingError. It is a pure function as far as the two functions of o are.
//
// A setting is looked for in the flags, the environment, the profile's section
// and then the sections that it includes or, when it includes none, [default].
// A source profile's settings are its own: but for mfa_process none passes from
// it to the profiles that name it. All this is aws-vault's way; its
// documentation is the reference for the settings that AWS doesn't know.
func Resolve(f *awsconfig.File, profile string, o Overrides) (Chain, error) {
	path, err := sourcePath(f, profile, o)
	if err != nil {
		return Chain{}, err
	}
	o.trace.take()
	named, last := path[0], path[len(path)-1]
	c := Chain{
		Profile:  profile,
		Region:   named.region(),
		CABundle: named.get("ca_bundle").value,
	}
	for _, p := range path {
		if c.MFAProcess == "" {
			c.MFAProcess = p.get("mfa_process").value
		}
	}
	if c.Endpoints, err = named.endpoints(); err != nil {
		return Chain{}, err
	}
	o.trace.rest()
	if c.Source, err = last.source(); err != nil {
		return Chain{}, err
	}
	o.trace.source(c.Source)
	if c.Steps, err = steps(path, c.Source, o); err != nil {
		return Chain{}, err
	}
	if c.STS, err = named.call("", c.Region); err != nil {
		return Chain{}, err
	}
	if c.IAMEndpoint, err = named.endpoint("iam"); err == nil && c.IAMEndpoint == "" {
		c.IAMEndpoint, err = last.endpoint("iam") // that of the access key, see sessionToken
	}
	return c, err
}

// sourcePath follows source_profile from the named profile to the one that the
// chain starts from. An access key in the store ends the path: it wins over a
// source_profile.
func sourcePath(f *awsconfig.File, name string, o Overrides) ([]*profile, error) {
	var path []*profile
	for via := ""; ; {
		if slices.ContainsFunc(path, func(p *profile) bool { return p.name == name }) {
			return nil, &CycleError{"source_profile", append(names(path), name)}
		}
		p, err := newProfile(f, name, o)
		if err != nil {
			return nil, err
		}
		if !p.configured && !p.stored() {
			e := &NotFoundError{Profile: name, Via: via, Near: Near(f.Profiles(), name)}
			if via != "" {
				e.Setting = "source_profile"
			}
			return nil, e
		}
		p.named = len(path) == 0
		path = append(path, p)
		o.trace.link(p)

		// A fragment that many profiles include may name a source profile
		// that includes it as well, so naming oneself is naming none.
		source := p.get("source_profile")
		if source.value == "" || source.value == name || p.stored() {
			return path, nil
		}
		if other := p.get("credential_source"); other.value != "" && other.profile == source.profile {
			return nil, &ConflictError{source.profile, "source_profile", "credential_source"}
		}
		name, via = source.value, name
	}
}

func names(path []*profile) []string {
	var names []string
	for _, p := range path {
		names = append(names, p.name)
	}
	return names
}

// source returns where the credentials of p come from when no source_profile
// is followed from it. A profile without any other source has its access key
// in the store, and whoever reads it there says so if it is missing.
func (p *profile) source() (Source, error) {
	for _, name := range [...]string{
		"sso_session", "sso_start_url",
		"web_identity_token_file", "web_identity_token_process",
		"credential_process",
		"credential_source", "login_session",
		"role_arn",
	} {
		s := p.get(name)
		if s.value == "" {
			continue
		}
		if p.stored() {
			break
		}
		switch name {
		case "sso_session", "sso_start_url":
			sso, err := p.sso()
			return Source{SSO: sso}, err
		case "web_identity_token_file", "web_identity_token_process":
			w, err := p.webIdentity(s)
			return Source{WebIdentity: w}, err
		case "credential_process":
			// Quotes around the whole value are the shell's: AWS's documentation
			// has a path with spaces so.
			return Source{Process: &Process{s.section.Raw(name), s.profile}}, nil
		case "credential_source", "login_session":
			return Source{}, s.bad("not supported")
		case "role_arn":
			return Source{}, &NoSourceError{p.name}
		}
	}
	return Source{Stored: &StoredKey{p.name}}, nil
}

// sso returns the Identity Center role of p. What the sso-session section says
// wins over the profile's own settings, as in AWS's SDKs; what it leaves open,
// they fill in, as in aws-vault. A section that is inherited from does not
// replace the start URL of a nearer one by its session.
func (p *profile) sso() (*SSO, error) {
	url, session := p.get("sso_start_url"), setting{}
	for _, s := range p.sections {
		if session = p.in(s, "sso_session"); session.value != "" || s.profile == url.profile {
			break
		}
	}
	section, ok := p.file.SSOSession(session.value)
	p.overrides.trace.note("sso_session", session)
	for _, name := range [...]string{"sso_start_url", "sso_region"} {
		p.overrides.trace.note(name, setting{name, section.Get(name), session.profile, session.file, section, name})
	}
	if session.value != "" && !ok && url.value == "" {
		return nil, session.bad("there is no such sso-session section")
	}
	sso := &SSO{
		StartURL:  cmp.Or(section.Get("sso_start_url"), url.value),
		Region:    cmp.Or(section.Get("sso_region"), p.get("sso_region").value),
		AccountID: p.get("sso_account_id").value,
		RoleName:  p.get("sso_role_name").value,
		Session:   session.value,
		Profile:   p.name,
	}
	switch "" {
	case sso.StartURL:
		return nil, p.missing("sso_start_url")
	case sso.Region:
		return nil, p.missing("sso_region")
	case sso.AccountID:
		return nil, p.missing("sso_account_id")
	case sso.RoleName:
		return nil, p.missing("sso_role_name")
	}
	return sso, nil
}

// webIdentity returns the call that the setting token, which names the file or
// the command that has the web identity token, asks for.
func (p *profile) webIdentity(token setting) (*WebIdentity, error) {
	r, err := p.role()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, p.missing("role_arn")
	}
	if err := checkDuration(r.Duration, maxRoleDuration, "AssumeRoleWithWebIdentity", r.duration); err != nil {
		return nil, err
	}
	w := &WebIdentity{
		Call:        r.Call,
		RoleARN:     r.RoleARN,
		SessionName: r.SessionName,
		Duration:    r.Duration,
		Profile:     p.name,
	}
	if token.name == "web_identity_token_file" {
		w.TokenFile = token.value
	} else {
		w.TokenProcess = token.value
	}
	return w, nil
}

// steps returns the steps from the source, which is that of the last profile
// of path, to the credentials of the first.
func steps(path []*profile, source Source, o Overrides) ([]Step, error) {
	holder := path[len(path)-1]
	var roles []*role      // in the order they are assumed
	var origins [][]Origin // what was found of each
	for _, p := range slices.Backward(path) {
		if p == holder && source.Stored == nil {
			continue // its role_arn, if any, belongs to a web identity
		}
		r, err := p.role()
		if err != nil {
			return nil, err
		}
		found := o.trace.take()
		if r != nil {
			roles, origins = append(roles, r), append(origins, found)
		}
	}

	var session *SessionToken
	if source.Stored != nil && !o.NoSession {
		var err error
		if session, err = sessionToken(path, roles); err != nil {
			return nil, err
		}
	}
	found := o.trace.take()
	var steps []Step
	if session != nil {
		steps = append(steps, Step{Profile: holder.name, SessionToken: session})
		o.trace.step(steps[0], found)
	}

	// A device that has been shown is not asked for again: STS refuses a token
	// code from a role session. Identity Center and web identities have no
	// device that IAM knows; what a process supplies may be a user's.
	var shown []string
	for i, r := range roles {
		first := len(steps) == 0
		if source.Stored != nil && session == nil || source.Process != nil && first {
			serial, err := r.profile.serial()
			if err != nil {
				return nil, err
			}
			if !slices.Contains(shown, serial) {
				r.MFASerial = serial
				shown = append(shown, serial)
			}
		}
		if r.Duration > maxChained && (!first || source.SSO != nil || source.WebIdentity != nil) {
			r.Wanted, r.Duration = r.Duration, maxChained
		}
		if err := checkDuration(r.Duration, maxRoleDuration, "AssumeRole", r.duration); err != nil {
			return nil, err
		}
		steps = append(steps, Step{Profile: r.profile.name, AssumeRole: &r.AssumeRole})
		o.trace.step(steps[len(steps)-1], append(origins[i], o.trace.take()...))
	}
	return steps, nil
}

// sessionToken returns the call of GetSessionToken that roles are best assumed
// from, or nil. It is made for the profile that holds the access key, the last
// of path, so that all chains from there that show the same device share it.
//
//   - Without a role there is always one, so that nobody gets the access key.
//   - A single role that is to last more than an hour is assumed directly,
//     because from a session it couldn't; so is the role of the key's own
//     profile.
//   - If just one device is named by the profiles with a role, and it is the
//     holder's own or the holder names none, it is shown here once for all.
//   - In any other case roles are assumed directly, each with its own device.
func sessionToken(path []*profile, roles []*role) (*SessionToken, error) {
	named, holder := path[0], path[len(path)-1]
	own, err := holder.serial()
	if err != nil {
		return nil, err
	}
	serial := ""
	switch {
	case len(roles) == 0:
		if serial, err = named.serial(); err != nil {
			return nil, err
		}
		if serial == "" {
			serial = own
		}
	case len(roles) == 1 && (roles[0].Duration > maxChained || roles[0].profile == holder):
		return nil, nil
	default:
		for _, r := range roles {
			s, err := r.profile.serial()
			if err != nil {
				return nil, err
			}
			if s != "" && serial != "" && s != serial {
				return nil, nil
			}
			if s != "" {
				serial = s
			}
		}
		if serial == "" || own != "" && own != serial {
			return nil, nil
		}
	}

	duration, from, err := holder.sessionDuration(holder != named, serial != "")
	if err != nil {
		return nil, err
	}
	if err := checkDuration(duration, maxSessionDuration, "GetSessionToken", from); err != nil {
		return nil, err
	}
	call, err := holder.call(serial, holder.region(), named.region())
	if err != nil {
		return nil, err
	}
	if call.Endpoint == "" {
		// An emulated AWS, or a proxy, must be asked for the whole chain even
		// if only the role's profile names it.
		if call.Endpoint, err = named.endpoint("sts"); err != nil {
			return nil, err
		}
		call.Global = call.Global && call.Endpoint == ""
	}
	return &SessionToken{Call: call, MFASerial: serial, Duration: duration}, nil
}
