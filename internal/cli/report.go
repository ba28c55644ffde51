package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/backup"
	"kura/internal/chain"
	"kura/internal/console"
	"kura/internal/deliver"
	"kura/internal/durable"
	"kura/internal/linklocal"
	"kura/internal/mfa"
	"kura/internal/mint"
	"kura/internal/onepassword"
	"kura/internal/prompt"
	"kura/internal/rotate"
	"kura/internal/setup"
	"kura/internal/store"
	"kura/internal/store/all"
	"kura/internal/store/file"
	"kura/internal/transfer"
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
	command string   // whose help to look at, "" for the program's
	near    []string // what may have been meant
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// An exitStatus is how a command that ran has ended, which is how this program
// is to end.
type exitStatus deliver.Status

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", s.Code) }

// report prints err with its hints and returns the exit status it calls for.
func (a *app) report(err error) deliver.Status {
	if err == nil {
		return deliver.Status{}
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return deliver.Status(status)
	}
	status, hints := a.explain(err)
	if errors.Is(err, prompt.ErrCanceled) {
		err = prompt.ErrCanceled // who cancels a question knows which
	}
	a.tell(err.Error(), hints...)
	return deliver.Status{Code: status}
}

// tell prints a message with what the user may do about it.
func (a *app) tell(text string, hints ...string) {
	fmt.Fprintf(a.Stderr, "%s: %s\n", a.name, oneLine(text))
	for _, hint := range hints {
		fmt.Fprintf(a.Stderr, "%s: hint: %s\n", a.name, oneLine(strings.ReplaceAll(hint, "@kura", a.name)))
	}
}

// tellOf is tell for an error that is no reason to stop.
func (a *app) tellOf(err error) {
	_, hints := a.explain(err)
	a.tell(err.Error(), hints...)
}

