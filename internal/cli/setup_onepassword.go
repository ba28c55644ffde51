package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kura/internal/chain"
	"kura/internal/onepassword"
	"kura/internal/prompt"
	"kura/internal/setup"
	"kura/internal/store/all"
)

func setup1PasswordCommand(a *app) *cobra.Command {
	var o setupFlags
	c := &cobra.Command{
		Use:   "1password [PROFILE]",
		Short: "the same with an access key in 1Password",
		Long: `Setup 1password is setup for an access key that is in an item of 1Password, or
is to be in a new one. It asks which, and says what is wrong with the item. The
program op must be there, version 2.23 or later.

The fields of the item are those of 1Password's own AWS plugin: "Access Key
ID", "Secret Access Key", "mfa serial", "one-time password" and, if you like,
"Default Region". An item with a one-time password makes the token codes, so
that nobody has to type one.

The config file names the item by IDs, so that its title may change. If the
profile has an item already, that is taken unless another one is named.

With --session-cache, sessions are shared with other machines in the item's
field session_cache. Whoever can read the item can use them then: in a shared
vault, all its members. The item's history keeps each session until it expires,
and each costs a write to 1Password.

For scripts there is --yes, which asks nothing where all is known: name the
item by --item, the account by --account if op has several, and the vault by
--vault if op uses a service account with several.`,
		Example: `  kura setup 1password
  kura setup 1password work --vault Work
  kura setup 1password --yes --item "AWS Access Key" --no-session-cache`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	o.declare(c.Flags())
	c.Flags().StringVar(&o.account, "account", "", "`ID` of the account, its address, email or shorthand")
	c.Flags().StringVar(&o.vault, "vault", "", "`ID` or name of the vault")
	c.Flags().StringVar(&o.item, "item", "", "`ID` or title of the item")
	c.Flags().BoolVar(&o.shareSession, "session-cache", false, "share sessions with other machines by way of the item")
	c.RunE = func(c *cobra.Command, args []string) error {
		if f, ok := c.Flags().Lookup("session-cache").Value.(*once); ok {
			o.shareSessionGiven = f.set // be it by its --no- form
		}
		if a.global.backendForAll {
			return usagef("a backend that is given by --backend, KURA_BACKEND or AWS_VAULT_BACKEND counts more than the item that would be set up: do without it")
		}
		s, err := a.beginSetup(c, args, &o)
		if err != nil {
			return err
		}
		return a.setup1Password(c.Context(), s)
	}
	return c
}

// setup1Password sets a profile up whose key is in 1Password, or is to be.
func (a *app) setup1Password(ctx context.Context, s *settingUp) error {
	op := a.onePassword()
	version, err := op.Version(ctx)
	if err == nil && !onepassword.Since(version, onepassword.LeastVersion) {
		err = &onepassword.Error{Kind: onepassword.Outdated, Command: "op --version", Version: version}
	}
	if err != nil {
		return err
	}

	if op.Headless() {
		a.tell("op uses a service account or a Connect server here: whatever runs the credential_process needs those variables of the environment too")
	}
	known, shares := a.itemInConfig(s)
	ref, it, err := a.findItem(ctx, s, known)
	if known.Item != "" && isGone(err) {
		a.tellOf(fmt.Errorf("the item that profile %q has: %w", s.profile.Name, err))
		known, shares = onepassword.Ref{}, false
		ref, it, err = a.findItem(ctx, s, known)
	}
	if err != nil {
		return err
	}
	if s.profile.MFASerial, err = a.checkItem(ctx, s, it); err != nil {
		return err
	}
	if known.Item == "" || s.shareSessionGiven {
		if shares, err = a.askToShare(ctx, s, it); err != nil {
			return err
		}
	}
	s.profile.Item = &setup.Item{
		Account:       ref.Account,
		Vault:         it.Vault.ID,
		ID:            it.ID,
		MakesCodes:    it.MakesCodes(),
		Region:        it.Region(),
		SharesSession: shares,
	}
	return a.finishSetup(ctx, s)
}

// itemInConfig returns the item that the profile has already and whether it
// shares sessions, unless flags name another.
func (a *app) itemInConfig(s *settingUp) (known onepassword.Ref, shares bool) {
	section, _ := s.config.Profile(s.profile.Name)
	own, err := parseSpec(a.backends(), section.Get("kura_backend"))
	if err != nil || own.backend.Name != all.OnePassword || own.settings["name"] != s.profile.Name || s.account+s.vault+s.item != "" {
		return onepassword.Ref{}, false
	}
	known = onepassword.Ref{Account: own.settings["account"], Vault: own.settings["vault"], Item: own.settings["item"]}
	return known, own.settings["session-cache"] == "on"
}

// isGone reports whether an item is not there any more, or not for this account.
func isGone(err error) bool {
	switch onepassword.KindOf(err) {
	case onepassword.NotFound, onepassword.Archived, onepassword.NoVault, onepassword.NoAccount:
		return true
	}
	return false
}

// findItem returns the item that is known or, failing that, the one that flags
// name, the user chooses or a new one.
func (a *app) findItem(ctx context.Context, s *settingUp, known onepassword.Ref) (ref onepassword.Ref, it *onepassword.Item, err error) {
	op := a.onePassword()
	ref = known
	if ref.Item == "" {
		ref = onepassword.Ref{Vault: s.vault, Item: s.item}
	}
	if ref.Account == "" {
		if ref.Account, err = a.chooseAccount(ctx, s); err != nil {
			return ref, nil, err
		}
	}
	if ref.Vault == "" && op.Headless() { // a service account must be told it
		if ref.Vault, err = a.chooseVault(ctx, ref.Account); err != nil {
			return ref, nil, err
		}
	}
	if ref.Item == "" {
		if ref, err = a.chooseItem(ctx, s, ref); err != nil {
			return ref, nil, err
		}
	}
	if ref.Item == "" {
		it, err = a.newItem(ctx, s, ref)
	} else {
		it, err = op.Item(ctx, ref)
	}
	return ref, it, err
}

// chooseAccount returns the ID of the account to use, "" if op is not to be told.
func (a *app) chooseAccount(ctx context.Context, s *settingUp) (string, error) {
	op := a.onePassword()
	if op.Headless() {
		return "", nil // the token says which
	}
	accounts, err := op.Accounts(ctx)
	if err != nil {
		return "", err
	}
	said := cmp.Or(s.account, a.Getenv("OP_ACCOUNT"))
	if said != "" {
		accounts = slices.DeleteFunc(accounts, func(x onepassword.Account) bool {
			return !slices.Contains([]string{x.ID, x.URL, x.Shorthand, x.Email, x.UserID}, said)
		})
	}
	switch {
	case len(accounts) == 0 && said != "":
		return "", &onepassword.Error{Kind: onepassword.NoAccount, Command: "op account list", Text: fmt.Sprintf("no account is called %q", said)}
	case len(accounts) == 0:
		return "", &onepassword.Error{Kind: onepassword.NotSignedIn, Command: "op account list"}
	case len(accounts) == 1:
		return accounts[0].ID, nil
	}
	var rows []string
	for _, x := range accounts {
		rows = append(rows, x.URL+"\t"+x.Email)
	}
	n, err := choose(ctx, "Which account of 1Password?", rows)
	if err != nil {
		return "", &unaskedError{"name the account by --account", err}
	}
	return accounts[n].ID, nil
}

// chooseVault returns the ID of a vault.
func (a *app) chooseVault(ctx context.Context, account string) (string, error) {
	vaults, err := a.onePassword().Vaults(ctx, account)
	switch {
	case err != nil:
		return "", err
	case len(vaults) == 0:
		return "", &onepassword.Error{Kind: onepassword.NoVault, Command: "op vault list", Text: "there is no vault that can be used"}
	case len(vaults) == 1:
		return vaults[0].ID, nil
	}
	var rows []string
	for _, v := range vaults {
		rows = append(rows, v.Name)
	}
	n, err := choose(ctx, "Which vault?", rows)
	if err != nil {
		return "", &unaskedError{"name the vault by --vault", err}
	}
	return vaults[n].ID, nil
}

// chooseItem returns which item of an account or a vault it is to be: no Item for
// a new one.
func (a *app) chooseItem(ctx context.Context, s *settingUp, ref onepassword.Ref) (onepassword.Ref, error) {
	items, err := a.onePassword().Items(ctx, ref.Account, ref.Vault, "")
	if err != nil {
		return ref, err
	}
	candidates := setup.Candidates(items)
	var rows []string
	for _, it := range candidates {
		rows = append(rows, strings.TrimRight(it.Title+"\t"+it.Vault.Name+"\t"+setup.Kind(it), "\t"))
	}
	question := fmt.Sprintf("Which item of 1Password holds the access key of %q?", s.profile.Name)
	if n := len(items) - len(candidates); n > 0 {
		question += fmt.Sprintf("\nNot listed: %s without a sign of AWS; --item takes any.", count(n, "item"))
	}
	n, err := choose(ctx, question, append(rows, "a new item"))
	if err != nil {
		return ref, &unaskedError{"name the item by --item", err}
	}
	if n < len(candidates) {
		ref.Vault, ref.Item = candidates[n].Vault.ID, candidates[n].ID
		return ref, nil
	}
	if ref.Vault == "" {
		ref.Vault, err = a.chooseVault(ctx, ref.Account)
	}
	return ref, err
}

// choose asks which of several things is meant, and returns its index. The cells
// of a row are parted by tabs.
func choose(ctx context.Context, question string, rows []string) (int, error) {
	var b strings.Builder
	b.WriteString(question + "\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, row := range rows {
		fmt.Fprintf(t, "%4d\t%s\n", i+1, row)
	}
	if err := t.Flush(); err != nil {
		return 0, err
	}
	for text := b.String() + "Number: "; ; text = fmt.Sprintf("A number from 1 to %d: ", len(rows)) {
		answer, err := prompt.Line(ctx, text)
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(answer); err == nil && 1 <= n && n <= len(rows) {
			return n - 1, nil
		}
	}
}

// newItem asks for an access key and makes an item of it.
func (a *app) newItem(ctx context.Context, s *settingUp, ref onepassword.Ref) (*onepassword.Item, error) {
	name := s.profile.Name
	key, err := askKey(ctx)
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return nil, &keyError{fromTerminal, err}
	}
	serial := s.mfaSerial
	if serial == "" {
		if serial, err = askSerial(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.verify(ctx, s.config, name, key); err != nil {
		return nil, err
	}
	title := fmt.Sprintf("AWS Access Key (%s)", name)
	it, err := a.onePassword().Create(ctx, ref.Account, ref.Vault, onepassword.NewItem{Title: title, Key: key, Serial: serial})
	if err != nil {
		return nil, &notMadeError{title, err}
	}
	fmt.Fprintf(a.Stdout, "Made the item %q in the vault %q.\n", it.Title, oneLine(it.Vault.Name))
	return it, nil
}

// A notMadeError says that an item was not made, as far as is known.
type notMadeError struct {
	title string
	err   error
}

func (e *notMadeError) Error() string { return fmt.Sprintf("making the item %q: %v", e.title, e.err) }
func (e *notMadeError) Unwrap() error { return e.err }

// checkItem says what is wrong with an item, and returns an error if that keeps
// its key from being used. It returns the MFA device to be written down, "" to
// leave the profile's.
func (a *app) checkItem(ctx context.Context, s *settingUp, it *onepassword.Item) (serial string, err error) {
	_, keyErr := it.Key()
	own, serialErr := it.MFASerial()
	section, _ := s.config.Profile(s.profile.Name)
	hasDevice := cmp.Or(own, s.mfaSerial, section.Get("mfa_serial")) != ""
	for _, problem := range it.Check() {
		e, ok := errors.AsType[*onepassword.FieldError](problem)
		switch {
		case isSame(problem, keyErr), isSame(problem, serialErr): // below
		case ok && e.Problem == onepassword.Absent && !hasDevice: // no codes of no device
		case ok:
			a.tellOf(problem)
		case !s.shareSession: // else see askToShare
			a.tellOf(fmt.Errorf("its key can be read, and kura will not write to it: %w", problem))
		}
	}
	if keyErr != nil && serialErr != nil {
		a.tellOf(serialErr)
	}
	if err := cmp.Or(keyErr, serialErr); err != nil {
		return "", err
	}

	switch {
	case own != "" && s.mfaSerial != "" && s.mfaSerial != own && it.MakesCodes():
		return "", usagef("the item %q makes the codes of %s, not of --mfa-serial %s", it.Title, own, s.mfaSerial)
	case s.mfaSerial != "":
		return s.mfaSerial, nil
	case own != "" && !chain.IsMFASerial(own):
		return "", &serialError{own}
	case hasDevice || !it.MakesCodes() || s.yes || setup.Asks(s.config, s.profile.Name, s.profile.Program):
		return own, nil
	}
	a.tell(fmt.Sprintf("item %q makes token codes, and does not say of which MFA device", it.Title))
	return askSerial(ctx)
}

// isSame reports whether two errors say the same of an item.
func isSame(one, other error) bool {
	a, okA := errors.AsType[*onepassword.FieldError](one)
	b, okB := errors.AsType[*onepassword.FieldError](other)
	return okA && okB && *a == *b
}

// askToShare returns whether sessions are to be shared by way of an item.
func (a *app) askToShare(ctx context.Context, s *settingUp, it *onepassword.Item) (bool, error) {
	if s.shareSessionGiven && !s.shareSession {
		return false, nil
	}
	for _, problem := range it.Check() {
		_, unwritable := errors.AsType[*onepassword.UnwritableError](problem)
		switch {
		case unwritable && s.shareSession:
			return false, fmt.Errorf("no session can be shared: %w", problem)
		case unwritable:
			return false, nil
		}
	}
	if s.shareSessionGiven || s.yes {
		return s.shareSession, nil
	}
	return prompt.Confirm(ctx, `Share sessions with other machines, in the item's field session_cache?
Whoever can read the item can use them: in a shared vault, all its members. The
item's history keeps each until it expires, and each costs a write to 1Password.
[y/N] `)
}
