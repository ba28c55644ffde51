package console

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kura/internal/cred"
	"kura/internal/store/program"
)

// copyTimeout is how long a clipboard's program may take to take a text. Those of
// X and Wayland go on in the background then.
const copyTimeout = 10 * time.Second

// ErrNoClipboard says that there is neither a program that copies nor a terminal.
var ErrNoClipboard = errors.New("there is no clipboard: no program for it, and no terminal")

// Copy puts a URL into the clipboard and returns the program that did so. Remote
// says that the person sits at another machine. Then, and where there is no program
// for it, the terminal is asked to do it (OSC 52), which does not tell whether it
// did; by is "". It is nil if there is none.
func (s System) Copy(ctx context.Context, url cred.Secret, remote bool, terminal io.Writer) (by string, err error) {
	if argv := s.copier(); argv != nil && !remote {
		ctx, cancel := context.WithTimeout(ctx, copyTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env, cmd.SysProcAttr = s.Environ, alone()
		cmd.Stdin = strings.NewReader(url.Reveal())
		name := filepath.Base(argv[0])
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("copying to the clipboard: %s: %w", name, err)
		}
		return name, nil
	}
	if terminal == nil {
		return "", ErrNoClipboard
	}
	_, err = io.WriteString(terminal, s.osc52(url.Reveal()))
	return "", err
}

// copier returns the command that copies its standard input.
func (s System) copier() []string {
	var list [][]string
	switch {
	case s.OS == "darwin":
		list = [][]string{{"pbcopy"}}
	case s.OS == "windows":
		list = [][]string{{"clip.exe"}}
	case program.Getenv(s.Environ, "WAYLAND_DISPLAY") != "":
		list = [][]string{{"wl-copy"}}
		fallthrough
	case s.Display:
		list = append(list, []string{"xclip", "-selection", "clipboard"}, []string{"xsel", "--clipboard", "--input"})
		fallthrough
	default:
		list = append(list, []string{"clip.exe"}) // of WSL
	}
	for _, argv := range list {
		if path, err := program.Find(argv[0], s.Environ); err == nil {
			return append([]string{path}, argv[1:]...)
		}
	}
	return nil
}

// osc52 returns what makes a terminal copy a text. tmux and screen, which are a
// terminal to this program, pass on what is wrapped for them.
//
// https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
func (s System) osc52(text string) string {
	sequence := "\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(text)) + "\a"
	switch {
	case program.Getenv(s.Environ, "TMUX") != "":
		return sequence + "\x1bPtmux;\x1b" + sequence + "\x1b\\"
	case strings.HasPrefix(program.Getenv(s.Environ, "TERM"), "screen"):
		return "\x1bP" + sequence + "\x1b\\"
	}
	return sequence
}
