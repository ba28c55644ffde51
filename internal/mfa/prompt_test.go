//go:build unix

package mfa_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kura/internal/mfa"
	"kura/internal/store"
)

// fake is a program in a PATH of its own that notes how it is called.
type fake struct {
	t   *testing.T
	dir string
}

// newFake makes a program that notes its arguments, input and environment and
// then does what the line of sh says.
func newFake(t *testing.T, name, line string) *fake {
	t.Helper()
	f := &fake{t, t.TempDir()}
	script := `#!/bin/sh
PATH=/usr/bin:/bin
printf '%s\0' "$@" >"$RECORD/args"
cat >"$RECORD/stdin"
env >"$RECORD/env"
` + line + "\n"
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) environ(more ...string) []string {
	return append([]string{"PATH=" + f.dir, "RECORD=" + f.dir, "LANG=C.UTF-8"}, more...)
}

func (f *fake) read(name string) string {
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Errorf("the program was not run: %v", err)
	}
	return string(data)
}

func (f *fake) args() []string {
	return strings.Split(strings.TrimSuffix(f.read("args"), "\x00"), "\x00")
}

const question = "Enter MFA code for " + serial + " (profile R&D): "

// The argument lists are aws-vault's: people have programs of these names that
// stand in for them.
func TestPromptArguments(t *testing.T) {
	for _, c := range []struct {
		name   string
		serial string
		env    []string
		want   []string
	}{
		{"zenity", serial, nil, []string{"--entry", "--title", "kura", "--text", question}},
		{"kdialog", serial, nil, []string{"--inputbox", strings.ReplaceAll(question, "&", "&&"), "--title", "kura"}},
		{"osascript", serial, nil, []string{"-e", `display dialog "` + question +
			`" default answer "" buttons {"OK", "Cancel"} default button 1` + "\ntext returned of the result\nreturn result"}},

		{"pass", serial, nil, []string{"otp", serial}},
		{"pass", serial, []string{"PASS_OATH_CREDENTIAL_NAME=aws/jo"}, []string{"otp", "aws/jo"}},
		{"pass", "--clip", nil, []string{"otp", "--", "--clip"}},

		{"ykman", serial, nil, []string{"oath", "accounts", "code", "--single", serial}},
		{"ykman", serial, []string{"AWS_VAULT_YKMAN_VERSION=4"}, []string{"oath", "accounts", "code", "--single", serial}},
		{"ykman", serial, []string{"AWS_VAULT_YKMAN_VERSION=1"}, []string{"oath", "code", "--single", serial}},
		{"ykman", serial, []string{"AWS_VAULT_YKMAN_VERSION=3", "YKMAN_OATH_DEVICE_SERIAL=1234", "YKMAN_OATH_CREDENTIAL_NAME=work"},
			[]string{"--device", "1234", "oath", "code", "--single", "work"}},
		{"ykman", "--help", nil, []string{"oath", "accounts", "code", "--single", "--", "--help"}},
	} {
		f := newFake(t, c.name, "echo ' 123456'")
		p := mfa.Prompt{Name: c.name, Profile: "R&D", Environ: f.environ(c.env...), Display: true, TTY: "/dev/pts/7"}
		if code, err := p.Code(t.Context(), c.serial); code != "123456" || err != nil {
			t.Errorf("%s %q: Code = %q, %v, want 123456", c.name, c.env, code, err)
		}
		if got := f.args(); !slices.Equal(got, c.want) {
			t.Errorf("%s %q runs with %q, want %q", c.name, c.env, got, c.want)
		}
		if stdin := f.read("stdin"); stdin != "" {
			t.Errorf("%s has the input %q, want none", c.name, stdin)
		}
		env := f.read("env")
		if got, want := strings.Contains(env, "GPG_TTY=/dev/pts/7\n"), c.name == "pass"; got != want {
			t.Errorf("%s is told GPG_TTY: %t, want %t", c.name, got, want)
		}
		if strings.Contains(env, "HOME=") {
			t.Errorf("%s has more than the environment it was given: %q", c.name, env)
		}
	}
}

// pinentryScript answers as pinentry does, with line instead of an answer to
// GETPIN. It does not know OPTION.
func pinentryScript(line string) string {
	return `echo OK Pleased to meet you
while read -r word rest; do
	case $word in
	OPTION) echo ERR 83886254 Unknown option;;
	GETPIN) ` + line + `;;
	*) echo OK;;
	esac
done <"$RECORD/stdin"`
}

