package doctor

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// aliases returns where 1Password's shell plugin for AWS takes the place of the
// command aws. With it aws is run by op with the key of an item, does not know
// profiles with a credential_process, and is not what awsume has prepared:
// https://developer.1password.com/docs/cli/shell-plugins/aws
func (s *Setup) aliases() []Finding {
	var list []Finding
	fix := `"op plugin clear aws", and begin a new shell`
	alias := regexp.MustCompile(`^\s*(alias|function)\s+aws\b.*\bop plugin run\b`)
	plugins := ""
	for _, dir := range []string{s.Getenv("OP_CONFIG_DIR"), filepath.Join(s.configDir(), "op"), filepath.Join(s.Home, ".op")} {
		if where := firstLine(filepath.Join(dir, "plugins.sh"), alias); dir != "" && where != "" {
			plugins = where
			break
		}
	}
	sourced := ""
	for _, name := range []string{".bashrc", ".bash_profile", ".profile", ".zshrc", ".zprofile", ".config/fish/config.fish"} {
		file := filepath.Join(s.Home, filepath.FromSlash(name))
		if where := firstLine(file, alias); where != "" {
			list = append(list, Finding{Warning, "aws is an alias of 1Password's shell plugin", where, "remove that line, and begin a new shell"})
		}
		if where := firstLine(file, regexp.MustCompile(`^[^#]*\bop/plugins\.sh\b`)); where != "" && sourced == "" {
			sourced = where
		}
	}
	inShell := s.Getenv("OP_PLUGIN_ALIASES_SOURCED") != ""
	switch {
	case plugins != "" && sourced != "":
		list = append(list, Finding{Warning, fmt.Sprintf("aws is an alias of 1Password's shell plugin in every shell, by %s", plugins), sourced, fix})
	case plugins != "" && inShell:
		list = append(list, Finding{Warning, "aws is an alias of 1Password's shell plugin in this shell", plugins, fix})
	case plugins != "":
		list = append(list, Finding{Note, "aws would be an alias of 1Password's shell plugin in a shell that read this file", plugins, `"op plugin clear aws"`})
	case inShell && sourced == "":
		list = append(list, Finding{Note, "this shell has aliases of 1Password's shell plugins, and aws may be one of them", "OP_PLUGIN_ALIASES_SOURCED", `"type aws" tells; begin a new shell`})
	}
	return list
}

// configDir is where programs keep their configuration, as the XDG Base
// Directory Specification has it and op goes by on all systems.
func (s *Setup) configDir() string {
	if dir := s.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(s.Home, ".config")
}

// firstLine returns FILE:LINE of the first line of a file that matches, or "".
// A file that can't be read has none.
func firstLine(name string, match *regexp.Regexp) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if match.Match(lines.Bytes()) {
			return fmt.Sprintf("%s:%d", name, n)
		}
	}
	return ""
}
