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
//	kura names 1 <32 digits> <8 digits>
//
// where the digits are a hash of the store's ID and the CRC-32 of what follows:
// a line for each name, escaped. A file that is cut short, spoiled, or another
// store's is as good as none. It is written in place, as whoever reads it
// half-written sees that it is.
const namesMagic = "kura names 1 "

// maxNames is the greatest size of the file in bytes. More names than go into it
// are not noted.
const maxNames = 1 << 20

// noted reports whether a name is noted, if anything is known of names. It is
// asked by each command: the file is small, and need not be parsed.
func (s *Store) noted(id, name string) (has, known bool) {
	if s.o.NamesFile == "" || s.mistrust.Load() {
		return false, false
	}
	file, err := durable.ReadFile(s.o.NamesFile, maxNames)
	if err != nil {
		return false, false
	}
	_, lines, _ := bytes.Cut(file, []byte("\n"))
	if !bytes.HasPrefix(file, namesHead(id, lines)) {
		return false, false
	}
	return bytes.Contains(file, []byte("\n"+store.Escape(name)+"\n")), true
}

// note writes the names of a store, unless they stand there already. Names that
// can't be noted are asked for again.
func (s *Store) note(id string, names []string) {
	var lines []byte
	for _, name := range names {
		lines = append(lines, store.Escape(name)...)
		lines = append(lines, '\n')
	}
	file := append(namesHead(id, lines), lines...)
	if old, err := durable.ReadFile(s.o.NamesFile, maxNames); err == nil && bytes.Equal(old, file) {
		return
	}
	if len(file) > maxNames || durable.PrivateDir(filepath.Dir(s.o.NamesFile)) != nil ||
		durable.Overwrite(s.o.NamesFile, file, 0o600) != nil {
		s.Forget() // what stands there is outdated
	}
}

func namesHead(id string, lines []byte) []byte {
	return fmt.Appendf(nil, "%s%s %08x\n", namesMagic, hash(id), crc32.ChecksumIEEE(lines))
}
