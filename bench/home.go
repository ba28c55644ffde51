//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kura/internal/awstest"
	"kura/internal/store/live"
)

// items is how many access keys the Secret Service holds. It makes those slow
// who look at each.
const items = 102

// A rig is a scratch directory with the programs to measure.
type rig struct {
	dir, kura, empty string
	ends             []func() // undo what was set up, the last first
}

// newRig builds the programs. It returns a rig, which must be ended, with an
// error too.
func newRig(ctx context.Context) (*rig, error) {
	r := new(rig)
	var err error
	if r.dir, err = os.MkdirTemp("", "kura-bench-"); err != nil {
		return r, err
	}
	r.atEnd(func() { os.RemoveAll(r.dir) })
	r.kura, r.empty = filepath.Join(r.dir, "kura"), filepath.Join(r.dir, "empty")
	source := filepath.Join(r.dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return r, err
	}
	for out, pkg := range map[string]string{r.kura: "./cmd/kura", r.empty: source} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return r, fmt.Errorf("building %s: %w\n%s", pkg, err, text)
		}
	}
	return r, nil
}

func (r *rig) atEnd(f func()) { r.ends = append(r.ends, f) }

func (r *rig) end() {
	for _, f := range slices.Backward(r.ends) {
		f()
	}
}

// file returns a home whose store is a directory.
func (r *rig) file(ctx context.Context) (*home, error) {
	return r.home(ctx, "file", 1, "KURA_BACKEND=file", "KURA_FILE_PASSPHRASE=bench")
}

// secretService returns a home whose store is the default collection of a
// gnome-keyring, unlocked as after the login to a desktop.
func (r *rig) secretService(ctx context.Context) (*home, error) {
	g, err := live.StartGnomeKeyring(ctx, filepath.Join(r.dir, "gnome-keyring"), true)
	if err != nil {
		return nil, err
	}
	r.atEnd(g.Stop)
	return r.home(ctx, "secret-service", items, append(g.Environ, "KURA_BACKEND=secret-service")...)
}

// pass returns a home whose store is a password store. Its key has no
// passphrase: nobody is there to be asked.
func (r *rig) pass(ctx context.Context) (*home, error) {
	pass, err := exec.LookPath("pass")
	if err != nil {
		return nil, &live.MissingError{Program: "pass"}
	}
	g, err := live.StartGPG(ctx, filepath.Join(r.dir, "gnupg"), "")
	if err != nil {
		return nil, err
	}
	r.atEnd(g.Stop)
	dir := filepath.Join(r.dir, "password-store")
	env := append(g.Environ, "PASSWORD_STORE_DIR="+dir, "KURA_BACKEND=pass")
	initialize := exec.CommandContext(ctx, pass, "init", g.User)
	initialize.Env = append(os.Environ(), env...)
	if text, err := initialize.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pass init: %w\n%s", err, text)
	}
	return r.home(ctx, "pass", 1, env...)
}

// A home is that of a user who has a store, and an emulated AWS to himself:
// nobody else uses its token codes.
type home struct {
	dir, kura string
	cloud     *awstest.Cloud
	env       []string
	sessions  int // of those that looking has made
}

// home makes a home with a number of access keys in the store that env names,
// and a session in the cache.
func (r *rig) home(ctx context.Context, name string, keys int, env ...string) (*home, error) {
	h := &home{filepath.Join(r.dir, name), r.kura, awstest.New(awstest.Config{}), nil, 0}
	r.atEnd(h.cloud.Close)
	h.env = append([]string{
		"HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "USER=ann",
		"AWS_CONFIG_FILE=" + filepath.Join(h.dir, "config"), "AWS_ENDPOINT_URL=" + h.cloud.URL,
	}, env...)
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return nil, err
	}
	var csv strings.Builder
	fmt.Fprintf(&csv, "User name,Access key ID,Secret access key\nbase,%s,%s\n", awstest.AccessKeyID, awstest.SecretAccessKey)
	for i := range keys - 1 {
		fmt.Fprintf(&csv, "user-%03d,AKIAEXAMPLE%09d,%040d\n", i, i, i)
	}
	for name, text := range map[string]string{"config": "[profile base]\n\n" + h.profile("it"), "keys.csv": csv.String()} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	// Nothing is left in the kernel, even if we are interrupted.
	r.atEnd(func() { h.run(context.WithoutCancel(ctx), h.kura, "lock") })
	if err := h.run(ctx, h.kura, "import", "--add-config=false", "csv", filepath.Join(h.dir, "keys.csv")); err != nil {
		return nil, err
	}
	if err := h.newCode(); err != nil {
		return nil, err
	}
	return h, h.run(ctx, h.kura, "exec", "it", "--", "true")
}

