package opemu

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// vaultList is "op vault list".
func vaultList(c *call) error {
	return c.look(func(s *State) error {
		type line struct {
			ID             string `json:"id"`
			Name           string `json:"name"`
			ContentVersion int    `json:"content_version"`
		}
		list := []line{}
		for _, v := range c.vaults(s) {
			list = append(list, line{v.ID, v.Name, v.ContentVersion})
		}
		if c.json() {
			return c.printJSON(list)
		}
		w := tabwriter.NewWriter(&c.out, 0, 0, 4, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME")
		for _, v := range list {
			fmt.Fprintf(w, "%s\t%s\n", v.ID, v.Name)
		}
		return w.Flush()
	})
}

// vaultGet is "op vault get".
func vaultGet(c *call) error {
	return c.look(func(s *State) error {
		v, err := c.findVault(s, c.args.operands[0])
		if err != nil {
			return err
		}
		n := 0
		for _, it := range s.Items {
			if it.Vault.ID == v.ID && !it.Deleted && !it.Archived {
				n++
			}
		}
		if !c.json() {
			fmt.Fprintf(&c.out, "ID:      %s\nName:    %s\nType:    %s\nItems:   %d\n", v.ID, v.Name, v.Type, n)
			return nil
		}
		return c.printJSON(struct {
			ID               string `json:"id"`
			Name             string `json:"name"`
			ContentVersion   int    `json:"content_version"`
			AttributeVersion int    `json:"attribute_version"`
			Items            int    `json:"items"`
			Type             string `json:"type"`
			CreatedAt        string `json:"created_at"`
			UpdatedAt        string `json:"updated_at"`
		}{v.ID, v.Name, v.ContentVersion, 1, n, v.Type, v.CreatedAt, v.CreatedAt})
	})
}

// whoami is "op whoami". It asks the person nothing.
func whoami(c *call) error {
	return c.look(func(s *State) error {
		mode := c.mode(s)
		if mode == ByToken && s.Auth.SA.Deleted {
			return failPanic() // [R]
		}
		if err := c.signedIn(s); err != nil {
			return err
		}
		a, err := c.account(s)
		if err != nil {
			return err
		}
		kind := ""
		if s.since("2.30.0") {
			kind = "HUMAN" // [I]: what is recorded is that of service accounts
		}
		switch mode {
		case ByToken:
			a.Email, kind = "", "SERVICE_ACCOUNT"
		case OnServer:
			a = Account{URL: s.Auth.Connect.Host} // [I]
			kind = "CONNECT"
		}
		if !c.json() {
			fmt.Fprintf(&c.out, "URL:        %s\nEmail:      %s\nUser ID:    %s\n", a.URL, a.Email, a.UserUUID)
			return nil
		}
		return c.printJSON(struct {
			URL         string `json:"url"`
			Email       string `json:"email,omitempty"`
			UserUUID    string `json:"user_uuid"`
			AccountUUID string `json:"account_uuid"`
			UserType    string `json:"user_type,omitempty"`
		}{a.URL, a.Email, a.UserUUID, a.AccountUUID, kind})
	})
}

// accountList is "op account list". It asks the person nothing.
func accountList(c *call) error {
	return c.look(func(s *State) error {
		if c.json() {
			return c.printJSON(append([]Account{}, s.Accounts...))
		}
		w := tabwriter.NewWriter(&c.out, 0, 0, 4, ' ', 0)
		fmt.Fprintln(w, "SHORTHAND\tURL\tEMAIL\tUSER ID")
		for _, a := range s.Accounts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Shorthand, a.URL, a.Email, a.UserUUID)
		}
		return w.Flush()
	})
}

// accountGet is "op account get".
func accountGet(c *call) error {
	return c.look(func(s *State) error {
		a, err := c.account(s)
		if err != nil {
			return err
		}
		domain, _, _ := strings.Cut(a.URL, ".")
		if !c.json() {
			fmt.Fprintf(&c.out, "ID:         %s\nDomain:     %s\n", a.AccountUUID, domain)
			return nil
		}
		return c.printJSON(struct { // [I]
			ID     string `json:"id"`
			Name   string `json:"name"`
			Domain string `json:"domain"`
			Type   string `json:"type"`
			State  string `json:"state"`
		}{a.AccountUUID, domain, domain, "INDIVIDUAL", "ACTIVE"})
	})
}

// signin is "op signin". A session begun by hand needs no password here.
func signin(c *call) error {
	manual := false
	err := c.update(func(s *State) error {
		if manual = c.mode(s) == Manual; !manual {
			return nil
		}
		a, err := c.account(s)
		if err != nil {
			return err
		}
		s.Auth.Session = Session{Token: newID(), Last: s.now()}
		if c.args.isSet("raw") {
			fmt.Fprintln(&c.out, s.Auth.Session.Token)
		} else {
			fmt.Fprintf(&c.out, "export OP_SESSION_%s=%q\n", a.UserUUID, s.Auth.Session.Token)
		}
		return nil
	})
	if err != nil || manual {
		return err
	}
	return c.authorize()
}

// rateLimit is "op service-account ratelimit".
func rateLimit(c *call) error {
	return c.look(func(s *State) error {
		type line struct { // [D], the names of the members [I]
			Type      string `json:"type"`
			Action    string `json:"action"`
			Limit     int    `json:"limit"`
			Used      int    `json:"used"`
			Remaining int    `json:"remaining"`
		}
		of := func(action string, limit, used int) line {
			return line{"token", action, limit, used, max(limit-used, 0)}
		}
		list := []line{of("write", s.Limits.WritesPerHour, s.Usage.Writes), of("read", s.Limits.ReadsPerHour, s.Usage.Reads)}
		if c.json() {
			return c.printJSON(list)
		}
		w := tabwriter.NewWriter(&c.out, 0, 0, 4, ' ', 0)
		fmt.Fprintln(w, "TYPE\tACTION\tLIMIT\tUSED\tREMAINING")
		for _, l := range list {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", l.Type, l.Action, l.Limit, l.Used, l.Remaining)
		}
		return w.Flush()
	})
}
