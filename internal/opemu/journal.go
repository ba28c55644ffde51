package opemu

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// A Call is an entry of the journal: one call of op.
type Call struct {
	ID      int       `json:"id"` // 1 for the first call of a state
	PID     int       `json:"pid"`
	PPID    int       `json:"ppid"`
	Command string    `json:"command"` // its words, such as "item get"; "" where there is none
	Args    []string  `json:"argv"`    // without the program's name
	Stdin   StdinKind `json:"stdin"`
	Environ []string  `json:"environ"`
	Began   time.Time `json:"began"` // by the state's clock
	Ended   time.Time `json:"ended,omitzero"`
	Exit    int       `json:"exit"`             // -1: it has not ended, or was killed
	Prompt  bool      `json:"prompt,omitempty"` // the app asked the person
	Fault   FaultMode `json:"fault,omitempty"`
	Marks   []Mark    `json:"marks,omitempty"`
}

// A Mark is something about a call that its exit status does not show.
type Mark string

// The marks.
const (
	MarkInherited Mark = "stdin_pipe_inherited" // a pipe that op had no use for
	MarkIgnored   Mark = "stdin_ignored"        // input for an op that is too old for it
	MarkHangs     Mark = "hangs"                // it does, by intention, from now on
)

// EnvNames returns the names of the call's environment variables, sorted.
func (c Call) EnvNames() []string {
	var names []string
	for _, kv := range c.Environ {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *call) mark(m Mark) { c.record.Marks = append(c.record.Marks, m) }

// enter writes what is known of a call into the journal. The last line about a
// call is the one that counts. The caller holds the lock of the state.
func (c *call) enter(s *State) error {
	line, err := json.Marshal(c.record)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.Journal, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return cmp.Or(err, f.Close())
}

// readJournal returns the calls in a journal, in the order they began in.
func readJournal(path string) ([]Call, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var calls []Call
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var c Call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		i, known := slices.BinarySearchFunc(calls, c.ID, func(c Call, id int) int { return cmp.Compare(c.ID, id) })
		if known {
			calls[i] = c
		} else {
			calls = slices.Insert(calls, i, c)
		}
	}
	return calls, lines.Err()
}

// leak says where in a call a secret is that other processes can see, as it is
// or within base64. It does not say which one.
func (c Call) leak(secrets []string) error {
	for _, secret := range secrets {
		for _, form := range formsOf(secret) {
			for i, arg := range c.Args {
				if strings.Contains(arg, form) {
					return fmt.Errorf("call %d (op %s): a secret is in argument %d", c.ID, c.Command, i+1)
				}
			}
			for _, kv := range c.Environ {
				if name, value, _ := strings.Cut(kv, "="); strings.Contains(value, form) {
					return fmt.Errorf("call %d (op %s): a secret is in the environment variable %s", c.ID, c.Command, name)
				}
			}
		}
	}
	return nil
}

// formsOf returns a secret and what is always the same of it in base64,
// wherever in a text it stands. Short texts are no secrets, and found anywhere.
func formsOf(secret string) []string {
	if len(secret) < 8 {
		return nil
	}
	forms := []string{secret}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := enc.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
			// A character is 6 bits: leave out those that neighbours share.
			first := (before*8 + 5) / 6
			last := (before + len(secret)) * 8 / 6
			forms = append(forms, text[first:last])
		}
	}
	return forms
}