// profile returns a profile of the config file.
func (h *home) profile(name string) string {
	return fmt.Sprintf("[profile %s]\nregion = eu-west-1\nsource_profile = base\nrole_arn = arn:aws:iam::%s:role/admin\nmfa_serial = %s\nmfa_process = cat %s\n\n",
		name, awstest.Account, awstest.MFASerial, filepath.Join(h.dir, "code"))
}

// crowded returns the same home with a config file of 1000 profiles.
func (h *home) crowded() (*home, error) {
	name := filepath.Join(h.dir, "config")
	config, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for i := range 998 {
		config = append(config, h.profile(fmt.Sprintf("p%d", i))...)
	}
	other := *h
	other.env = append(slices.Clone(h.env), "AWS_CONFIG_FILE="+name+".1000")
	return &other, os.WriteFile(name+".1000", config, 0o600)
}

// looking returns the same home with another cache, which holds so many sessions.
// They are copies of one, with the names of other profiles: what only looks at
// sessions does not unseal them.
func (h *home) looking(sessions int) (*home, error) {
	from := filepath.Join(h.dir, ".cache", "kura", "sessions")
	files, err := filepath.Glob(filepath.Join(from, "*.session"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no session to copy in %s: %w", from, err)
	}
	one, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	other := *h
	cache := filepath.Join(h.dir, fmt.Sprintf("cache-%d", sessions))
	other.env = append(slices.Clone(h.env), "XDG_CACHE_HOME="+cache)
	other.sessions = sessions
	to := filepath.Join(cache, "kura", "sessions")
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, err
	}
	lines := bytes.SplitN(one, []byte("\n"), 3) // the format, the profile, the rest
	for i := range sessions {
		copied := fmt.Appendf(nil, "%s\n%q\n%s", lines[0], fmt.Sprintf("p%d", i), lines[2])
		name := filepath.Join(to, fmt.Sprintf("%032x.session", i))
		if err := os.WriteFile(name, copied, 0o600); err != nil {
			return nil, err
		}
	}
	return &other, nil
}

// prompting returns the same home as a shell sees it that exec has started.
func (h *home) prompting() *home {
	other := *h
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	other.env = append(slices.Clone(h.env), "AWS_VAULT=it", "AWS_CREDENTIAL_EXPIRATION="+until)
	return &other
}

// newCode puts a token code that AWS accepts where mfa_process finds it. When
// all are used, the clock of AWS is put forward to the next one.
func (h *home) newCode() error {
	code, err := h.cloud.Code(awstest.MFASerial)
	if used, ok := errors.AsType[*awstest.NoCodeError](err); ok {
		h.cloud.SetClockOffset(time.Until(used.Until))
		code, err = h.cloud.Code(awstest.MFASerial)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.dir, "code"), []byte(code), 0o600)
}

// cool makes the next command find no session, and nothing kept of the store.
func (h *home) cool(ctx context.Context) error {
	for _, command := range []string{"clear", "lock"} {
		if err := h.run(ctx, h.kura, command); err != nil {
			return err
		}
	}
	return h.newCode()
}

func (h *home) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = slices.Clone(h.env)
	return c
}

func (h *home) run(ctx context.Context, name string, args ...string) error {
	if text, err := h.command(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, text)
	}
	return nil
}
