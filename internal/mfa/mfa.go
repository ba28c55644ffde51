// Package mfa supplies the token codes of MFA devices, and sees to it that none
// is sent to AWS twice: AWS accepts a code once, and answers the second time as
// if it were wrong. It does not know what the codes are for.
package mfa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Source returns a token code of the MFA device with that serial number or
// ARN. It is called once for each code that is needed.
type Source func(ctx context.Context, serial string) (string, error)

// Terminal is a Source that asks the user. The argument prints a question as
// it is and returns the answer, which must be visible while it is typed.
func Terminal(ask func(ctx context.Context, question string) (string, error)) Source {
	return func(ctx context.Context, serial string) (string, error) {
		return ask(ctx, "Enter MFA code for "+serial+": ")
	}
}

// Fixed is a Source of one code, which was given on the command line.
func Fixed(code string) Source {
	return func(context.Context, string) (string, error) { return code, nil }
}

// ErrMalformedCode says that a source returned something else than six digits,
// which is what AWS takes: TokenCode in
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
var ErrMalformedCode = errors.New("a token code has six digits")

// A UsedError says that a token code was sent before.
type UsedError struct {
	Serial string
	Wait   time.Duration // until the device shows the next code
}

func (e *UsedError) Error() string {
	return fmt.Sprintf("that token code of %s has been used; the next one comes in %d s", e.Serial, seconds(e.Wait))
}

// Again says what to do about a code that can't be sent.
type Again int

const (
	AskAgain  Again = iota // at once: it is a person who types it
	WaitAgain              // when there is a new one: it is a program that makes it
	Never                  // it can't be another
)

// Codes returns the codes of a source, each of them once.
type Codes struct {
	Source Source
	Again  Again
	Guard  Guard
	Say    func(text string) // shows the user a line
	Log    *slog.Logger
}

// maxMalformed is how many answers in a row may be no token code.
const maxMalformed = 3

// Code returns a code of the device that was not returned before, by this
// process or another that uses the same Guard.Dir. Its errors are those of the
// source, ErrMalformedCode, a *UsedError where there is no other code, and the
// cause if ctx is done.
func (c *Codes) Code(ctx context.Context, serial string) (string, error) {
	malformed := 0
	for {
		code, err := c.Source(ctx, serial)
		if err != nil {
			return "", err
		}
		if !wellFormed(code) {
			malformed++
			if c.Again != AskAgain || malformed == maxMalformed {
				return "", ErrMalformedCode
			}
			c.Say(ErrMalformedCode.Error())
			continue
		}
		wait, err := c.Guard.Claim(ctx, serial, code)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			// Without the record a code may be sent twice, which costs one
			// more question. That is better than none at all.
			c.Log.Warn("can't record that a token code is used", "reason", err)
			return code, nil
		}
		if wait == 0 {
			return code, nil
		}
		used := &UsedError{serial, wait}
		switch c.Again {
		case Never:
			return "", used
		case AskAgain:
			c.Say(used.Error())
		case WaitAgain:
			c.Say(fmt.Sprintf("waiting %d s for the next token code of %s", seconds(wait), serial))
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}
	}
}

// seconds rounds up: after that many the next code is there.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func wellFormed(code string) bool {
	for _, r := range code {
		if r < '0' || r > '9' {
			return false
		}
	}
	return len(code) == 6
}