// oneLine keeps what a server, a file name or a setting says from writing to
// the terminal what it likes: beginning a line, moving the cursor, turning the
// direction of the text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
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
		if len(e.near) > 0 {
			hint("did you mean %s?", strings.Join(quoted(e.near), " or "))
		}
		hint("see %q", command+" --help")
		return exitUsage, hints
	}
	if e, ok := errors.AsType[*deliver.NotRunError](err); ok {
		switch {
		case e.NotFound:
			return exitNotFound, []string{`what only your shell knows, an alias or a function, needs that shell: "@kura exec PROFILE -- sh -c ..."`}
		case errors.Is(err, fs.ErrPermission):
			return exitCantRun, []string{"it must be a file that you may execute: see chmod(1)"}
		case errors.Is(err, syscall.ENOEXEC):
			return exitCantRun, []string{"the first line of a script must name its interpreter, after #!"}
		}
		return exitCantRun, nil
	}
	_, refused := errors.AsType[*refusedKeyError](err) // have hints of their own
	_, unproven := errors.AsType[*unprovenError](err)
	_, inEnvironment := errors.AsType[*environmentError](err)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && inEnvironment && (e.Kind == awsapi.InvalidKey || e.Kind == awsapi.Expired) {
		hint("correct AWS_ACCESS_KEY_ID and its like, or unset them and name a profile")
	} else if ok && !((refused || unproven) && e.Kind == awsapi.InvalidKey) {
		hints = append(hints, hintsForAWS(e)...)
	}
	if e, ok := errors.AsType[*chain.NotFoundError](err); ok {
		switch {
		case len(e.Near) > 0:
			hint("did you mean %s?", strings.Join(quoted(e.Near), " or "))
		case e.Via != "":
			hint("correct %s in profile %q", e.Setting, e.Via)
		default:
			hint(`"@kura list" shows the profiles; "@kura add %s" makes one`, shellWord(e.Profile))
		}
	}
	if e, ok := errors.AsType[*chain.CycleError](err); ok {
		hint("one of these profiles must do without %s", e.Setting)
	}
	if e, ok := errors.AsType[*chain.ConflictError](err); ok {
		hint("remove one of them: %s or %s", e.Setting, e.Other)
	}
	if e, ok := errors.AsType[*configError](err); ok {
		hint("look at %s; AWS_CONFIG_FILE names another file", e.name)
	}
	if e, ok := errors.AsType[*mint.SourceError](err); ok {
		hints = append(hints, hintForSource(e))
	}
	if e, ok := errors.AsType[*mint.NotSupportedError](err); ok {
		hint(`the AWS CLI can use the profile: "aws sso login --profile %s"`, shellWord(e.Profile))
	}
	if e, ok := errors.AsType[*mint.SharedError](err); ok && e.AWS == nil {
		hint("try again once that is put right")
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
	if e, ok := errors.AsType[*chain.SettingError](err); ok {
		_, refused := errors.AsType[*brokenError](err)
		switch {
		case e.Line > 0:
			hint("correct that line of the file; nothing was changed")
		case refused && e.Value != "":
			hint("give %s another value", e.Setting)
		case e.Profile != "":
			hint("set %s in the profile", e.Setting)
		case strings.HasPrefix(e.Setting, "--"):
			hint("give %s another value", e.Setting)
		default:
			hint("the variable %s is set in the environment: correct or unset it", e.Setting)
		}
	}
	if e, ok := errors.AsType[*keyError](err); ok && !errors.Is(err, prompt.ErrCanceled) && !errors.Is(err, prompt.ErrNoTerminal) {
		hints = append(hints, hintForKey(e.from))
	}
	if _, ok := errors.AsType[*notStoredError](err); ok {
		hint(`"@kura list" shows what is in it`)
	}
	if e, ok := errors.AsType[*otherSourceError](err); ok {
		hint(`"@kura add %s" stores the key that it uses`, shellWord(e.source))
	}
	if _, ok := errors.AsType[*serialError](err); ok {
		hint("IAM shows the ARN with your security credentials, such as arn:aws:iam::111122223333:mfa/ann")
	}
	if e, ok := errors.AsType[*awsconfig.UnwritableError](err); ok && e.Setting == "" {
		hint("choose another name, or store the key without a profile with --no-add-config")
	}
	if _, ok := errors.AsType[*refusedKeyError](err); ok {
		hint("type it again, or wait a few seconds if the key is new; --no-verify stores it all the same")
	}
	hints = append(hints, hintsForConfig(err)...)
	if e, ok := errors.AsType[*noHookError](err); ok {
		hint("%s", hintForHook(e.shell))
	}
	if errors.Is(err, errNotSwitched) {
		hint(`"@kura switch PROFILE" does so; a shell below one that was switched leaves with "exit"`)
	}
	trouble, _ := all.Diagnose(err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, prompt.ErrCanceled):
		status = exitInterrupt
	case errors.Is(err, prompt.ErrNoTerminal):
		if t, _ := all.Diagnose(err); t == "" { // else it has a hint of its own
			hints = append(hints, hintWithoutTerminal(err))
		}
	case errors.Is(err, file.ErrWrongPassphrase):
		hints = append(hints, a.hintForPassphrase())
	case errors.Is(err, durable.ErrDiskFull):
		hint("make room and try again; nothing was lost")
	case errors.Is(err, durable.ErrReadOnly):
		hint("make the directory that it names writable")
	case len(hintsForOnePassword(err)) > 0, trouble == all.OthersItem: // see below
	case errors.Is(err, store.ErrDenied), errors.Is(err, fs.ErrPermission):
		hint("check the owner and the permissions of the directory it names")
	}
	if e, ok := errors.AsType[*mfa.UsedError](err); ok {
		hint("wait %d s for the next code", int(e.Wait.Seconds())+1)
	}
	if _, ok := errors.AsType[*lateError](err); ok {
		hint("run it by hand to see what it waits for; what is cached then is there at once")
	}
	if _, ok := errors.AsType[*noHomeError](err); ok {
		hint("set HOME to your home directory")
	}
	if _, ok := errors.AsType[*recursionError](err); ok {
		hint("store a key for the profile, or let the command name another profile")
	}
	if _, ok := errors.AsType[*mfaProcessError](err); ok {
		hint("run the command that is mfa_process in the profile by hand: it is to print the code and nothing else; --mfa-token goes before it")
	} else if e, ok := errors.AsType[*mfa.PromptError](err); ok {
		hint("%s", hintForPrompt(e))
	} else if errors.Is(err, mfa.ErrMalformedCode) {
		hint("type the six digits that the device shows")
	}
	if e, ok := errors.AsType[*durable.ForeignError](err); ok {
		hint("see what %s is, and who has made it so", shellWord(e.Path))
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
	if e, ok := errors.AsType[*file.FileError](err); ok {
		if filepath.Base(filepath.Dir(e.Path)) == "slots" {
			hint(`put back a good copy of the file; "@kura store slot list" shows what else opens the store`)
		} else {
			hint(`put back a good copy of the file, or "@kura add" the key again`)
		}
		if e.Foreign {
			hint("if it was not you who put it there, find out who else can write to the store")
		}
	}
	if errors.Is(err, file.ErrSlotExists) {
		hint("choose another name with --name")
	}
	if errors.Is(err, file.ErrLastSlot) {
		hint(`add another way to open the store first: "@kura store slot add recovery" makes one for paper`)
	}
	if _, ok := errors.AsType[*noSlotError](err); ok {
		hint(`"@kura store slot list" shows them`)
	}
	if _, ok := errors.AsType[*listenError](err); ok {
		hint("--listen takes an address and a port that is free, such as 127.0.0.1:0 for any")
	}
	if _, ok := errors.AsType[*settingsError](err); ok {
		hint(`correct the file; its lines look like unlock-ttl = "1h"`)
	}
	if _, ok := errors.AsType[*passphraseCommandError](err); ok {
		hint("correct --file-passphrase-command (or KURA_FILE_PASSPHRASE_COMMAND): it has to print the passphrase")
	}
	if errors.Is(err, file.ErrNoSlots) {
		hint("put back the files of its directory slots; without them nothing can be read")
	}
	if errors.Is(err, file.ErrEmptyPassphrase) {
		hint("choose a passphrase of several words")
	}
	if t, name := all.Diagnose(err); t != "" {
		hints = append(hints, hintForTrouble(t, name))
	}
	ofOnePassword := hintsForOnePassword(err)
	hints = append(hints, ofOnePassword...)
	if e, ok := errors.AsType[*backendError](err); ok {
		if e.from == a.choiceFile() {
			hint(`"@kura backends --use NAME" chooses another`)
		} else {
			hint(`"@kura backends" shows the backends and their settings`)
		}
	}
	if errors.Is(err, store.ErrUnavailable) && ofOnePassword == nil {
		hints = append(hints, a.hintForBackend(len(hints) > 0)...)
	}
	hints = append(hints, a.hintsForTransfer(err)...)
	hints = append(hints, hintsForSetup(err)...)
	hints = append(hints, hintsForRotation(err)...)
	hints = append(hints, hintsForLinkLocal(err)...)
	hints = append(hints, hintsForLogin(err)...)
	return status, hints
}

