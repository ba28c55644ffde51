package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kura/internal/linklocal"
)

// Whatever keeps the address of the metadata service from being served, there
// is something to be done.
func TestHintsForLinkLocal(t *testing.T) {
	status := errors.New("exit status 1")
	for _, test := range []struct {
		err  error
		want string
	}{
		{linklocal.ErrUnsupported, "--ecs-server"},
		{linklocal.ErrNoSudo, "--ecs-server"},
		{&linklocal.SudoError{Err: status, Output: "sudo: a password is required"}, "in a terminal"},
		{&linklocal.SudoError{Err: status}, "--ecs-server"},
		{&linklocal.TakenError{By: "the interface eth0 has the address"}, "ip address show"},
		{&linklocal.TimeoutError{After: time.Second}, "try again"},
		{&helperError{status}, "--ec2-server"},
	} {
		a := &app{}
		exit, hints := a.explain(fmt.Errorf("listening: %w", test.err))
		if exit != exitFailure || len(hints) == 0 || !strings.Contains(hints[0], test.want) {
			t.Errorf("%v: status %d, hints %q, want %d and one with %q first", test.err, exit, hints, exitFailure, test.want)
		}
	}
}
