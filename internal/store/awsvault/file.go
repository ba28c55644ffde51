package awsvault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kura/internal/store"
)

// maxFile is the greatest size of an encrypted file in bytes. One of aws-vault
// has less than a thousand.
const maxFile = 1 << 20

// files are the entries in a directory of encrypted files.
type files struct {
	dir string
	ask func(ctx context.Context, attempt int) (string, error)

	passphrase string // opens at least one of the files that are to be read
}

// List implements Entries. As in aws-vault each file is an entry, whatever it
// holds, but what is not a file is none.
func (f *files) List(ctx context.Context) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	var names []string
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(f.dir, e.Name())); err == nil && info.Mode().IsRegular() {
			names = append(names, entryName(e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Get implements Entries. It returns what is sealed in the file.
func (f *files) Get(ctx context.Context, name string) ([]byte, error) {
	t, err := f.read(name)
	if err != nil {
		return nil, err
	}
	return t.open(f.passphrase)
}

// unlock asks for the passphrase until some entry opens. They may be sealed
// with several, and aws-vault does not know either; one that is read alone is
// asked for its own.
func (f *files) unlock(ctx context.Context, names []string) error {
	var tokens []*token
	for _, name := range names {
		if t, err := f.read(name); err == nil {
			tokens = append(tokens, t)
		}
	}
	if len(tokens) == 0 {
		return nil // nobody is asked because of what can't be read anyway
	}
	if f.ask == nil {
		return fmt.Errorf("%w: nobody can be asked for the passphrase of %s", store.ErrLocked, f.dir)
	}
	last := ""
	for attempt := 1; attempt <= 3; attempt++ {
		passphrase, err := f.ask(ctx, attempt)
		if err != nil {
			return err
		}
		if attempt > 1 && passphrase == last {
			break
		}
		last = passphrase
		for _, t := range tokens {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := t.unwrap(passphrase); err == nil {
				f.passphrase = passphrase
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %s: %w", store.ErrLocked, f.dir, ErrWrongPassphrase)
}

func (f *files) read(name string) (*token, error) {
	path := filepath.Join(f.dir, fileName(name))
	// The name may be that of another file than the one which List has seen: to
	// open a pipe would be to wait for ever.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is not a file", ErrForeign)
	}
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", store.ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("%w: it is a file of more than 1 MiB", ErrForeign)
	}
	return parseToken(string(text))
}