// hintsForConfig says what to do when the config file can't be changed as it was
// to be.
func hintsForConfig(err error) []string {
	if e, ok := errors.AsType[*neededError](err); ok {
		return []string{fmt.Sprintf(`"@kura config set %s source_profile=..." gives it another source; --force removes the profile all the same`, shellWord(e.users[0]))}
	}
	if e, ok := errors.AsType[*noSettingError](err); ok {
		if len(e.near) > 0 {
			return []string{fmt.Sprintf("did you mean %s?", strings.Join(quoted(e.near), " or "))}
		}
		return []string{fmt.Sprintf(`"@kura config show %s" shows them`, shellWord(e.profile))}
	}
	if e, ok := errors.AsType[*secretSettingError](err); ok {
		return []string{fmt.Sprintf(`"@kura add %s" asks for the key and stores it; a secret that was typed on a command line is in the shell's history: replace that key`, shellWord(e.profile))}
	}
	if _, ok := errors.AsType[*editorError](err); ok {
		return []string{"VISUAL or EDITOR names the editor to run"}
	}
	if errors.Is(err, awsconfig.ErrProfileExists) {
		return []string{`"@kura config set" changes its settings, "@kura config show" shows them`}
	}
	return nil
}

// hintForHook says how a shell gets the function that switch needs.
func hintForHook(shell string) string {
	switch shell {
	case "bash", "zsh":
		return fmt.Sprintf(`put this into ~/.%src, and type it here for this shell: eval "$(@kura init %s)"`, shell, shell)
	case "fish":
		return "put this into ~/.config/fish/config.fish, and type it here for this shell: @kura init fish | source"
	}
	return `"@kura init --help" shows the line for the start-up file of your shell; "@kura exec PROFILE" starts a shell below this one`
}

// hintForBackend says what else there is when a store does not work.
func (a *app) hintForBackend(already bool) []string {
	v, err := a.vault()
	switch {
	case err != nil:
		return nil
	case v.name() != "file":
		return []string{`"@kura backends" shows which backends work here; --backend chooses one`}
	case !already:
		return []string{"choose another directory with --file-dir or KURA_FILE_DIR"}
	}
	return nil
}

