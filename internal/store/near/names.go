package near

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"kura/internal/durable"
	"kura/internal/store"
)

// The file of names begins with
//
//	kura names 1 <32 digits> <8 digits> <32 digits>
//
// where the digits are a hash of the store's ID, the CRC-32 of what follows, and
// a hash of what Options.Version said: then a line for each name, escaped. A file
// that is cut short, spoiled, or another store's is as good as none. It is
// written in place, as whoever reads it half-written sees that it is.
const namesMagic = "kura names 1 "

// maxNames is the greatest size of the file in bytes. More names than go into it
// are not noted.
const maxNames = 1 << 20

// noted reports whether a name is noted, if anything is known of names. It is
// asked by each command: the file is small, and need not be parsed.
func (s *Store) noted(id, name string) (has, known bool) {
	_, lines, ok := s.read(id)
	if !ok {
		return false, false
	}
	line := []byte(store.Escape(name) + "\n")
	return bytes.HasPrefix(lines, line) || bytes.Contains(lines, append([]byte("\n"), line...)), true
}

// notedAt returns the names that were noted at a version.
func (s *Store) notedAt(id, version string) (names []string, ok bool) {
	at, lines, ok := s.read(id)
	if !ok || version == "" || at != hash(version) {
		return nil, false
	}
	return parseNames(lines)
}

func parseNames(lines []byte) (names []string, ok bool) {
	for line := range bytes.Lines(lines) {
		name, ok := store.Unescape(string(bytes.TrimSuffix(line, []byte("\n"))))
		if !ok {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// read returns what is noted: the hash of the version, and the lines of names.
func (s *Store) read(id string) (version string, lines []byte, ok bool) {
	if s.o.NamesFile == "" || s.mistrust.Load() {
		return "", nil, false
	}
	file, err := durable.ReadFile(s.o.NamesFile, maxNames)
	if err != nil {
		return "", nil, false
	}
	head, lines, _ := bytes.Cut(file, []byte("\n"))
	rest, ok := bytes.CutPrefix(head, namesHead(id, lines))
	return string(rest), lines, ok
}

// note writes the names of a store, unless they stand there already. Names that
// can't be noted are asked for again.
func (s *Store) note(id, version string, names []string) {
	var lines []byte
	for _, name := range names {
		lines = append(lines, store.Escape(name)...)
		lines = append(lines, '\n')
	}
	file := fmt.Appendf(namesHead(id, lines), "%s\n%s", hash(version), lines)
	if old, err := durable.ReadFile(s.o.NamesFile, maxNames); err == nil && bytes.Equal(old, file) {
		return
	}
	if len(file) > maxNames || durable.PrivateDir(filepath.Dir(s.o.NamesFile)) != nil ||
		durable.Overwrite(s.o.NamesFile, file, 0o600) != nil {
		s.Forget() // what stands there is outdated
	}
}

func namesHead(id string, lines []byte) []byte {
	return fmt.Appendf(nil, "%s%s %08x ", namesMagic, hash(id), crc32.ChecksumIEEE(lines))
}
