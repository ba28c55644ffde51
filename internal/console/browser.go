package console

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"kura/internal/store/program"
)

// A Browser is what a person has said of the browser to use. The zero value is
// the one that the system has for web pages.
type Browser struct {
	// Command is a program with its arguments, %s among them for the URL, which is
	// else the last; or one of the names of KnownBrowsers.
	Command string

	Container string // of Firefox
	Profile   string // of Chromium and its kin, by its directory; or of Firefox, by its name
}

// A System is where a browser is looked for.
type System struct {
	OS      string // as runtime.GOOS
	Environ []string
	Display bool // there is one to show a window on
}

// A NoBrowserError says that there is no browser to be started.
type NoBrowserError struct {
	Command string // that was asked for, "" for any
	Display bool   // there is a display
}

func (e *NoBrowserError) Error() string {
	switch {
	case e.Command != "":
		return fmt.Sprintf("the browser %q is not installed", e.Command)
	case e.Display:
		return "no browser, and no program that opens one, is installed"
	}
	return "there is no display to show a browser on"
}

// A MisfitError says that a browser can't do what it is to.
type MisfitError struct{ Command, What string }

func (e *MisfitError) Error() string {
	return fmt.Sprintf("the browser %q has no %s", e.Command, e.What)
}

// family tells browsers apart by the arguments that they take.
type family int

const (
	other    family = iota
	firefox         // and its kin
	chromium        // and its kin
)

// A known browser is one that people call by a name.
type known struct {
	name     string
	family   family
	programs []string // on Linux and its kin
	app      string   // on macOS
	exe      string   // below the directories where Windows has programs
}

func knownBrowsers() []known {
	return []known{
		{"firefox", firefox, []string{"firefox", "firefox-esr"}, "Firefox", `Mozilla Firefox\firefox.exe`},
		{"librewolf", firefox, []string{"librewolf"}, "LibreWolf", `LibreWolf\librewolf.exe`},
		{"chrome", chromium, []string{"google-chrome", "google-chrome-stable"}, "Google Chrome", `Google\Chrome\Application\chrome.exe`},
		{"chromium", chromium, []string{"chromium", "chromium-browser"}, "Chromium", `Chromium\Application\chrome.exe`},
		{"edge", chromium, []string{"microsoft-edge", "microsoft-edge-stable"}, "Microsoft Edge", `Microsoft\Edge\Application\msedge.exe`},
		{"brave", chromium, []string{"brave-browser", "brave"}, "Brave Browser", `BraveSoftware\Brave-Browser\Application\brave.exe`},
		{"vivaldi", chromium, []string{"vivaldi", "vivaldi-stable"}, "Vivaldi", `Vivaldi\Application\vivaldi.exe`},
	}
}

// KnownBrowsers returns the names that stand for browsers on every system.
func KnownBrowsers() []string {
	var names []string
	for _, b := range knownBrowsers() {
		names = append(names, b.name)
	}
	return names
}

// Commands returns what opens a URL in the browser, the best first. The error is a
// *NoBrowserError or a *MisfitError.
func (b Browser) Commands(s System) (func(url string) [][]string, error) {
	var found []command
	switch {
	case b.Command != "":
		c, ok := s.parse(b.Command)
		if !ok {
			return nil, &NoBrowserError{b.Command, s.Display}
		}
		found = append(found, c)
	case b.Container != "":
		if found = s.preferred(firefox); found == nil {
			return nil, &NoBrowserError{"firefox", s.Display}
		}
	case b.Profile != "":
		if found = s.preferred(chromium, firefox); found == nil {
			return nil, &NoBrowserError{"chrome", s.Display}
		}
	default:
		if found = s.preferred(); found == nil {
			return nil, &NoBrowserError{"", s.Display}
		}
	}
	for _, c := range found {
		if b.Container != "" && c.family != firefox {
			return nil, &MisfitError{b.Command, "containers, which are Firefox's"}
		}
		if b.Profile != "" && c.family == other {
			return nil, &MisfitError{b.Command, "profiles that are known here"}
		}
	}
	return func(url string) [][]string {
		var all [][]string
		for _, c := range found {
			all = append(all, c.argv(b, url))
		}
		return all
	}, nil
}

// A command starts a browser.
type command struct {
	family family
	path   string   // of the program; on macOS that of open
	app    string   // what open is to open, on macOS
	args   []string // which may have %s in them
}

