package console

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	qrreader "github.com/piglig/go-qr"

	"kura/internal/cred"
)

// machine returns a Linux with these programs, and variables besides PATH.
func machine(t *testing.T, programs []string, variables ...string) (System, string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	dir := t.TempDir()
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ncat >\"$OUT\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return System{OS: "linux", Environ: append(variables, "PATH="+dir), Display: true}, dir
}

func TestBrowser(t *testing.T) {
	everything := []string{"xdg-open", "firefox", "google-chrome", "chromium", "lynx", "my browser", "my-firefox"}
	for _, test := range []struct {
		name     string
		programs []string
		browser  Browser
		env      string // BROWSER
		want     []string
	}{
		{"the system's", everything, Browser{}, "", []string{"xdg-open URL"}},
		{"$BROWSER", everything, Browser{}, "lynx", []string{"lynx URL"}},
		{"a list in $BROWSER", everything, Browser{}, "nothing:firefox -new-tab %s:lynx -x", []string{"firefox -new-tab URL", "lynx -x URL"}},
		{"a $BROWSER that is not there", everything, Browser{}, "nothing", []string{"xdg-open URL"}},
		{"by its program", everything, Browser{Command: "lynx"}, "firefox", []string{"lynx URL"}},
		{"by a name with a blank", everything, Browser{Command: "my browser"}, "", []string{"my browser URL"}},
		{"by its name", everything, Browser{Command: "Chrome"}, "", []string{"google-chrome URL"}},
		{"with arguments", everything, Browser{Command: "chrome --incognito"}, "", []string{"google-chrome --incognito URL"}},
		{"the URL within", everything, Browser{Command: "lynx --to=%s -x"}, "", []string{"lynx --to=URL -x"}},
		{"a container", everything, Browser{Container: "work & play"}, "lynx", []string{"firefox ext+container:name=work%20%26%20play&url=QUOTED"}},
		{"a container of the listed", everything, Browser{Container: "a"}, "lynx:my-firefox -x %s", []string{"my-firefox -x ext+container:name=a&url=QUOTED"}},
		{"a container and a profile", everything, Browser{Command: "firefox", Container: "a", Profile: "b c"}, "", []string{"firefox -P b c ext+container:name=a&url=QUOTED"}},
		{"a profile", everything, Browser{Profile: "Profile 1"}, "", []string{"google-chrome --profile-directory=Profile 1 URL"}},
		{"a profile of another", everything, Browser{Command: "chromium", Profile: "Profile 1"}, "", []string{"chromium --profile-directory=Profile 1 URL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, dir := machine(t, test.programs, "BROWSER="+test.env)
			commands, err := test.browser.Commands(s)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, argv := range commands("http://127.0.0.1:1/X") {
				line := strings.TrimPrefix(strings.Join(argv, " "), dir+"/")
				line = strings.ReplaceAll(line, "http://127.0.0.1:1/X", "URL")
				got = append(got, strings.ReplaceAll(line, "http%3A%2F%2F127.0.0.1%3A1%2FX", "QUOTED"))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("commands %q, want %q", got, test.want)
			}
		})
	}
}

func TestNoBrowser(t *testing.T) {
	s, _ := machine(t, []string{"lynx"})
	for _, test := range []struct {
		browser Browser
		want    string
	}{
		{Browser{}, ""},
		{Browser{Command: "nothing"}, "nothing"},
		{Browser{Command: "nothing -x"}, "nothing -x"},
		{Browser{Command: "edge"}, "edge"},
		{Browser{Profile: "x"}, "chrome"},
		{Browser{Container: "x"}, "firefox"},
	} {
		_, err := test.browser.Commands(s)
		if e, ok := errors.AsType[*NoBrowserError](err); !ok || e.Command != test.want {
			t.Errorf("%+v: %v, want a *NoBrowserError about %q", test.browser, err, test.want)
		}
	}
	for _, b := range []Browser{{Command: "lynx", Container: "x"}, {Command: "lynx", Profile: "x"}} {
		_, err := b.Commands(s)
		if _, ok := errors.AsType[*MisfitError](err); !ok {
			t.Errorf("%+v: %v, want a *MisfitError", b, err)
		}
	}
	s, _ = machine(t, []string{"xdg-open"})
	s.Display = false
	if _, err := (Browser{}).Commands(s); err == nil || err.Error() != "there is no display to show a browser on" {
		t.Errorf("without a display: %v", err)
	}
}

