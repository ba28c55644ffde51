package onepassword

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"kura/internal/durable"
)

// A write is an op that changes something. Who has started it may be killed, or
// ended with Ctrl-C, and op goes on alone. Whoever comes next waits for it: an
// item that it is about to make would be made twice.
type write struct {
	PID int
	At  time.Time
}

func (c *Client) writeFile() string { return filepath.Join(c.o.LockDir, "op.writes") }

// noteWrite leaves it for those who come next which process writes; 0 is none.
func (c *Client) noteWrite(pid int) {
	if c.o.LockDir == "" {
		return
	}
	var data []byte
	var err error
	if pid != 0 {
		data, err = json.Marshal(write{pid, c.o.Now()})
	}
	if err == nil {
		err = durable.Overwrite(c.writeFile(), data, 0o600)
	}
	if err != nil {
		c.o.Log.Debug("no note of what writes to 1Password", "reason", err)
	}
}

// waitForWrite waits until the op has ended that a process has left which is not
// there any more, if there is such a one. The caller has the turn. It waits for
// as long as a call may take that asks nobody: one that asks, or hangs, has
// written nothing and may be left alone. After the time that any op is given,
// the number may be another process's.
func (c *Client) waitForWrite(ctx context.Context) {
	var w write
	data, err := durable.ReadFile(c.writeFile(), 4<<10)
	if err != nil || json.Unmarshal(data, &w) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.CallTimeout)
	defer cancel()
	for ctx.Err() == nil && c.o.Now().Sub(w.At).Abs() < c.o.AskTimeout && isRunning(w.PID) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	c.noteWrite(0)
}
