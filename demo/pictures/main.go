//go:build unix

// Pictures draws docs/pictures: what commands of kura show on a terminal. It runs
// the real kura on a terminal of its own, in a scratch home, with sessions that
// the emulated AWS has given it, so that what is shown is what there is. Two runs
// draw the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"

	"kura/internal/awstest"
	"kura/internal/store"
	"kura/internal/store/file"
)

const config = `[default]
region = ap-northeast-1

[profile dev]
source_profile = default
mfa_serial = ` + awstest.MFASerial + `
role_arn = arn:aws:iam::111122223333:role/admin

[profile hub]
source_profile = default
mfa_serial = ` + awstest.MFASerial + `
role_arn = arn:aws:iam::111122223333:role/hub

[profile "経理-監査"]
source_profile = hub
role_arn = arn:aws:iam::444455556666:role/spoke
duration_seconds = 14400

[profile readonly]
source_profile = default
mfa_serial = ` + awstest.MFASerial + `
role_arn = arn:aws:iam::111122223333:role/readonly
`

// pictures are the commands that are drawn, by the name of the picture.
var pictures = []struct{ name, command string }{
	{"status", "kura status"},
	{"explain", "kura explain 経理-監査"},
}

const (
	columns    = 96
	passphrase = "correct horse battery staple"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	drawn, err := draw(ctx, ".")
	for name, svg := range drawn {
		if err == nil {
			err = os.WriteFile(filepath.Join("docs", "pictures", name+".svg"), svg, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// draw returns the pictures by name. The directory is that of the module.
func draw(ctx context.Context, module string) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "kura-pictures-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := setStage(ctx, module, dir)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	drawn := map[string][]byte{}
	for _, p := range pictures {
		out, err := s.terminal(ctx, p.command)
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", p.command, err, out)
		}
		drawn[p.name] = render(p.command, parse(atOneTime(string(out))))
	}
	return drawn, nil
}

// A stage is a home with a key and sessions.
type stage struct {
	env  []string
	stop func()
}

// setStage makes a home in a directory, and mints sessions there. AWS has its own
// names, by way of a proxy, so that what is drawn has them too.
func setStage(ctx context.Context, module, dir string) (*stage, error) {
	home, bin := filepath.Join(dir, "home"), filepath.Join(dir, "bin")
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "kura"), "./cmd/kura")
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := makeStore(ctx, filepath.Join(home, ".local", "share", "kura", "store")); err != nil {
		return nil, err
	}
	cloud := awstest.New(awstest.Config{TLS: true})
	proxy := httptest.NewServer(tunnel(strings.TrimPrefix(cloud.URL, "https://")))
	s := &stage{stop: func() { proxy.Close(); cloud.Close() }}
	s.env = []string{
		"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "USER=ann",
		"LANG=C.UTF-8", "TERM=xterm-256color", "TZ=" + morning(time.Now()),
		"KURA_UNLOCK_TTL=0s", // nothing is left in the kernel
	}
	ca := filepath.Join(dir, "ca.pem")
	err := errors.Join(
		os.WriteFile(ca, cloud.CA.PEM(), 0o600),
		os.WriteFile(filepath.Join(home, ".aws", "config"), []byte(config), 0o600),
	)
	if err != nil {
		s.stop()
		return nil, err
	}
	code, err := cloud.Code(awstest.MFASerial)
	online := append(s.env, "AWS_CA_BUNDLE="+ca, "HTTPS_PROXY="+proxy.URL, "KURA_MFA_TOKEN="+code, "KURA_FILE_PASSPHRASE="+passphrase)
	run := func(stdin string, args ...string) {
		if err != nil {
			return
		}
		c := exec.CommandContext(ctx, filepath.Join(bin, "kura"), args...)
		c.Env, c.Stdin = online, strings.NewReader(stdin)
		if out, failed := c.CombinedOutput(); failed != nil {
			err = fmt.Errorf("kura %q: %w\n%s", args, failed, out)
		}
	}
	run(awstest.AccessKeyID+"\n"+awstest.SecretAccessKey+"\n", "add", "default")
	run("", "exec", "dev", "--", "true")
	run("", "exec", "経理-監査", "--", "true")
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// makeStore makes an empty store whose passphrase takes no half second to try.
func makeStore(ctx context.Context, dir string) error {
	s := file.Open(file.Options{
		Dir:           dir,
		NewPassphrase: func(context.Context) (string, error) { return passphrase, nil },
		WorkFactor:    1,
	})
	key := store.Key{Kind: store.CacheKey, Name: "none"}
	if err := s.Put(ctx, key, nil); err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// tunnel is a proxy that connects to one address, whichever is asked for.
func tunnel(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", address)
		if r.Method != http.MethodConnect || err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go io.Copy(to, from)
		io.Copy(from, to)
	}
}

// terminal runs a command on a terminal and returns what it shows.
func (s *stage) terminal(ctx context.Context, command string) ([]byte, error) {
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Env = s.env
	screen, err := pty.StartWithSize(c, &pty.Winsize{Rows: 50, Cols: columns})
	if err != nil {
		return nil, err
	}
	defer screen.Close()
	var out []byte
	for buf := make([]byte, 4096); ; {
		n, err := screen.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil {
			return out, c.Wait() // Linux reports EIO when the last process has left
		}
	}
}

// morning returns a time zone in which it is nine o'clock or a little later.
func morning(now time.Time) string {
	east := (9 - now.UTC().Hour() + 24) % 24
	if east > 12 {
		east -= 24
	}
	return fmt.Sprintf("Etc/GMT%+d", -east) // its signs are POSIX's
}

var until = regexp.MustCompile(`((?:\d+h)?\d+m) left, until \d\d:\d\d`)

// atOneTime returns what a terminal shows with the times of the clock as they
// would be at half past nine. They follow from the time that is left, which each
// run has alike, because it looks at once at sessions that are new.
func atOneTime(text string) string {
	return until.ReplaceAllStringFunc(text, func(s string) string {
		left, _, _ := strings.Cut(s, " ")
		d, err := time.ParseDuration(left)
		if err != nil {
			return s
		}
		began := time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)
		return left + " left, until " + began.Add(d+time.Minute).Format("15:04")
	})
}