// hintForTrouble says what to do about what keeps a backend from working.
func hintForTrouble(t all.Trouble, name string) string {
	switch t {
	case all.NoBus:
		return `log in to a desktop, or begin a session bus with "dbus-run-session -- bash"`
	case all.NoService:
		return "start a keyring, such as gnome-keyring-daemon or KeePassXC with its Secret Service integration"
	case all.NoAnswer:
		return "the service hangs: end it, and it is started anew at the next call"
	case all.Disabled:
		return "switch KWallet on in the System Settings of KDE"
	case all.Dismissed:
		return "try again, and allow it"
	case all.Unanswered:
		return "answer the window that asks, or unlock the keyring before"
	case all.NobodyToAsk:
		return "run it in a terminal or where there is a display, or unlock the store there before"
	case all.Silent:
		return `unlock the wallet, with "@kura add" or in KWalletManager`
	case all.WrongPassword:
		return "try again"
	case all.NoPasswords:
		return `"pass init KEY-ID" begins a password store; "gpg --list-secret-keys" shows your keys`
	case all.NoGPGKey:
		return fmt.Sprintf(`import the key, or see "gpg --list-secret-keys" for those you have and "pass init" to change from %s`, name)
	case all.NoPinentry:
		return `"export GPG_TTY=$(tty)" tells gpg-agent where to ask; it needs a pinentry program for that`
	case all.NoIdentity:
		return fmt.Sprintf(`"age-keygen -o %s" makes an identity`, shellWord(name))
	case all.Full:
		return "make room in " + name
	case all.NoProgram:
		return fmt.Sprintf("install %s, or put it into PATH", name)
	case all.NotHelper:
		return `"helper:PROGRAM" takes a program that knows the commands get, store, erase and list of Docker's credential helpers`
	case all.NoLogon:
		return "log in at the console or by remote desktop: a session of SSH or a service has no credentials"
	case all.NoItemName:
		return "say whose key the item holds: 1password:item=ITEM,name=PROFILE"
	case all.OthersItem:
		return "remove the item in 1Password, or take kura_backend out of the profile"
	case all.NoWindows:
		return `"security unlock-keychain" unlocks the keychain for this session`
	}
	return ""
}

// hintsForOnePassword says what to do when op does not do what it is to, or an
// item is not as it has to be.
func hintsForOnePassword(err error) []string {
	if errors.Is(err, errNoItem) {
		return []string{"name the item: --prompt 1password:item=ITEM,vault=VAULT, or mfa_source with the same in the profile"}
	}
	if e, ok := errors.AsType[*onepassword.FieldError](err); ok {
		return []string{hintForField(e)}
	}
	if e, ok := errors.AsType[*onepassword.UnwritableError](err); ok {
		return []string{fmt.Sprintf("keep the key in another item than %q, of the category API Credential and without files", e.Item)}
	}
	if e, ok := errors.AsType[*onepassword.LostError](err); ok {
		return []string{fmt.Sprintf("the app shows the former versions of %q, and brings them back", e.Item)}
	}
	e, ok := errors.AsType[*onepassword.Error](err)
	if t, _ := all.Diagnose(err); !ok || t != "" {
		return nil // or it has a hint already, such as to install op
	}
	return []string{hintForOp(e)}
}

func hintForField(e *onepassword.FieldError) string {
	switch e.Problem {
	case onepassword.Absent:
		return fmt.Sprintf("add the field %q to the item in 1Password, or say with --op-fields what it is called there", e.Field)
	case onepassword.Duplicate:
		return fmt.Sprintf("leave one field that is called %q in the item", e.Field)
	case onepassword.SessionKey:
		return "put a long-term access key into the item, which begins with AKIA"
	case onepassword.OtherDevice:
		return "choose the item of that device with --prompt or mfa_source, or correct mfa_serial in the profile"
	}
	return fmt.Sprintf("correct the field %q of the item in 1Password", e.Field)
}

