package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/creack/pty"
)

// A person types commands at a terminal and answers what they ask. After the
// first thing that goes wrong, which err says, the methods do nothing.
type person struct {
	home   string
	env    []string
	aws    *emulatedAWS
	screen strings.Builder // everything that was ever shown
	err    error
}

// A result is what a command showed and asked.
type result struct {
	command   string
	output    string
	questions []string
}

// A check says what is wrong with a result.
type check func(*result) error

// types runs a command line in a terminal of its own. The command must succeed
// and the result must pass the checks.
func (p *person) types(ctx context.Context, command string, checks ...check) {
	if p.err != nil {
		return
	}
	fmt.Printf("\n$ %s\n", command)
	r := &result{command: command}
	err := p.run(ctx, r)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // whatever it looked like
	}
	for _, check := range checks {
		if err == nil {
			err = check(r)
		}
	}
	if err != nil {
		p.err = fmt.Errorf("%s: %w", command, err)
	}
}

// run runs the command of r and fills in the rest.
func (p *person) run(ctx context.Context, r *result) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", r.command)
	cmd.Dir, cmd.Env = p.home, p.env
	terminal, err := pty.Start(cmd)
	if err != nil {
		return err
	}
	// To close it hangs up: whatever runs there ends.
	defer terminal.Close()
	defer context.AfterFunc(ctx, func() { terminal.Close() })()

	line := "" // what stands to the left of the cursor
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		text := strings.ReplaceAll(string(buf[:n]), "\r", "")
		fmt.Print(text)
		p.screen.WriteString(text)
		r.output += text
		line += text
		line = line[strings.LastIndexByte(line, '\n')+1:]
		if err != nil {
			return cmd.Wait() // Linux reports EIO when the last process has left
		}
		answer, known, err := p.answer(ctx, line)
		if err != nil {
			return err
		}
		if known {
			r.questions = append(r.questions, line)
			line = ""
			if _, err := io.WriteString(terminal, answer+"\r"); err != nil {
				return err
			}
		}
	}
}

// answer returns what the person types at a question, and whether the text is
// one.
func (p *person) answer(ctx context.Context, question string) (text string, known bool, err error) {
	if !strings.HasSuffix(question, ": ") {
		return "", false, nil
	}
	switch {
	case strings.Contains(question, "Access Key ID"):
		return keyID, true, nil
	case strings.Contains(question, "Secret Access Key"):
		return secretKey, true, nil
	case strings.Contains(question, "MFA Device ARN"):
		return "", true, nil // it goes into the config file later
	case strings.Contains(question, "MFA code for "+serial):
		text, err = p.aws.code(ctx, serial)
		return text, true, err
	case strings.Contains(strings.ToLower(question), "passphrase"), strings.HasPrefix(question, "Enter it again"):
		return passphrase, true, nil
	}
	return "", false, nil
}

// shows is the check that the output matches a regular expression.
func shows(pattern string) check {
	return func(r *result) error {
		if !regexp.MustCompile(pattern).MatchString(r.output) {
			return fmt.Errorf("the output does not match %q", pattern)
		}
		return nil
	}
}

// hides is the check that the output does not contain a text.
func hides(text string) check {
	return func(r *result) error {
		if strings.Contains(r.output, text) {
			return fmt.Errorf("the output contains %q", text)
		}
		return nil
	}
}

// asks is the check that the questions begin as is wanted, in order, and that
// there are no others but those about what is new.
func asks(want ...string) check {
	return func(r *result) error {
		want := want
		for _, question := range r.questions {
			if len(want) > 0 && strings.HasPrefix(question, want[0]) {
				want = want[1:]
			} else if !strings.HasPrefix(r.command, "kura add ") {
				return fmt.Errorf("it should not ask %q", question)
			}
		}
		if len(want) > 0 {
			return fmt.Errorf("it did not ask %q", want)
		}
		return nil
	}
}

// thinks prints a line that explains.
func (p *person) thinks(format string, args ...any) {
	if p.err == nil {
		fmt.Printf("\n# "+format+"\n", args...)
	}
}

// writes writes a file as an editor does.
func (p *person) writes(name, text string) {
	if p.err == nil {
		p.err = os.WriteFile(name, []byte(text), 0o600)
	}
}

// expects checks a list.
func (p *person) expects(what string, got, want []string) {
	if p.err == nil && !slices.Equal(got, want) {
		p.err = fmt.Errorf("%s: %q, want %q", what, got, want)
	}
}

// callsOf returns the operations of a service that AWS was called for.
func (p *person) callsOf(ctx context.Context, service string) (ops []string) {
	if p.err != nil {
		return nil
	}
	var calls []call
	calls, p.err = p.aws.calls(ctx)
	for _, c := range calls {
		if c.Service == service {
			ops = append(ops, c.Op)
		}
	}
	return ops
}

// inspects looks for secrets where none may be.
func (p *person) inspects(ctx context.Context) {
	if p.err != nil {
		return
	}
	var known, files int
	if known, files, p.err = p.findSecrets(ctx); p.err == nil {
		p.thinks("%d secrets are known. None of them is in the %d files of the scratch\n# home, and the access key has signed calls of STS only.", known, files)
	}
}

// findSecrets returns an error if a file of the home holds a secret, if what
// was typed was shown, or if the access key was used for anything but STS.
func (p *person) findSecrets(ctx context.Context) (known, files int, err error) {
	secrets, err := p.aws.secrets(ctx)
	if err != nil {
		return 0, 0, err
	}
	secrets = append(secrets, passphrase)
	err = filepath.WalkDir(p.home, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(name)
		if slices.ContainsFunc(secrets, func(s string) bool { return bytes.Contains(data, []byte(s)) }) {
			return fmt.Errorf("%s holds a secret in the clear", name)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	for _, typed := range []string{secretKey, passphrase} {
		if strings.Contains(p.screen.String(), typed) {
			return 0, 0, errors.New("a secret was shown as it was typed")
		}
	}
	calls, err := p.aws.calls(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range calls {
		if c.Service != "sts" && c.KeyID == keyID {
			return 0, 0, fmt.Errorf("the access key itself has signed %s %s", c.Service, c.Op)
		}
	}
	return len(secrets), files, nil
}
