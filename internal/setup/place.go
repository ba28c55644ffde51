package setup

import (
	"path/filepath"
	"strings"
	"unicode"
)

// Place returns the path by which a credential_process can run the program at a
// path: that path or, if some program would split or expand it, one below the
// home directory, where there must be a link to it then. It is "" if that would
// be no better.
func Place(path, home string) string {
	if plainPath(path) {
		return path
	}
	if link := filepath.Join(home, ".local", "bin", "kura"); plainPath(link) {
		return link
	}
	return ""
}

// plainPath reports whether a path is read alike by shells, by the AWS CLI and
// boto3, which split a line as a shell does, and by awsume, which splits it at
// each blank and takes quotes for a part of the words. A "=" in the first word
// would set a variable, and cmd.exe ends a word at some signs of punctuation.
func plainPath(path string) bool {
	return filepath.IsAbs(path) && strings.IndexFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@:~", r) && r != filepath.Separator
	}) < 0
}

// plainName is plainPath for the name of a profile, which moreover must be one
// that all SDKs read: see awsconfig.AddProfile.
func plainName(name string) bool {
	return name != "" && name[0] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.@:+") == ""
}

// IsTemporary reports whether a program will not be where it is for long: it is
// in a directory for temporary files, or was built by "go run".
func IsTemporary(path, tempDir string) bool {
	if rel, err := filepath.Rel(tempDir, path); err == nil && filepath.IsLocal(rel) {
		return true
	}
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if strings.HasPrefix(part, "go-build") {
			return true
		}
	}
	return false
}
