package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func statusCommand(a *app) *cobra.Command {
	var asJSON, watch bool
	var format string
	c := &cobra.Command{
		Use:   "status [PROFILE...]",
		Short: "show what is cached, and when the next MFA code is needed",
		Long: `Status shows which store is in use and whether it is locked, and of each profile
how long its credentials last that are cached, when the next MFA code is needed
and how old its access key is. "now" is a code that the next command needs.
Status unlocks nothing, asks nothing and calls nobody but the services and
programs that keep keys on this machine.

With --prompt-segment it prints, for a shell's prompt, the profile that exec has
set for this shell and the time that its credentials have left; where there is
no profile, nothing. What is printed can be said after an equals sign, with
{profile}, {left} and {region}. It looks at the environment alone: AWS_VAULT or
else AWS_PROFILE, AWS_CREDENTIAL_EXPIRATION and AWS_REGION.

In JSON, profiles is a list of objects with profile; session, which the next
command gets (null if none is cached); shared_session, which other profiles get
theirs from; mfa_serial; next_code, a time (null without MFA); code_needed_now;
key and error. stores says which stores those keys are in.`,
		Example: `  kura status
  kura status admin --watch
  PS1='$(kura status --prompt-segment) \$ '`,
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "draw it again each second, until Ctrl-C")
	c.Flags().StringVar(&format, segmentFlag, "", "print a part of a shell's prompt, such as \"prod 37m\", in that `FORMAT`")
	c.Flags().Lookup(segmentFlag).NoOptDefVal = segmentFormat
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case c.Flags().Changed(segmentFlag):
			if len(args) > 0 || asJSON || watch {
				return usagef("--%s takes nothing but =FORMAT", segmentFlag)
			}
			return a.printSegment(format)
		case asJSON && watch:
			return usagef("--json and --watch exclude each other")
		case watch:
			return a.watch(c.Context(), args)
		}
		s, err := a.standing(c.Context(), args, nil)
		if err != nil {
			return err
		}
		if asJSON {
			return s.writeJSON(a.Stdout)
		}
		_, err = io.WriteString(a.Stdout, strings.Join(s.lines(a.pen()), "\n")+"\n")
		return err
	}
	return c
}

func (s *standing) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(s)
}

// storesAnew is how often the stores are asked again that are watched: services
// and programs have other things to do.
const storesAnew = 30 * time.Second

// watch draws the status each second, over the last one, until it is
// interrupted. It changes nothing of the terminal, so there is nothing to put
// back, however it ends.
func (a *app) watch(ctx context.Context, profiles []string) error {
	screen := a.screen()
	if screen == nil || a.Getenv("TERM") == "dumb" || !movesCursor(screen) {
		return usagef("--watch draws on a terminal, and standard output is none that can")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last *standing
	drawn, size := 0, [2]int{}
	for {
		if last != nil && time.Since(last.Asked) > storesAnew {
			last = nil
		}
		s, err := a.standing(ctx, profiles, last)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		last = s
		columns, rows := a.size(screen)
		var b strings.Builder
		switch {
		case drawn > 0 && size != [2]int{columns, rows}:
			b.WriteString("\x1b[2J\x1b[H") // what was drawn is not where it was
		case drawn > 0:
			fmt.Fprintf(&b, "\x1b[%dA\r", drawn)
		}
		lines := s.lines(a.pen())
		if room := max(rows-1, 2); len(lines) > room {
			more := len(lines) - room + 1
			lines = append(lines[:room-1], fmt.Sprintf("(%d more)", more))
		}
		for _, line := range lines {
			b.WriteString(line + "\x1b[K\n")
		}
		b.WriteString("\x1b[J")
		if _, err := io.WriteString(screen, b.String()); err != nil {
			return err
		}
		drawn, size = len(lines), [2]int{columns, rows}
		select {
		case <-ctx.Done():
			_, err := fmt.Fprintln(screen) // below the ^C that the terminal shows
			return err
		case <-tick.C:
		}
	}
}
