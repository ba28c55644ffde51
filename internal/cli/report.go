package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/durable"
	"kura/internal/mfa"
	"kura/internal/mint"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/store/file"
)

// Exit statuses of kura itself. Those of a command that exec ran are the
// command's own.
const (
	exitFailure   = 1
	exitUsage     = 2
	exitCantRun   = 126 // as env(1) and shells have it
	exitNotFound  = 127
	exitInterrupt = 130
)

// A usageError is a mistake on the command line or in what stands for it.
type usageError struct {
	msg     string
	command string // whose help to look at, "" for the program's
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// An exitStatus is the status of a command that ran.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// report prints err with its hints and returns the exit status it calls for.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	status, hints := a.explain(err)
	fmt.Fprintf(a.Stderr, "%s: %s\n", a.name, oneLine(err.Error()))
	for _, hint := range hints {
		fmt.Fprintf(a.Stderr, "%s: hint: %s\n", a.name, strings.ReplaceAll(hint, "@kura", a.name))
	}
	return status
}

// oneLine keeps what a server or a file name says from writing to the terminal
// what it likes.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// explain returns the exit status for err and what the user may do about it.
// All advice to users is here, so that the packages below can stay unaware of
// commands and flags. @kura stands for the program's name.
func (a *app) explain(err error) (status int, hints []string) {
	status = exitFailure
	hint := func(format string, args ...any) { hints = append(hints, fmt.Sprintf(format, args...)) }

	if e, ok := errors.AsType[*usageError](err); ok {
		command := e.command
		if command == "" {
			command = "@kura"
		}
		return exitUsage, []string{fmt.Sprintf("see %q", command+" --help")}
	}
	if e, ok := errors.AsType[*deliver.NotRunError](err); ok {
		if e.NotFound {
			return exitNotFound, nil
		}
		return exitCantRun, nil
	}
	if e, ok := errors.AsType[*awsapi.Error](err); ok {
		hints = append(hints, hintsForAWS(e)...)
	}
	if e, ok := errors.AsType[*chain.NotFoundError](err); ok {
		switch {
		case len(e.Near) > 0:
			hint("did you mean %s?", strings.Join(quoted(e.Near), " or "))
		default:
			hint(`"@kura list" shows the profiles; "@kura add %s" makes one`, shellWord(e.Profile))
		}
	}
	if e, ok := errors.AsType[*mint.NoKeyError](err); ok {
		hint(`"@kura add %s" stores its access key`, shellWord(e.Name))
	}
	if e, ok := errors.AsType[*chain.NoSourceError](err); ok {
		hint(`set source_profile in the profile, or store a key with "@kura add %s"`, shellWord(e.Profile))
	}
	if _, ok := errors.AsType[*awsconfig.SyntaxError](err); ok {
		hint("correct that line of the file; nothing was changed")
	}
	if e, ok := errors.AsType[*chain.SettingError](err); ok && e.File != "" {
		hint("correct that line of the file; nothing was changed")
	}
	if _, ok := errors.AsType[*refusedKeyError](err); ok {
		hint("type it again, or wait a few seconds if the key is new; --no-verify stores it all the same")
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, prompt.ErrCanceled):
		status = exitInterrupt
	case errors.Is(err, prompt.ErrNoTerminal):
		hint("there is no terminal to ask on: run it in one, or use --mfa-token, mfa_process in the profile, KURA_FILE_PASSPHRASE or --file-passphrase-command")
	case errors.Is(err, file.ErrWrongPassphrase):
		hint("try again; a recovery key, if you made one, opens the store too (docs/store-format.md)")
	case errors.Is(err, durable.ErrDiskFull):
		hint("make room and try again; nothing was lost")
	case errors.Is(err, durable.ErrReadOnly):
		hint("make the directory writable, or choose another with --file-dir")
	case errors.Is(err, store.ErrDenied), errors.Is(err, fs.ErrPermission):
		hint("check the owner and the permissions of the directory it names")
	}
	if e, ok := errors.AsType[*mfa.UsedError](err); ok {
		hint("wait %d s for the next code", int(e.Wait.Seconds())+1)
	}
	if _, ok := errors.AsType[*recursionError](err); ok {
		hint("store a key for the profile, or let the command name another profile")
	}
	if errors.Is(err, mfa.ErrMalformedCode) {
		hint("type the six digits that the device shows")
	}
	if e, ok := errors.AsType[*file.ModeError](err); ok {
		hint("chmod go= %s", shellWord(e.Path))
	}
	if errors.Is(err, file.ErrAWSVault) {
		hint("choose another directory with --file-dir or KURA_FILE_DIR")
	}
	if _, ok := errors.AsType[*file.VersionError](err); ok {
		hint("a newer kura has written the store; use that one")
	}
	if _, ok := errors.AsType[*file.FileError](err); ok {
		hint(`put back a good copy of the file, or remove it and "@kura add" the key again`)
	}
	if errors.Is(err, file.ErrNoSlots) {
		hint("put back the files of its directory slots; without them nothing can be read")
	}
	if errors.Is(err, file.ErrEmptyPassphrase) {
		hint("choose a passphrase of several words")
	}
	return status, hints
}

// hintsForAWS says what may help when AWS does not do what it was asked.
func hintsForAWS(e *awsapi.Error) []string {
	switch e.Kind {
	case awsapi.BadTokenCode:
		return []string{"wait for the next code and type that; each is good for one use"}
	case awsapi.TokenCodeNeeded:
		return []string{"set mfa_serial in the profile to the ARN of your MFA device"}
	case awsapi.BadMFASerial:
		return []string{"check mfa_serial in the profile: it must be the ARN of a device of the user whose key this is"}
	case awsapi.Denied:
		return []string{"the role's trust policy may not name you, or may ask for MFA (mfa_serial), an external_id or a shorter session"}
	case awsapi.Expired:
		return []string{`"@kura clear" forgets old sessions; try again`}
	case awsapi.InvalidKey:
		return []string{`the access key was deleted, made inactive or is mistyped: "@kura add PROFILE" stores another`}
	case awsapi.ClockSkew:
		return []string{"set this machine's clock"}
	case awsapi.Throttled, awsapi.Unavailable:
		return []string{"try again in a few seconds"}
	case awsapi.Unreachable:
		return []string{"check the network, the proxy (HTTPS_PROXY) and endpoint_url"}
	case awsapi.Invalid:
		return []string{"check the profile's duration_seconds, tags, external_id and role_session_name against what the role allows"}
	}
	return nil
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return out
}

// shellWord quotes a word of a command that a person may type.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@:+=,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
