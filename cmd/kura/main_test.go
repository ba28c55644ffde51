package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/awstest"
	"kura/internal/opemu"
	"kura/internal/store"
	"kura/internal/store/file"
	"kura/internal/unlocked"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kura": main, "aws-vault": main, "dialog": dialog, "confined": confined,
		"op": opemu.Main, "opemu": opemu.Main, "sdk": sdk, "caller-identity": callerIdentity, "reader": reader, "test-browser": testBrowser})
}

// passphrase is the one of every script's store.
const passphrase = "correct horse battery staple"

// TestScript runs the scripts in testdata, each in a home of its own, with an
// empty store, against an AWS of its own. They show the program to a reader, so
// they come before any other test of a command. Besides what package testscript
// offers they have:
//
//	calls [OP...]     AWS has carried out these operations since the last time
//	fault OP [KIND [COUNT]]
//	                  calls of OP go wrong as awstest.FaultKind says
//	clock DURATION    AWS's clock is ahead by so much
//	sessions DURATION
//	                  sessions that begin from now on last no longer; 0s: as AWS
//	                  has it
//	code FILE [SERIAL]
//	                  put a token code into FILE that AWS accepts now
//	leaks             no secret is in the last output or in any file but those
//	                  below in/, where scripts keep what they type
//	talk FILE COMMAND...
//	                  a person runs the command on a terminal: see dialog_test.go
//	param OP NAME [VALUE]
//	                  the last call of OP had this parameter
//	deny [ACTION...]  an organization denies these actions from now on, and no others
//	await OP          wait until OP has been requested
//	tries OP COUNT    OP was requested so often, successful or not
//	https FILE        AWS is reached by TLS from now on; FILE gets the
//	                  certificate to trust
//	mode OCTAL FILE   set the permissions of a file
//	confined COMMAND...
//	                  run the command without the kernel's keyrings
//	gnome-keyring, kwallet, gpg, asked
//	                  real stores and their state: see services_test.go
//	1password, op-calls, op-asked
//	                  an emulated 1Password: see onepassword_test.go
//	browser, shown    a browser, and the page that it shows: see browser_test.go
//	sdk               a program with the AWS SDK for Go: see sdk_test.go
//
// Everything runs with --debug, so that leaks looks at the most talkative
// output there is.
func TestScript(t *testing.T) {
	testscript.Run(t, scripts("testdata"))
}

// scripts returns how the scripts in a directory are run.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			cloud := awstest.New(awstest.Config{})
			cloud.AddUser(inactiveUser)
			cloud.AddUser(twoKeysUser)
			cloud.AddUser(oldKeyUser)
			cloud.AddRole(keysRole)
			e.Values["cloud"] = cloud
			e.Values["services"] = services{}
			e.Defer(cloud.Close)
			home := filepath.Join(e.WorkDir, "home")
			for name, value := range map[string]string{
				"HOME":                 home,
				"XDG_DATA_HOME":        filepath.Join(home, ".local", "share"),
				"USER":                 "ann",
				"AWS_CONFIG_FILE":      filepath.Join(e.WorkDir, "config"),
				"AWS_ENDPOINT_URL":     cloud.URL,
				"KURA_DEBUG":           "1",
				"KURA_FILE_PASSPHRASE": passphrase,
				"GORACE":               "atexit_sleep_ms=0", // else each kura lasts a second with -race
				"KURA_UNLOCK_TTL":      "5m",                // nothing of a test stays in the kernel for long

				// The desktop of whoever runs the tests is left alone.
				"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + filepath.Join(e.WorkDir, "no-bus"),
			} {
				e.Setenv(name, value)
			}
			return makeStore(filepath.Join(home, ".local", "share", "kura", "store"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"calls":    calls,
			"fault":    fault,
			"clock":    clock,
			"sessions": sessions,
			"code":     code,
			"leaks":    leaks,
			"param":    param,
			"tries":    tries,
			"https":    https,
			"talk":     talk,
			"mode":     mode,
			"types":    types,
			"shows":    shows,
			"deny":     deny,
			"await":    await,

			"gnome-keyring": gnomeKeyring,
			"kwallet":       kwallet,
			"gpg":           gpg,
			"asked":         asked,

			"browser": startBrowser,
			"shown":   shown,

			"1password": start1Password,
			"op-calls":  opCalls,
			"op-asked":  opAsked,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "gnome-keyring", "kwallet", "gpg":
				return installed(serviceNeeds(cond)...)
			case "root":
				return os.Geteuid() == 0, nil
			case "keyring": // secrets can be kept between commands
				return unlocked.Open("test").Works() == nil, nil
			case "userns": // a user namespace can be made
				return exec.Command("unshare", "-Ur", "true").Run() == nil, nil
			case "tmpfs": // a file system can be mounted
				dir, err := os.MkdirTemp("", "")
				if err != nil {
					return false, err
				}
				defer os.Remove(dir)
				mounted := exec.Command("mount", "-t", "tmpfs", "none", dir).Run() == nil
				if !mounted {
					return false, nil
				}
				return true, exec.Command("umount", dir).Run()
			}
			return false, errors.New("unknown condition")
		},
	}
}