func TestCopy(t *testing.T) {
	s, _ := machine(t, []string{"xclip", "clip.exe"}, "OUT="+filepath.Join(t.TempDir(), "copied"))
	s.Environ[1] += ":/bin:/usr/bin"
	by, err := s.Copy(t.Context(), cred.NewSecret(target), false, nil)
	if err != nil || by != "xclip" {
		t.Fatalf("Copy = %q, %v", by, err)
	}
	got, err := os.ReadFile(strings.TrimPrefix(s.Environ[0], "OUT="))
	if err != nil || string(got) != target {
		t.Errorf("copied %q, %v", got, err)
	}

	// base64 of the URL
	const code = "\x1b]52;c;aHR0cHM6Ly9zaWduaW4uZXhhbXBsZS9mZWRlcmF0aW9uP1NpZ25pblRva2VuPXNlY3JldC1vZi1leGFtcGxl\a"
	for _, test := range []struct{ variable, want string }{
		{"X=", code},
		{"TMUX=socket", code + "\x1bPtmux;\x1b" + code + "\x1b\\"},
		{"TERM=screen.xterm", "\x1bP" + code + "\x1b\\"},
	} {
		var terminal bytes.Buffer
		s.Environ = append(s.Environ[:2], test.variable)
		by, err := s.Copy(t.Context(), cred.NewSecret(target), true, &terminal)
		if err != nil || by != "" || terminal.String() != test.want {
			t.Errorf("%s: %q to %q, %v", test.variable, terminal.String(), by, err)
		}
	}
}

// TestPrintQR reads the codes with another program's reader.
func TestPrintQR(t *testing.T) {
	for _, n := range []int{1, 100, 1500, 2953} {
		text := strings.Repeat("https://signin.example/federation?SigninToken=VCQgs5qZZt3Q&", 60)[:n]
		for _, columns := range []int{0, 200} {
			var out bytes.Buffer
			if err := PrintQR(&out, cred.NewSecret(text), columns, columns); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			got, err := qrreader.Decode(photograph(out.String()))
			if err != nil || got != text {
				t.Errorf("%d bytes at %d columns: read %.40q, %v", n, columns, got, err)
			}
		}
	}
	err := PrintQR(&bytes.Buffer{}, cred.NewSecret(strings.Repeat("x", 2954)), 0, 0)
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("2954 bytes: %v, want ErrTooLong", err)
	}
	var out bytes.Buffer
	err = PrintQR(&out, cred.NewSecret(strings.Repeat("x", 1500)), 80, 24)
	if e, ok := errors.AsType[*SizeError](err); !ok || e.Columns != 137 || e.Rows != 70 || out.Len() != 0 {
		t.Errorf("on a small terminal: %v, and %d bytes", err, out.Len())
	}
}

// photograph returns a picture of what is drawn in half blocks.
func photograph(text string) image.Image {
	const scale = 4
	text = strings.NewReplacer("\x1b[38;5;231;48;5;16m", "", "\x1b[0m", "").Replace(text)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	width := len([]rune(lines[0]))
	picture := image.NewGray(image.Rect(0, 0, width*scale, 2*len(lines)*scale))
	for y, line := range lines {
		for x, r := range []rune(line) {
			halves := [2]bool{r == '█' || r == '▀', r == '█' || r == '▄'}
			for i := range scale * scale * 2 {
				if halves[i/(scale*scale)] {
					picture.SetGray(x*scale+i%scale, 2*y*scale+i/scale, color.Gray{255})
				}
			}
		}
	}
	return picture
}
