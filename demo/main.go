// Demo plays kura's main job as a person at a terminal does it: an access key
// goes into the store, profiles into the AWS config file, and the AWS CLI runs
// with the credentials of a role, in a scratch home and against an emulated
// AWS. It is a check as well: it ends with an error where something does not go
// as it should.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"kura/internal/unlocked"
)

// Who the person is, at the emulated AWS. The key is AWS's own example.
const (
	keyID      = "AKIAI44QH8DHBEXAMPLE"
	secretKey  = "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"
	serial     = "arn:aws:iam::111122223333:mfa/oppara"
	passphrase = "correct horse battery staple"
)

const config = `[default]
output = json
region = ap-northeast-1

[profile oppara-dev]
source_profile = default
mfa_serial = ` + serial + `
role_arn = arn:aws:iam::111122223333:role/admin
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if filepath.Base(os.Args[0]) == "aws" {
		if err := awsCLI(ctx, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "aws:", err)
			os.Exit(1)
		}
		return
	}
	began := time.Now()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Printf("\n# All as it should be, after %.0f s.\n", time.Since(began).Seconds())
}

// run sets the stage, plays and clears up.
func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "kura-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, home := filepath.Join(dir, "bin"), filepath.Join(dir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		return err
	}
	if err := build(ctx, bin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it has taken longer than a minute"))
	defer cancel()
	aws, stop, err := startAWS(ctx, filepath.Join(bin, "fakeaws"))
	if err != nil {
		return err
	}
	defer stop()

	p := &person{home: home, aws: aws, env: environ(home, bin, aws.url)}
	if !works(ctx, "aws", p.env) {
		p.thinks("There is no AWS CLI here: a stand-in for \"aws s3 ls\" is used.")
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if err := os.Symlink(self, filepath.Join(bin, "aws")); err != nil {
			return err
		}
	}
	// What the kernel keeps would outlive the scratch home.
	defer func() {
		lock := exec.Command(filepath.Join(bin, "kura"), "lock")
		lock.Env = p.env
		err = errors.Join(err, lock.Run())
	}()
	return p.play(ctx)
}

// play is the play. It follows a person through the first days.
func (p *person) play(ctx context.Context) error {
	const (
		askID         = "Enter Access Key ID"
		askSecret     = "Enter Secret Access Key"
		askPassphrase = "Enter passphrase"
		askCode       = "Enter MFA code for " + serial
	)
	fmt.Printf("$ export AWS_ENDPOINT_URL=%s  # the emulated AWS\n", p.aws.url)
	p.types(ctx, "kura --version", shows(`^\S+\n$`))

	p.thinks("An access key goes into the store, which is new: it gets a passphrase.")
	p.types(ctx, "kura add default", asks(askID, askSecret), shows(`Added credentials to profile "default" in vault\n$`))
	p.types(ctx, "kura list", shows(`^Profile +Credentials +Sessions *\n=+ +=+ +=+ *\ndefault +default +- *\n$`))

	p.thinks("The profiles are those of the AWS CLI.")
	p.writes(filepath.Join(p.home, ".aws", "config"), config)
	p.types(ctx, "cat ~/.aws/config")

	p.thinks("The next morning the store is locked.")
	p.types(ctx, "kura lock")
	p.types(ctx, "kura exec oppara-dev -- aws s3 ls", asks(askPassphrase, askCode),
		shows(regexp.QuoteMeta(askCode)+`: \d{6}\n`), // as it was typed
		shows(`example-payroll`))                     // which that role alone may see
	before := p.callsOf(ctx, "sts")
	p.expects("calls of STS", before, []string{"GetCallerIdentity", "GetSessionToken", "AssumeRole"})
	p.types(ctx, "kura list", shows(`(?m)^oppara-dev +- +sts\.AssumeRole:(1h0m0s|59m\d+s) *$`))

	p.thinks("Until the session ends nothing is asked again, neither here nor at AWS.")
	questions := asks()
	if err := unlocked.Open("demo").Works(); err != nil {
		p.thinks("(This kernel keeps nothing: the passphrase is asked for each time.)")
		questions = asks(askPassphrase)
	}
	p.types(ctx, "kura exec oppara-dev -- aws s3 ls", questions, shows(`example-payroll`))
	after := p.callsOf(ctx, "sts")
	p.expects("calls of STS", after, before)
	p.thinks("The emulated AWS has counted the calls of STS: %d before, %d after.", len(before), len(after))

	p.thinks("A command gets credentials that expire, and they go when it ends.")
	p.types(ctx, "kura exec oppara-dev -- env | grep AWS_",
		shows(`(?m)^AWS_ACCESS_KEY_ID=ASIA`), shows(`(?m)^AWS_SECRET_ACCESS_KEY=.`), shows(`(?m)^AWS_SESSION_TOKEN=.`),
		shows(`(?m)^AWS_CREDENTIAL_EXPIRATION=20`), hides(keyID))
	p.types(ctx, "env | grep AWS_", hides("AWS_ACCESS_KEY_ID"), hides("AWS_SESSION_TOKEN"))
	p.inspects(ctx)

	p.thinks("The day is over.")
	p.types(ctx, "kura clear", shows(`Cleared 2 sessions\.\n$`))
	p.types(ctx, "kura lock")
	p.types(ctx, "kura list", shows(`(?m)^oppara-dev +- +- *$`))
	return p.err
}

// build builds the programs of the play.
func build(ctx context.Context, bin string) error {
	out, err := goBuild(ctx, bin)
	if err != nil && bytes.Contains(out, []byte("-buildvcs=false")) {
		// The checkout belongs to somebody else, whom git does not trust.
		out, err = goBuild(ctx, bin, "-buildvcs=false")
	}
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func goBuild(ctx context.Context, bin string, flags ...string) ([]byte, error) {
	args := append([]string{"build", "-o", bin + string(filepath.Separator)}, flags...)
	return exec.CommandContext(ctx, "go", append(args, "./cmd/kura", "./cmd/fakeaws")...).CombinedOutput()
}

// environ is the environment of the scratch home: that of this process without
// what could lead to the person's real files, keys and settings.
func environ(home, bin, url string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case name == "HOME", name == "PATH", strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "KURA_"), strings.HasPrefix(name, "XDG_"):
		case strings.HasSuffix(strings.ToLower(name), "_proxy"):
		default:
			env = append(env, entry)
		}
	}
	return append(env,
		"HOME="+home, "KURA_BACKEND=file", // not the keyring of who watches
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"AWS_ENDPOINT_URL="+url,
		"AWS_PAGER=",
	)
}

// works reports whether a program can be started in env: one that is found may
// still lack what it needs, such as its Python.
func works(ctx context.Context, name string, env []string) bool {
	if runtime.GOOS == "windows" {
		return false
	}
	cmd := exec.CommandContext(ctx, name, "--version")
	cmd.Env = env
	return cmd.Run() == nil
}

// startAWS starts the emulated AWS and waits until it can be called.
func startAWS(ctx context.Context, program string) (a *emulatedAWS, stop func(), err error) {
	cmd := exec.CommandContext(ctx, program, "--listen", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("fakeaws does not say where it listens: %w", err)
	}
	return &emulatedAWS{strings.TrimSpace(url)}, stop, nil
}