// hintForOp says what to do about a failure of op.
func hintForOp(e *onepassword.Error) string {
	switch e.Kind {
	case onepassword.Missing:
		return "see that op runs by itself"
	case onepassword.Outdated:
		return "install a newer op"
	case onepassword.NoAnswer, onepassword.Unanswered:
		return "answer the question that 1Password asks, and try again"
	case onepassword.Busy, onepassword.Conflict, onepassword.Server:
		return "try again in a moment"
	case onepassword.NoAccounts:
		return `switch on "Integrate with 1Password CLI" in the app's settings (Developer), or add an account with "op account add"`
	case onepassword.NotSignedIn:
		return `switch on "Integrate with 1Password CLI" in the app's settings (Developer), or sign in with "eval $(op signin)"`
	case onepassword.SessionExpired:
		return `"eval $(op signin)" begins another`
	case onepassword.NoAccount:
		return `"op account list" shows the accounts`
	case onepassword.Dismissed:
		return "try again, and allow it"
	case onepassword.Locked:
		return "unlock 1Password"
	case onepassword.NoApp:
		return "start the 1Password app"
	case onepassword.AppTrouble:
		return "restart the 1Password app; both it and op may need an update, and on Linux op has to be installed from its package, which makes it setgid onepassword-cli"
	case onepassword.NotFound:
		return `"op item list" shows the items; one that was moved to another vault has another ID`
	case onepassword.Archived:
		return "bring the item back from the archive in the 1Password app, or name another"
	case onepassword.Ambiguous:
		return "name the item by one of these IDs, or remove what is too much"
	case onepassword.NoVault:
		return `"op vault list" shows the vaults`
	case onepassword.NeedsVault:
		return "name the vault: 1password:vault=VAULT"
	case onepassword.Forbidden:
		return "let the account, or the service account, use the vault; who stores keys must be allowed to write there"
	case onepassword.TokenDeleted, onepassword.TokenRefused:
		return "set OP_SERVICE_ACCOUNT_TOKEN (or OP_CONNECT_TOKEN) to a token that is valid, or unset it"
	case onepassword.RateLimited:
		return `wait a quarter of an hour; "op service-account ratelimit" tells what a service account has left`
	case onepassword.Hidden:
		return `"op vault list" and "op item list" show what the account may see`
	case onepassword.BadRequest:
		return "install a newer op, or look at the item in the 1Password app"
	case onepassword.Unreachable:
		return "check the network"
	}
	return fmt.Sprintf("see what %q says when you run it by hand; a newer one may do better", e.Command)
}

// hintForPrompt says what to do when what was to get a token code has got none.
func hintForPrompt(e *mfa.PromptError) string {
	switch {
	case errors.Is(e, mfa.ErrMissing):
		return fmt.Sprintf("install %s, or choose another --prompt", e.Name)
	case errors.Is(e, mfa.ErrNoDisplay):
		return "run it where there is a display, or choose another --prompt, such as terminal"
	case errors.Is(e, mfa.ErrDismissed), errors.Is(e, mfa.ErrNoAnswer):
		return "try again, and answer the question; --mfa-token and --prompt do it another way"
	case errors.Is(e, mfa.ErrMalformedCode):
		return fmt.Sprintf("see what %s says when you run it by hand", e.Name)
	}
	return "see that it works by itself, or choose another --prompt"
}

// hintsForTransfer says what to do when keys could not be brought from one place
// to another.
func (a *app) hintsForTransfer(err error) (hints []string) {
	if _, ok := errors.AsType[*placeError](err); ok && errors.Is(err, store.ErrLocked) {
		if _, ok := a.lookupEnv("AWS_VAULT_FILE_PASSPHRASE"); ok {
			hints = append(hints, "correct AWS_VAULT_FILE_PASSPHRASE, or unset it to be asked")
		}
	}
	if e, ok := errors.AsType[*credentialsFileError](err); ok {
		hints = append(hints, fmt.Sprintf("look at %s; AWS_SHARED_CREDENTIALS_FILE names another file", e.name))
	}
	if _, ok := errors.AsType[*notThereError](err); ok {
		hints = append(hints, "--dry-run, without the name of a profile, shows what there is")
	}
	if _, ok := errors.AsType[*otherBackendError](err); ok {
		hints = append(hints, "--backend file, where you have a file store too")
	}
	if _, ok := errors.AsType[*severalKeysError](err); ok {
		hints = append(hints, "the last of them is stored: look at the file, and remove what you don't need")
	}
	if _, ok := errors.AsType[*copyExistsError](err); ok {
		hints = append(hints, "move that file away, or do without --backup")
	}
	switch {
	case errors.Is(err, transfer.ErrSamePlace):
		hints = append(hints, "choose another destination; no key was lost")
	case errors.Is(err, backup.ErrNoMatch):
		hints = append(hints, "give the identity that it is encrypted to with --identities-file")
	case errors.Is(err, backup.ErrWrongPassphrase):
		hints = append(hints, "try again")
	case errors.Is(err, backup.ErrIsIdentity):
		hints = append(hints, "a recipient begins with age1; age-keygen -y prints that of an identity")
	case errors.Is(err, backup.ErrIsRecipient):
		hints = append(hints, "an identity begins with AGE-SECRET-KEY- or AGE-PLUGIN-")
	case errors.Is(err, backup.ErrUnknownKey):
		hints = append(hints, "age-keygen makes identities, and prints their recipients, which begin with age1")
	case errors.Is(err, backup.ErrNotBackup), errors.Is(err, backup.ErrDamaged):
		hints = append(hints, `"@kura backup" writes such files; look for another copy`)
	}
	return hints
}

