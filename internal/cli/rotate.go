package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/cred"
	"kura/internal/durable"
	"kura/internal/foreign"
	"kura/internal/mint"
	"kura/internal/rotate"
	"kura/internal/store"
)

// rotateFlags are the flags of rotate.
type rotateFlags struct {
	mint         mintFlags // those of them that rotate has
	all          bool
	olderThan    time.Duration
	dryRun       bool
	keep         time.Duration
	finish, undo bool
}

func rotateCommand(a *app) *cobra.Command {
	var o rotateFlags
	c := &cobra.Command{
		Use:   "rotate [PROFILE]",
		Short: "replace an access key by a new one",
		Long: `Rotate makes a new access key in IAM for the user whose key PROFILE uses, proves
that it works, stores it, and then deletes the old one. At every moment the key
that is stored is one that works: whatever happens, run it again and it goes on
where it was interrupted.

IAM is called with a session of PROFILE, so a token code is asked for once; with
a role, the role must be allowed to manage the user's access keys. With
--no-session, and where a session would have no MFA, which IAM refuses, the
calls are signed with the access key itself.

With --keep-old-inactive the old key is only made inactive. --undo brings it
back within that time, --finish deletes it before, and the next rotation after.
--all rotates the keys of all profiles, one after another.`,
		Example: `  kura rotate work
  kura rotate work --keep-old-inactive 24h
  kura rotate --all --older-than 90d --dry-run`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVarP(&o.mint.noSession, "no-session", "n", false, noSessionUsage)
	c.Flags().StringVarP(&o.mint.tokenCode, "mfa-token", "t", "", tokenCodeUsage)
	c.Flags().BoolVar(&o.all, "all", false, "rotate all access keys that are stored")
	c.Flags().Var(duration{&o.olderThan}, "older-than", "leave keys alone that AWS has made since, such as 90d")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, dryRunUsage)
	c.Flags().Var(duration{&o.keep}, "keep-old-inactive", "keep the old key, inactive, for so long, such as 24h")
	c.Flags().BoolVar(&o.finish, "finish", false, "end what an earlier rotation has left, and delete an old key that is kept")
	c.Flags().BoolVar(&o.undo, "undo", false, "bring the old key back, as long as it is there, and delete the new one")
	fromEnv(c.Flags(), "mfa-token")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.check(args); err != nil {
			return err
		}
		profile := ""
		if !o.all {
			var err error
			if profile, err = a.profileArg(c.Context(), args); err != nil {
				return err
			}
		}
		ctx, stop := interruptible(c.Context())
		defer stop()
		if o.all {
			return a.rotateAll(ctx, &o)
		}
		return a.rotate(ctx, profile, &o, nil)
	}
	return c
}

func (o *rotateFlags) check(args []string) error {
	switch {
	case o.all && len(args) > 0:
		return usagef("--all and a profile: one of them says whose keys are meant")
	case len(args) > 0 && strings.TrimSpace(args[0]) == "":
		return usagef("the profile has no name")
	case o.finish && o.undo:
		return usagef("--finish and --undo: the old key can't be deleted and come back")
	case o.undo && o.all:
		return usagef("--undo is for one profile at a time")
	case (o.finish || o.undo) && (o.dryRun || o.olderThan > 0 || o.keep > 0):
		return usagef("--finish and --undo begin no rotation: they go without --dry-run, --older-than and --keep-old-inactive")
	case o.all && o.mint.tokenCode != "":
		return usagef("--mfa-token is for one profile: a code is good for one use")
	}
	return nil
}

// interruptible returns a context that ends with a signal to end. The second one
// ends the program as it ends any other. That nobody reads what it prints any
// more is no such signal.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals, unread := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as it is below nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(unread, syscall.SIGPIPE) // a write fails, then, and ends nothing
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			cancel(interruptedError{})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(unread)
		cancel(nil)
	}
}

// An interruptedError says that the user, or the system, wanted an end.
type interruptedError struct{}

func (interruptedError) Error() string   { return "interrupted" }
func (interruptedError) Is(e error) bool { return e == context.Canceled }

// A rotation is one profile's, as the command line has it.
type rotation struct {
	*rotate.Rotation
	a       *app
	profile string
	config  *awsconfig.File
	vault   *vault
	minter  *mint.Minter
	chain   chain.Chain
	with    string                  // what IAM is called with, for people
	minted  cred.Credentials        // see session
	vaults  map[rotate.Place]*vault // of the places where the key may be
	done    func(*vault, string)    // is told which keys have been replaced; may be nil
}

