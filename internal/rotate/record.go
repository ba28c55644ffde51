package rotate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/awsapi"
	"kura/internal/cred"
	"kura/internal/store"
)

// A record is what must outlive this process while a rotation is under way. It
// is one item, so that it is replaced as a whole, and has both keys from the time
// that they are known: whatever is interrupted, neither is lost.
type record struct {
	Started time.Time // before a key was made
	Who     awsapi.Identity
	Known   []string      // IDs of the user's access keys then
	Keep    time.Duration // how long the old key is kept inactive
	Retired time.Time     // since when that is
	Undo    bool          // New is the former key, which is to come back

	Old, New cred.Credentials // New is zero as long as none was made

	// What this process has done, for messages.
	inactive, gone bool
}

// concerns reports whether a key is one of the two.
func (rec *record) concerns(id string) bool {
	return id == rec.Old.AccessKeyID || id == rec.New.AccessKeyID
}

// isKept reports whether there is nothing left to do but to delete the old key.
func (rec *record) isKept() bool { return !rec.Retired.IsZero() }

func (rec *record) keptUntil() time.Time { return rec.Retired.Add(rec.Keep) }

const recordMagic = "kura rotation 1"

var errMalformed = errors.New("it is no record of a rotation that this program knows")

// encode returns a record in the form that docs/store-format.md describes: lines
// of what is known, and each key as package cred encodes it, after an empty line.
func (rec *record) encode() ([]byte, error) {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, strconv.Quote(value))
		}
	}
	b.WriteString(recordMagic + "\n")
	line("started", stamp(rec.Started))
	line("account", rec.Who.Account)
	line("arn", rec.Who.ARN)
	line("user-id", rec.Who.UserID)
	line("known", strings.Join(rec.Known, " "))
	if rec.Keep > 0 {
		line("keep", rec.Keep.String())
	}
	line("retired", stamp(rec.Retired))
	if rec.Undo {
		line("undo", "true")
	}
	for _, key := range []cred.Credentials{rec.Old, rec.New} {
		if key.AccessKeyID == "" {
			continue
		}
		data, err := cred.Encode(key)
		if err != nil {
			return nil, err
		}
		b.WriteString("\n")
		b.Write(data)
		clear(data)
	}
	return b.Bytes(), nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// decode is the inverse of encode. Lines that it does not know are passed over.
// The error does not quote the data.
func decode(data []byte) (*record, error) {
	parts := strings.Split(string(data), "\n\n")
	head := strings.Split(strings.TrimSuffix(parts[0], "\n"), "\n")
	if head[0] != recordMagic || len(parts) < 2 || len(parts) > 3 {
		return nil, errMalformed
	}
	rec := &record{}
	for _, l := range head[1:] {
		name, quoted, _ := strings.Cut(l, ": ")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, errMalformed
		}
		switch name {
		case "started":
			rec.Started, err = time.Parse(time.RFC3339, value)
		case "account":
			rec.Who.Account = value
		case "arn":
			rec.Who.ARN = value
		case "user-id":
			rec.Who.UserID = value
		case "known":
			rec.Known = strings.Fields(value)
		case "keep":
			rec.Keep, err = time.ParseDuration(value)
		case "retired":
			rec.Retired, err = time.Parse(time.RFC3339, value)
		case "undo":
			rec.Undo = value == "true"
		}
		if err != nil {
			return nil, errMalformed
		}
	}
	keys := []*cred.Credentials{&rec.Old, &rec.New}
	for i, text := range parts[1:] {
		var err error
		if *keys[i], err = cred.Decode([]byte(text)); err != nil {
			return nil, errMalformed
		}
	}
	if rec.Started.IsZero() || rec.Who.UserID == "" {
		return nil, errMalformed
	}
	return rec, nil
}

func (r *Rotation) recordKey() store.Key { return store.Key{Kind: store.Rotation, Name: r.Name} }

// record returns the record of the rotation that is under way, or nil.
func (r *Rotation) record(ctx context.Context) (*record, error) {
	data, err := r.Store.Get(ctx, r.recordKey())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		defer clear(data)
		var rec *record
		if rec, err = decode(data); err == nil {
			return rec, nil
		}
		err = fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return nil, fmt.Errorf("reading what is known of a rotation of %q: %w", r.Name, err)
}

// keep stores a record in place of the one that there is.
func (s *run) keep(ctx context.Context, rec *record) error {
	rec.Known = slices.Clone(rec.Known)
	data, err := rec.encode()
	if err != nil {
		return err
	}
	defer clear(data)
	if err := s.Store.Put(ctx, s.recordKey(), data); err != nil {
		return err
	}
	s.rec = rec
	return nil
}

// drop removes the record.
func (r *Rotation) drop(ctx context.Context) error {
	err := r.Store.Delete(ctx, r.recordKey())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
