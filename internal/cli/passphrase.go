package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age/plugin"

	"kura/internal/prompt"
	"kura/internal/store/file"
)

// passphrase gets the passphrase of the file store: from the environment, from
// the command that is configured, or from the terminal.
func (a *app) passphrase(ctx context.Context, dir string, attempt int) (string, error) {
	if pass, ok, err := a.givenPassphrase(ctx); ok || err != nil {
		return pass, err
	}
	question := fmt.Sprintf("Enter passphrase to unlock %q: ", dir)
	slots, _ := file.Open(file.Options{Dir: dir}).Slots(ctx) // an error is met later, where it is told
	if slices.ContainsFunc(slots, func(s file.Slot) bool { return s.Kind == file.Recovery }) {
		question = fmt.Sprintf("Enter passphrase to unlock %q (or recovery key): ", dir)
	}
	if attempt > 1 {
		question = "That passphrase is wrong. " + question
	}
	return ask(ctx, a, prompt.Passphrase, question)
}

// newPassphrase gets the passphrase of a store or a slot to be. A person types
// it twice: there is nothing yet to try it on. For a slot it has to be typed:
// what the environment or a command gives opens the store already.
func (a *app) newPassphrase(ctx context.Context, dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "format")); errors.Is(err, fs.ErrNotExist) {
		if pass, ok, err := a.givenPassphrase(ctx); ok || err != nil {
			return pass, err
		}
	}
	return askTwice(ctx, fmt.Sprintf("Enter a new passphrase for %q: ", dir), a.say)
}

// askTwice asks for a passphrase to be until it was typed twice in the same way.
func askTwice(ctx context.Context, question string, say func(string)) (string, error) {
	for range 3 {
		pass, err := prompt.Passphrase(ctx, question)
		if err != nil {
			return "", err
		}
		if pass == "" {
			return "", file.ErrEmptyPassphrase
		}
		again, err := prompt.Passphrase(ctx, "Enter it again: ")
		if err != nil {
			return "", err
		}
		if pass == again {
			return pass, nil
		}
		say("they differ")
	}
	return "", errors.New("three times the passphrase was not the same as the one before it")
}

// passphraseVariables hold the passphrase of the file store, the first that is
// set winning. To be set is enough: an empty one is refused, not asked for.
var passphraseVariables = []string{"KURA_FILE_PASSPHRASE", "AWS_VAULT_FILE_PASSPHRASE"}

// givenPassphrase gets the passphrase from where nobody is asked, if it is
// there.
func (a *app) givenPassphrase(ctx context.Context) (pass string, ok bool, err error) {
	for _, name := range passphraseVariables {
		if pass, ok := a.lookupEnv(name); ok {
			return pass, true, nil
		}
	}
	if a.global.passphraseCommand == "" {
		return "", false, nil
	}
	out, err := a.runCommand(ctx, "", a.global.passphraseCommand)
	if err != nil {
		return "", false, &passphraseCommandError{err}
	}
	defer clear(out)
	return string(bytes.TrimRight(out, "\r\n")), true, nil
}

// A passphraseCommandError says that the command gave no passphrase.
type passphraseCommandError struct{ err error }

func (e *passphraseCommandError) Error() string { return "the passphrase command: " + e.err.Error() }
func (e *passphraseCommandError) Unwrap() error { return e.err }

// pluginUI lets age plugins, which open key slots by hardware, talk to the user.
func (a *app) pluginUI() *plugin.ClientUI {
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			return prompt.Say(fmt.Sprintf("age-plugin-%s: %s", name, message))
		},
		RequestValue: func(name, question string, secret bool) (string, error) {
			question = fmt.Sprintf("age-plugin-%s: %s ", name, question)
			if secret {
				return ask(a.ctx, a, prompt.Passphrase, question)
			}
			return ask(a.ctx, a, prompt.Line, question)
		},
		Confirm: func(name, question, yes, no string) (bool, error) {
			if no == "" {
				return true, prompt.Say(fmt.Sprintf("age-plugin-%s: %s", name, question))
			}
			return ask(a.ctx, a, prompt.Confirm, fmt.Sprintf("age-plugin-%s: %s (y: %s, N: %s) ", name, question, yes, no))
		},
		WaitTimer: func(name string) {
			a.say(fmt.Sprintf("waiting for age-plugin-%s; touch the device if it blinks", name))
		},
	}
}