func TestPinentry(t *testing.T) {
	f := newFake(t, "pinentry", pinentryScript("echo D 123; echo S a status; echo D 45%36; echo OK"))
	p := mfa.Prompt{Name: "pinentry", Profile: "100%\nGETPIN", Environ: f.environ("TERM=xterm"), TTY: "/dev/pts/7"}
	p.Note("try again")
	if code, err := p.Code(t.Context(), serial); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v, want 123456", code, err)
	}
	want := `SETTITLE kura
SETDESC Enter MFA code for ` + serial + ` (profile 100%25?GETPIN): ` + `
SETPROMPT Code:
SETTIMEOUT 119
SETERROR try again
OPTION ttyname=/dev/pts/7
OPTION ttytype=xterm
OPTION lc-ctype=C.UTF-8
GETPIN
BYE
`
	if got := f.read("stdin"); got != want {
		t.Errorf("pinentry is told\n%s\nwant\n%s", got, want)
	}

	// It gives up before anybody kills it, and no line is longer than Assuan's
	// 1000 bytes.
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	p.Profile = strings.Repeat("𝒦", 500)
	p.Note(strings.Repeat("𝒦", 500))
	if code, err := p.Code(ctx, strings.Repeat("%", 500)); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v, want 123456", code, err)
	}
	stdin := f.read("stdin")
	if !strings.Contains(stdin, "SETTIMEOUT 38\n") {
		t.Errorf("with 40 s to go pinentry is told\n%s\nwant SETTIMEOUT 38", stdin)
	}
	for line := range strings.Lines(stdin) {
		if len(line) > 1000 {
			t.Errorf("pinentry is told a line of %d bytes", len(line))
		}
	}
}

func TestPromptFails(t *testing.T) {
	// On a terminal that another program has it asks nothing.
	apart := mfa.Prompt{Name: "pinentry", TTY: "/dev/pts/7", Apart: true}
	if _, err := apart.Code(t.Context(), serial); !errors.Is(err, mfa.ErrNoDisplay) {
		t.Errorf("pinentry on another program's terminal: %v, want ErrNoDisplay", err)
	}
	all := []string{"kdialog", "osascript", "pass", "pinentry", "ykman", "zenity"}
	for _, c := range []struct {
		names []string
		line  string
		want  error
		text  string // of the error, after the name; "" for that of want
	}{
		{[]string{"zenity", "kdialog"}, "exit 1", mfa.ErrDismissed, ""},
		{[]string{"osascript"}, "echo '0:70: execution error: User canceled. (-128)' >&2; exit 1", mfa.ErrDismissed, ""},
		{[]string{"pinentry"}, pinentryScript("echo 'ERR 83886179 Operation cancelled <Pinentry>'"), mfa.ErrDismissed, ""},

		{[]string{"zenity"}, "echo '(zenity:1): Gtk-WARNING **: cannot open display: :7' >&2; exit 1", mfa.ErrNoDisplay, ""},
		{[]string{"zenity"}, "echo 'Failed to open display' >&2; exit 1", mfa.ErrNoDisplay, ""},
		{[]string{"kdialog"}, "echo 'qt.qpa.xcb: could not connect to display :7' >&2; kill -ABRT $$", mfa.ErrNoDisplay, ""},
		{[]string{"osascript"}, "echo 'execution error: No user interaction allowed. (-1713)' >&2; exit 1", mfa.ErrNoDisplay, ""},

		{[]string{"pinentry"}, pinentryScript("echo 'ERR 83886142 Timeout <Pinentry>'"), mfa.ErrNoAnswer, ""},
		{all, "exec sleep 60", mfa.ErrNoAnswer, "no answer after 300ms"},
		{[]string{"zenity"}, "sleep 5 & wait", mfa.ErrNoAnswer, "no answer after 300ms"},

		{[]string{"pass", "ykman"}, "echo Touch it...; echo 123456", mfa.ErrMalformedCode, ""},
		{[]string{"pass", "ykman"}, ":", mfa.ErrMalformedCode, ""},

		{[]string{"osascript"}, "echo '0:5: syntax error: no (-2741)' >&2; exit 1", nil, "exit status 1: 0:5: syntax error: no (-2741)"},
		{[]string{"zenity", "kdialog"}, "exit 255", nil, "exit status 255"},
		{[]string{"pinentry"}, "echo broken >&2; exit 3", nil, "exit status 3: broken"},
		{[]string{"pinentry"}, "echo OK; exit 0", nil, "it ended without an answer"},
		{[]string{"pinentry"}, pinentryScript("echo D 12345%; echo OK"), nil, "malformed data"},
		{[]string{"pinentry"}, pinentryScript("echo ERR 83918950 Inappropriate ioctl for device"), nil, "Inappropriate ioctl for device"},
		{[]string{"pass", "ykman"}, "echo 654321; echo; echo 'ERROR: No YubiKey\x1b[1m!' >&2; exit 2", nil, "exit status 2: ERROR: No YubiKey?[1m!"},
		{all, "kill -9 $$", nil, "ended by a signal"},
		{all, "yes 654321", nil, "too much output"},
	} {
		for _, name := range c.names {
			f := newFake(t, name, c.line)
			p := mfa.Prompt{Name: name, Environ: f.environ(), Display: true}
			if strings.Contains(c.line, "sleep") {
				p.Timeout = 300 * time.Millisecond
			}
			begin := time.Now()
			code, err := p.Code(t.Context(), serial)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("%s: %s: Code takes %v", name, c.line, took)
			}
			want := name + ": " + c.text
			if c.text == "" {
				want = name + ": " + c.want.Error()
			}
			e, ok := errors.AsType[*mfa.PromptError](err)
			if code != "" || !ok || e.Name != name || err.Error() != want || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %s: Code = %q, %v, want %s", name, c.line, code, err, want)
			}
			if errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %s: %v is an error of a store", name, c.line, err)
			}
		}
	}
}

