package mfa

import (
	"context"
	"time"

	"kura/internal/store/program"
)

// Notify shows a text on the desktop, as a notification that answers to nothing,
// and reports whether it was shown. It is for who has been asked, or will be, and
// may be looking elsewhere. Display says that there is a desktop.
func Notify(ctx context.Context, environ []string, display bool, text string) bool {
	if !display {
		return false
	}
	for _, argv := range [][]string{
		{"notify-send", "--app-name=kura", "--icon=dialog-password", "--", "kura", text},
		{"osascript", "-e", "display notification " + appleScriptString(text) + ` with title "kura"`},
	} {
		path, err := program.Find(argv[0], environ)
		if err != nil {
			continue
		}
		c := program.Command{Path: path, Args: argv[1:], Environ: environ, Timeout: 5 * time.Second, MaxOutput: maxOutput}
		result, err := c.Run(ctx)
		return err == nil && result.Code == 0
	}
	return false
}