// hintsForRotation says how things are when a rotation has stopped, and what to
// do about that.
func hintsForRotation(err error) (hints []string) {
	if e, ok := errors.AsType[*rotatingError](err); ok {
		return []string{fmt.Sprintf("\"@kura rotate --finish %s\" ends it, with that backend in use", shellWord(e.name))}
	}
	r, ok := errors.AsType[*rotationError](err)
	if !ok {
		if _, ok := errors.AsType[*noStoredKeyError](err); ok {
			hints = append(hints, `rotate a profile that does: "@kura list" shows which access keys are stored`)
		}
		return hints
	}
	hint := func(format string, args ...any) { hints = append(hints, fmt.Sprintf(format, args...)) }
	again := "@kura rotate " + shellWord(r.profile)
	if e, ok := errors.AsType[*rotate.PartialError](err); ok {
		switch e.Stage {
		case rotate.Unchanged:
			hint("nothing was changed")
		case rotate.Begun:
			hint("access key %s is stored and works, as before; %q goes on, and deletes what may have been made", e.Old, again)
		case rotate.Made:
			hint("access key %s is stored and works, as before; %s is made and kept; %q goes on with it", e.Old, e.New, again)
		case rotate.Replaced:
			hint("access key %s is stored now; %s is still there; %q goes on", e.New, e.Old, again)
		case rotate.Off:
			hint("access key %s is stored now; %s is inactive and still there; %q goes on", e.New, e.Old, again)
		case rotate.Cleared:
			hint("access key %s is stored now, and %s deleted; %q tidies up", e.New, e.Old, again)
		}
	}
	if e, ok := errors.AsType[*rotate.SecondKeyError](err); ok {
		hint("AWS allows two: find out what uses %s, and delete it in the IAM console, or with \"aws iam delete-access-key --access-key-id %s\"", e.Key.ID, e.Key.ID)
	}
	if e, ok := errors.AsType[*rotate.OrphanError](err); ok {
		hint("delete %s of %s in the IAM console; the access key that is stored works, as before", e.KeyID, e.ARN)
	}
	if e, ok := errors.AsType[*rotate.KeptError](err); ok {
		hint("\"%s --finish\" deletes %s now; \"%s --undo\" brings it back", again, e.Old, again)
	}
	if e, ok := errors.AsType[*rotate.StaleError](err); ok {
		hint("delete the keys of that rotation in the IAM console, but not %s, which is stored; when they are gone, \"%s\" goes on", e.Stored, again)
	}
	if _, ok := errors.AsType[*rotate.OtherAccountError](err); ok {
		hint("name a profile whose role is in the user's own account, or sign with the key itself: \"%s --no-session\"", again)
	}
	return hints
}

// hintsForSetup says what to do when a profile can't be set up.
func hintsForSetup(err error) (hints []string) {
	if _, ok := errors.AsType[*setup.NameError](err); ok {
		hints = append(hints, "choose a name of letters, digits and _-/.@:+")
	}
	if e, ok := errors.AsType[*setup.OtherwiseError](err); ok {
		switch e.Setting {
		case "source_profile":
			hints = append(hints, fmt.Sprintf(`"@kura setup %s" sets up the profile that it starts from, and that is enough`, shellWord(e.Value)))
		case "role_arn":
			hints = append(hints, "set up a profile without a role, and name it in this one as its source_profile")
		default:
			hints = append(hints, "choose another profile for the access key")
		}
	}
	if _, ok := errors.AsType[*placeOfProgramError](err); ok {
		hints = append(hints, "put the program, or a link to it, at a path of letters, digits and /._-, such as /usr/local/bin/kura, and run it by that")
	}
	if _, ok := errors.AsType[*linkTakenError](err); ok {
		hints = append(hints, "remove that file, or run kura from a path without blanks")
	}
	if _, ok := errors.AsType[*changedError](err); ok {
		hints = append(hints, "run it again, to see what there is to change now")
	}
	_, unproven := errors.AsType[*unprovenError](err)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && unproven && e.Kind == awsapi.InvalidKey {
		hints = append(hints, "the access key was deleted, made inactive or is mistyped: IAM shows it; correct it where it is kept, and run this again")
	}
	if e, ok := errors.AsType[*tryError](err); ok {
		hints = append(hints, fmt.Sprintf("run it by hand: %s", e.line))
	}
	if e, ok := errors.AsType[*notMadeError](err); ok && onepassword.MayBeDone(err) {
		hints = append(hints, fmt.Sprintf("see in 1Password whether %q was made before you try again: it can be chosen then", e.title))
	}
	return hints
}

