package opemu

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/durable"
)

// A State is all that the emulated 1Password is: the account with its items,
// the app and who may use it, and what goes wrong next. It lies in a JSON file
// that every call reads and that tests and "opemu ctl" change in between.
type State struct {
	Version string `json:"version"` // of op, such as "2.39.0"

	Now       *time.Time `json:"now"`        // nil: the machine's clock
	Offset    Duration   `json:"offset"`     // added to that: see World.Advance
	ClockSkew Duration   `json:"clock_skew"` // how far token codes are ahead of it

	Auth     Auth      `json:"auth"`
	Accounts []Account `json:"accounts"`
	Vaults   []Vault   `json:"vaults"`
	Items    []Stored  `json:"items"`

	// Snapshot, if not nil, is what the cache of op's daemon believes the
	// items to be: see World.Freeze.
	Snapshot []Stored `json:"snapshot"`

	// StrictTemplate says whether an edit demands an id and an updated_at of
	// its JSON, as op 2.35.0 does [F] and 2.23 did not [S].
	StrictTemplate bool `json:"strict_template"`

	ExactTitles bool `json:"exact_titles"` // titles are found in their own case only

	// HangOnPipe makes a command that takes no input read an inherited pipe to
	// its end all the same, which can take for ever.
	HangOnPipe bool `json:"hang_on_pipe"`

	Latency Latency `json:"latency"`
	Limits  Limits  `json:"limits"`
	Usage   Usage   `json:"usage"`
	Faults  []Fault `json:"faults"`
	Journal string  `json:"journal"` // path of the journal
	Calls   int     `json:"calls"`   // so far
	Prompts int     `json:"prompts"` // shown so far

	// Secrets are the values that concealed and OTP fields ever had.
	Secrets []string `json:"secrets"`
}

// Auth says how op gets at the account.
type Auth struct {
	Mode        AuthMode         `json:"mode"`
	Locked      bool             `json:"locked"`
	AppRunning  bool             `json:"app_running"`
	Prompt      PromptAnswer     `json:"prompt"`
	PromptDelay Duration         `json:"prompt_delay"`
	Idle        Duration         `json:"idle"`
	Max         Duration         `json:"max"`
	SessionKey  SessionKey       `json:"session_key"`
	Authorized  map[string]Grant `json:"authorized"` // by terminal session
	SA          ServiceAccount   `json:"sa"`
	Connect     Connect          `json:"connect"`
	Session     Session          `json:"session"`
}

// An AuthMode is a way to sign in.
type AuthMode string

// The ways to sign in. Whatever the state says, the variables of a Connect
// server win over the token of a service account, and that over the rest [D].
const (
	Desktop  AuthMode = "desktop"         // the app asks the person
	ByToken  AuthMode = "service_account" // OP_SERVICE_ACCOUNT_TOKEN
	OnServer AuthMode = "connect"         // OP_CONNECT_HOST and OP_CONNECT_TOKEN
	Manual   AuthMode = "session"         // op signin, then OP_SESSION
	None     AuthMode = "none"            // not at all
)

// A PromptAnswer is what the person makes of the app's question.
type PromptAnswer string

// The answers. Nobody answers Hang, until the state says otherwise.
const (
	Approve PromptAnswer = "approve"
	Dismiss PromptAnswer = "dismiss"
	Timeout PromptAnswer = "timeout"
	Hang    PromptAnswer = "hang"
)

// A SessionKey says what an approval is good for.
type SessionKey string

// The extents of an approval. Op's own is the terminal, and the parent process
// where there is none [D][F]; parent process is what Windows has.
const (
	PerTerminal SessionKey = "tty"
	PerParent   SessionKey = "ppid"
	PerMachine  SessionKey = "one" // no such op: for tests that don't care
)

// A Grant is an approval.
type Grant struct {
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"` // used
}

// A ServiceAccount is what OP_SERVICE_ACCOUNT_TOKEN stands for.
type ServiceAccount struct {
	Token   string            `json:"token"`
	Vaults  map[string]string `json:"vaults"` // by ID: "rw" or "ro"
	Deleted bool              `json:"deleted"`
}

// Connect is a self-hosted server, with the account's items in it.
type Connect struct {
	Host  string `json:"host"`
	Token string `json:"token"`
}

