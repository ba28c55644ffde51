package mfa

import (
	"bytes"
	"context"
	"strings"

	"kura/internal/store/program"
)

// window runs a program that shows a window with a question and prints what was
// typed.
func (p *Prompt) window(ctx context.Context, args ...string) (string, error) {
	if !p.Display {
		return "", ErrNoDisplay
	}
	r, err := p.run(ctx, p.Environ, nil, args...)
	if err != nil {
		return "", err
	}
	if r.Code == 0 {
		return string(r.Stdout), nil
	}
	return "", p.refusal(r)
}

// refusal tells what a program that shows windows has ended for. All three exit
// with 1 if the user closes the window; zenity does so without a display, and
// osascript with every error.
func (p *Prompt) refusal(r program.Result) error {
	said := func(text string) bool { return bytes.Contains(r.Stderr, []byte(text)) }
	switch {
	case said("open display"), said("connect to display"): // GTK, Qt
		return ErrNoDisplay
	case p.Name == "osascript" && said("(-1713)"): // errAENoUserInteraction
		return ErrNoDisplay
	case p.Name == "osascript" && !said("(-128)"): // userCanceledErr
		return failure(r)
	case r.Code == 1:
		return ErrDismissed
	}
	return failure(r)
}

// zenityText returns the argument that makes zenity show text. It resolves the
// escapes of C (g_strcompress) and takes an underscore for the mark of a key,
// which is why aws-vault shows mfa/jo_doe as mfa/jodoe; markup it leaves alone.
// See src/entry.c of zenity.
func zenityText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `__`).Replace(text)
}

// kdialogText returns the argument that makes kdialog show text. It resolves
// the escapes \\ and \n (src/utils.cpp), and what Qt then finds to look like
// HTML it shows as such: without a "<" nothing does. An ampersand marks a key.
func kdialogText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `&`, `&&`, `<`, `?`).Replace(text)
}

// appleScriptString returns text as a literal of AppleScript, in which nothing
// but the quotation mark and the backslash is special: see "Text" in
// https://developer.apple.com/library/archive/documentation/AppleScript/Conceptual/AppleScriptLangGuide/reference/ASLR_classes.html
func appleScriptString(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
