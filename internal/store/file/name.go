package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"kura/internal/store"
)

const (
	suffix = ".age"

	// maxFileName is the length of the longest file name that every file
	// system takes: eCryptfs, which once encrypted home directories, can do no
	// more than 143 bytes.
	maxFileName = 143

	// longPrefix is how much of the escaped name stands in the file name of an
	// item whose name is too long, for people to recognise it.
	longPrefix = 64

	// nameStanza is the type of the stanza in the header of an age file that
	// holds the name of an item in clear, where the file name can't.
	nameStanza = "kura-name"
)

// fileName returns the name of an item's file:
//
//	access-key.dev%2feu.age           kind and escaped name
//	access-key.dev~<32 digits>.age    the same if the name is too long
//
// where the digits are the first 16 bytes of the name's SHA-256 in hexadecimal.
func fileName(key store.Key) (string, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	if !isKind(string(key.Kind)) {
		return "", fmt.Errorf("%q is not a kind of item", key.Kind)
	}
	escaped := store.Escape(key.Name)
	if name := string(key.Kind) + "." + escaped + suffix; len(name) <= maxFileName {
		return name, nil
	}
	sum := sha256.Sum256([]byte(key.Name))
	return string(key.Kind) + "." + escaped[:longPrefix] + "~" + hex.EncodeToString(sum[:16]) + suffix, nil
}

// parseFileName is the inverse of fileName but for long names, which only the
// file itself tells. Files that fileName does not name are not ok.
func parseFileName(file string) (key store.Key, long, ok bool) {
	stem, ok := strings.CutSuffix(file, suffix)
	kind, escaped, ok2 := strings.Cut(stem, ".")
	if !ok || !ok2 || !isKind(kind) {
		return store.Key{}, false, false
	}
	key.Kind = store.Kind(kind)
	if prefix, digits, ok := strings.Cut(escaped, "~"); ok {
		return key, true, len(prefix) == longPrefix && len(digits) == 32
	}
	key.Name, ok = store.Unescape(escaped)
	if !ok {
		return store.Key{}, false, false
	}
	canonical, err := fileName(key)
	return key, false, err == nil && canonical == file
}

// readLongName reads the name of an item from the header of its file.
func readLongName(path string, kind store.Kind) (string, error) {
	sealed, err := readFile(path, 2*maxData)
	if err != nil {
		return "", err
	}
	header, err := age.ExtractHeader(io.LimitReader(bytes.NewReader(sealed), 64<<10))
	if err != nil {
		return "", &FileError{path, false, err}
	}
	for line := range bytes.Lines(header) {
		encoded, ok := bytes.CutPrefix(line, []byte("-> "+nameStanza+" "))
		if !ok {
			continue
		}
		name, err := base64.RawStdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
		if err != nil {
			return "", &FileError{path, false, err}
		}
		// The header is not secret and could be anyone's, but the name has to
		// be the one that the file is named after.
		file, err := fileName(store.Key{Kind: kind, Name: string(name)})
		if err != nil || !strings.HasSuffix(path, string(os.PathSeparator)+file) {
			return "", &FileError{path, true, errors.New("the name in its header is another")}
		}
		return string(name), nil
	}
	return "", &FileError{path, true, errors.New("there is no name in its header")}
}

// isKind reports whether a kind can be part of a file name as it is. All of
// package store's can.
func isKind(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
