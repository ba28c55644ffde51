package awsvault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"kura/internal/store"
)

// maxIterations is the greatest count of PBKDF2 that a token may ask for: that
// of ByteNess's aws-vault. aws-vault writes 8192.
//
// Source: pbse2_hmac_aeskw.go of dvsekhvalnov/jose2go v1.10.
const maxIterations = 1_300_000

// algorithm is how aws-vault derives and wraps keys: PBES2 with HMAC-SHA-256
// and AES-128 key wrap, RFC 7518 section 4.8.
const algorithm = "PBES2-HS256+A128KW"

// A token is a JSON Web Encryption in its compact form, RFC 7516 section 7.1.
type token struct {
	header     string // as it is in the text: what GCM authenticates
	iterations int
	salt       []byte
	keySize    int // of the content key, in bytes
	wrapped    []byte
	nonce      []byte
	sealed     []byte
	tag        []byte
}

// parseToken reads a token. Errors wrap ErrForeign or, for the beginning of
// one, as aws-vault leaves it on a full disk, store.ErrDamaged.
func parseToken(text string) (*token, error) {
	text = strings.TrimSpace(text)
	var p [5][]byte
	parts := strings.Split(text, ".")
	ok := len(parts) == len(p)
	for i := 0; ok && i < len(p); i++ {
		var err error
		p[i], err = base64.RawURLEncoding.Strict().DecodeString(parts[i])
		ok = err == nil && !strings.ContainsAny(parts[i], "\r\n") // which it passes over
	}
	if !ok || len(p[4]) != 16 {
		if text == "" || strings.HasPrefix(text, "eyJ") { // that is `{"`
			return nil, fmt.Errorf("%w: it is cut short", store.ErrDamaged)
		}
		return nil, fmt.Errorf("%w: it is no encrypted file of it", ErrForeign)
	}
	var h struct {
		Alg, Enc, Zip, P2S string
		P2C                int
		Crit               []string
	}
	if json.Unmarshal(p[0], &h) != nil {
		return nil, fmt.Errorf("%w: its header is malformed", store.ErrDamaged)
	}
	t := &token{header: parts[0], iterations: h.P2C, wrapped: p[1], nonce: p[2], sealed: p[3], tag: p[4]}
	switch h.Enc {
	case "A128GCM":
		t.keySize = 16
	case "A192GCM":
		t.keySize = 24
	case "A256GCM": // the one that aws-vault writes
		t.keySize = 32
	}
	if h.Alg != algorithm || t.keySize == 0 || h.Zip != "" || h.Crit != nil {
		return nil, fmt.Errorf("%w: it is encrypted in a way that aws-vault does not use", ErrForeign)
	}
	if h.P2C < 1 || h.P2C > maxIterations {
		return nil, fmt.Errorf("%w: %d iterations to make its key, want 1 to %d", ErrForeign, h.P2C, maxIterations)
	}
	var err error
	t.salt, err = base64.RawURLEncoding.DecodeString(h.P2S)
	if err != nil || len(t.nonce) != 12 || len(t.wrapped) != t.keySize+8 {
		return nil, fmt.Errorf("%w: it is cut short", store.ErrDamaged)
	}
	return t, nil
}

// open returns the text of the token. Errors wrap ErrWrongPassphrase or
// store.ErrDamaged.
func (t *token) open(passphrase string) ([]byte, error) {
	key, err := t.unwrap(passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	data, err := gcm.Open(nil, t.nonce, append(t.sealed[:len(t.sealed):len(t.sealed)], t.tag...), []byte(t.header))
	if err != nil {
		return nil, fmt.Errorf("%w: it is not what was encrypted", store.ErrDamaged)
	}
	return data, nil
}

// unwrap returns the content key, or ErrWrongPassphrase.
func (t *token) unwrap(passphrase string) ([]byte, error) {
	salt := append([]byte(algorithm+"\x00"), t.salt...)
	kek, err := pbkdf2.Key(sha256.New, passphrase, salt, t.iterations, 16)
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return unwrapKey(block, t.wrapped)
}

// unwrapKey is the inverse of AES key wrap, RFC 3394 section 2.2.2. The length
// of wrapped is a multiple of 8, of 24 at least.
func unwrapKey(block cipher.Block, wrapped []byte) ([]byte, error) {
	var b [16]byte // A and R[i] of the RFC
	copy(b[:8], wrapped)
	key := append([]byte(nil), wrapped[8:]...)
	n := len(key) / 8
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			r := key[(i-1)*8 : i*8]
			binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(n*j+i))
			copy(b[8:], r)
			block.Decrypt(b[:], b[:])
			copy(r, b[8:])
		}
	}
	if subtle.ConstantTimeCompare(b[:8], []byte("\xa6\xa6\xa6\xa6\xa6\xa6\xa6\xa6")) != 1 {
		clear(key)
		return nil, ErrWrongPassphrase
	}
	return key, nil
}
