package file

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"filippo.io/age"

	"kura/internal/durable"
	"kura/internal/store"
)

// An identity opens all items of a store.
type identity struct {
	age       *age.HybridIdentity
	recipient string
	mac       []byte // key of the items' MACs
}

// parseIdentity reads an identity in the form that slots hold: a line that
// begins with AGE-SECRET-KEY-PQ-1. The error does not quote it.
func parseIdentity(text []byte) (*identity, error) {
	text = bytes.TrimSpace(text)
	id, err := age.ParseHybridIdentity(string(text))
	if err != nil {
		return nil, errors.New("it does not hold an age identity")
	}
	mac, err := hkdf.Key(sha256.New, text, nil, "kura-store item MAC 1", sha256.Size)
	if err != nil {
		return nil, err
	}
	return &identity{id, id.Recipient().String(), mac}, nil
}

// sealItem returns the file of an item.
func (id *identity) sealItem(key store.Key, data []byte) ([]byte, error) {
	plain := encodeItem(id.mac, key, data)
	defer clear(plain)
	var to age.Recipient = id.age.Recipient()
	if file, err := fileName(key); err != nil {
		return nil, err
	} else if _, long, _ := parseFileName(file); long {
		to = named{to, key.Name}
	}
	return seal(plain, to)
}

// openItem is the inverse of sealItem. Errors are of type *FileError.
func (id *identity) openItem(path string, sealed []byte) (store.Key, []byte, error) {
	plain, err := unseal(sealed, id.age)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return store.Key{}, nil, &FileError{path, true, errors.New("it is not encrypted for this store")}
	}
	if err != nil {
		return store.Key{}, nil, &FileError{path, false, err}
	}
	defer clear(plain)
	key, data, err := decodeItem(id.mac, plain)
	if err != nil {
		return store.Key{}, nil, &FileError{path, true, err}
	}
	return key, data, nil
}

// encodeItem returns the plaintext of an item. Whoever knows the recipient can
// encrypt for it, so the MAC, whose key comes from the identity, is what says
// that the store wrote an item, and which. It is over everything but its own
// line. The name is quoted in ASCII, as what Go takes for printable beyond it
// changes with its version.
func encodeItem(mac []byte, key store.Key, data []byte) []byte {
	head := fmt.Appendf(nil, "kura-item 1\nkind: %s\nname: %s\n", key.Kind, strconv.QuoteToASCII(key.Name))
	h := hmac.New(sha256.New, mac)
	h.Write(head)
	h.Write([]byte("\n"))
	h.Write(data)
	// All at once, so that growing leaves no copies of data behind.
	plain := make([]byte, 0, len(head)+80+len(data))
	plain = append(plain, head...)
	plain = fmt.Appendf(plain, "mac: %s\n\n", hex.EncodeToString(h.Sum(nil)))
	return append(plain, data...)
}

// decodeItem is the inverse of encodeItem. Errors quote nothing of plain.
func decodeItem(mac, plain []byte) (key store.Key, data []byte, err error) {
	head, data, ok := bytes.Cut(plain, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) != 4 || lines[0] != "kura-item 1" {
		return store.Key{}, nil, errors.New("it does not begin like an item")
	}
	kind, ok1 := strings.CutPrefix(lines[1], "kind: ")
	quoted, ok2 := strings.CutPrefix(lines[2], "name: ")
	name, err := strconv.Unquote(quoted)
	if !ok1 || !ok2 || err != nil {
		return store.Key{}, nil, errors.New("it has no kind or name")
	}
	key = store.Key{Kind: store.Kind(kind), Name: name}
	again := encodeItem(mac, key, data)
	defer clear(again)
	if !hmac.Equal(again, plain) {
		return store.Key{}, nil, errors.New("its MAC is wrong")
	}
	return key, bytes.Clone(data), nil
}

// named encrypts like another recipient, and adds the name of an item to the
// header. To age it is a stanza of a recipient that it does not know.
type named struct {
	to   age.Recipient
	name string
}

func (n named) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, err := n.to.Wrap(fileKey)
	if err != nil {
		return nil, err
	}
	encoded := base64.RawStdEncoding.EncodeToString([]byte(n.name))
	return append(stanzas, &age.Stanza{Type: nameStanza, Args: []string{encoded}}), nil
}

// seal encrypts an age file.
func seal(plain []byte, to age.Recipient) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// unseal decrypts an age file.
func unseal(sealed []byte, with age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), with)
	if err != nil {
		return nil, err
	}
	// The plaintext is shorter, so this never grows and leaves no copies.
	plain := bytes.NewBuffer(make([]byte, 0, len(sealed)+bytes.MinRead))
	if _, err := plain.ReadFrom(r); err != nil {
		clear(plain.Bytes())
		return nil, err
	}
	return plain.Bytes(), nil
}

// readFile is durable.ReadFile with an error for what can't be of this store.
func readFile(path string, limit int64) ([]byte, error) {
	data, err := durable.ReadFile(path, limit)
	if errors.Is(err, durable.ErrNotRegular) || errors.Is(err, durable.ErrTooLarge) {
		return nil, &FileError{path, true, fmt.Errorf("it is not a file of at most %d bytes", limit)}
	}
	return data, err
}
