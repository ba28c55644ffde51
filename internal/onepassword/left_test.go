package onepassword_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kura/internal/onepassword"
	"kura/internal/opemu"
)

// Who comes after a writer that was killed waits for the op that it has left,
// but not for ever, and not for another process that has got its number.
func TestLeftAlone(t *testing.T) {
	if _, err := exec.LookPath("sleep"); err != nil {
		t.Skip("there is no program sleep")
	}
	w, ref := keyWorld(t)
	locks := t.TempDir()
	c := client(t, w, func(o *onepassword.Options) { o.LockDir, o.CallTimeout = locks, 400*time.Millisecond })
	writes := filepath.Join(locks, "op.writes")
	for _, test := range []struct {
		what     string
		seconds  string // how long op goes on
		began    time.Time
		min, max time.Duration
	}{
		{"one that ends", "0.2", time.Now(), 100 * time.Millisecond, time.Minute},
		{"one that does not", "60", time.Now(), 400 * time.Millisecond, 50 * time.Second},
		{"another process", "60", time.Now().Add(-3 * time.Minute), 0, 50 * time.Second},
		{"another clock", "60", time.Now().Add(time.Hour), 0, 50 * time.Second},
	} {
		op := exec.CommandContext(t.Context(), "sleep", test.seconds)
		if err := op.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { op.Wait(); close(ended) }()
		note := fmt.Sprintf(`{"PID":%d,"At":%q}`, op.Process.Pid, test.began.Format(time.RFC3339Nano))
		if err := os.WriteFile(writes, []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Fresh(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < test.min || took > test.max {
			t.Errorf("%s was waited for %v, want %v to %v", test.what, took, test.min, test.max)
		}
		op.Process.Kill()
		<-ended
	}

	// A writer that ends by itself leaves nothing, done or not.
	for _, fault := range []opemu.Fault{{Match: "none"}, {Match: "item edit"}} {
		w.Fault(fault)
		_, _ = c.Edit(t.Context(), ref, setOther) // which shows in other tests
		if note, err := os.ReadFile(writes); err != nil || len(note) > 0 {
			t.Errorf("what is left is %q, %v", note, err)
		}
	}
}
