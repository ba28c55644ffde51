package setup_test

import (
	"strings"
	"testing"

	"kura/internal/setup"
)

// A diff shows what is beside a change, but not the keys there.
func TestDiff(t *testing.T) {
	before := parse(t, "[default]\r\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\r\nAWS_Secret_Access_Key=hunter2 hunter2\r\n#aws_session_token : hunter2\r\nname = \x1b[2J\r\n")
	after, err := before.Set("default", "region", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	const want = `--- config
+++ config
@@ -3,3 +3,4 @@
 AWS_Secret_Access_Key=[secret]
 #aws_session_token : [secret]
 name = ?[2J
+region = eu-west-1`
	got := strings.ReplaceAll(strings.Join(setup.Diff(before, after), "\n"), "\ufffd", "?")
	if got != want {
		t.Errorf("Diff =\n%s\nwant\n%s", got, want)
	}
}
