package chain

import (
	"cmp"
	"slices"
	"strings"
)

// serial returns the MFA device of p, "" when none is configured.
func (p *profile) serial() (string, error) {
	s := p.get("mfa_serial")
	if s.value != "" && !IsMFASerial(s.value) {
		return "", s.bad("not the ARN or the serial number of an MFA device")
	}
	return s.value, nil
}

// IsMFASerial reports whether STS would take s for the serial number of an MFA
// device: an ARN, or what is printed on a hardware device. The rule is that of
// SerialNumber in the API reference of GetSessionToken.
func IsMFASerial(s string) bool { return consists(s, 9, 256, "+=/:,.@-") }

// A role is the call that assumes the role of a profile, before it is known
// which steps precede it: its Duration is not limited and it has no MFASerial.
type role struct {
	AssumeRole
	profile  *profile
	duration setting // where the Duration comes from
}

// role returns the role of p, or nil when it has no role_arn.
func (p *profile) role() (*role, error) {
	arn := p.get("role_arn")
	if arn.value == "" {
		return nil, nil
	}
	if !isRoleARN(arn.value) {
		return nil, arn.bad("not the ARN of a role")
	}
	r := &role{profile: p}
	r.RoleARN = arn.value

	// What STS takes is said in the API reference of AssumeRole.
	name, external, identity := p.get("role_session_name"), p.get("external_id"), p.get("source_identity")
	switch {
	case name.value != "" && !consists(name.value, 2, 64, "+=,.@-"):
		return nil, name.bad("not 2 to 64 letters, digits and characters of _+=,.@-")
	case external.value != "" && !consists(external.value, 2, 1224, "+=,.@:/-"):
		return nil, external.bad("not 2 to 1224 letters, digits and characters of _+=,.@:/-")
	case identity.value != "" && !consists(identity.value, 2, 64, "+=,.@-"):
		return nil, identity.bad("not 2 to 64 letters, digits and characters of _+=,.@-")
	}
	r.SessionName = cmp.Or(name.value, sessionName(p.overrides.User, p.name))
	r.ExternalID = external.value
	r.SourceIdentity = identity.value
	if s := p.get("session_tags"); s.value != "" {
		tags, ok := parseTags(s.value)
		if !ok {
			return nil, s.bad("not a list of the form key=value,key=value")
		}
		r.Tags = tags
	}
	r.TransitiveTags = parseKeys(p.get("transitive_session_tags").value)

	var err error
	if r.Duration, r.duration, err = p.roleDuration(); err != nil {
		return nil, err
	}
	r.Call, err = p.call(arn.value)
	return r, err
}

// Assume returns c with the role of that ARN assumed at its end, for an hour at
// the most: what c leads to are session credentials. The user and the profile of
// c name the session. The error is a *SettingError.
func (c Chain) Assume(arn, user string) (Chain, error) {
	if !isRoleARN(arn) {
		return Chain{}, &SettingError{Setting: "role", Value: arn, Msg: "not the ARN of a role"}
	}
	call := c.STS
	call.Partition = arnPartition(arn)
	role := &AssumeRole{Call: call, RoleARN: arn, SessionName: sessionName(user, c.Profile), Duration: maxChained}
	c.Steps = append(slices.Clip(c.Steps), Step{Profile: c.Profile, AssumeRole: role})
	return c, nil
}

// call returns where the STS calls of p go that are about the resource arn. One
// that isn't an ARN, such as the serial number of a hardware device, does not
// tell the partition; then the first of the regions that is set does.
func (p *profile) call(arn string, regions ...string) (Call, error) {
	endpoint, err := p.endpoint("sts")
	if err != nil {
		return Call{}, err
	}
	global, err := p.globalSTS()
	if err != nil {
		return Call{}, err
	}
	partition := arnPartition(arn)
	if partition == "" {
		partition = RegionPartition(cmp.Or(regions...))
	}
	return Call{Region: p.region(), Partition: partition, Endpoint: endpoint, Global: global && endpoint == ""}, nil
}

// arnPartition returns the partition of an ARN, "" when arn is not one.
func arnPartition(arn string) string {
	if rest, ok := strings.CutPrefix(arn, "arn:"); ok {
		partition, _, _ := strings.Cut(rest, ":")
		return partition
	}
	return ""
}

// RegionPartition returns the partition of a region, as in partitions.json of
// AWS's SDKs.
func RegionPartition(region string) string {
	area, _, _ := strings.Cut(region, "-")
	switch {
	case area == "cn":
		return "aws-cn"
	case area == "eusc":
		return "aws-eusc"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "us-iso-"):
		return "aws-iso"
	case strings.HasPrefix(region, "us-isob-"):
		return "aws-iso-b"
	case strings.HasPrefix(region, "eu-isoe-"):
		return "aws-iso-e"
	case strings.HasPrefix(region, "us-isof-"):
		return "aws-iso-f"
	}
	return "aws"
}

// isRoleARN reports whether s is arn:PARTITION:iam::ACCOUNT:role/NAME, where
// the account has 12 digits and a path may precede the name.
func isRoleARN(s string) bool {
	part := strings.SplitN(s, ":", 6)
	if len(part) != 6 || len(part[4]) != 12 || strings.Trim(part[4], "0123456789") != "" {
		return false
	}
	name, ok := strings.CutPrefix(part[5], "role/")
	return ok && part[0] == "arn" && part[1] != "" && part[2] == "iam" && part[3] == "" &&
		name != "" && !strings.HasSuffix(name, "/") && !strings.ContainsAny(name, " \t")
}

// sessionName returns the name of a role session when none is configured. It
// ends up in CloudTrail, where it should tell who did something, so it is the
// profile that gives way when it gets too long.
func sessionName(user, profile string) string {
	name := "kura-"
	if user != "" {
		name += clean(user, 32) + "-"
	}
	return name + clean(profile, 64-len(name))
}

// clean returns at most n bytes of s with '-' for each character that can't
// stand in the name of a role session.
func clean(s string, n int) string {
	s = strings.Map(func(c rune) rune {
		if isWord(c) || strings.ContainsRune("+=,.@-", c) {
			return c
		}
		return '-'
	}, s)
	return s[:min(n, len(s))]
}

// isWord reports whether c is what AWS's patterns call \w.
func isWord(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// parseTags parses session_tags: key=value pairs between commas. Spaces around
// keys and values are not part of them; of two values of one key the last
// counts. It reports whether text is such a list.
func parseTags(text string) (map[string]string, bool) {
	tags := make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, false
		}
		tags[key] = strings.TrimSpace(value)
	}
	return tags, true
}

// parseKeys parses transitive_session_tags: keys between commas. Each is
// returned once, in order, without the spaces around it.
func parseKeys(text string) []string {
	var keys []string
	for key := range strings.SplitSeq(text, ",") {
		if key = strings.TrimSpace(key); key != "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// consists reports whether s is least to most letters, digits, underscores and
// characters of other.
func consists(s string, least, most int, other string) bool {
	return least <= len(s) && len(s) <= most && !strings.ContainsFunc(s, func(c rune) bool {
		return !isWord(c) && !strings.ContainsRune(other, c)
	})
}
