package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// talk is the command "talk FILE COMMAND [ARG...]" of scripts: a person runs
// the command on a terminal. FILE is all that the person sees there, with what
// is typed between « and », Enter after it included:
//
//	Enter Access Key ID: «AKIAIOSFODNN7EXAMPLE»AKIAIOSFODNN7EXAMPLE
//	Enter Secret Access Key: «wJalr...»*****
//
// Nothing is typed before the text to its left is there. ^C and ^D are those
// keys, $WORK is the directory of the script, $ESC begins an escape sequence,
// 15:04 is any time of the day, and 127.0.0.1:PORT any port.
func talk(ts *testscript.TestScript, neg bool, args []string) {
	verdict := ts.MkAbs(".verdict")
	err := ts.Exec("dialog", append([]string{verdict, ts.MkAbs(args[0])}, args[1:]...)...)
	if text := ts.ReadFile(verdict); text != "" {
		ts.Fatalf("%s", text)
	}
	if (err != nil) != neg {
		ts.Fatalf("the command ended with %v", err)
	}
}

// dialog is the program behind talk. It is one of its own to have the
// environment and directory of a script. Its exit status is that of the
// command; what is wrong with the dialog goes into the file of its first
// argument.
func dialog() {
	verdict, transcript, argv := os.Args[1], os.Args[2], os.Args[3:]
	status, err := converse(transcript, argv)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if err := os.WriteFile(verdict, []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(status)
}

func converse(transcript string, argv []string) (status int, err error) {
	data, err := os.ReadFile(transcript)
	if err != nil {
		return 1, err
	}
	rest := strings.NewReplacer("$WORK", os.Getenv("WORK"), "$ESC", "\x1b").Replace(string(data))

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	terminal, err := pty.Start(cmd)
	if err != nil {
		return 1, err
	}
	defer terminal.Close()
	// What hangs is hung up on.
	defer time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }).Stop()

	clock, begun := regexp.MustCompile(`\b\d\d:\d\d\b`), regexp.MustCompile(`\b\d\d?(:\d?)?$`)
	port := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	output, seen, want := "", "", ""
	expect := func() {
		var text string
		text, rest, _ = strings.Cut(rest, "«")
		want += text
	}
	expect()
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		output += strings.ReplaceAll(string(buf[:n]), "\r", "")
		seen = clock.ReplaceAllString(port.ReplaceAllString(output, "127.0.0.1:PORT"), "15:04")
		if err != nil {
			break // the last process has left
		}
		if !strings.HasPrefix(want, seen) && !strings.HasPrefix(want, begun.ReplaceAllString(seen, "")) {
			cmd.Process.Kill() // the dialog has taken another turn
		}
		for seen == want && rest != "" {
			var typed string
			typed, rest, _ = strings.Cut(rest, "»")
			keys, ok := map[string]string{"^C": "\x03", "^D": "\x04"}[typed]
			if !ok {
				keys = typed + "\r"
			}
			if _, err := terminal.WriteString(keys); err != nil {
				return 1, err
			}
			expect()
		}
	}
	if err := cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			return 1, err
		}
	}
	if seen != want || rest != "" {
		return 1, fmt.Errorf("%s: the terminal shows\n%s\nwant\n%s", filepath.Base(transcript), seen, want)
	}
	return cmd.ProcessState.ExitCode(), nil
}
