package mfa

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"kura/internal/store/program"
)

// Prompts returns the names that a Prompt may have, in alphabetical order. They
// are those of aws-vault's --prompt, with pinentry added; "terminal", the one
// that is not here, is for package prompt.
func Prompts() []string {
	return []string{"kdialog", "osascript", "pass", "pinentry", "wincredui", "ykman", "zenity"}
}

// A Prompt gets token codes from another program: one that asks the user in a
// window (kdialog, osascript, pinentry, wincredui, zenity), or one that makes
// the codes itself (pass with its extension otp, ykman). What they are called
// with is what aws-vault calls them with, but for pinentry, which it does not
// know. It is for one goroutine at a time.
type Prompt struct {
	Name string // one of Prompts

	// Profile is the profile that needs a code, which the window says besides
	// the device. It may be "".
	Profile string

	// Environ is the program's environment, which should hold no AWS
	// credentials. The program is looked for in its PATH. These variables mean
	// something to Code, as they do to aws-vault:
	// YKMAN_OATH_CREDENTIAL_NAME and PASS_OATH_CREDENTIAL_NAME, what the device
	// is called there, if not by its serial; YKMAN_OATH_DEVICE_SERIAL, which
	// YubiKey; AWS_VAULT_YKMAN_VERSION, 1 to 3 for an old ykman.
	Environ []string

	// Display says that a window can be shown.
	Display bool

	// TTY is the name of the user's terminal, such as /dev/pts/1, for a program
	// that asks there: pinentry without a display, or the one of gpg-agent. It
	// may be "".
	TTY string

	// Apart says that another program has the terminal, whatever TTY is.
	Apart bool

	// Tell says to the user what is being waited for, from any goroutine. It
	// may be nil.
	Tell func(text string)

	// Timeout is how long to wait for a code; 0 is two minutes.
	Timeout time.Duration

	note string // for the next question
}

var (
	// ErrMissing says that a program is not installed, or not made for this
	// system.
	ErrMissing = errors.New("not installed")

	// ErrNoDisplay says that there is nothing to show a window on.
	ErrNoDisplay = errors.New("there is no display")

	// ErrDismissed says that the user has closed the window without an answer.
	ErrDismissed = errors.New("dismissed")

	// ErrNoAnswer says that there was no code in time.
	ErrNoAnswer = errors.New("no answer")
)

// A PromptError says why a Prompt has no code. Err is or wraps ErrMissing,
// ErrNoDisplay, ErrDismissed, ErrNoAnswer or, of a program that makes codes,
// ErrMalformedCode; or it is the program's own last word.
type PromptError struct {
	Name string // of the Prompt
	Err  error
}

func (e *PromptError) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *PromptError) Unwrap() error { return e.Err }

// Choose returns the prompt for a user who has chosen none: "terminal" if there
// is one, wherever input and output of the command lead, as a window would be a
// surprise there; else the first that is installed of those that do nothing but
// ask in a window; else "". Nothing that makes codes by itself is ever chosen
// so, nor pinentry, which may be one for terminals only.
func Choose(terminal, display bool, installed func(name string) bool) string {
	if terminal {
		return "terminal"
	}
	if display {
		for _, name := range []string{"kdialog", "osascript", "wincredui", "zenity"} {
			if installed(name) {
				return name
			}
		}
	}
	return ""
}

// Installed reports whether the program of a prompt is in the PATH of environ.
func Installed(name string, environ []string) bool {
	if name == "wincredui" {
		return hasCredUI
	}
	_, err := find(name, environ)
	return err == nil
}

func find(name string, environ []string) (string, error) {
	path, err := program.Find(name, environ)
	if err != nil && name == "pinentry" {
		path, err = program.Find("pinentry-mac", environ) // all that Homebrew installs
	}
	return path, err
}

// Again is what Codes.Again is to be. A window asks once more at once. A
// program that makes codes has no other until the next step: ykman and pass say
// the same code for half a minute.
func (p *Prompt) Again() Again {
	if p.makesCodes() {
		return WaitAgain
	}
	return AskAgain
}

func (p *Prompt) makesCodes() bool { return p.Name == "pass" || p.Name == "ykman" }

// Note keeps a text for the next question to begin with. It is what Codes.Say
// is to be for a prompt that asks: who has only a window before them does not
// see anything else.
func (p *Prompt) Note(text string) { p.note = text }