// makeStore makes an empty store whose passphrase takes no half second to try.
func makeStore(dir string) error {
	s := file.Open(file.Options{
		Dir:           dir,
		NewPassphrase: func(context.Context) (string, error) { return passphrase, nil },
		WorkFactor:    1,
	})
	key := store.Key{Kind: store.CacheKey, Name: "none"}
	if err := s.Put(context.Background(), key, nil); err != nil {
		return err
	}
	return s.Delete(context.Background(), key)
}

func cloudOf(ts *testscript.TestScript) *awstest.Cloud { return ts.Value("cloud").(*awstest.Cloud) }

func calls(ts *testscript.TestScript, neg bool, args []string) {
	got := strings.Join(cloudOf(ts).Done(), " ")
	if want := strings.Join(args, " "); (got == want) == neg {
		ts.Fatalf("AWS was called for %q, want %q", got, want)
	}
	cloudOf(ts).ResetCalls()
}

func fault(ts *testscript.TestScript, _ bool, args []string) {
	var faults []awstest.Fault
	if len(args) > 1 {
		kind := awstest.FaultKind(args[1])
		if !slices.Contains(awstest.FaultKinds(), kind) {
			ts.Fatalf("no fault is called %q", kind)
		}
		f := awstest.Fault{Kind: kind, Delay: 2 * time.Second}
		if len(args) > 2 {
			var err error
			f.Count, err = strconv.Atoi(args[2])
			ts.Check(err)
		}
		faults = append(faults, f)
	}
	cloudOf(ts).SetFault(args[0], faults...)
}

func clock(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := time.ParseDuration(args[0])
	ts.Check(err)
	cloudOf(ts).SetClockOffset(offset)
}

func sessions(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	cloudOf(ts).SetSessionLimit(limit)
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	serial := awstest.MFASerial
	if len(args) > 1 {
		serial = args[1]
	}
	code, err := cloudOf(ts).Code(serial)
	ts.Check(err)
	file := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o700))
	ts.Check(os.WriteFile(file, []byte(code+"\n"), 0o600))
}

func leaks(ts *testscript.TestScript, neg bool, args []string) {
	found := false
	check := func(where, text string) {
		for _, secret := range append(cloudOf(ts).Secrets(), passphrase) {
			if strings.Contains(text, secret) {
				found = true
				ts.Logf("a secret is in %s", where)
			}
		}
	}
	check("standard error", ts.ReadFile("stderr"))
	work := ts.Getenv("WORK")
	ts.Check(filepath.WalkDir(work, func(name string, d fs.DirEntry, err error) error {
		if name == filepath.Join(work, "in") {
			return filepath.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		check(name, string(data))
		return err
	}))
	if found != neg {
		ts.Fatalf("secrets in the open: %v", found)
	}
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	perm, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	ts.Check(os.Chmod(ts.MkAbs(args[1]), os.FileMode(perm)))
}
