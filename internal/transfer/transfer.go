// Package transfer brings items from one place to another so that none is lost
// on the way, and so that doing it again goes on where it ended. It knows
// nothing of what the items mean, nor of what the place that they come from is.
package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"kura/internal/store"
)

// A Copy brings access keys to a store. It neither unlocks nor asks by itself:
// where that costs the user something, the caller does it before.
type Copy struct {
	From Source

	// To is the store to bring them to. Its Get must answer from the store, as
	// it is what proves that an item has arrived; that of package near does so
	// by its method Direct.
	To store.Store

	// Exists decides what to do about an item while To holds another of its
	// name. Its error ends the run. If it is nil the item is skipped.
	Exists func(ctx context.Context, name string) (Decision, error)

	// DryRun changes nothing, and reads nothing but names.
	DryRun bool

	// Fatal reports whether an error of To, other than store.ErrLocked and
	// store.ErrUnavailable, is one that all items would meet, such as a full
	// disk. It may be nil.
	Fatal func(error) bool

	// Report is told what has become of an item as soon as it is known.
	Report func(Result)
}

// A Source is where items come from.
type Source struct {
	Names []string // of the items to bring

	// Get returns the data of an item. They are cleared after use. Where items
	// are deleted it must answer from the source, and is asked twice.
	Get func(ctx context.Context, name string) ([]byte, error)

	// Delete removes an item that has arrived, or that had before, which was
	// proved by reading it back. An item that is gone already is no error. If
	// Delete is nil the source keeps its items.
	Delete func(ctx context.Context, name string) error
}

// A Decision is what to do about an item whose name is taken.
type Decision int

const (
	Skip      Decision = iota // leave both as they are
	Overwrite                 // the other item is lost
	Rename                    // to NAME-2, or the first number that is free
)

// An Outcome is what has become of an item.
type Outcome string

const (
	Copied       Outcome = "copied"
	Overwritten  Outcome = "overwritten"   // another item of its name was replaced
	Renamed      Outcome = "renamed"       // it was copied as Result.As
	Same         Outcome = "already there" // as Result.As, byte by byte
	Skipped      Outcome = "skipped"       // there is another of its name
	Failed       Outcome = "failed"
	WouldCopy    Outcome = "would be copied"   // in a dry run
	WouldCompare Outcome = "would be compared" // in a dry run: there is one of its name
)

// A Result says what has become of an item.
type Result struct {
	Name    string // at the source
	As      string // in Copy.To
	Outcome Outcome
	Deleted bool // from the source

	// Err is set if the item failed, or if it arrived and could not be deleted
	// from the source.
	Err error
}

var (
	// ErrDiffers says that a store returned other data than it was given.
	ErrDiffers = errors.New("what was read back is not what was written")

	// ErrChanged says that an item was changed at its source after it was read,
	// and so was not deleted there.
	ErrChanged = errors.New("it has changed where it came from, and was not deleted there")

	// ErrSamePlace says that the source and the store are one and the same, by
	// two names. Nothing was deleted: what was, has been put back.
	ErrSamePlace = errors.New("the items come from where they are brought to")
)

