//go:build !linux

package linklocal

import (
	"context"
	"os"
)

func listen(context.Context, Options) (*Listener, error) { return nil, ErrUnsupported }

func help(context.Context, *os.File, string) error { return ErrUnsupported }