// What can't work is found out before anything is run.
func TestPromptIsNotRun(t *testing.T) {
	for _, name := range []string{"kdialog", "osascript", "pinentry", "zenity"} {
		f := newFake(t, name, "echo 123456")
		p := mfa.Prompt{Name: name, Environ: f.environ()}
		if _, err := p.Code(t.Context(), serial); !errors.Is(err, mfa.ErrNoDisplay) {
			t.Errorf("%s without a display: %v, want ErrNoDisplay", name, err)
		}
		if _, err := os.Stat(filepath.Join(f.dir, "args")); err == nil {
			t.Errorf("%s is run without a display", name)
		}
	}
	t.Chdir(newFake(t, "zenity", "echo 123456").dir)
	for _, name := range append(mfa.Prompts(), "none") {
		p := mfa.Prompt{Name: name, Environ: []string{"PATH=:.:/nonexistent"}, Display: true}
		if _, err := p.Code(t.Context(), serial); !errors.Is(err, mfa.ErrMissing) {
			t.Errorf("%s that is not installed: %v, want ErrMissing", name, err)
		}
		if mfa.Installed(name, p.Environ) {
			t.Errorf("Installed(%s) = true", name)
		}
	}
	f := newFake(t, "pinentry-mac", pinentryScript("echo D 123456; echo OK"))
	p := mfa.Prompt{Name: "pinentry", Environ: f.environ(), Display: true}
	if code, err := p.Code(t.Context(), serial); code != "123456" || !mfa.Installed("pinentry", p.Environ) {
		t.Errorf("with pinentry-mac: Code = %q, %v, want 123456", code, err)
	}
}

func TestPromptEndsWithContext(t *testing.T) {
	f := newFake(t, "zenity", "exec sleep 60")
	p := mfa.Prompt{Name: "zenity", Environ: f.environ(), Display: true}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := p.Code(ctx, serial); err == nil || err.Error() != "enough" {
		t.Errorf("Code when ctx is done = %v, want its cause", err)
	}
}

// Whoever sees only the window is told there why it is back.
func TestWindowAsksAgain(t *testing.T) {
	f := newFake(t, "zenity", `n=$(cat "$RECORD/n"); cp "$RECORD/args" "$RECORD/args$n"; echo x >>"$RECORD/n"; echo 12345${n:+6}`)
	p := mfa.Prompt{Name: "zenity", Environ: f.environ(), Display: true}
	c := codes(t, p.Code, p.Again(), nil)
	c.Say = p.Note
	if code, err := c.Code(t.Context(), serial); code != "123456" || err != nil {
		t.Errorf("Code = %q, %v, want 123456", code, err)
	}
	if want := "a token code has six digits\nEnter MFA code for " + serial + ": "; !slices.Contains(f.args(), want) {
		t.Errorf("the second question is %q, want %q", f.args(), want)
	}
	if _, err := p.Code(t.Context(), serial); err != nil || strings.Contains(f.read("args"), "six digits") {
		t.Errorf("a note is shown twice, %v", err)
	}

	// A window that was closed stays closed.
	f = newFake(t, "zenity", `echo x >>"$RECORD/n"; exit 1`)
	p = mfa.Prompt{Name: "zenity", Environ: f.environ(), Display: true}
	c.Source = p.Code
	if _, err := c.Code(t.Context(), serial); !errors.Is(err, mfa.ErrDismissed) || f.read("n") != "x\n" {
		t.Errorf("a window that is closed: %v after %q, want ErrDismissed after one", err, f.read("n"))
	}
}