// A Session is the one that "op signin" began.
type Session struct {
	Token string    `json:"token"` // "" for none
	Last  time.Time `json:"last"`  // used; it ends 30 minutes later [D]
}

// An Account is one that op is set up for.
type Account struct {
	URL         string `json:"url"`
	Email       string `json:"email"`
	UserUUID    string `json:"user_uuid"`
	AccountUUID string `json:"account_uuid"`
	Shorthand   string `json:"shorthand,omitempty"`
}

// A Vault holds items.
type Vault struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	Type           string `json:"type"`              // Personal or UserCreated
	Account        string `json:"account,omitempty"` // its UUID; "": the first
	ContentVersion int    `json:"content_version"`
	CreatedAt      string `json:"created_at"`
}

// The types of vaults.
const (
	Personal    = "PERSONAL" // called Private, Personal or Employee
	UserCreated = "USER_CREATED"
)

// Latency says how long commands take. The zero Latency is none.
type Latency struct {
	Commands map[string]Duration `json:"commands"` // by words, such as "item get"
	Scale    float64             `json:"scale"`    // 0: 1
	Jitter   float64             `json:"jitter"`   // 0.2: up to a fifth more or less
}

// Limits are what a service account may do in an hour. Zero is no limit.
type Limits struct {
	ReadsPerHour  int `json:"reads_per_hour"`
	WritesPerHour int `json:"writes_per_hour"`
}

// Usage is what was done in the hour since Since.
type Usage struct {
	Since  time.Time `json:"since"`
	Reads  int       `json:"reads"`
	Writes int       `json:"writes"`
}

// A Fault is what goes wrong with some calls of a command.
type Fault struct {
	Match  string    `json:"match"` // words of the command, such as "item edit"; "*" for any
	Nth    int       `json:"nth"`   // first call concerned, from 1 after the fault was set; 0: 1
	Times  int       `json:"times"` // how many calls; 0: all from then on
	Stderr string    `json:"stderr"`
	Exit   int       `json:"exit"` // 0: 1, where the mode makes it fail
	Delay  Duration  `json:"delay"`
	Mode   FaultMode `json:"mode"`
	Seen   int       `json:"seen"` // calls that matched so far
}

// A FaultMode is a class of faults.
type FaultMode string

// The classes of faults. All strike before the command has any effect, but for
// those that say "done", CallerKilled and Slow.
const (
	Before         FaultMode = "before"          // fails; also ""
	AfterCommit    FaultMode = "after_commit"    // done, but the reply is lost: fails
	TruncateStdout FaultMode = "truncate_stdout" // done, half of the reply, exit 0
	HangCall       FaultMode = "hang"            // until killed: other signals are ignored
	HangChild      FaultMode = "hang_child"      // and a child holds stdout and stderr for another Delay
	Panic          FaultMode = "panic"           // as a Go program does, exit 2
	Exit0Empty     FaultMode = "exit0_empty"     // fails, but with exit 0 up to op 2.32.0 [D]
	Silent         FaultMode = "silent"          // says nothing, exit 0
	Killed         FaultMode = "killed"          // by SIGKILL
	KilledDone     FaultMode = "killed_done"     // done, then killed by SIGKILL
	CallerKilled   FaultMode = "caller_killed"   // the parent process is, and op goes on
	BothKilled     FaultMode = "both_killed"     // it and op
	Slow           FaultMode = "slow"            // takes Delay longer
)

// A Duration is written as "1m30s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// BeRealistic makes commands take about what they take in the field: 0.7 to
// 1.9 s for a read are published measurements [F], 2 to 4 s for an edit are a
// guess from its number of requests [I].
func (s *State) BeRealistic() {
	s.Latency = Latency{
		Commands: map[string]Duration{
			"item get":  Duration(900 * time.Millisecond),
			"item edit": Duration(3 * time.Second),
		},
		Jitter: 0.2,
	}
	s.Auth.PromptDelay = Duration(2 * time.Second)
}

// now returns the time by the state's clock.
func (s *State) now() time.Time {
	now := time.Now()
	if s.Now != nil {
		now = *s.Now
	}
	return now.Add(time.Duration(s.Offset))
}