// Code is a Source. Its errors are *PromptError, and the cause if ctx is done.
func (p *Prompt) Code(ctx context.Context, serial string) (string, error) {
	code, err := p.code(ctx, serial)
	code = strings.TrimSpace(code)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", &PromptError{p.Name, err}
	case p.makesCodes() && !wellFormed(code):
		return "", &PromptError{p.Name, ErrMalformedCode}
	}
	return code, nil
}

func (p *Prompt) code(ctx context.Context, serial string) (string, error) {
	note := p.plain(p.note, 240)
	p.note = ""
	question := p.question(serial)
	text := question
	if note != "" {
		text = note + "\n" + question
	}
	switch p.Name {
	case "kdialog":
		return p.window(ctx, "--inputbox", kdialogText(text), "--title", "kura")
	case "osascript":
		return p.window(ctx, "-e", "display dialog "+appleScriptString(text)+
			` default answer "" buttons {"OK", "Cancel"} default button 1`+
			"\ntext returned of the result\nreturn result")
	case "zenity":
		return p.window(ctx, "--entry", "--title", "kura", "--text", zenityText(text))
	case "pass":
		return p.pass(ctx, serial)
	case "ykman":
		return p.ykman(ctx, serial)
	case "pinentry":
		return p.pinentry(ctx, question, note)
	case "wincredui":
		return p.credUI(ctx, serial, text)
	}
	return "", ErrMissing
}

// question is aws-vault's, with the profile added.
func (p *Prompt) question(serial string) string {
	text := "Enter MFA code for " + p.plain(serial, 100)
	if p.Profile != "" {
		text += " (profile " + p.plain(p.Profile, 100) + ")"
	}
	return text + ": "
}

// plain returns a text from the configuration as one line of up to max
// characters that can do nothing but be read. In a locale without UTF-8 they
// are those of ASCII: there zenity ends with a usage error for a name with an
// accent. Windows has no such locales.
func (p *Prompt) plain(text string, max int) string {
	utf8Locale := hasCredUI || strings.HasSuffix(strings.ReplaceAll(strings.ToLower(p.locale()), "-", ""), "utf8")
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > max {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) || r >= utf8.RuneSelf && !utf8Locale {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// locale is the locale that the program has for characters, or "".
func (p *Prompt) locale() string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := program.Getenv(p.Environ, name); locale != "" {
			return locale
		}
	}
	return ""
}

// maxWait is the default of Prompt.Timeout.
const maxWait = 2 * time.Minute

func (p *Prompt) timeout() time.Duration {
	if p.Timeout == 0 {
		return maxWait
	}
	return p.Timeout
}

// run runs the program. It stays in this process's group, unless Apart is set: a
// Ctrl-C that ends this process ends it too, and it may ask on the terminal.
func (p *Prompt) run(ctx context.Context, environ []string, stdin []byte, args ...string) (program.Result, error) {
	path, err := find(p.Name, environ)
	if err != nil {
		return program.Result{}, ErrMissing
	}
	c := program.Command{
		Path: path, Args: args, Environ: environ, Stdin: stdin,
		Timeout: p.timeout(), MaxOutput: maxOutput, Terminal: !p.Apart,
	}
	if p.makesCodes() && p.Tell != nil {
		c.Waiting = func() { p.Tell(p.waiting()) }
	}
	result, err := c.Run(ctx)
	if err == nil {
		return result, nil
	}
	// What package program says is about stores.
	if e, ok := errors.AsType[*program.TimeoutError](err); ok {
		return program.Result{}, fmt.Errorf("%w after %v", ErrNoAnswer, e.After)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return program.Result{}, e
	}
	if errors.Is(err, program.ErrTooMuch) {
		return program.Result{}, program.ErrTooMuch
	}
	return program.Result{}, errors.New("it can't be run")
}

// failure is the error of a program that ended in failure. What it printed on
// standard output, which may be a code, is no part of it.
func failure(r program.Result) error {
	status := fmt.Sprintf("exit status %d", r.Code)
	if r.Code < 0 {
		status = "ended by a signal"
	}
	if text := program.Line(r.Stderr); text != "" {
		status += ": " + text
	}
	return errors.New(status)
}
