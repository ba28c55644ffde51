package deliver

import (
	"os/exec"
	"reflect"
	"testing"
)

func TestChanges(t *testing.T) {
	from := []string{"A=1", "B=2", "C=", "=C:=C:\\dir", "odd-name=1", "A=second", "PATH=/bin"}
	to := []string{"A=1", "C=x", "D=4", "PATH=/bin", "odd-name=2"}
	want := []Change{{Name: "B", Unset: true}, {Name: "C", Value: "x"}, {Name: "D", Value: "4"}}
	if got := changes(from, to, false); !reflect.DeepEqual(got, want) {
		t.Errorf("changes = %+v, want %+v", got, want)
	}
	if got := changes([]string{"Path=a"}, []string{"PATH=a"}, true); got != nil {
		t.Errorf("changes = %+v where names differ in case only, want none", got)
	}
}

// TestScript shows that shells read values as they were, and no more: each is
// printed as it is after the script was evaluated.
func TestScript(t *testing.T) {
	values := []string{"plain", "", "two words", "it's", `"$HOME" \n \\`, "a\nb\n", "`id`; $(id) & # x", "本番‘’‚‛", "\\'", "-n", "*"}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("there is no %s", shell)
			continue
		}
		for _, value := range values {
			script, err := Script(shell, []Change{{Name: "GONE", Unset: true}, {Name: "NEVER", Unset: true}, {Name: "VALUE", Value: value}})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), shell, "-c", string(script)+`sh -c 'printf "%s|%s" "$VALUE" "${GONE-gone}"'`)
			cmd.Env = []string{"GONE=no", "PATH=/bin:/usr/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir()}
			got, err := cmd.CombinedOutput()
			if want := value + "|gone"; string(got) != want || err != nil {
				t.Errorf("%s: %q, %v, want %q", shell, got, err, want)
			}
		}
	}
	got, err := Script("powershell", []Change{{Name: "A", Value: "it's ‘x’"}, {Name: "B", Unset: true}})
	if want := "$Env:A = 'it''s ‘‘x’’'\nRemove-Item -ErrorAction SilentlyContinue Env:B\n"; string(got) != want || err != nil {
		t.Errorf("Script = %q, %v, want %q", got, err, want)
	}
	if _, err := Script("tcsh", nil); err == nil {
		t.Error("there is a script for tcsh")
	}
}