// since reports whether op is at least the given version.
func (s *State) since(version string) bool {
	return slices.Compare(numbers(s.Version), numbers(version)) >= 0
}

// numbers splits "2.19.0-beta.01" into 2, 19 and 0.
func numbers(version string) []int {
	version, _, _ = strings.Cut(version, "-")
	var list []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part) // a version that is none is old
		list = append(list, n)
	}
	return list
}

// vault returns a vault of the state by ID, or nil.
func (s *State) vault(id string) *Vault {
	i := slices.IndexFunc(s.Vaults, func(v Vault) bool { return v.ID == id })
	if i < 0 {
		return nil
	}
	return &s.Vaults[i]
}

// item returns an item of the state by ID, or nil.
func (s *State) item(id string) *Stored {
	i := slices.IndexFunc(s.Items, func(it Stored) bool { return it.ID == id })
	if i < 0 {
		return nil
	}
	return &s.Items[i]
}

// keepSecrets notes the secrets that items have now.
func (s *State) keepSecrets() {
	for _, it := range s.Items {
		for _, f := range it.Fields {
			secret := f.Type == "CONCEALED" || f.Type == "OTP"
			if secret && f.Value != "" && !slices.Contains(s.Secrets, f.Value) {
				s.Secrets = append(s.Secrets, f.Value)
			}
		}
	}
}

// strike returns the fault of a call of a command, the zero Fault if there is
// none, and counts the call.
func (s *State) strike(words string) Fault {
	var struck Fault
	for i := range s.Faults {
		f := &s.Faults[i]
		if f.Match != "*" && f.Match != words {
			continue
		}
		f.Seen++
		first := max(f.Nth, 1)
		if f.Seen >= first && (f.Times == 0 || f.Seen < first+f.Times) && struck.Match == "" {
			struck = *f
			struck.Mode = FaultMode(orElse(string(f.Mode), string(Before)))
		}
	}
	return struck
}

// check says what is wrong with a state that somebody wrote.
func (s *State) check() error {
	for _, f := range s.Faults {
		switch f.Mode {
		case "", Before, AfterCommit, TruncateStdout, HangCall, HangChild, Panic, Exit0Empty, Slow,
			Silent, Killed, KilledDone, CallerKilled, BothKilled:
		default:
			return fmt.Errorf("no fault has the mode %q", f.Mode)
		}
	}
	switch s.Auth.Mode {
	case Desktop, ByToken, OnServer, Manual, None:
	default:
		return fmt.Errorf("no auth mode is %q", s.Auth.Mode)
	}
	switch s.Auth.Prompt {
	case Approve, Dismiss, Timeout, Hang:
	default:
		return fmt.Errorf("no prompt is answered with %q", s.Auth.Prompt)
	}
	switch s.Auth.SessionKey {
	case PerTerminal, PerParent, PerMachine:
	default:
		return fmt.Errorf("no session key is %q", s.Auth.SessionKey)
	}
	for _, it := range s.Items {
		if s.vault(it.Vault.ID) == nil {
			return fmt.Errorf("item %q is in no vault of the account", it.Title)
		}
	}
	return nil
}

// newID returns a fresh ID of an item, vault or field: 26 characters of
// base32, in lower case.
func newID() string { return strings.ToLower(rand.Text()) }

// isID reports whether text looks like an ID.
func isID(text string) bool {
	return len(text) == 26 && strings.Trim(text, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

func decodeState(data []byte) (*State, error) {
	s := &State{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, err
	}
	return s, s.check()
}

// errDiscard makes update forget what was done to the state.
var errDiscard = errors.New("not to be saved")

// update changes the state in a file, which no other process reads or writes
// meanwhile. If change returns an error the file stays as it is.
func update(ctx context.Context, path string, change func(*State) error) error {
	unlock, err := durable.Lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := decodeState(before)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := change(s); err != nil {
		if errors.Is(err, errDiscard) {
			return nil
		}
		return err
	}
	return save(path, s, before)
}

// save writes a state, unless that changes nothing.
func save(path string, s *State, before []byte) error {
	s.keepSecrets()
	if err := s.check(); err != nil {
		return err
	}
	after, err := json.MarshalIndent(s, "", "  ")
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return durable.WriteFile(path, after, 0o600)
}
