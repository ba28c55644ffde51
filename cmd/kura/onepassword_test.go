package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/awstest"
	"kura/internal/opemu"
)

// onePassword is an emulated 1Password that a script has started, and what was
// looked at so far.
type onePassword struct {
	*opemu.World
	calls, prompts int
}

// start1Password is the command "1password [TITLE...]" of scripts: the op of
// the script is the emulated one, "opemu ctl" controls it, and its vault Private
// has an item of each title, with the access key of AWS and the seed of its MFA
// device. The app approves what it is asked, once for all.
func start1Password(ts *testscript.TestScript, _ bool, titles []string) {
	world, err := opemu.New(opemu.Config{Dir: filepath.Join(ts.Getenv("WORK"), "in", "1password")})
	ts.Check(err)
	world.Update(func(s *opemu.State) { s.Auth.SessionKey = opemu.PerMachine })
	for _, title := range titles {
		world.AddItem(opemu.AccessKey{
			Title: title, ID: awstest.AccessKeyID, Secret: awstest.SecretAccessKey,
			MFASerial: awstest.MFASerial, Seed: awstest.MFASeed,
		}.Item())
	}
	for _, entry := range world.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if name == "PATH" {
			value = filepath.Dir(world.Path()) + string(os.PathListSeparator) + ts.Getenv("PATH")
		}
		ts.Setenv(name, value)
	}
	ts.Value("services").(services)["1password"] = &onePassword{World: world}
}

// Stop has nothing to stop.
func (*onePassword) Stop() {}

func onePasswordOf(ts *testscript.TestScript) *onePassword {
	w, ok := ts.Value("services").(services)["1password"].(*onePassword)
	if !ok {
		ts.Fatalf(`the command "1password" comes first`)
	}
	return w
}

// opCalls is the command "op-calls [COMMAND...]" of scripts: these commands of
// op, such as "item get", were called since the last time, and none had a secret
// in its arguments or its environment.
func opCalls(ts *testscript.TestScript, neg bool, want []string) {
	w := onePasswordOf(ts)
	journal := w.Journal()
	var got []string
	for _, c := range journal[w.calls:] {
		got = append(got, strings.Join(append(strings.Fields(c.Command), flagsOf(c)...), " "))
	}
	w.calls = len(journal)
	if (strings.Join(got, ", ") == strings.Join(want, ", ")) == neg {
		ts.Fatalf("op was called for %q, want %q", got, want)
	}
	ts.Check(w.LeakCheck(append(cloudOf(ts).Secrets(), passphrase)...))
}

// flagsOf returns what names a call that is no command: a lone --version.
func flagsOf(c opemu.Call) []string {
	if c.Command == "" {
		return c.Args
	}
	return nil
}

// opAsked is the command "op-asked COUNT" of scripts: the app has asked the
// person so often since the last time.
func opAsked(ts *testscript.TestScript, _ bool, args []string) {
	w := onePasswordOf(ts)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := w.Prompts() - w.prompts
	w.prompts += got
	if got != want {
		ts.Fatalf("1Password has asked %d times, want %d", got, want)
	}
}
