package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A GPG is a GnuPG home with a key of its own, and a gpg-agent for it whose
// pinentry answers by itself. It answers with the passphrase of the key until
// it is told otherwise.
type GPG struct {
	Home    string   // GNUPGHOME
	User    string   // the user ID of the key, as for "pass init"
	Environ []string // to add to the environment of gpg's callers

	*daemon
}

// gpgPinentry speaks as much of the Assuan protocol as gpg-agent does with a
// pinentry. It notes that it was asked, and does what the file answer says.
const gpgPinentry = `#!/bin/sh
echo "OK ready"
while read -r command rest; do
	case "$command" in
	GETPIN)
		echo x >>'%[1]s/asked'
		read -r how text <'%[1]s/answer'
		case "$how" in
		passphrase)
			sleep 0.2 # nobody types faster
			echo "D $text"
			echo OK;;
		cancel) echo "ERR 83886179 Operation cancelled <Pinentry>";;
		never)
			while grep -qs never '%[1]s/answer'; do sleep 0.1; done
			echo "ERR 83886179 Operation cancelled <Pinentry>";;
		esac;;
	BYE)
		echo OK
		exit 0;;
	*)
		echo OK;;
	esac
done
`

// StartGPG makes a GnuPG home in a directory, whose path must be short enough
// for a socket, and a key that has a passphrase, or none if it is "". ctx limits
// the start only. If GnuPG is not installed it returns a *MissingError.
func StartGPG(ctx context.Context, dir, passphrase string) (*GPG, error) {
	agent, err := find("gpg-agent")
	if err != nil {
		return nil, err
	}
	if len(dir) > 90 {
		return nil, fmt.Errorf("%s is too long for a socket", dir)
	}
	g := &GPG{
		Home:    dir,
		User:    "kura-test@example.invalid",
		Environ: []string{"GNUPGHOME=" + dir},
	}
	pinentry := filepath.Join(dir, "pinentry")
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"pinentry", fmt.Sprintf(gpgPinentry, dir), 0o700},
		// A low s2k-count makes wrong and right passphrases quick to check.
		{"gpg-agent.conf", "pinentry-program " + pinentry + "\ndisable-scdaemon\ns2k-count 65536\n", 0o600},
		{"gpg.conf", "no-auto-key-locate\nno-greeting\n", 0o600},
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), f.mode); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	if err := g.AnswerPassphrase(passphrase); err != nil {
		return nil, err
	}
	// In this mode the agent stays our child, and ends with us.
	socket, err := listen(filepath.Join(dir, "S.gpg-agent"))
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	cmd := exec.Command(agent, "--homedir", dir, "--supervised")
	cmd.Env = append(cmd.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=std")
	cmd.ExtraFiles = []*os.File{socket}
	if err := logTo(cmd, filepath.Join(dir, "agent.log")); err != nil {
		return nil, err
	}
	if g.daemon, err = start(cmd); err != nil {
		return nil, err
	}
	_, err = g.Run(ctx, passphrase, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-fd", "0",
		"--quick-gen-key", "kura test <"+g.User+">", "future-default", "default", "never")
	if err == nil {
		err = g.Lock(ctx) // the agent has seen the passphrase
	}
	if err != nil {
		g.Stop()
		return nil, err
	}
	return g, nil
}

// listen returns a socket that another process can accept connections on.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	return l.File()
}

// Run runs gpg with an input and returns its output.
func (g *GPG) Run(ctx context.Context, stdin string, args ...string) (string, error) {
	return g.run(ctx, stdin, "gpg", args...)
}

// Lock makes the agent forget the passphrases that it was told.
func (g *GPG) Lock(ctx context.Context) error {
	out, err := g.run(ctx, "", "gpg-connect-agent", "RELOADAGENT", "/bye")
	if err == nil && !strings.HasPrefix(out, "OK") {
		err = fmt.Errorf("gpg-connect-agent: %s", out)
	}
	return err
}

func (g *GPG) run(ctx context.Context, stdin, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), g.Environ...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s", program, err, exit.Stderr)
	}
	return string(out), err
}

// AnswerPassphrase makes the pinentry answer with a passphrase, right or wrong.
func (g *GPG) AnswerPassphrase(passphrase string) error { return g.answer("passphrase " + passphrase) }

// AnswerCancel makes the pinentry answer that the user dismissed the question.
func (g *GPG) AnswerCancel() error { return g.answer("cancel") }

// AnswerNever makes the pinentry wait for an answer that does not come, until it
// is told another.
func (g *GPG) AnswerNever() error { return g.answer("never") }

func (g *GPG) answer(how string) error {
	return os.WriteFile(filepath.Join(g.Home, "answer"), []byte(how+"\n"), 0o600)
}

// Asked returns how often the pinentry was asked for a passphrase.
func (g *GPG) Asked() int {
	asked, _ := os.ReadFile(filepath.Join(g.Home, "asked")) // missing until then
	return bytes.Count(asked, []byte("\n"))
}

// Stop ends the agent.
func (g *GPG) Stop() { g.stop() }
