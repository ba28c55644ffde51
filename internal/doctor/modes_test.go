//go:build unix

package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kura/internal/awsconfig"
)

// TestModes checks who else may change files, and read those with keys.
func TestModes(t *testing.T) {
	const key = "[a]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\naws_session_token = x\n"
	for _, test := range []struct {
		text string
		mode os.FileMode
		want []string
	}{
		{"", 0o644, nil},
		{key, 0o600, nil},
		{key, 0o400, nil},
		{key, 0o604, []string{"problem DIR/f: all users can read this file, which holds access keys: its mode is 0604"}},
		{key, 0o640, []string{"warning DIR/f: its group can read this file, which holds access keys: its mode is 0640"}},
		{"", 0o620, []string{"warning DIR/f: its group can change this file: its mode is 0620"}},
		{"", 0o602, []string{"problem DIR/f: all users can change this file: its mode is 0602"}},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "f")
		write(t, name, test.text, test.mode)
		setup := setupIn(t.TempDir(), nil)
		var err error
		if setup.Credentials, err = awsconfig.ParseCredentials(name, test.text); err != nil {
			t.Fatal(err)
		}
		check(t, setup.Examine(), replaced(test.want, dir))
	}

	setup := setupIn(t.TempDir(), nil)
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	setup.Own = []string{open, filepath.Join(open, "not there")}
	check(t, setup.Examine(), replaced([]string{"problem DIR: all users can change this directory: its mode is 0777"}, open))

	if os.Geteuid() != 0 {
		return // nobody else can give a file away
	}
	foreign := filepath.Join(t.TempDir(), "f")
	write(t, foreign, "", 0o600)
	if err := os.Chown(foreign, 12345, -1); err != nil {
		t.Fatal(err)
	}
	setup.Own = []string{foreign}
	check(t, setup.Examine(), replaced([]string{"problem DIR: this file belongs to another user: its mode is 0600"}, foreign))
}

func replaced(want []string, dir string) []string {
	var list []string
	for _, w := range want {
		list = append(list, strings.ReplaceAll(w, "DIR", dir))
	}
	return list
}
