package linklocal

import (
	"context"
	"os"
	"time"
)

// HelpFor is Help with another lifetime of the address.
func HelpFor(ctx context.Context, lifetime time.Duration, stdin *os.File, sudoUID string) error {
	return helper{lifetime}.run(ctx, stdin, sudoUID)
}

// ListenWithin is Listen for root, with another deadline.
func ListenWithin(ctx context.Context, timeout time.Duration) (*Listener, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, call{argv: []string{self, Command}, environ: []string{}, timeout: timeout})
}
