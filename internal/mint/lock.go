package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"kura/internal/awsapi"
	"kura/internal/cred"
	"kura/internal/durable"
)

// A Holder is the process that holds a lock.
type Holder struct {
	PID     int
	Profile string // the one it needs the credentials for
}

// A SharedError is the error of another process that this one waited for.
// Trying the same again, once for each process that waits, would ask the user
// as often and meet the same refusal.
type SharedError struct {
	PID  int
	Text string
	AWS  *awsapi.Error // set if AWS refused
}

func (e *SharedError) Error() string {
	return fmt.Sprintf("process %d, which was minting the same credentials, reports: %s", e.PID, e.Text)
}

func (e *SharedError) Unwrap() error {
	if e.AWS == nil {
		return nil // a nil *awsapi.Error would be no nil error
	}
	return e.AWS
}

// state is what the holder of a lock leaves beside it: who it is and, at the
// end, why it failed. It is advice for those who wait. Who can't read it goes
// without.
type state struct {
	Holder
	Failed time.Time `json:",omitzero"`
	Text   string    `json:",omitempty"`

	// CodesFrom is Minter.CodesFrom if there was no token code. Otherwise it
	// was AWS that refused, which concerns everybody.
	CodesFrom string   `json:",omitempty"`
	AWS       *refusal `json:",omitempty"`

	// Early is when an early renewal began that has not succeeded.
	Early time.Time `json:",omitzero"`
}

// A refusal is what is passed on of an *awsapi.Error.
type refusal struct {
	Op            string
	Kind          awsapi.Kind
	Code, Message string
}

const (
	pollEvery    = 10 * time.Millisecond
	sayWhoAfter  = time.Second
	failureValid = 5 * time.Second
	maxState     = 64 << 10 // bytes
)

// lock waits until this process alone may mint the credentials of a key. The
// returned unlock is told how minting went. If it is nil, and err too, another
// process has minted got in the meantime.
//
// Where locks can't be had (a cache directory that is not writable) everyone
// mints for himself.
func (m *Minter) lock(ctx context.Context, key, profile string, cached func() (cred.Credentials, bool, error)) (unlock func(error), got cred.Credentials, err error) {
	began := m.Now()
	stateFile := m.stateFile(key)
	for told := m.Waiting == nil; ; {
		release, err := m.tryLock(key)
		held := release != nil
		if err != nil {
			m.Log.Warn("no locks between processes", "reason", err)
			return func(error) {}, cred.Credentials{}, nil
		}
		// What was minted while this process waited serves it too, with the
		// lock or without.
		got, ok, err := cached()
		if ok || err != nil {
			if held {
				release()
			}
			return nil, got, err
		}
		if held {
			if failure := readState(stateFile).failure(began, m.Now(), m.CodesFrom); failure != nil {
				release()
				return nil, cred.Credentials{}, failure
			}
			m.writeState(stateFile, state{Holder: Holder{os.Getpid(), profile}})
			return func(err error) { m.release(stateFile, profile, err); release() }, cred.Credentials{}, nil
		}
		if !told && m.Now().Sub(began) >= sayWhoAfter {
			told = true
			if s := readState(stateFile); s.PID != 0 {
				m.Waiting(s.Holder)
			}
		}
		select {
		case <-ctx.Done():
			return nil, cred.Credentials{}, fmt.Errorf("waiting for another process: %w", context.Cause(ctx))
		case <-time.After(pollEvery/2 + rand.N(pollEvery)):
		}
	}
}

// tryLock returns a nil unlock where another process holds the lock of a key.
func (m *Minter) tryLock(key string) (unlock func(), err error) {
	if err := durable.PrivateDir(m.LockDir); err != nil {
		return nil, err
	}
	return durable.TryLock(filepath.Join(m.LockDir, key+".lock"))
}

func (m *Minter) stateFile(key string) string { return filepath.Join(m.LockDir, key+".state") }

// release leaves the reason of a failure for those who wait, if it is one that
// they would meet as well. What is wrong with this process's terminal, store,
// proxy or flags need not be wrong with theirs.
func (m *Minter) release(stateFile, profile string, err error) {
	s := state{Holder: Holder{os.Getpid(), profile}, Failed: m.Now()}
	shared, isShared := errors.AsType[*SharedError](err)
	refused, isRefused := errors.AsType[*awsapi.Error](err)
	_, isCode := errors.AsType[*codeError](err)
	switch {
	case err == nil:
		os.Remove(stateFile) // nobody needs to know any more
		return
	case isRefused && refused.Code != "":
		s.AWS = &refusal{refused.Op, refused.Kind, refused.Code, refused.Message}
	case isCode, isShared:
		s.CodesFrom = m.CodesFrom
	default:
		return
	}
	s.Text = err.Error()
	if isShared {
		s.PID, s.Text = shared.PID, shared.Text // the first process is the one to name
	}
	m.writeState(stateFile, s)
}

// failure returns the failure that s tells of, if it happened while a process
// waited that began then and gets its token codes from there.
func (s state) failure(began, now time.Time, codesFrom string) error {
	if s.Failed.IsZero() || s.Failed.Before(began) || s.Failed.After(now) || now.Sub(s.Failed) > failureValid {
		return nil
	}
	if s.AWS == nil && s.CodesFrom != codesFrom {
		return nil
	}
	shared := &SharedError{PID: s.PID, Text: s.Text}
	if s.AWS != nil {
		shared.AWS = &awsapi.Error{Op: s.AWS.Op, Kind: s.AWS.Kind, Code: s.AWS.Code, Message: s.AWS.Message}
	}
	return shared
}

func (m *Minter) writeState(name string, s state) {
	data, err := json.Marshal(s)
	if err == nil {
		err = durable.Overwrite(name, data, 0o600)
	}
	if err != nil {
		m.Log.Debug("no state beside the lock", "reason", err)
	}
}

func readState(name string) (s state) {
	data, err := durable.ReadFile(name, maxState)
	if err != nil || json.Unmarshal(data, &s) != nil {
		return state{}
	}
	return s
}
