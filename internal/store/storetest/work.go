package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"kura/internal/store"
)

// contended is the item that many write and read at once.
var contended = store.Key{Kind: store.AccessKey, Name: "contended"}

// value is what one writer writes: long enough to be seen half-written, and
// recognisable as one piece.
func value(b byte) []byte { return bytes.Repeat([]byte{b}, 64<<10) }

// Work is what a process does that Place.Process has started: its args are
// those of the command, and out its standard output.
func Work(ctx context.Context, s store.Store, args []string, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments, want 1", len(args))
	}
	switch args[0] {
	case "write":
		return write(ctx, s, 10, nil)
	case "write-forever":
		return write(ctx, s, math.MaxInt, out)
	case "read":
		return read(ctx, s, 10)
	}
	return fmt.Errorf("unknown work %q", args[0])
}

// write puts the contended item n times, and says so on out each time.
func write(ctx context.Context, s store.Store, n int, out io.Writer) error {
	for i := range n {
		if err := s.Put(ctx, contended, value(byte(i))); err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		if out != nil {
			fmt.Fprintln(out, i)
		}
	}
	return nil
}

// read gets the contended item n times, and checks that it is whole.
func read(ctx context.Context, s store.Store, n int) error {
	for range n {
		data, err := s.Get(ctx, contended)
		if err != nil {
			return fmt.Errorf("reader: %w", err)
		}
		if len(data) == 0 || !bytes.Equal(data, value(data[0])) {
			return errors.New("reader: the item is not what any one Put wrote")
		}
	}
	return nil
}