// argv returns the argument list that opens a URL, which is that of a page on this
// machine.
func (c command) argv(b Browser, to string) []string {
	var options []string
	switch {
	case b.Profile == "":
	case c.family == firefox:
		options = []string{"-P", b.Profile}
	case c.family == chromium:
		options = []string{"--profile-directory=" + b.Profile}
	}
	if b.Container != "" {
		// Of the extension "Open external links in a container".
		// https://github.com/honsiorovskyi/open-url-in-container
		to = "ext+container:name=" + strings.ReplaceAll(url.QueryEscape(b.Container), "+", "%20") + "&url=" + url.QueryEscape(to)
	}
	argv := []string{c.path}
	switch {
	case c.app != "" && len(options) == 0:
		argv = append(argv, "-a", c.app)
	case c.app != "": // only a new instance is given arguments
		argv = append(argv, "-na", c.app, "--args")
	}
	argv = append(argv, options...)
	placed := false
	for _, arg := range c.args {
		placed = placed || strings.Contains(arg, "%s")
		argv = append(argv, strings.ReplaceAll(arg, "%s", to))
	}
	if !placed {
		argv = append(argv, to)
	}
	return argv
}

// parse returns the command of a text: the name of a known browser; a program,
// whose path may have blanks; or a program with arguments.
func (s System) parse(text string) (command, bool) {
	text = strings.TrimSpace(text)
	if path, err := program.Find(text, s.Environ); err == nil {
		return command{family: familyOf(path), path: path}, true
	}
	if c, ok := s.byName(text); ok {
		return c, true
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return command{}, false
	}
	c, ok := s.parse(fields[0])
	c.args = fields[1:]
	return c, ok
}

// byName returns the command of a known browser, if it is installed.
func (s System) byName(name string) (command, bool) {
	i := slices.IndexFunc(knownBrowsers(), func(b known) bool { return strings.EqualFold(b.name, name) })
	if i < 0 {
		return command{}, false
	}
	b := knownBrowsers()[i]
	switch s.OS {
	case "darwin":
		path, err := program.Find("/usr/bin/open", s.Environ)
		if err != nil {
			return command{}, false
		}
		return command{family: b.family, path: path, app: b.app}, true // open says if it is not there
	case "windows":
		for _, place := range []string{"ProgramFiles", "ProgramFiles(x86)", "LocalAppData"} {
			path, err := program.Find(filepath.Join(program.Getenv(s.Environ, place), b.exe), s.Environ)
			if err == nil {
				return command{family: b.family, path: path}, true
			}
		}
		return command{}, false
	}
	for _, name := range b.programs {
		if path, err := program.Find(name, s.Environ); err == nil {
			return command{family: b.family, path: path}, true
		}
	}
	return command{}, false
}

// preferred returns the browsers that $BROWSER lists or, failing that, what the
// system has for web pages. If there are families, it returns those of them that
// are listed or, failing that, one of the first family that is installed.
func (s System) preferred(families ...family) []command {
	var list []command
	for _, text := range filepath.SplitList(program.Getenv(s.Environ, "BROWSER")) {
		if c, ok := s.parse(text); ok && (families == nil || slices.Contains(families, c.family)) {
			list = append(list, c)
		}
	}
	switch {
	case len(list) > 0:
		return list
	case families != nil:
		for _, b := range knownBrowsers() {
			if c, ok := s.byName(b.name); ok && b.family == families[0] {
				return []command{c}
			}
		}
		return nil
	case !s.Display:
		return nil
	}
	var openers []string
	switch s.OS {
	case "darwin":
		openers = []string{"/usr/bin/open"}
	case "windows":
		openers = []string{"rundll32.exe url.dll,FileProtocolHandler"}
	default:
		// The second is Debian's, the third opens the browser of Windows in WSL.
		openers = []string{"xdg-open", "sensible-browser", "wslview"}
	}
	for _, text := range openers {
		if c, ok := s.parse(text); ok {
			return []command{c}
		}
	}
	return nil
}

// familyOf tells a browser's family by the name of its program.
func familyOf(path string) family {
	name := strings.ToLower(filepath.Base(path))
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
	}
	switch {
	case has("firefox", "librewolf", "waterfox"):
		return firefox
	case has("chrom", "edge", "brave", "vivaldi"):
		return chromium
	}
	return other
}
