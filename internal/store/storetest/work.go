package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"kura/internal/store"
)

// contended is the item that many write and read at once.
var contended = store.Key{Kind: store.AccessKey, Name: "contended"}

// A load is how much writers and readers do.
type load struct {
	rounds int
	size   int // of the item, in bytes
}

// value is what one writer writes: long enough to be seen half-written, and
// recognisable as one piece.
func (l load) value(b byte) []byte { return bytes.Repeat([]byte{b}, l.size) }

// args are those of Work.
func (l load) args(what string) []string {
	return []string{what, strconv.Itoa(l.rounds), strconv.Itoa(l.size)}
}

// Work is what a process does that Place.Process has started: its args are
// those of the command, and out its standard output.
func Work(ctx context.Context, s store.Store, args []string, out io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, want 3", len(args))
	}
	rounds, err := strconv.Atoi(args[1])
	size, sizeErr := strconv.Atoi(args[2])
	if err := cmp.Or(err, sizeErr); err != nil {
		return err
	}
	l := load{rounds, size}
	switch args[0] {
	case "write":
		return l.write(ctx, s, out)
	case "read":
		return l.read(ctx, s)
	}
	return fmt.Errorf("unknown work %q", args[0])
}

// write puts the contended item in each round, and says so on out.
func (l load) write(ctx context.Context, s store.Store, out io.Writer) error {
	for i := range l.rounds {
		if err := s.Put(ctx, contended, l.value(byte(i))); err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		fmt.Fprintln(out, i)
	}
	return nil
}

// read gets the contended item in each round, and checks that it is whole.
func (l load) read(ctx context.Context, s store.Store) error {
	for range l.rounds {
		data, err := s.Get(ctx, contended)
		if err != nil {
			return fmt.Errorf("reader: %w", err)
		}
		if len(data) == 0 || !bytes.Equal(data, l.value(data[0])) {
			return errors.New("reader: the item is not what any one Put wrote")
		}
	}
	return nil
}
