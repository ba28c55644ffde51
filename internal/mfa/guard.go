package mfa

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"kura/internal/durable"
)

const (
	// memory is how long a code is remembered. AWS accepts one for three
	// steps at most: the current one, and those before and after it.
	memory = 2 * time.Minute

	// step is how long a device shows a code, counted from the start of Unix
	// time: see RFC 6238, section 4.1.
	step = 30 * time.Second

	// maxRecord is how large the record may be, in bytes. A code takes about
	// a hundred.
	maxRecord = 1 << 20

	// maxLocked is how long the record may be locked by other processes,
	// which keep it for some milliseconds, before it is given up.
	maxLocked = 5 * time.Second
)

// A Guard remembers the codes that were sent, for all processes that have the
// same Dir. Its record holds salted hashes: a code says nothing once it was
// used, but there is no need for it to lie about.
type Guard struct {
	Dir string // made when needed
	Now func() time.Time
}

// Claim records that a code of a device is about to be sent, and returns 0. If
// it was claimed in the last two minutes, by any process, Claim returns how
// long it is until the device shows another one. Of processes that claim the
// same code at once, one gets it.
//
// It returns the cause if ctx is done, and other errors if Dir can't be used.
func (g Guard) Claim(ctx context.Context, serial, code string) (wait time.Duration, err error) {
	if err := durable.PrivateDir(g.Dir); err != nil {
		return 0, err
	}
	name := filepath.Join(g.Dir, "token-codes")
	lockCtx, cancel := context.WithTimeout(ctx, maxLocked)
	defer cancel()
	unlock, err := durable.Lock(lockCtx, name+".lock")
	if err != nil {
		return 0, fmt.Errorf("locking the record of token codes: %w", err)
	}
	defer unlock()

	data, err := durable.ReadFile(name, maxRecord)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	now := g.Now()
	var kept bytes.Buffer
	for line := range strings.Lines(string(data)) {
		var at int64
		var salt, hash string
		if _, err := fmt.Sscanf(line, "%d %s %s\n", &at, &salt, &hash); err != nil {
			continue
		}
		// A record from the future is one from before the clock was set.
		if now.Sub(time.Unix(at, 0)).Abs() > memory {
			continue
		}
		if hash == digest(salt, serial, code) {
			return step - time.Duration(now.UnixNano())%step, nil
		}
		kept.WriteString(line)
	}
	salt := rand.Text()
	fmt.Fprintf(&kept, "%d %s %s\n", now.Unix(), salt, digest(salt, serial, code))
	return 0, durable.WriteFile(name, kept.Bytes(), 0o600)
}

func digest(salt, serial, code string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + serial + "\x00" + code))
	return hex.EncodeToString(sum[:])
}
