package setup

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"

	"kura/internal/awsconfig"
)

// Diff returns the lines of a unified diff of two versions of a file. The keys
// that may stand beside what is changed are not in it, nor is what would drive
// the terminal.
func Diff(before, after *awsconfig.File) []string {
	name := before.Name()
	text := string(diff.Diff(name, showable(before), name, showable(after)))
	_, text, _ = strings.Cut(text, "\n") // the line "diff FILE FILE"
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// showable returns the text of a file for people to look at.
func showable(f *awsconfig.File) []byte {
	secret := regexp.MustCompile(`(?mi)^([ \t#;]*(?:[\w.-]*(?:secret|password|passphrase)[\w.-]*|aws_session_token|aws_security_token)[ \t]*[=:][ \t]*)\S.*$`)
	text := bytes.ReplaceAll(f.Bytes(), []byte("\r\n"), []byte("\n"))
	text = secret.ReplaceAll(text, []byte("${1}[secret]"))
	return bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
