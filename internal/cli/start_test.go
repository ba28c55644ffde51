package cli

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestStart checks that packages do no work before main runs: what they do is
// paid at each command. It counts allocations, which are the same on every
// machine; where there are few there is no work to speak of. The standard
// library is not ours to change.
func TestStart(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not here to build the program")
	}
	const (
		ours       = 2  // a table of one line, an error or two
		thirdParty = 40 // age has its error values and base64 tables
		all        = 100
	)
	program := filepath.Join(t.TempDir(), "kura.exe")
	build := exec.CommandContext(t.Context(), goTool, "build", "-o", program, "../../cmd/kura")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program, "version")
	run.Env = []string{"GODEBUG=inittrace=1", "HOME=" + t.TempDir(), "USERPROFILE=" + t.TempDir()}
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) allocs$`).FindAllStringSubmatch(string(out), -1)
	if len(lines) == 0 {
		t.Fatalf("no trace of initialisation in %q", out)
	}
	sum := 0
	for _, line := range lines {
		pkg, limit := line[1], thirdParty
		switch first, _, _ := strings.Cut(pkg, "/"); {
		case first == "kura":
			limit = ours
		case !strings.Contains(first, "."):
			continue
		}
		n, err := strconv.Atoi(line[2])
		if err != nil {
			t.Fatal(err)
		}
		if sum += n; n > limit {
			t.Errorf("package %s makes %d allocations before main, want %d at the most", pkg, n, limit)
		}
	}
	if sum > all {
		t.Errorf("packages beyond the standard library make %d allocations before main, want %d at the most", sum, all)
	}
}
