package mfa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kura/internal/store/program"
)

// pinentry asks with GnuPG's program for passphrases, which shows stars for
// what is typed. It is spoken to in the Assuan protocol, see
// https://www.gnupg.org/documentation/manuals/assuan/ and pinentry's manual. As
// none of the commands depends on an answer, all are sent at once.
func (p *Prompt) pinentry(ctx context.Context, question, note string) (string, error) {
	tty := p.TTY
	if p.Apart {
		tty = ""
	}
	if !p.Display && tty == "" {
		return "", ErrNoDisplay
	}
	// It is to give up by itself: if it were killed, a terminal would stay as
	// it was set to hide what is typed.
	limit := p.timeout()
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	commands := []string{
		"SETTITLE kura",
		"SETDESC " + assuanEscape(question),
		"SETPROMPT Code:",
		fmt.Sprintf("SETTIMEOUT %d", max(1, int(limit.Seconds())-1)),
	}
	if note != "" {
		commands = append(commands, "SETERROR "+assuanEscape(note))
	}
	if tty != "" {
		commands = append(commands, "OPTION ttyname="+assuanEscape(tty))
	}
	if term := program.Getenv(p.Environ, "TERM"); term != "" {
		commands = append(commands, "OPTION ttytype="+assuanEscape(term))
	}
	if locale := p.locale(); locale != "" {
		commands = append(commands, "OPTION lc-ctype="+assuanEscape(locale))
	}
	commands = append(commands, "GETPIN", "BYE")
	r, err := p.run(ctx, p.Environ, []byte(strings.Join(commands, "\n")+"\n"))
	if err != nil {
		return "", err
	}
	answer, err := assuanAnswer(r.Stdout, len(commands)-1) // that to GETPIN
	if errors.Is(err, errNoReply) && r.Code != 0 {
		return "", failure(r)
	}
	return answer, err
}

// assuanEscape returns a text as an argument that is all on one line.
func assuanEscape(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

// errNoReply says that pinentry ended before it has answered.
var errNoReply = errors.New("it ended without an answer")

// The codes of libgpg-error that pinentry answers with. The rest of the number
// that it prints says where the error comes from.
const (
	gpgErrTimeout       = 62
	gpgErrCanceled      = 99
	gpgErrFullyCanceled = 198
	gpgErrMask          = 0xffff
)

// assuanAnswer returns the data in the nth answer of output, counted from the
// greeting, which is number 0. An answer is lines "D data" and a last one that
// is OK or ERR. That others are errors does not matter: an old pinentry does
// not know every option.
func assuanAnswer(output []byte, n int) (string, error) {
	var data strings.Builder
	for line := range bytes.Lines(output) {
		word, rest, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		switch {
		case word == "D" && n == 0:
			text, err := url.PathUnescape(rest) // the same escapes
			if err != nil {
				return "", errors.New("malformed data")
			}
			data.WriteString(text)
		case word == "OK" && n == 0:
			return data.String(), nil
		case word == "ERR" && n == 0:
			return "", assuanError(rest)
		case word == "OK", word == "ERR":
			n--
		}
	}
	return "", errNoReply
}

// assuanError makes an error of what follows ERR: a number and a text.
func assuanError(rest string) error {
	number, text, _ := strings.Cut(rest, " ")
	code, _ := strconv.ParseUint(number, 10, 32)
	switch code & gpgErrMask {
	case gpgErrCanceled, gpgErrFullyCanceled:
		return ErrDismissed
	case gpgErrTimeout:
		return ErrNoAnswer
	}
	return errors.New(program.Line([]byte(text)))
}
