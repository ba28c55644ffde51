package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/mfa"
	"kura/internal/onepassword"
	"kura/internal/prompt"
	"kura/internal/store/all"
)

// A promptSpec says where token codes come from: NAME or, for 1Password, also
// 1password:key=value,key=value with the keys item, vault and account. The key
// of the item may be left out. The zero promptSpec is no choice.
type promptSpec struct {
	text string
	name string
	item onepassword.Ref // of 1Password; no Item: the one that holds the key

	profile string // whose mfa_source it is, "" for any other choice
}

// mfaProcess is the name of a choice that no flag makes: the profile's own
// command.
const mfaProcess = "mfa_process"

// promptNames are those that a promptSpec may have, in alphabetical order.
func promptNames() []string {
	names := append(mfa.Prompts(), all.OnePassword, "terminal")
	slices.Sort(names)
	return names
}

// parsePrompt reads a promptSpec. The error is one for flags and settings alike.
func parsePrompt(text string) (promptSpec, error) {
	name, rest, more := strings.Cut(text, ":")
	if !slices.Contains(promptNames(), name) {
		return promptSpec{}, fmt.Errorf("must be one of %s, got %q", strings.Join(promptNames(), ", "), name)
	}
	s := promptSpec{text: text, name: name}
	if !more {
		return s, nil
	}
	if name != all.OnePassword {
		return promptSpec{}, fmt.Errorf("%s has no settings, got %q", name, rest)
	}
	for n, part := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case n == 0 && !ok:
			s.item.Item = part
		case key == "item" && ok:
			s.item.Item = value
		case key == "vault" && ok:
			s.item.Vault = value
		case key == "account" && ok:
			s.item.Account = value
		default:
			return promptSpec{}, fmt.Errorf("%q is no setting of %s, which has: item, vault, account", part, name)
		}
	}
	return s, nil
}

// promptFlag is a flag that takes a promptSpec.
type promptFlag struct{ to *promptSpec }

func (f promptFlag) String() string {
	if f.to == nil {
		return ""
	}
	return f.to.text
}
func (f promptFlag) Type() string { return "spec" }
func (f promptFlag) Set(text string) (err error) {
	*f.to, err = parsePrompt(text)
	return err
}

// promptOf chooses where the token codes of a chain come from. The first of
// these counts: a flag or variable that was given for this call; mfa_source and
// then mfa_process of the profile; the settings file. Without any of them it is
// the terminal or, where there is none, a window.
func (a *app) promptOf(c chain.Chain) (promptSpec, error) {
	if a.given(a.global.promptFlag) {
		return a.global.prompt, nil
	}
	if s, err := a.mfaSource(c); err != nil || s.name != "" {
		return s, err
	}
	if c.MFAProcess != "" {
		return promptSpec{name: mfaProcess}, nil
	}
	if a.global.prompt.name != "" {
		return a.global.prompt, nil
	}
	name := a.windowName(prompt.Works())
	if name == "" {
		name = "terminal" // it says that there is none
	}
	return promptSpec{name: name}, nil
}

// mfaSource returns the mfa_source of a chain: of the profile that was asked for
// or, as that may be a role of many, of the profile whose step shows the MFA
// device. It stands in a section of their own: another device has its codes
// elsewhere.
func (a *app) mfaSource(c chain.Chain) (promptSpec, error) {
	shown, _ := mfaDevice(c)
	for _, profile := range []string{c.Profile, shown} {
		section, _ := a.global.config.Profile(profile)
		text := section.Get("mfa_source")
		if text == "" {
			continue
		}
		s, err := parsePrompt(text)
		s.profile = profile
		if err != nil {
			err = &chain.SettingError{
				File: a.global.config.Name(), Line: section.Line("mfa_source"),
				Profile: profile, Setting: "mfa_source", Value: text, Msg: err.Error(),
			}
		}
		return s, err
	}
	return promptSpec{}, nil
}

// mfaDevice returns the MFA device that a chain needs a token code of first, and
// the profile whose step that is, or "".
func mfaDevice(c chain.Chain) (profile, serial string) {
	for _, step := range c.Steps {
		switch {
		case step.SessionToken != nil && step.SessionToken.MFASerial != "":
			return step.Profile, step.SessionToken.MFASerial
		case step.AssumeRole != nil && step.AssumeRole.MFASerial != "":
			return step.Profile, step.AssumeRole.MFASerial
		}
	}
	return "", ""
}

// tokenCodes are where the token codes of a command come from.
type tokenCodes struct {
	get func(ctx context.Context, serial string) (string, error)

	// from is the same in all processes that would ask in the same place.
	from string

	typed bool // by a person
}