func TestPromptAgain(t *testing.T) {
	for _, name := range mfa.Prompts() {
		want := mfa.AskAgain
		if name == "ykman" || name == "pass" {
			want = mfa.WaitAgain
		}
		if got := (&mfa.Prompt{Name: name}).Again(); got != want {
			t.Errorf("Again of %s = %v, want %v", name, got, want)
		}
	}
}

// A program that waits for a touch says so where nobody sees it.
func TestPromptTellsOfWaiting(t *testing.T) {
	told := make(chan string, 1)
	f := newFake(t, "ykman", `while [ ! -e "$RECORD/touched" ]; do sleep 0.1; done; echo 123456`)
	p := mfa.Prompt{Name: "ykman", Environ: f.environ(), Timeout: 20 * time.Second, Tell: func(text string) {
		told <- text
		os.WriteFile(filepath.Join(f.dir, "touched"), nil, 0o600)
	}}
	if code, err := p.Code(t.Context(), serial); code != "123456" || err != nil {
		t.Fatalf("Code = %q, %v, want 123456", code, err)
	}
	if got, want := <-told, "waiting for ykman: if the YubiKey blinks, touch it"; got != want {
		t.Errorf("the user is told %q, want %q", got, want)
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		terminal, display bool
		installed         []string
		want              string
	}{
		{true, true, mfa.Prompts(), "terminal"},
		{true, false, nil, "terminal"},
		{false, false, mfa.Prompts(), ""},
		{false, true, mfa.Prompts(), "kdialog"},
		{false, true, []string{"zenity", "osascript"}, "osascript"},
		{false, true, []string{"zenity", "wincredui"}, "wincredui"},
		{false, true, []string{"zenity", "ykman", "pass", "pinentry"}, "zenity"},
		{false, true, []string{"ykman", "pass", "pinentry"}, ""},
	} {
		installed := func(name string) bool { return slices.Contains(c.installed, name) }
		if got := mfa.Choose(c.terminal, c.display, installed); got != c.want {
			t.Errorf("Choose(%t, %t) with %q = %q, want %q", c.terminal, c.display, c.installed, got, c.want)
		}
	}
}

// The real programs, on an X server without a screen.
func TestWindows(t *testing.T) {
	for _, name := range []string{"Xvfb", "xdotool"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("there is no ", name)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "800x600x24")
	server.ExtraFiles = []*os.File{w}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	w.Close()
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	number, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	environ := []string{"PATH=" + os.Getenv("PATH"), "DISPLAY=:" + strings.TrimSpace(number), "LANG=C.UTF-8", "HOME=" + home, "XDG_RUNTIME_DIR=" + home}

	for _, name := range []string{"zenity", "kdialog"} {
		t.Run(name, func(t *testing.T) {
			if !mfa.Installed(name, environ) {
				t.Skip("there is no ", name)
			}
			p := mfa.Prompt{Name: name, Profile: `"<b>é</b>" \n_&`, Environ: environ, Display: true, Timeout: 20 * time.Second}
			for _, c := range []struct {
				keys []string
				code string
				err  error
			}{
				{[]string{"1", "2", "3", "4", "5", "6", "Return"}, "123456", nil},
				{[]string{"1", "Escape"}, "", mfa.ErrDismissed},
			} {
				cmd := exec.CommandContext(t.Context(), "xdotool", append([]string{
					"search", "--sync", "--onlyvisible", "--name", "^kura", "windowfocus", "--sync", "key"}, c.keys...)...)
				cmd.Env = environ
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if code, err := p.Code(t.Context(), serial); code != c.code || !errors.Is(err, c.err) {
					t.Errorf("Code with the keys %q = %q, %v, want %q, %v", c.keys, code, err, c.code, c.err)
				}
				cmd.Wait()
			}
			p.Environ = append(slices.Clone(environ), "DISPLAY=:none")
			if _, err := p.Code(t.Context(), serial); !errors.Is(err, mfa.ErrNoDisplay) {
				t.Errorf("Code on a display that is not there: %v, want ErrNoDisplay", err)
			}
		})
	}
}