// hintsForLinkLocal says what to do when the address of the metadata service is
// not to be had.
func hintsForLinkLocal(err error) []string {
	const instead = "--ecs-server takes neither root nor that address, and all but old programs know it"
	if e, ok := errors.AsType[*linklocal.SudoError](err); ok {
		if e.Output != "" { // it was not to ask
			return []string{`run it in a terminal, or "sudo -v" before`, instead}
		}
		return []string{instead}
	}
	if _, ok := errors.AsType[*linklocal.TakenError](err); ok {
		return []string{`"ip address show to 169.254.169.254" and "ss -ltn sport = :80" show by whom`, instead}
	}
	if _, ok := errors.AsType[*linklocal.TimeoutError](err); ok {
		return []string{"try again, and type the password if sudo asks for it"}
	}
	if _, ok := errors.AsType[*helperError](err); ok {
		return []string{`it is not for people: "@kura exec --ec2-server" runs it`}
	}
	if errors.Is(err, linklocal.ErrUnsupported) || errors.Is(err, linklocal.ErrNoSudo) {
		return []string{instead}
	}
	return nil
}

// hintsForLogin says what to do when nobody was signed in to the console.
func hintsForLogin(err error) (hints []string) {
	const instead = "--stdout prints the sign-in URL, --clipboard copies it and --qr draws it, in place of opening a browser"
	if e, ok := errors.AsType[*console.NoBrowserError](err); ok && e.Command == "" {
		hints = append(hints, instead)
	} else if ok {
		hints = append(hints, "--browser and kura_browser of a profile take a program, or one of "+strings.Join(console.KnownBrowsers(), ", "))
	}
	if _, ok := errors.AsType[*console.MisfitError](err); ok {
		hints = append(hints, "--container goes with firefox, --browser-profile with that and with chrome, chromium, edge, brave and vivaldi")
	}
	_, failed := errors.AsType[*console.BrowserError](err)
	if _, silent := errors.AsType[*console.NotFetchedError](err); failed || silent {
		hints = append(hints, "see what the browser says when you start it by hand, or choose one with --browser", instead)
	}
	if errors.Is(err, console.ErrNoClipboard) {
		hints = append(hints, "install wl-copy, xclip or xsel; --stdout prints the URL")
	}
	if _, ok := errors.AsType[*console.SizeError](err); ok {
		hints = append(hints, "make the letters smaller, or the window larger; --stdout prints the URL")
	}
	if errors.Is(err, console.ErrTooLong) {
		hints = append(hints, "--stdout prints the URL")
	}
	if _, ok := errors.AsType[*console.PlaceError](err); ok {
		hints = append(hints, "--region takes a name such as eu-west-1, --path what stands after the host in the URL of a page")
	}
	if _, ok := errors.AsType[*console.PartitionError](err); ok {
		hints = append(hints, `"@kura exec PROFILE -- aws ..." works there`)
	}
	if _, ok := errors.AsType[*regionError](err); ok {
		hints = append(hints, "give another --region, or correct region in the profile")
	}
	if _, ok := errors.AsType[*notUserError](err); ok {
		hints = append(hints, "the root user signs in with its password; kura signs in users, and roles")
	}
	return hints
}

// hintWithoutTerminal says what does instead of a question.
func hintWithoutTerminal(err error) string {
	if _, ok := errors.AsType[*keyError](err); ok {
		return "run it in a terminal, pipe the key in, or use --env or --csv"
	}
	if _, ok := errors.AsType[*unconfirmedError](err); ok {
		return "run it in a terminal, or do without the question with --force"
	}
	if _, ok := errors.AsType[*clashError](err); ok {
		return "run it in a terminal to be asked; --overwrite replaces such keys, --rename stores the new ones under other names"
	}
	if e, ok := errors.AsType[*unaskedError](err); ok {
		return "run it in a terminal, or " + e.instead
	}
	if e, ok := errors.AsType[*passphraseError](err); ok {
		return e.instead
	}
	if _, ok := errors.AsType[*unprovenError](err); ok && !errors.Is(err, store.ErrLocked) {
		return "run it in a terminal, or say in the profile by mfa_process or mfa_source where the codes come from"
	}
	if _, ok := errors.AsType[*placeError](err); ok {
		return "run it in a terminal, or set AWS_VAULT_FILE_PASSPHRASE"
	}
	if errors.Is(err, store.ErrLocked) {
		return "run it in a terminal, or set KURA_FILE_PASSPHRASE or --file-passphrase-command"
	}
	return "run it in a terminal, or use --prompt, --mfa-token or mfa_process in the profile"
}

