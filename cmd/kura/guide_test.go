package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestGuides does what the guides of docs say, and looks for what they show.
// What is indented by four spaces and begins with "$ " is a command for sh, on a
// terminal; the indented lines after it are among what it prints there. In them
// an ellipsis is anything, and so is what changes from one time to the next:
// token codes, times and access key IDs of AWS. Each command must end well.
//
// A comment of HTML that begins with "test: " holds lines of a script, for what
// a reader does by other means. One that is "append: FILE" is for what is
// indented next, which is for an editor.
func TestGuides(t *testing.T) {
	for _, name := range []string{"operating.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		script := filepath.Join(dir, strings.TrimSuffix(name, ".md")+".txtar")
		if err := os.WriteFile(script, []byte(guideScript(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		testscript.Run(t, scripts(dir))
	}
}

var (
	guideComment = regexp.MustCompile(`(?s)^<!-- test: (.*?) -->`)
	guideAppend  = regexp.MustCompile(`^<!-- append: (.*?) -->`)
	guideVaries  = regexp.MustCompile(`…|\b\d{6}\b|\bAKIA[0-9A-Z]{16}\b|\b\d+h\d+m\d+s\b|\b\d+m\d+s\b`)
)

// A reader of a guide has the AWS CLI, and a home of his own.
const (
	guideBegin = "[!linux] skip 'needs a pty'\nmode 700 in/bin/aws\nenv PATH=$WORK/in/bin:$PATH\nenv AWS_CONFIG_FILE=\nenv KURA_DEBUG=\ntypes\n"
	guideAWS   = "-- in/bin/aws --\n#!/bin/sh\nexec caller-identity\n"
)

// guideScript returns the script of a guide.
func guideScript(text string) string {
	var script, files strings.Builder
	steps := 0
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if m := guideComment.FindStringSubmatch(strings.Join(lines[i:], "\n")); m != nil {
			fmt.Fprintln(&script, m[1])
			i += strings.Count(m[1], "\n")
			continue
		}
		if m := guideAppend.FindStringSubmatch(lines[i]); m != nil {
			steps++
			fmt.Fprintf(&script, "exec sh -c 'cat in/step%d >>%s'\n", steps, m[1])
			fmt.Fprintf(&files, "-- in/step%d --\n", steps)
			for i += 2; strings.HasPrefix(lines[i], "    "); i++ {
				fmt.Fprintln(&files, strings.TrimPrefix(lines[i], "    "))
			}
			continue
		}
		command, ok := strings.CutPrefix(lines[i], "    $ ")
		if !ok {
			continue
		}
		var shown []string
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ") && !strings.HasPrefix(lines[i+1], "    $ ") {
			i++
			line := strings.TrimRight(strings.TrimPrefix(lines[i], "    "), " ")
			if line != "" && line != "…" {
				shown = append(shown, line)
			}
		}
		steps++
		fmt.Fprintf(&files, "-- in/step%d --\n%s\n", steps, command)
		fmt.Fprintf(&script, "exec reader in/typed in/step%d\ntypes\n", steps)
		for _, line := range shown {
			fmt.Fprintf(&script, "shows '%s'\n", strings.ReplaceAll(line, "'", "''"))
		}
	}
	return guideBegin + script.String() + "leaks\n" + guideAWS + files.String()
}

// reader is the program "reader TYPED STEP": somebody runs the script STEP on a
// terminal and answers each question, which ends with a colon or "(y|N)", with the next
// line of TYPED. It prints what is on the terminal.
func reader() {
	typed, err := os.ReadFile(os.Args[1])
	if err != nil {
		readerFailed(err)
	}
	answers := strings.Split(strings.TrimSpace(string(typed)), "\n")
	cmd := exec.Command("sh", os.Args[2])
	terminal, err := pty.Start(cmd)
	if err != nil {
		readerFailed(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill(); terminal.Close() }).Stop()
	line := ""
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		os.Stdout.Write(buf[:n])
		if err != nil {
			break // the last process has left
		}
		line += string(buf[:n])
		line = line[strings.LastIndex(line, "\n")+1:]
		if !strings.HasSuffix(line, ": ") && !strings.HasSuffix(line, "? (y|N) ") {
			continue
		}
		if len(answers) == 0 {
			answers = []string{"\x03"} // it asks for more than the guide says
		}
		if _, err := terminal.WriteString(answers[0] + "\r"); err != nil {
			readerFailed(err)
		}
		answers, line = answers[1:], ""
	}
	if err := cmd.Wait(); err != nil {
		readerFailed(err)
	}
}

func readerFailed(err error) {
	fmt.Fprintln(os.Stderr, "reader:", err)
	os.Exit(1)
}

// types is the command "types [LINE...]" of guides: what a person will type at
// the next command. "code" is a token code that AWS accepts now.
func types(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.Join(args, "\n") + "\n"
	if strings.Contains(text, "code\n") {
		code(ts, false, []string{"in/code"})
		text = strings.ReplaceAll(text, "code\n", ts.ReadFile("in/code"))
	}
	file := ts.MkAbs("in/typed")
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o700))
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// shows is the command "shows LINE" of guides: the last command has printed it.
func shows(ts *testscript.TestScript, _ bool, args []string) {
	pattern, last := "", 0
	for _, at := range guideVaries.FindAllStringIndex(args[0], -1) {
		varies := args[0][at[0]:at[1]]
		pattern += regexp.QuoteMeta(args[0][last:at[0]])
		if varies == "…" {
			varies = `.*`
		} else {
			varies = `[0-9A-Zhms]+`
		}
		pattern, last = pattern+varies, at[1]
	}
	pattern += regexp.QuoteMeta(args[0][last:])
	printed := strings.ReplaceAll(ts.ReadFile("stdout"), "\r", "")
	if !regexp.MustCompile(`(?m)^` + pattern + ` *$`).MatchString(printed) {
		ts.Fatalf("the last command does not print %q, but\n%s", args[0], printed)
	}
}
