package cli

import (
	"testing"
	"time"
)

func TestSegment(t *testing.T) {
	now := time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		env          map[string]string
		format, want string
	}{
		{map[string]string{}, segmentFormat, ""},
		{map[string]string{"AWS_CREDENTIAL_EXPIRATION": "2026-01-15T10:07:59Z"}, segmentFormat, ""},
		{map[string]string{"AWS_VAULT": "prod", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T10:07:59Z"}, segmentFormat, "prod 37m"},
		{map[string]string{"AWS_VAULT": "prod", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T17:29:59Z"}, segmentFormat, "prod 7h59m"},
		{map[string]string{"AWS_VAULT": "prod", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T09:29:00Z"}, segmentFormat, "prod expired"},
		{map[string]string{"AWS_VAULT": "prod", "AWS_CREDENTIAL_EXPIRATION": "soon"}, segmentFormat, "prod"},
		{map[string]string{"AWS_VAULT": "prod"}, segmentFormat, "prod"}, // served, so it has no end
		{map[string]string{"AWS_VAULT": "prod", "AWS_PROFILE": "other"}, segmentFormat, "prod"},
		// Not kura's: what expires are other credentials.
		{map[string]string{"AWS_PROFILE": "other", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T10:07:59Z"}, segmentFormat, "other"},
		{map[string]string{"AWS_VAULT": "経理", "AWS_REGION": "eu-west-1"}, "蔵:{profile}@{region}", "蔵:経理@eu-west-1"},
		{map[string]string{"AWS_VAULT": "a\x1b[2J\nb"}, segmentFormat, "a [2J b"},
	} {
		got := segment(func(name string) string { return test.env[name] }, test.format, now)
		if got != test.want {
			t.Errorf("segment(%v, %q) = %q, want %q", test.env, test.format, got, test.want)
		}
	}
}
