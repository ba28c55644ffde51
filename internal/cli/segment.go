package cli

import (
	"fmt"
	"strings"
	"time"

	"kura/internal/explain"
)

// segmentFlag is the flag of status that prints a part of a shell's prompt. It
// needs neither files nor settings: see start.
const segmentFlag = "prompt-segment"

// segmentFormat is what the segment is without a format of its own.
const segmentFormat = "{profile} {left}"

// segment returns what a shell's prompt shows of the profile in effect, made of
// the environment alone, or "" where there is none.
func segment(getenv func(string) string, format string, now time.Time) string {
	profile, left := getenv("AWS_VAULT"), ""
	if profile == "" {
		profile = getenv("AWS_PROFILE")
	} else if expires, err := time.Parse(time.RFC3339, getenv("AWS_CREDENTIAL_EXPIRATION")); err == nil {
		left = "expired"
		if d := expires.Sub(now); d > 0 {
			left = explain.Left(int64(d / time.Second))
		}
	}
	if profile == "" {
		return ""
	}
	text := strings.NewReplacer("{profile}", profile, "{left}", left, "{region}", getenv("AWS_REGION")).Replace(format)
	return strings.TrimSpace(oneLine(text))
}

func (a *app) printSegment(format string) error {
	text := segment(a.Getenv, format, time.Now())
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintln(a.Stdout, text)
	return err
}
