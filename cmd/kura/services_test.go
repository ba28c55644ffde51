package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/store/live"
)

// serviceNeeds are the programs of the conditions [gnome-keyring], [kwallet]
// and [gpg] of scripts, beside which there is a command of that name.
func serviceNeeds(condition string) []string {
	switch condition {
	case "gnome-keyring":
		return []string{"dbus-daemon", "gnome-keyring-daemon", "/usr/libexec/gcr-prompter"}
	case "kwallet":
		return []string{"dbus-daemon", "kwalletd5"}
	case "gpg":
		return []string{"gpg", "gpg-agent", "gpgconf", "pass"}
	}
	return nil
}

// installed reports whether some programs are, which is an error if all stores
// must be tested and one is not.
func installed(programs ...string) (bool, error) {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("KURA_TEST_STORES") == "all" {
				return false, fmt.Errorf("%s is not installed", p)
			}
			return false, nil
		}
	}
	return true, nil
}

// services are what a script has started by its commands, by their names.
type services map[string]interface{ Stop() }

// service returns what a command of a script works on. The first time it is
// started, in a directory of its own, and added to the script's environment.
func service[T interface{ Stop() }](ts *testscript.TestScript, name string, start func(dir string) (T, []string, error)) T {
	running := ts.Value("services").(services)
	if s, ok := running[name].(T); ok {
		return s
	}
	s, environ, err := start(filepath.Join(ts.Getenv("WORK"), "."+name))
	ts.Check(err)
	running[name] = s
	ts.Defer(s.Stop)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		ts.Setenv(name, value)
	}
	return s
}

// login is the collection that gnome-keyring unlocks at the login.
const login = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")

// gnomeKeyring is the command "gnome-keyring unlocked|locked|stopped" of
// scripts: the script's gnome-keyring is so now. "gnome-keyring make NAME" makes
// a collection in it. The passwords are the passphrase.
func gnomeKeyring(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	g := service(ts, "gnome-keyring", func(dir string) (*live.GnomeKeyring, []string, error) {
		g, err := live.StartGnomeKeyring(ctx, dir, true)
		if err != nil {
			return nil, nil, err
		}
		return g, g.Environ, nil
	})
	switch args[0] {
	case "unlocked":
		ts.Check(g.Unlock(ctx, login))
	case "locked":
		ts.Check(g.Lock(ctx, login))
	case "stopped":
		g.Stop()
	case "make":
		_, err := g.Make(ctx, args[1], "")
		ts.Check(err)
	default:
		ts.Fatalf("no state is called %q", args[0])
	}
}

// kwallet is the command "kwallet open|shut|stopped" of scripts: the wallet
// "kdewallet" of the script's KWallet is so now. "kwallet make NAME" makes
// another one. There is no display: nobody is ever asked.
func kwallet(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	k := service(ts, "kwallet", func(dir string) (*live.KWallet, []string, error) {
		k, err := live.StartKWallet(ctx, dir)
		if err != nil {
			return nil, nil, err
		}
		return k, k.Environ, nil
	})
	switch args[0] {
	case "open":
		ts.Check(k.OpenWallet(ctx, "kdewallet"))
	case "shut":
		ts.Check(k.CloseWallet(ctx, "kdewallet"))
	case "stopped":
		k.Stop()
	case "make":
		ts.Check(k.OpenWallet(ctx, args[1]))
	default:
		ts.Fatalf("no state is called %q", args[0])
	}
}

// gpg is the command "gpg PASSPHRASE" of scripts: there is a GnuPG key with that
// passphrase, or with none if it is "", and a pass that uses it. The pinentry
// answers by itself.
func gpg(ts *testscript.TestScript, _ bool, args []string) {
	service(ts, "gpg", func(dir string) (*live.GPG, []string, error) {
		g, err := live.StartGPG(context.Background(), dir, args[0])
		if err != nil {
			return nil, nil, err
		}
		// A script may end the agent, and gpg then starts others.
		ts.Defer(func() { exec.Command("gpgconf", "--homedir", dir, "--kill", "gpg-agent").Run() })
		return g, g.Environ, nil
	})
	ts.Check(ts.Exec("pass", "init", "kura-test@example.invalid"))
}

// asked is the command "asked COUNT" of scripts: so often has the pinentry of
// "gpg" asked for the passphrase.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	g := ts.Value("services").(services)["gpg"].(*live.GPG)
	if got := g.Asked(); (got == want) == neg {
		ts.Fatalf("the pinentry has asked %d times, want %d", got, want)
	}
}
