package cli

import (
	"errors"
	"strings"
	"testing"

	"kura/internal/awsapi"
)

func TestFederatedName(t *testing.T) {
	for _, test := range []struct{ arn, want string }{
		{"arn:aws:iam::111122223333:user/ann", "ann"},
		{"arn:aws-cn:iam::111122223333:user/division/team/ann", "ann"},
		{"arn:aws:iam::111122223333:user/a", "user-a"},
		{"arn:aws:iam::111122223333:user/ann@example.com+x=y,z", "ann@example.com+x=y,z"},
		{"arn:aws:iam::111122223333:user/" + strings.Repeat("a", 64), strings.Repeat("a", 32)},
	} {
		if got, err := federatedName(awsapi.Identity{ARN: test.arn}); err != nil || got != test.want {
			t.Errorf("federatedName(%q) = %q, %v, want %q", test.arn, got, err, test.want)
		}
	}
	for _, arn := range []string{"", "arn:aws:iam::111122223333:root", "arn:aws:sts::111122223333:assumed-role/x/y", "arn:aws:iam::111122223333:user"} {
		got, err := federatedName(awsapi.Identity{ARN: arn})
		if _, ok := errors.AsType[*notUserError](err); !ok {
			t.Errorf("federatedName(%q) = %q, %v, want a *notUserError", arn, got, err)
		}
	}
}
