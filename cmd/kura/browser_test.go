package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A visit is what a browser of a script has done: where it went, and what it was
// shown there.
type visit struct {
	Page    string // the page, or the error
	Status  int
	Refused int // the status that a second request for the same address got; 0: nobody was there
}

// visits are those of a script, as they come.
type visits struct {
	net.Listener
	c chan visit
}

// Stop implements what services are stopped by.
func (v *visits) Stop() { v.Close() }

// startBrowser is the command "browser [fail|leave]" of scripts: the browser is
// test-browser from now on. It goes to the address that it is given or fails or
// leaves at once. What it can see is in the files of the directory browser, where
// leaks looks: argv, environ, and on Linux in ps the argument lists of itself, of kura
// and of all above.
func startBrowser(ts *testscript.TestScript, _ bool, args []string) {
	service(ts, "browser", func(string) (*visits, []string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		v := &visits{l, make(chan visit, 16)}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				var got visit
				if json.NewDecoder(conn).Decode(&got) == nil {
					v.c <- got
				}
				conn.Close()
			}
		}()
		return v, []string{"BROWSER=test-browser", "TEST_BROWSER_REPORTS=" + l.Addr().String()}, nil
	})
	ts.Setenv("TEST_BROWSER_DOES", strings.Join(args, " "))
	ts.Check(os.MkdirAll(ts.MkAbs("browser"), 0o700))
}

// shown is the command "shown PATTERN..." of scripts: the browser shows a page that
// matches all of these, and nothing was at the address that it was given when it
// asked again.
func shown(ts *testscript.TestScript, _ bool, patterns []string) {
	var got visit
	select {
	case got = <-ts.Value("services").(services)["browser"].(*visits).c:
	case <-time.After(30 * time.Second):
		ts.Fatalf("the browser shows nothing")
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(got.Page) {
			ts.Fatalf("the browser shows, with status %d,\n%s\nwant a match of %s", got.Status, got.Page, p)
		}
	}
	if got.Refused != 0 && got.Refused != http.StatusGone {
		ts.Fatalf("the address of the page was good twice, with status %d", got.Refused)
	}
}

// testBrowser is the program. The address is its last argument.
func testBrowser() {
	dir := filepath.Join(os.Getenv("WORK"), "browser")
	note := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	note("argv", strings.Join(os.Args[1:], "\n")+"\n")
	note("environ", strings.Join(os.Environ(), "\n")+"\n")
	var ps strings.Builder
	for pid := os.Getpid(); pid > 1; pid = parent(pid) {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		ps.WriteString(strings.ReplaceAll(string(list), "\x00", " ") + "\n")
	}
	note("ps", ps.String())
	switch os.Getenv("TEST_BROWSER_DOES") {
	case "fail":
		os.Exit(3)
	case "leave":
		return
	}

	address := os.Args[len(os.Args)-1]
	if rest, ok := strings.CutPrefix(address, "ext+container:"); ok {
		params, err := url.ParseQuery(rest)
		if err != nil {
			os.Exit(1)
		}
		address = params.Get("url")
	}
	client := http.Client{Transport: &http.Transport{}} // without a proxy
	var got visit
	resp, err := client.Get(address)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		got.Page, got.Status = string(text), resp.StatusCode
	}
	if err != nil {
		got.Page = "the browser could not open the page" // the error may quote the URL
	}
	if resp, err := client.Get(address); err == nil {
		resp.Body.Close()
		got.Refused = resp.StatusCode
	}
	conn, err := net.Dial("tcp", os.Getenv("TEST_BROWSER_REPORTS"))
	if err != nil {
		os.Exit(1)
	}
	defer conn.Close()
	if json.NewEncoder(conn).Encode(got) != nil {
		os.Exit(1)
	}
}

// parent returns the process that has started one, 0 where that is not known.
func parent(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	id, _, _ := strings.Cut(rest, "\n")
	up, _ := strconv.Atoi(id) // else it has ended
	return up
}
