package wincred

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"kura/internal/store"
)

// An item is a credential named PREFIX:KIND:NAME, the head. Its blob is a line
// and the data:
//
//	kura1 NAME SIZE GENERATION
//
// If that is too long, the data goes on in parts, the credentials
// PREFIX:KIND:NAME:GENERATION.01 and so on. Each Put makes a new generation and
// writes the head last; no part is ever changed, so a reader who has the head
// reads that generation whole or finds that it is gone. Names are escaped, as
// Windows compares them without regard to case.
//
// TestFormat knows this format: items must stay readable.
const (
	magic = "kura1"

	// maxBlob is CRED_MAX_CREDENTIAL_BLOB_SIZE of wincred.h: 5*512.
	maxBlob = 2560

	// maxData keeps one item from taking what all programs share.
	maxData = 64 << 10

	// maxEscaped is the length of the longest escaped name that stands in a
	// target name. Windows documents 32,767 characters for all of it
	// (CRED_MAX_GENERIC_TARGET_NAME_LENGTH); wine takes about 240.
	maxEscaped = 128

	// longPrefix is how much of a longer name stands there, for people to
	// recognise it.
	longPrefix = 64
)

// target returns the name of an item's head. A name that is too long is cut and
// told by the first 16 bytes of its SHA-256; the head holds it whole.
func (s *Store) target(key store.Key) string {
	name := store.Escape(key.Name)
	if len(name) > maxEscaped {
		sum := sha256.Sum256([]byte(key.Name))
		name = name[:longPrefix] + "~" + hex.EncodeToString(sum[:16])
	}
	return s.prefix + ":" + string(key.Kind) + ":" + name
}

// A head is what the first line of an item says.
type head struct {
	name       string
	size       int    // of the data, in bytes
	generation string // of the parts: 16 hexadecimal digits
}

// part returns the name of the i-th part, from 1.
func (h head) part(target string, i int) string {
	return fmt.Sprintf("%s:%s.%02d", target, h.generation, i)
}

// parsePart is the inverse of part. It is not ok for the name of a head, and of
// what is neither.
func parsePart(name string) (target, generation string, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if strings.Count(name, ":") != 3 {
		return "", "", false
	}
	generation, number, _ := strings.Cut(name[i+1:], ".")
	return name[:i], generation, len(generation) == 16 && len(number) == 2
}

// split returns the blobs of an item in a new generation, the head's first.
func split(name string, data []byte) (head, [][]byte) {
	var generation [8]byte
	rand.Read(generation[:])
	h := head{name, len(data), hex.EncodeToString(generation[:])}
	blob := fmt.Appendf(nil, "%s %s %d %s\n", magic, store.Escape(name), h.size, h.generation)
	var blobs [][]byte
	for {
		n := min(maxBlob-len(blob), len(data))
		blobs = append(blobs, append(blob, data[:n]...))
		if data = data[n:]; len(data) == 0 {
			return h, blobs
		}
		blob = nil
	}
}

// parseHead is the inverse of split for the first blob. A blob that is no head
// is not ok.
func parseHead(blob []byte) (h head, data []byte, ok bool) {
	line, data, ok := bytes.Cut(blob, []byte("\n"))
	field := strings.Split(string(line), " ")
	if !ok || len(field) != 4 || field[0] != magic {
		return head{}, nil, false
	}
	name, ok := store.Unescape(field[1])
	size, err := strconv.Atoi(field[2])
	if !ok || err != nil || size < len(data) || size > maxData {
		return head{}, nil, false
	}
	return head{name, size, field[3]}, data, true
}
