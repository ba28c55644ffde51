// Package tree lays the items of a store out as pass and passage do: one file
// for each in a directory tree that people look at, along with whatever else
// they keep there. It knows names, and nothing of what is in the files.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kura/internal/store"
)

// Root is the directory of the tree below which all items of kura are.
const Root = "kura"

// A Tree is a directory of items. Below it, the file of an item is
//
//	kura/<kind>/<name><ext>
//
// where the name is escaped as by store.Escape, and a dot at its beginning as
// %2e: such files are hidden, and pass takes no path that has "..". A name of
// more than maxPart bytes is cut into parts, all but the last of which are
// directories whose names end with "~". So names and directories never meet, and
// all names can be told from the file names alone.
type Tree struct {
	Dir string // of the files of the system, such as ~/.password-store/work
	Ext string // of the files, such as ".gpg"
}

// maxPart is the length of a part, which leaves room for what programs add to
// the names of their temporary files: every file system takes 143 bytes.
const maxPart = 96

// Entry returns the name of an item's entry: the path of its file below the
// directory, with slashes and without the extension.
func (t Tree) Entry(key store.Key) (string, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	if !isKind(string(key.Kind)) {
		return "", fmt.Errorf("%q is not a kind of item", key.Kind)
	}
	var b strings.Builder
	b.WriteString(Root + "/" + string(key.Kind) + "/")
	for rest := store.Escape(key.Name); rest != ""; {
		part := rest[:min(maxPart, len(rest))]
		rest = rest[len(part):]
		if part[0] == '.' {
			part = "%2e" + part[1:]
		}
		b.WriteString(part)
		if rest != "" {
			b.WriteString("~/")
		}
	}
	return b.String(), nil
}

// File returns the path of an entry's file.
func (t Tree) File(entry string) string {
	return filepath.Join(t.Dir, filepath.FromSlash(entry)) + t.Ext
}

// Has reports whether there is an entry. The error wraps one of package store.
func (t Tree) Has(entry string) (bool, error) {
	info, err := os.Stat(t.File(entry))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, Unusable(err)
	}
	return info.Mode().IsRegular(), nil
}

// List returns the names of the items of a kind, sorted. The error wraps one of
// package store.
func (t Tree) List(ctx context.Context, kind store.Kind) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !isKind(string(kind)) {
		return nil, nil
	}
	dir := Root + "/" + string(kind) + "/"
	var names []string
	err := t.walk(dir, func(sub string) bool { return strings.HasSuffix(sub, "~") }, func(entry string) {
		escaped := strings.ReplaceAll(strings.TrimPrefix(entry, dir), "~/", "")
		name, ok := store.Unescape(escaped)
		if !ok {
			return
		}
		if again, err := t.Entry(store.Key{Kind: kind, Name: name}); err == nil && again == entry {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names, err
}

// Written returns when each item of a kind was written last, by name. The error
// wraps one of package store.
func (t Tree) Written(ctx context.Context, kind store.Kind) (map[string]time.Time, error) {
	names, err := t.List(ctx, kind)
	if err != nil {
		return nil, err
	}
	written := map[string]time.Time{}
	for _, name := range names {
		entry, err := t.Entry(store.Key{Kind: kind, Name: name})
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(t.File(entry)); err == nil { // or it was deleted since
			written[name] = info.ModTime()
		}
	}
	return written, nil
}

// First returns the entry of some item, or "" if there is none.
func (t Tree) First(ctx context.Context) (string, error) {
	for _, kind := range store.Kinds() {
		names, err := t.List(ctx, kind)
		if err != nil {
			return "", err
		}
		if len(names) > 0 {
			return t.Entry(store.Key{Kind: kind, Name: names[0]})
		}
	}
	return "", nil
}

// Others returns all entries of the tree that are not kura's, sorted. The error
// wraps one of package store.
func (t Tree) Others(ctx context.Context) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var entries []string
	err := t.walk("", func(sub string) bool {
		base := path.Base(sub)
		return base != ".git" && sub != Root+"/"+string(store.AccessKey) && sub != Root+"/"+string(store.CacheKey)
	}, func(entry string) { entries = append(entries, entry) })
	slices.Sort(entries)
	return entries, err
}

// walk calls file with each entry below a directory, which is "" or ends with a
// slash, and goes into the directories for which enter returns true. What is
// missing is empty.
func (t Tree) walk(dir string, enter func(dir string) bool, file func(entry string)) error {
	found, err := os.ReadDir(filepath.Join(t.Dir, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Unusable(err)
	}
	for _, e := range found {
		name := dir + e.Name()
		if entry, ok := strings.CutSuffix(name, t.Ext); ok && !e.IsDir() {
			file(entry)
		} else if e.IsDir() && enter(name) {
			if err := t.walk(name+"/", enter, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unusable makes an error of the file system one of package store.
func Unusable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// isKind reports whether a kind can be part of a file name as it is. All of
// package store's can.
func isKind(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