// A rotationError is why the rotation of a profile's key has not come to its end.
type rotationError struct {
	profile string
	err     error
}

func (e *rotationError) Error() string { return e.err.Error() }
func (e *rotationError) Unwrap() error { return e.err }

func (a *app) rotate(ctx context.Context, profile string, o *rotateFlags, done func(*vault, string)) error {
	r, err := a.newRotation(ctx, profile, o)
	if err != nil {
		return err
	}
	r.done = done
	defer a.unshared.take() // a session of the key that is gone
	options := rotate.Options{Keep: o.keep, OlderThan: o.olderThan}
	switch {
	case o.dryRun:
		err = r.plan(ctx, options)
	case o.finish:
		err = r.Finish(ctx)
	case o.undo:
		err = r.Undo(ctx)
	default:
		err = r.Run(ctx, options)
	}
	if err != nil {
		return &rotationError{profile, err}
	}
	return nil
}

// newRotation works out all that a rotation needs, and asks for a token code if
// it needs one, before others have to wait.
func (a *app) newRotation(ctx context.Context, profile string, o *rotateFlags) (*rotation, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	r := &rotation{a: a, profile: profile, config: config, vaults: map[rotate.Place]*vault{}}
	if r.chain, r.minter, err = a.planIn(ctx, config, profile, &o.mint); err != nil {
		return nil, err
	}
	key := r.chain.Source.Stored
	if key == nil {
		return nil, &noStoredKeyError{profile}
	}
	if r.vault, err = a.vaultOf(config, key.Name); err != nil {
		return nil, err
	}
	if has, err := a.stored(ctx, config, key.Name); err != nil {
		return nil, err
	} else if !has {
		return nil, &mint.NoKeyError{Name: key.Name, Err: store.ErrNotFound}
	}
	if err := r.vault.Unlock(ctx); err != nil {
		return nil, fmt.Errorf("opening the store of the access key of %q: %w", key.Name, err)
	}
	locks := filepath.Join(a.cacheDir(), "locks")
	if err := durable.PrivateDir(locks); err != nil {
		return nil, fmt.Errorf("keeping other rotations waiting: %w", err)
	}
	r.Rotation = &rotate.Rotation{
		Name:        key.Name,
		Store:       direct(r.vault),
		AWS:         r.minter.AWS,
		STS:         firstCall(r.chain),
		IAMEndpoint: r.chain.IAMEndpoint,
		Forget:      r.forget,
		LockFile:    filepath.Join(locks, "rotate"),
		Waiting:     func() { a.say("waiting for another process that rotates an access key") },
		Patience:    rotate.DefaultPatience,
		Now:         r.minter.AWS.AWSNow,
		Sleep:       sleep,
		Report:      r.report,
	}
	if err := r.findPlaces(ctx); err != nil {
		return nil, err
	}
	r.with = "the access key itself"
	if usesSession(r.chain, &o.mint) {
		r.with = fmt.Sprintf("a session from profile '%s'", profile)
		r.Session = r.session
		if _, err := r.session(ctx, false); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// A noStoredKeyError says that no stored access key is behind a profile.
type noStoredKeyError struct{ profile string }

func (e *noStoredKeyError) Error() string {
	return fmt.Sprintf("the credentials of profile %q do not come from an access key in the store", e.profile)
}

// firstCall returns where a key is proved: where the chain goes first with it.
func firstCall(c chain.Chain) chain.Call {
	switch {
	case len(c.Steps) == 0:
		return c.STS
	case c.Steps[0].SessionToken != nil:
		return c.Steps[0].SessionToken.Call
	}
	return c.Steps[0].AssumeRole.Call
}

// usesSession reports whether IAM is called with what a chain leads to. It takes
// no session of a user who has not shown an MFA device:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func usesSession(c chain.Chain, o *mintFlags) bool {
	if o.noSession || len(c.Steps) == 0 {
		return false
	}
	last := c.Steps[len(c.Steps)-1]
	return last.SessionToken == nil || last.SessionToken.MFASerial != ""
}

// session returns the credentials that IAM is called with: one session for all
// calls. AWS lets it go on when the key that it was minted from is inactive, or
// deleted; if it should not, another one is minted from the key that is stored.
func (r *rotation) session(ctx context.Context, again bool) (cred.Credentials, error) {
	if again {
		if _, err := r.minter.Cache.Forget(r.Name); err != nil {
			return cred.Credentials{}, fmt.Errorf("forgetting a session that AWS refuses: %w", err)
		}
		r.minter.Shared, r.minted = nil, cred.Credentials{}
	}
	var err error
	if r.minted.AccessKeyID == "" {
		r.minted, err = r.minter.Credentials(ctx, r.chain)
	}
	return r.minted, err
}

// findPlaces finds all access keys that are stored besides the one to be rotated,
// since they may be the same.
func (r *rotation) findPlaces(ctx context.Context) error {
	own := rotate.Place{Store: r.Store, Name: r.Name}
	r.vaults[own] = r.vault
	vaults, err := r.a.vaults(r.config)
	if err != nil {
		return err
	}
	if !slices.Contains(vaults, r.vault) {
		vaults = append(vaults, r.vault)
	}
	for _, v := range vaults {
		s, where := r.Store, ""
		if v != r.vault {
			s, where = direct(v), v.name()
		}
		names, err := v.List(ctx, store.AccessKey)
		if err != nil {
			if v == r.vault {
				return fmt.Errorf("listing the access keys in %s: %w", v.name(), err)
			}
			r.a.log.Warn(fmt.Sprintf("%s is not looked at, which may have the same access key too", v.name()), "reason", err)
			continue
		}
		for _, name := range names {
			p := rotate.Place{Store: s, Name: name, Where: where}
			if v != r.vault || name != r.Name {
				r.Copies = append(r.Copies, p)
				r.vaults[p] = v
			}
		}
	}
	return nil
}

// forget removes the sessions of keys that were replaced. That it can't is no
// reason to stop: they end by themselves.
func (r *rotation) forget(ctx context.Context, places []rotate.Place) {
	for _, p := range places {
		v := r.vaults[p]
		if r.done != nil {
			r.done(v, p.Name)
		}
		cache, err := r.a.cache(ctx, v)
		n := 0
		if err == nil {
			n, err = cache.Forget(p.Name)
		}
		if err != nil {
			r.a.log.Warn("sessions of the old access key are left", "reason", err)
		}
		if n > 0 {
			r.print("Deleted %d sessions for %s", n, p.Name)
		}
	}
}

func (r *rotation) print(format string, args ...any) {
	fmt.Fprintln(r.a.Stdout, oneLine(fmt.Sprintf(format, args...)))
}

// hidden shows the end of an access key's ID, as aws-vault does.
func hidden(id string) string {
	return strings.Repeat("*", max(len(id)-4, 0)) + id[max(len(id)-4, 0):]
}

// report says what was done.
func (r *rotation) report(e rotate.Event) {
	switch e.What {
	case rotate.Resuming:
		switch {
		case e.KeyID == "":
			r.print("Going on with a rotation that was interrupted")
		case e.Undo:
			r.print("Going back to access key %s", hidden(e.KeyID))
		default:
			r.print("Going on with the rotation to access key %s", hidden(e.KeyID))
		}
	case rotate.Creating:
		r.warnOfFiles(e.KeyID)
		r.print("Rotating credentials stored for profile '%s' using %s (takes 10-20 seconds)", r.Name, r.with)
		r.print("Creating a new access key")
	case rotate.Created:
		r.print("Created new access key %s", hidden(e.KeyID))
	case rotate.Waiting:
		r.print("Waiting until AWS knows access key %s everywhere", hidden(e.KeyID))
	case rotate.Stored:
		r.print("Stored access key %s for profile '%s'%s", hidden(e.KeyID), e.Name, in(e.Where))
	case rotate.Unread:
		r.a.log.Warn(fmt.Sprintf("%q%s can't be read, and is left as it is", e.Name, in(e.Where)), "reason", e.Err)
	case rotate.Inactive:
		r.print("Made access key %s inactive", hidden(e.KeyID))
	case rotate.Kept:
		r.print("Keeping access key %s, inactive, until %s", hidden(e.KeyID), e.Until.Local().Format(time.DateTime))
		again := r.a.name + " rotate " + shellWord(r.profile)
		r.print("\"%s --undo\" brings it back; \"%s --finish\" deletes it now", again, again)
	case rotate.TakenBack:
		r.print("Stored access key %s again, and made it active", hidden(e.KeyID))
	case rotate.Deleting:
		r.print("Deleting old access key %s", hidden(e.KeyID))
	case rotate.Deleted:
		r.print("Deleted old access key %s", hidden(e.KeyID))
	case rotate.LostDeleted:
		r.print("Deleted access key %s, which was made and not stored", hidden(e.KeyID))
	case rotate.Gone:
		r.print("Access key %s is gone from AWS", hidden(e.KeyID))
	case rotate.Finished:
		r.print("Finished rotating access key")
	case rotate.Undone:
		r.print("Access key %s is as before", hidden(e.KeyID))
	case rotate.TooYoung:
		r.print("Access key %s of '%s' is %d days old, and stays", hidden(e.KeyID), r.Name, int(e.Age/(24*time.Hour)))
	case rotate.Meanwhile:
		r.print("Another process has rotated the access key: it is %s now", hidden(e.KeyID))
	case rotate.NothingLeft:
		r.print("No rotation of '%s' is under way", r.Name)
	}
}

func in(where string) string {
	if where == "" {
		return ""
	}
	return " in " + where
}

// plan prints what would be done.
func (r *rotation) plan(ctx context.Context, o rotate.Options) error {
	events, err := r.Plan(ctx, o)
	if err != nil {
		return err
	}
	would := func(format string, args ...any) { r.print("Would "+format, args...) }
	for _, e := range events {
		switch e.What {
		case rotate.Creating:
			r.warnOfFiles(e.KeyID)
			would("create a new access key in place of %s for profile '%s'", hidden(e.KeyID), r.Name)
		case rotate.Proved:
			would("prove that it works")
		case rotate.Stored:
			would("store it for profile '%s'%s", e.Name, in(e.Where))
		case rotate.Inactive:
			would("make access key %s inactive", hidden(e.KeyID))
		case rotate.Kept:
			would("keep access key %s, inactive, until %s", hidden(e.KeyID), e.Until.Local().Format(time.DateTime))
		case rotate.Deleted, rotate.LostDeleted:
			would("delete access key %s", hidden(e.KeyID))
		default:
			r.report(e)
		}
	}
	return nil
}

// warnOfFiles names the places in AWS's own files where an access key stands that
// will end to work.
func (r *rotation) warnOfFiles(id string) {
	credentials, err := r.a.credentialsFile()
	if err != nil {
		r.a.log.Warn("it is not known whether the access key stands in the credentials file", "reason", err)
		credentials = &awsconfig.File{}
	}
	for _, f := range []*awsconfig.File{credentials, r.config} {
		for _, item := range foreign.FromFile(f) {
			if item.Key.AccessKeyID == id {
				r.a.log.Warn(fmt.Sprintf("%s: the access key stands here in the clear as profile %q, which will work no longer", item.Note, item.Name))
			}
		}
	}
}

// rotateAll rotates all access keys, one after another. That one fails does not
// keep the others from it.
func (a *app) rotateAll(ctx context.Context, o *rotateFlags) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	vaults, err := a.vaults(config)
	if err != nil {
		return err
	}
	kind := store.AccessKey
	if o.finish {
		kind = store.Rotation
	}
	var t tally
	done := map[string]bool{}
	note := func(v *vault, name string) { done[fmt.Sprintf("%p %s", v, name)] = true }
	for _, v := range vaults {
		names, err := v.List(ctx, kind)
		if err != nil {
			a.tellOf(fmt.Errorf("listing the access keys in %s: %w", v.name(), err))
			t.failed++
			continue
		}
		for _, name := range names {
			if of, err := a.vaultOf(config, name); err != nil || of != v || done[fmt.Sprintf("%p %s", v, name)] {
				continue // a key that no profile uses, or was a copy of another
			}
			err := a.rotate(ctx, name, o, note)
			if kept, ok := errors.AsType[*rotate.KeptError](err); ok {
				fmt.Fprintln(a.Stdout, oneLine(kept.Error()))
				err = nil
			}
			if ctx.Err() != nil {
				return err
			}
			if err != nil {
				a.tellOf(fmt.Errorf("rotating the access key of %q: %w", name, err))
				t.failed++
			}
		}
	}
	return t.verdict()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
