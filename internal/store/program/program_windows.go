package program

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// caseless says that names of environment variables differ in more than case.
const caseless = true

// executable adds .exe to a name that has no extension of a program. Scripts of
// cmd.exe are none: what they do with their arguments is not safe.
func executable(path string) (string, bool) {
	if !strings.EqualFold(filepath.Ext(path), ".exe") {
		path += ".exe"
	}
	_, ok := isFile(path)
	return path, ok
}

func isolate(*exec.Cmd) {}
