package chain

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Durations of calls that nothing else says, as in aws-vault but for the
// sessions that take a token code, and AWS's limits: the API references of
// AssumeRole and GetSessionToken.
const (
	roleDuration        = time.Hour
	sessionDuration     = time.Hour
	longSessionDuration = 8 * time.Hour

	minDuration        = 15 * time.Minute
	maxRoleDuration    = 12 * time.Hour
	maxSessionDuration = 36 * time.Hour

	// maxChained is AWS's limit for a role assumed with session credentials:
	// "Role chaining limits your role session to a maximum of one hour", IAM
	// User Guide, Terms and concepts of roles.
	maxChained = time.Hour
)

// ParseDuration parses a duration as time.ParseDuration does, with w for weeks
// and d for days of 24 hours before Go's units: "1h30m", "1d", "1w2d12h". A
// negative one is an error.
func ParseDuration(s string) (time.Duration, error) {
	weeks, rest := cutUnit(s, "w", 7*24*time.Hour)
	days, rest := cutUnit(rest, "d", 24*time.Hour)
	if rest == "" && s != "" {
		return weeks + days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || weeks+days+d < 0 {
		return 0, errors.New("not a duration")
	}
	return weeks + days + d, nil
}

// cutUnit cuts a whole number with that unit off the beginning of s, if there
// is one. It takes up to 4095, so that the sum can't overflow unnoticed.
func cutUnit(s, unit string, is time.Duration) (d time.Duration, rest string) {
	number, rest, ok := strings.Cut(s, unit)
	n, err := strconv.ParseUint(number, 10, 12)
	if !ok || err != nil {
		return 0, s
	}
	return time.Duration(n) * is, rest
}

// parseSeconds parses duration_seconds.
func parseSeconds(s setting) (time.Duration, error) {
	n, err := strconv.ParseUint(s.value, 10, 31)
	if err != nil || n == 0 {
		return 0, s.bad("not a whole number of seconds")
	}
	return time.Duration(n) * time.Second, nil
}

// roleDuration returns how long p wants its role session to last.
func (p *profile) roleDuration() (time.Duration, setting, error) {
	if d, s, err := p.duration("AWS_ASSUME_ROLE_TTL"); s.value != "" {
		return d, s, err
	}
	s := p.get("duration_seconds")
	if s.value == "" {
		return roleDuration, s, nil
	}
	d, err := parseSeconds(s)
	return d, s, err
}

// sessionDuration returns how long the session of p's access key is to last:
// longer when there are roles to assume from it, which is what chained means, and
// when it takes a token code. Nobody is to type one each hour, and commands with
// a role or without, here or in a program that calls us, share the session.
func (p *profile) sessionDuration(chained, code bool) (time.Duration, setting, error) {
	variable, d := "AWS_SESSION_TOKEN_TTL", sessionDuration
	if chained {
		variable = "AWS_CHAINED_SESSION_TOKEN_TTL"
	}
	if chained || code {
		d = longSessionDuration
	}
	if d, s, err := p.duration(variable); s.value != "" {
		return d, s, err
	}
	return d, setting{}, nil
}

// duration returns what --duration or else the variable says.
func (p *profile) duration(variable string) (time.Duration, setting, error) {
	if d := p.overrides.Duration; d != 0 {
		s := setting{name: "--duration", value: short(d)}
		p.overrides.trace.note("duration_seconds", s)
		return d.Truncate(time.Second), s, nil
	}
	s := p.env(variable)
	if s.value == "" {
		return 0, s, nil
	}
	p.overrides.trace.note("duration_seconds", s)
	d, err := ParseDuration(s.value)
	if err != nil {
		return 0, s, s.bad("not a duration")
	}
	return d.Truncate(time.Second), s, nil
}

// checkDuration returns an error unless AWS's operation takes d. The lower
// limit is the same for all of them.
func checkDuration(d, most time.Duration, operation string, from setting) error {
	if d < minDuration || d > most {
		return from.bad("%s takes %s to %s", operation, short(minDuration), short(most))
	}
	return nil
}

// short returns d without the units that are zero at its end: "1h", not
// "1h0m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
