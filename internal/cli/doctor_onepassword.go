package cli

import (
	"context"
	"fmt"
	"slices"

	"kura/internal/doctor"
	"kura/internal/onepassword"
	"kura/internal/store/all"
)

// knownVersion is the version of op that what kura knows of it is of, or of
// later ones.
const knownVersion = "2.30.0"

// onePassword looks at op, where one of these profiles or a setting uses it. It
// asks nobody, and so can't always tell whether somebody is signed in. What
// keeps a store from working was found when that was looked at.
func (s *census) onePassword(ctx context.Context, profiles []string) {
	uses := s.opUses(ctx, profiles)
	if len(uses) == 0 {
		return
	}
	late := &onepassword.Error{Command: "op whoami", Text: fmt.Sprintf("no answer within %v", storeTimeout)}
	ctx, cancel := context.WithTimeoutCause(ctx, storeTimeout, late)
	defer cancel()
	s.opEnvironment(uses)
	op := s.a.onePassword()
	stores := slices.ContainsFunc(uses, func(u opUse) bool { return u.store })
	version, err := op.Version(ctx)
	if err != nil {
		if !stores {
			s.add(doctor.Problem, fmt.Sprintf("1Password can't be used: %v", err), uses[0].where, err)
		}
		return
	}
	old := &onepassword.Error{Kind: onepassword.Outdated}
	switch {
	case stores && !onepassword.Since(version, onepassword.LeastVersion):
		s.add(doctor.Problem, fmt.Sprintf("op is %s, and changes items since %s only: keys in 1Password can be used and not be stored", version, onepassword.LeastVersion), "", old)
	case !onepassword.Since(version, knownVersion):
		s.add(doctor.Warning, fmt.Sprintf("op is %s, and kura is made for %s and later", version, knownVersion), "", old)
	}
	for i, u := range uses {
		known := func(other opUse) bool { return other.account == u.account }
		if u.store || slices.ContainsFunc(uses[:i], known) {
			continue // the stores come first
		}
		asks, err := op.Ready(ctx, u.account)
		switch {
		case err != nil:
			s.add(doctor.Problem, fmt.Sprintf("1Password can't be used: %v", err), u.where, err)
		case asks:
			s.findings = append(s.findings, doctor.Finding{
				Level: doctor.Note,
				What:  "op is signed out, or 1Password asks for approval first: op does not tell which",
				Where: u.where,
				Fix:   `"eval $(op signin)" asks for it now, or says what is missing`,
			})
		}
	}
}

// An opUse is something that uses 1Password.
type opUse struct {
	where          string // as in a Finding
	account, vault string
	store          bool // it holds keys, and does not only make codes
}

// opUses returns what uses 1Password, the stores first.
func (s *census) opUses(ctx context.Context, profiles []string) []opUse {
	var stores, sources []opUse
	var nameless []string // where codes are to come from the item of the key
	source := func(p promptSpec, where string) {
		switch {
		case p.name != all.OnePassword:
		case p.item.Item == "":
			nameless = append(nameless, where)
		default:
			sources = append(sources, opUse{where, p.item.Account, p.item.Vault, false})
		}
	}
	prompt := s.a.global.prompt
	for _, profile := range profiles {
		s.has(ctx, profile)
		if v, err := s.a.vaultOf(s.config, profile); err == nil && v.name() == all.OnePassword {
			stores = append(stores, opUse{s.a.chosenBy(s.config, profile), v.settings["account"], v.settings["vault"], true})
		}
		section, _ := s.config.Profile(profile)
		if p, err := parsePrompt(section.Get("mfa_source")); err == nil && !s.a.given(s.a.global.promptFlag) {
			source(p, fmt.Sprintf("%s:%d", s.config.Name(), section.Line("mfa_source")))
		}
	}
	source(prompt, "--prompt "+prompt.text)
	if len(stores) == 0 && len(nameless) > 0 {
		s.add(doctor.Problem, errNoItem.Error(), nameless[0], errNoItem)
	}
	return append(stores, sources...)
}

// opEnvironment notes what op goes by in place of the app, and what that can't do.
func (s *census) opEnvironment(uses []opUse) {
	note := func(level doctor.Level, where, fix, what string) {
		s.findings = append(s.findings, doctor.Finding{Level: level, What: what, Where: where, Fix: fix})
	}
	// https://developer.1password.com/docs/cli/environment-variables has which
	// of them counts.
	switch {
	case s.a.Getenv("OP_CONNECT_HOST") != "" && s.a.Getenv("OP_CONNECT_TOKEN") != "":
		note(doctor.Note, "OP_CONNECT_HOST", "if that is not meant, unset OP_CONNECT_HOST OP_CONNECT_TOKEN",
			"OP_CONNECT_HOST and OP_CONNECT_TOKEN make op ask a Connect server, whoever is signed in to the app")
	case s.a.Getenv("OP_SERVICE_ACCOUNT_TOKEN") != "":
		note(doctor.Note, "OP_SERVICE_ACCOUNT_TOKEN", "if that is not meant, unset OP_SERVICE_ACCOUNT_TOKEN",
			"OP_SERVICE_ACCOUNT_TOKEN makes op use a service account, which sees no private vault, whoever is signed in to the app")
		if i := slices.IndexFunc(uses, func(u opUse) bool { return u.vault == "" }); i >= 0 {
			err := &onepassword.Error{Kind: onepassword.NeedsVault}
			s.add(doctor.Problem, "a service account must be told the vault, and none is named here", uses[i].where, err)
		}
	}
}
