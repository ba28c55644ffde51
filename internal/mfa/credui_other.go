//go:build !windows

package mfa

import "context"

// hasCredUI says that this system has the window of wincredui.
const hasCredUI = false

func (p *Prompt) credUI(context.Context, string, string) (string, error) { return "", ErrMissing }