// Run brings all items, one after another. One that fails does not keep the
// others. An error means that not all were tried: it is that of the store to
// bring them to as a whole, of a source that is locked, of Exists, or of ctx. Of
// the item at which that happened nothing is reported unless it had arrived.
func (c *Copy) Run(ctx context.Context) error {
	if c.DryRun {
		return c.look(ctx)
	}
	for _, name := range c.From.Names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := c.item(ctx, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

// look is a dry run.
func (c *Copy) look(ctx context.Context) error {
	there, err := c.To.List(ctx, store.AccessKey)
	if err != nil {
		return err
	}
	for _, name := range c.From.Names {
		r := Result{Name: name, As: name, Outcome: WouldCopy}
		if slices.Contains(there, name) {
			r.Outcome = WouldCompare
		}
		c.Report(r)
	}
	return nil
}

// item brings an item and reports on it. The error is one that ends the run.
func (c *Copy) item(ctx context.Context, name string) error {
	r := Result{Name: name, As: name, Outcome: Failed}
	data, err := c.From.Get(ctx, name)
	defer clear(data)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.Err = fmt.Errorf("reading it: %w", err)
		if errors.Is(err, store.ErrLocked) {
			return r.Err // or the user would be asked again for each item
		}
		c.Report(r)
		return nil
	}
	r.Outcome, r.As, err = c.bring(ctx, name, data)
	if err != nil {
		if end := c.end(ctx, err); end != nil {
			return end
		}
		r.Outcome, r.Err = Failed, err
	}
	if c.From.Delete != nil && r.Outcome != Failed && r.Outcome != Skipped {
		r.Deleted, r.Err = c.delete(ctx, r, data)
	}
	c.Report(r)
	if errors.Is(r.Err, ErrSamePlace) || errors.Is(r.Err, store.ErrLocked) {
		return r.Err
	}
	return nil
}

// A decisionError is one of Exists.
type decisionError struct{ error }

func (e decisionError) Unwrap() error { return e.error }

// end returns the error that ends the run because of an error of bring, or nil
// if the other items may fare better.
func (c *Copy) end(ctx context.Context, err error) error {
	decision, isDecision := errors.AsType[decisionError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isDecision:
		return decision.error
	case errors.Is(err, store.ErrLocked), errors.Is(err, store.ErrUnavailable), c.Fatal != nil && c.Fatal(err):
		return err
	}
	return nil
}

// bring sees to it that the store holds data under a name, and returns which.
func (c *Copy) bring(ctx context.Context, name string, data []byte) (Outcome, string, error) {
	there, err := c.compare(ctx, name, data)
	switch {
	case err != nil:
		return Failed, name, err
	case there == same:
		return Same, name, nil
	case there == none:
		return Copied, name, c.put(ctx, name, data)
	}
	decision := Skip
	if c.Exists != nil {
		if decision, err = c.Exists(ctx, name); err != nil {
			return Failed, name, decisionError{err}
		}
	}
	switch decision {
	case Overwrite:
		return Overwritten, name, c.put(ctx, name, data)
	case Rename:
		return c.rename(ctx, name, data)
	}
	return Skipped, name, nil
}

// rename is bring with a number after the name: the first that is neither taken
// nor the name of another item that is to come. If an earlier run has already
// renamed the item, it is there by now.
func (c *Copy) rename(ctx context.Context, name string, data []byte) (Outcome, string, error) {
	for n := 2; ; n++ {
		as := fmt.Sprintf("%s-%d", name, n)
		if slices.Contains(c.From.Names, as) {
			continue
		}
		there, err := c.compare(ctx, as, data)
		switch {
		case err != nil:
			return Failed, name, err
		case there == same:
			return Same, as, nil
		case there == none:
			return Renamed, as, c.put(ctx, as, data)
		}
	}
}

// put writes an item, and proves that it is there.
func (c *Copy) put(ctx context.Context, name string, data []byte) error {
	if err := c.To.Put(ctx, key(name), data); err != nil {
		return err
	}
	there, err := c.compare(ctx, name, data)
	if err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	if there != same {
		return ErrDiffers
	}
	return nil
}

// delete removes an item that has arrived from the source. What the source has
// got meanwhile stays, as nobody has brought that anywhere.
func (c *Copy) delete(ctx context.Context, r Result, data []byte) (deleted bool, err error) {
	now, err := c.From.Get(ctx, r.Name)
	defer clear(now)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading it again: %w", err)
	case !bytes.Equal(now, data):
		return false, ErrChanged
	}
	err = c.From.Delete(ctx, r.Name)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil { // it may be gone all the same
		err = fmt.Errorf("deleting it where it came from: %w", err)
	}
	if r.As != r.Name {
		return err == nil, err
	}
	// One place may have two names, such as a keyring that is also the default
	// one. Then every item is there already, and now it is gone. It is put back
	// whatever happens meanwhile.
	ctx = context.WithoutCancel(ctx)
	got, getErr := c.To.Get(ctx, key(r.As))
	clear(got)
	if getErr == nil {
		return err == nil, err
	}
	if putErr := c.put(ctx, r.As, data); putErr != nil {
		return true, fmt.Errorf("putting back what is not there any more (%w): %w", getErr, putErr)
	}
	if errors.Is(getErr, store.ErrNotFound) {
		return false, ErrSamePlace
	}
	return err == nil, err // nobody can tell, and now it is there in any case
}

// What a store holds under a name, as against some data.
type presence int

const (
	none presence = iota
	same
	other
)

// compare says what the store holds under a name. An item that is damaged is
// another.
func (c *Copy) compare(ctx context.Context, name string, data []byte) (presence, error) {
	got, err := c.To.Get(ctx, key(name))
	defer clear(got)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return none, nil
	case errors.Is(err, store.ErrDamaged):
		return other, nil
	case err != nil:
		return none, err
	case bytes.Equal(got, data):
		return same, nil
	}
	return other, nil
}

func key(name string) store.Key { return store.Key{Kind: store.AccessKey, Name: name} }