// tokenCodesOf returns where the token codes of a chain come from whose access
// key is in v. A code that was given for this call comes before all.
func (a *app) tokenCodesOf(v *vault, c chain.Chain, fixed string) (tokenCodes, error) {
	codes := &mfa.Codes{
		Guard: mfa.Guard{Dir: a.cacheDir(), Now: time.Now},
		Say:   a.say,
		Log:   a.log,
	}
	if fixed != "" {
		codes.Source, codes.Again = mfa.Fixed(fixed), mfa.Never
		first := tokenCodes{codes.Code, fmt.Sprintf("process %d", os.Getpid()), true}
		if !a.patient {
			return first, nil
		}
		// It is good for one session, and there will be others.
		later, err := a.tokenCodesOf(v, c, "")
		if get := later.get; get != nil {
			var given atomic.Bool
			later.get = func(ctx context.Context, serial string) (string, error) {
				if given.CompareAndSwap(false, true) {
					return first.get(ctx, serial)
				}
				return get(ctx, serial)
			}
		}
		return later, err
	}
	if _, serial := mfaDevice(c); serial == "" {
		return tokenCodes{}, nil // nobody will ask
	}
	s, err := a.promptOf(c)
	if err != nil {
		return tokenCodes{}, err
	}
	switch s.name {
	case "terminal":
		a.codesHere = true
		codes.Source, codes.Again = a.terminalCode(c.Profile), mfa.AskAgain
		return tokenCodes{codes.Code, fmt.Sprintf("terminal of session %d", prompt.Session()), true}, nil
	case mfaProcess:
		return tokenCodes{a.mfaProcess(c.MFAProcess, codes), fmt.Sprintf("command %x", sha256.Sum256([]byte(c.MFAProcess))), false}, nil
	case all.OnePassword:
		if s.item.Item == "" {
			if s.item, err = a.itemOfKey(v, c, s.item); err != nil {
				return tokenCodes{}, err
			}
		}
		codes.Source, codes.Again = a.onePassword().Device(s.item).Code, mfa.WaitAgain
		return tokenCodes{codes.Code, fmt.Sprintf("1Password %q", s.item), false}, nil
	}
	p := a.window(s.name, c.Profile)
	codes.Source, codes.Again = func(ctx context.Context, serial string) (string, error) {
		p.Apart = !a.mayAsk()
		return p.Code(ctx, serial)
	}, p.Again()
	typed := codes.Again == mfa.AskAgain
	if typed {
		codes.Say = p.Note
	}
	from := fmt.Sprintf("%s on %q %q %q", s.name, a.Getenv("DISPLAY"), a.Getenv("WAYLAND_DISPLAY"), p.TTY)
	return tokenCodes{codes.Code, from, typed}, nil
}

// window returns what asks for token codes by another program.
func (a *app) window(name, profile string) *mfa.Prompt {
	p := &mfa.Prompt{
		Name:    name,
		Profile: profile,
		Environ: deliver.Scrub(a.Environ),
		Display: a.display(),
		TTY:     prompt.Name(),
		Tell:    a.say,
	}
	if a.patient && p.Again() == mfa.AskAgain {
		p.Timeout = servedQuestion
	}
	return p
}

// mfaProcess returns what gets token codes from the profile's own command.
func (a *app) mfaProcess(line string, codes *mfa.Codes) func(context.Context, string) (string, error) {
	command := &mfa.Command{
		Line:     line,
		Environ:  deliver.Scrub(a.Environ),
		Terminal: prompt.Files,
		Stderr:   a.Stderr,
	}
	codes.Source, codes.Again = func(ctx context.Context, serial string) (string, error) {
		now := *command
		now.Apart = !a.mayAsk()
		return now.Code(ctx, serial)
	}, mfa.WaitAgain
	return func(ctx context.Context, serial string) (string, error) {
		code, err := codes.Code(ctx, serial)
		switch {
		case err == nil, ctx.Err() != nil:
			return code, err
		case errors.Is(err, mfa.ErrMalformedCode):
			err = fmt.Errorf("mfa_process: what it printed is no code: %w", err)
		}
		return "", &mfaProcessError{err}
	}
}

// An mfaProcessError says that mfa_process did not come up with a token code.
type mfaProcessError struct{ err error }

func (e *mfaProcessError) Error() string { return e.err.Error() }
func (e *mfaProcessError) Unwrap() error { return e.err }

// itemOfKey returns the item that makes the codes where none was named: the one
// that holds the access key.
func (a *app) itemOfKey(v *vault, c chain.Chain, named onepassword.Ref) (onepassword.Ref, error) {
	if named == (onepassword.Ref{}) && c.Source.Stored != nil {
		if item, ok := all.OnePasswordItem(v.Opened, c.Source.Stored.Name); ok {
			return item, nil
		}
	}
	return named, errNoItem
}

var errNoItem = errors.New("1Password is to make the token code, and nothing says of which item")

// fieldNames are the labels of fields in 1Password, and how they were set.
type fieldNames struct {
	onepassword.Names
	text string
}

// fieldsFlag is a flag that takes fieldNames.
type fieldsFlag struct{ to *fieldNames }

func (f fieldsFlag) String() string {
	if f.to == nil {
		return ""
	}
	return f.to.text
}
func (fieldsFlag) Type() string { return "fields" }
func (f fieldsFlag) Set(text string) (err error) {
	f.to.text = text
	f.to.Names, err = onepassword.ParseNames(text)
	return err
}

// onePassword returns what runs op, for the store and the token codes alike.
func (a *app) onePassword() *onepassword.Client {
	if a.global.op == nil {
		a.global.op = onepassword.New(onepassword.Options{
			Path:       a.expandHome(a.global.opCommand),
			Names:      a.global.opFields.Names,
			Environ:    deliver.Scrub(a.Environ),
			LockDir:    filepath.Join(a.cacheDir(), "locks"),
			RefusedFor: a.refusedFor,
			Job:        prompt.Job(),
			Say:        a.say,
			Log:        a.log,
		})
	}
	return a.global.op
}
