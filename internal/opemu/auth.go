package opemu

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mode returns how this call gets at the account: the variables of a Connect
// server win over a service account's, and that over the rest [D].
func (c *call) mode(s *State) AuthMode {
	switch {
	case c.getenv("OP_CONNECT_HOST") != "" && c.getenv("OP_CONNECT_TOKEN") != "":
		return OnServer
	case c.getenv("OP_SERVICE_ACCOUNT_TOKEN") != "":
		return ByToken
	case s.Auth.Mode == OnServer, s.Auth.Mode == ByToken:
		return None // their variables are missing
	}
	return s.Auth.Mode
}

// account returns the account that the call is for.
func (c *call) account(s *State) (Account, error) {
	filter := orElse(c.args.flags["account"], c.getenv("OP_ACCOUNT"))
	for _, a := range s.Accounts {
		if filter == "" || slices.Contains([]string{a.Shorthand, a.URL, a.Email, a.AccountUUID, a.UserUUID}, filter) {
			return a, nil
		}
	}
	if filter == "" {
		return Account{}, &failure{text: "No accounts configured for use with 1Password CLI.", bare: true, exit: 1} // [F]
	}
	return Account{}, fail("no account found for filter %s", filter) // [R]
}

// vaults returns the vaults that the call may see.
func (c *call) vaults(s *State) []Vault {
	mode := c.mode(s)
	a, err := c.account(s)
	var list []Vault
	for _, v := range s.Vaults {
		ok := false
		switch mode {
		case ByToken: // never a private one [D]
			ok = v.Type != Personal && s.Auth.SA.Vaults[v.ID] != ""
		case OnServer:
			ok = v.Type != Personal
		default:
			ok = err == nil && (v.Account == a.AccountUUID || v.Account == "" && a.AccountUUID == s.Accounts[0].AccountUUID)
		}
		if ok {
			list = append(list, v)
		}
	}
	return list
}

// authorize gets at the account or says why not. With the app it can take as
// long as the person does.
func (c *call) authorize() error {
	ask := false
	var delay time.Duration
	err := c.update(func(s *State) error {
		err := c.signedIn(s)
		if !errors.Is(err, errNotApproved) {
			return err
		}
		if !s.Auth.AppRunning {
			return fail("connecting to desktop app: cannot connect to 1Password app, make sure it is running") // [F]
		}
		ask, delay = true, time.Duration(s.Auth.PromptDelay)
		s.Prompts++
		c.record.Prompt = true
		return c.enter(s)
	})
	if err != nil || !ask {
		return err
	}
	c.wait(delay)
	for c.ctx.Err() == nil {
		answered := true
		err := c.update(func(s *State) error {
			switch s.Auth.Prompt {
			case Approve:
				s.Auth.Locked = false
				if s.Auth.Authorized == nil {
					s.Auth.Authorized = map[string]Grant{}
				}
				s.Auth.Authorized[c.session(s)] = Grant{s.now(), s.now()}
			case Dismiss:
				return fail("error initializing client: authorization prompt dismissed, please try again") // [F]
			case Timeout:
				return fail("authorization timeout") // [F]
			case Hang:
				answered = false
				return errDiscard
			}
			return nil
		})
		if err != nil || answered {
			return err
		}
		c.wait(20 * time.Millisecond)
	}
	return c.ctx.Err()
}

// errNotApproved says that the app must ask the person first.
var errNotApproved = fail("account is not signed in") // what whoami says [R]

// signedIn reports whether the call gets at the account without a question,
// which an approval or a session remembers.
func (c *call) signedIn(s *State) error {
	mode, now := c.mode(s), s.now()
	switch mode {
	case OnServer:
		if c.getenv("OP_CONNECT_HOST") != s.Auth.Connect.Host || c.getenv("OP_CONNECT_TOKEN") != s.Auth.Connect.Token {
			return fail("(401) Unauthorized: Invalid bearer token") // [I]
		}
		return nil
	case ByToken:
		if s.Auth.SA.Deleted { // [R], as far as it was recorded
			return fail("error initializing client: Authentication: (failed to auth.LookupAuth), Network: (...), Server: (403) (Forbidden (Service Account Deleted)), ...")
		}
		if c.getenv("OP_SERVICE_ACCOUNT_TOKEN") != s.Auth.SA.Token {
			return fail("service account token set, but not authenticated yet") // [R]
		}
		return nil
	}
	if _, err := c.account(s); err != nil {
		return err
	}
	switch mode {
	case Desktop:
		g, ok := s.Auth.Authorized[c.session(s)]
		idle, age := now.Sub(g.Last), now.Sub(g.Since)
		if !ok || s.Auth.Locked || idle >= time.Duration(s.Auth.Idle) || age >= time.Duration(s.Auth.Max) {
			return errNotApproved
		}
		s.Auth.Authorized[c.session(s)] = Grant{g.Since, now}
		return nil
	case Manual:
		token := c.sessionToken()
		if token == "" {
			break
		}
		if token != s.Auth.Session.Token || now.Sub(s.Auth.Session.Last) >= 30*time.Minute {
			return fail("session expired, sign in to create a new session") // [F]
		}
		s.Auth.Session.Last = now
		return nil
	}
	return fail("You are not currently signed in. Please run `op signin --help` for instructions") // [R]
}

// sessionToken returns the token of a session that was begun by hand.
func (c *call) sessionToken() string {
	if t := c.args.flags["session"]; t != "" {
		return t
	}
	for _, kv := range c.Environ {
		name, value, _ := strings.Cut(kv, "=")
		if name == "OP_SESSION" || strings.HasPrefix(name, "OP_SESSION_") {
			return value
		}
	}
	return ""
}

// session returns what an approval of this call is good for: the terminal
// session or, without a terminal, what the parent process starts [D][F].
func (c *call) session(s *State) string {
	switch {
	case s.Auth.SessionKey == PerMachine:
		return "machine"
	case s.Auth.SessionKey == PerTerminal && c.TTY != "":
		return "tty " + c.TTY
	}
	return "parent " + strconv.Itoa(c.PPID)
}

// charge counts requests to the server, of which only so many are allowed in
// an hour.
func (c *call) charge(s *State, reads, writes int) error {
	if s.now().Sub(s.Usage.Since) >= time.Hour {
		s.Usage = Usage{Since: s.now()}
	}
	s.Usage.Reads += reads
	s.Usage.Writes += writes
	over := func(used, limit int) bool { return limit > 0 && used > limit }
	if !over(s.Usage.Reads, s.Limits.ReadsPerHour) && !over(s.Usage.Writes, s.Limits.WritesPerHour) {
		return nil
	}
	if c.mode(s) == ByToken { // [D], as far as it is documented
		return fail("(429) Too Many Requests: You've reached the maximum number of this type of requests ...")
	}
	return fail("Too many requests. Your client has been rate-limited.") // [F]
}

// needVault refuses a call of a service account that names no vault, even with
// the ID of an item [F].
func (c *call) needVault(s *State, vault string) error {
	if vault == "" && c.mode(s) == ByToken {
		return fail("a vault query must be provided when this command is called by a service account")
	}
	return nil
}

// mayWrite refuses a change that the account has no right to.
func (c *call) mayWrite(s *State, vault string) error {
	if c.mode(s) == ByToken && s.Auth.SA.Vaults[vault] != "rw" {
		return fail("(101) You do not have permission to perform this action") // [F]
	}
	return nil
}
