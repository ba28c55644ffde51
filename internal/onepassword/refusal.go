package onepassword

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"kura/internal/durable"
)

// A refusal is what is left for those who wait in the queue, as a person who has
// dismissed the app's question must not be asked again by each of them.
type refusal struct {
	PID     int
	At      time.Time
	Account string
	Kind    Kind
	Job     int // see Options
}

const (
	refusalValid = 5 * time.Second
	maxRefusal   = 4 << 10 // bytes
)

func (c *Client) refusalFile() string { return filepath.Join(c.o.LockDir, "op.refused") }

// noteRefusal leaves it for the others that a question was not answered with
// yes.
func (c *Client) noteRefusal(a command, err error) {
	kind := KindOf(err)
	// Where op reads, what it waits for without end is an answer, most likely.
	hung := kind == NoAnswer && a.stdin == nil && !c.Headless()
	if c.o.LockDir == "" || kind != Dismissed && kind != Unanswered && !hung {
		return
	}
	data, err := json.Marshal(refusal{os.Getpid(), c.o.Now(), a.account, kind, c.o.Job})
	if err == nil {
		err = durable.Overwrite(c.refusalFile(), data, 0o600)
	}
	if err != nil {
		c.o.Log.Debug("no note that 1Password was refused", "reason", err)
	}
}

// refusedSince returns the error of another call that was refused since this one
// began to wait, for the same question would be asked again. Calls of another
// process count from the beginning of this one: it may have waited elsewhere, for
// the lock of a session or a store. See Options.RefusedFor, too.
func (c *Client) refusedSince(began time.Time, a command) error {
	if c.o.LockDir == "" {
		return nil
	}
	r := readRefusal(c.refusalFile())
	if r.PID != os.Getpid() {
		began = c.began
	}
	age := c.o.Now().Sub(r.At)
	waited := !r.At.Before(began) && age <= refusalValid
	insists := c.o.Job != 0 && r.Job == c.o.Job && age <= c.o.RefusedFor
	if r.Account != a.account || age < 0 || !waited && !insists {
		return nil
	}
	return &Error{Kind: r.Kind, Command: a.words(), PID: r.PID}
}

// readRefusal returns the zero refusal, which is very old, if there is none.
func readRefusal(name string) (r refusal) {
	data, err := durable.ReadFile(name, maxRefusal)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return refusal{}
	}
	return r
}
