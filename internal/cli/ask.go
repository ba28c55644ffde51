package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/term"

	"kura/internal/mfa"
	"kura/internal/prompt"
)

// mayAsk reports whether the terminal is a place for questions now.
func (a *app) mayAsk() bool {
	return !a.serving.Load() || a.hasTerminal() && prompt.Free()
}

// hasTerminal reports whether a server's questions belong on the terminal. Beside
// a command they don't: whether that is about to read a line can't be seen from
// outside, and then a code would reach the command, or its answer this process. A
// shell without jobs takes the input away from a server that it starts in the
// background of others.
func (a *app) hasTerminal() bool {
	return !a.accompanied && a.Stdin != nil && term.IsTerminal(int(a.Stdin.Fd()))
}

// ask asks on the terminal by one of the functions of package prompt, for
// everything that may have to be asked once credentials are served. The error is
// prompt.ErrTaken where that is no place for a question.
func ask[T any](ctx context.Context, a *app, by func(context.Context, string) (T, error), question string) (answer T, err error) {
	switch {
	case !a.serving.Load():
		return by(ctx, question)
	case a.mayAsk():
		return by(prompt.Yielding(ctx), question)
	case !prompt.Works():
		return answer, prompt.ErrNoTerminal
	}
	return answer, prompt.ErrTaken
}

// terminalCode asks for token codes on the terminal or, where another program has
// that, in a window. A server by itself asks when it has its terminal again.
func (a *app) terminalCode(profile string) mfa.Source {
	onTerminal := mfa.Terminal(func(ctx context.Context, question string) (string, error) {
		return ask(ctx, a, prompt.Line, question)
	})
	return func(ctx context.Context, serial string) (string, error) {
		for told := false; ; told = true {
			code, err := onTerminal(ctx, serial)
			if !errors.Is(err, prompt.ErrTaken) {
				return code, err
			}
			if name := a.windowName(false); name != "" {
				return a.window(name, profile).Code(ctx, serial)
			}
			if !a.hasTerminal() {
				return "", fmt.Errorf("%w, and there is no window to ask in", err)
			}
			if !told {
				a.say(fmt.Sprintf("%v: the MFA code of %s is asked for when it is free again", err, serial))
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}
	}
}

// windowName returns the prompt for a user who has chosen none, see mfa.Choose.
func (a *app) windowName(terminal bool) string {
	return mfa.Choose(terminal, a.display(), func(name string) bool { return mfa.Installed(name, a.Environ) })
}