// hintForPassphrase says what to try after a wrong passphrase.
func (a *app) hintForPassphrase() string {
	for _, name := range passphraseVariables {
		if _, ok := a.lookupEnv(name); ok {
			return "correct " + name + ", or unset it to be asked"
		}
	}
	if a.global.passphraseCommand != "" {
		return "see what --file-passphrase-command (or KURA_FILE_PASSPHRASE_COMMAND) prints"
	}
	return `try again; a recovery key opens the store too, if you made one with "@kura store slot add recovery"`
}

// hintForKey says how a key gets into add.
func hintForKey(from keySource) string {
	switch from {
	case fromPipe:
		return "pipe in the access key ID and the secret access key, a line each, or the CSV file of the AWS console"
	case fromCSV:
		return "--csv takes the file that the AWS console offers when it has made an access key"
	case fromEnvironment:
		return "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or leave out --env to be asked"
	}
	return "copy both parts from where the key was made; IAM shows the secret only then"
}

// hintForSource says how to find out why a profile has no credentials.
func hintForSource(e *mint.SourceError) string {
	switch e.Setting {
	case "credential_process":
		return "run the command that is credential_process in the profile by hand: it is to print the credentials as JSON and nothing else"
	case "web_identity_token_process":
		return "run the command that is web_identity_token_process in the profile by hand: it is to print the token and nothing else"
	}
	return "correct " + e.Setting + " in the profile"
}

// hintsForAWS says what may help when AWS does not do what it was asked.
func hintsForAWS(e *awsapi.Error) []string {
	if e.Op == "sts:AssumeRoleWithWebIdentity" && e.Code != "" && e.Kind != awsapi.Throttled && e.Kind != awsapi.Unavailable {
		return []string{"see that the token of web_identity_token_file or web_identity_token_process is a new one, and that the role trusts its issuer"}
	}
	if e.Op == awsapi.OpSigninToken && e.Kind == awsapi.Denied {
		return []string{`"@kura clear" forgets old sessions; try again. A policy of the organisation may say from where one may sign in`}
	}
	if e.Op == "sts:GetFederationToken" && e.Kind == awsapi.Denied {
		return []string{"the user's policies must allow sts:GetFederationToken; a profile with role_arn does without"}
	}
	switch e.Kind {
	case awsapi.BadTokenCode:
		return []string{"wait for the next code and type that; each is good for one use"}
	case awsapi.TokenCodeNeeded:
		return []string{"set mfa_serial in the profile to the ARN of your MFA device"}
	case awsapi.BadMFASerial:
		return []string{"check mfa_serial in the profile: it must be the ARN of a device of the user whose key this is"}
	case awsapi.Denied:
		if action, ok := strings.CutPrefix(e.Op, "iam:"); ok {
			return []string{fmt.Sprintf("the user, or the role, must be allowed iam:%s on the user; where that takes MFA, the profile needs mfa_serial", action)}
		}
		return []string{"the role's trust policy may not name you, or may ask for MFA (mfa_serial), an external_id or a shorter session"}
	case awsapi.Expired:
		return []string{`"@kura clear" forgets old sessions; try again`}
	case awsapi.InvalidKey:
		return []string{`the access key was deleted, made inactive or is mistyped: "@kura add PROFILE" stores another. If it was replaced elsewhere, run this again`}
	case awsapi.ClockSkew:
		return []string{"set this machine's clock"}
	case awsapi.Throttled, awsapi.Unavailable:
		return []string{"try again in a few seconds"}
	case awsapi.Unreachable:
		if _, ok := errors.AsType[*tls.CertificateVerificationError](e); ok {
			return []string{"if a proxy or an emulator answers for AWS, name the certificates to trust by ca_bundle in the profile or AWS_CA_BUNDLE"}
		}
		return []string{"check the network, the proxy (HTTPS_PROXY) and endpoint_url"}
	case awsapi.Invalid:
		if e.Code == "" { // it was not AWS that refused
			return []string{"check ca_bundle (AWS_CA_BUNDLE), region, endpoint_url and the proxy (HTTPS_PROXY)"}
		}
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
