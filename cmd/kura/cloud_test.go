package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"kura/internal/awstest"
)

// inactiveUser has an access key that was made inactive.
var inactiveUser = awstest.User{
	Account: awstest.Account,
	Name:    "gone",
	Keys:    []awstest.AccessKey{{ID: "AKIAINACTIVE0EXAMPLE", Secret: "7dCT0jzAsPaX5Vv0vBLCkW9wLLtaINACTIVEXAMP", Inactive: true}},
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
