package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/awstest"
)

// inactiveUser has an access key that was made inactive.
var inactiveUser = awstest.User{
	Account: awstest.Account,
	Name:    "gone",
	Keys:    []awstest.AccessKey{{ID: "AKIAINACTIVE0EXAMPLE", Secret: "7dCT0jzAsPaX5Vv0vBLCkW9wLLtaINACTIVEXAMP", Inactive: true}},
}

// twoKeysUser has as many access keys as there can be.
var twoKeysUser = awstest.User{
	Account: awstest.Account,
	Name:    "two",
	Keys: []awstest.AccessKey{
		{ID: "AKIATWOTWO10EXAMPLE1", Secret: "twotwotwotwotwotwotwotwotwotwotwotwotwo1"},
		{ID: "AKIATWOTWO20EXAMPLE2", Secret: "twotwotwotwotwotwotwotwotwotwotwotwotwo2", Inactive: true, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	},
}

// oldKeyUser has an access key that should have been replaced long ago.
var oldKeyUser = awstest.User{
	Account: awstest.Account,
	Name:    "old",
	Keys:    []awstest.AccessKey{{ID: "AKIAOLDOLDOLDEXAMPLE", Secret: "oldoldoldoldoldoldoldoldoldoldoldoldold1", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
}

// keysRole may manage access keys, and is at the end of a chain of roles.
var keysRole = awstest.Role{
	Account: awstest.Account,
	Name:    "keys",
	IAM:     true,
	Trust:   []awstest.Trust{{Principals: []string{"arn:aws:iam::111122223333:role/hub"}}},
}

// deny is the command "deny [ACTION...]" of scripts: an organization denies these
// actions from now on, and no others.
func deny(ts *testscript.TestScript, _ bool, args []string) {
	cloudOf(ts).Deny(awstest.Account, args...)
}

// await is the command "await OP" of scripts: it waits until OP has been requested
// since the calls were looked at last.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 2000 {
		if cloudOf(ts).Count(args[0]) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("%s was not requested", args[0])
}

// param is the command "param OP NAME [VALUE]" of scripts: the last call of OP
// had this parameter.
func param(ts *testscript.TestScript, neg bool, args []string) {
	for _, call := range slices.Backward(cloudOf(ts).Calls()) {
		if call.Op != args[0] {
			continue
		}
		got, ok := call.Params[args[1]]
		if len(args) > 2 {
			ok = ok && got == args[2]
		}
		if ok == neg {
			ts.Fatalf("%s was called with %v", args[0], call.Params)
		}
		return
	}
	ts.Fatalf("%s was not called", args[0])
}

// tries is the command "tries OP COUNT" of scripts: OP was requested so often,
// successful or not.
func tries(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got := cloudOf(ts).Count(args[0]); (got == want) == neg {
		ts.Fatalf("%s was requested %d times, want %d", args[0], got, want)
	}
}

// https is the command "https FILE" of scripts: from now on AWS is reached by
// TLS, and FILE has the certificate to trust.
func https(ts *testscript.TestScript, _ bool, args []string) {
	ca := awstest.NewCA()
	s := httptest.NewUnstartedServer(cloudOf(ts))
	s.TLS = ca.Config()
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that don't trust it
	s.StartTLS()
	ts.Defer(s.Close)
	ts.Setenv("AWS_ENDPOINT_URL", s.URL)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), ca.PEM(), 0o600))
}
