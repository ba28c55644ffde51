package secretservice

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/godbus/dbus/v5"
)

// algorithm is the one of the specification's two that encrypts secrets on
// their way over the bus, where others of the same user can listen: a key is
// agreed upon with Diffie-Hellman in the group of RFC 2409, section 6.2, and
// stretched with HKDF for AES-128 in CBC mode with the padding of PKCS #7.
const algorithm = "dh-ietf1024-sha256-aes128-cbc-pkcs7"

// groupPrime is the prime of that group in hexadecimal. Its generator is 2.
const groupPrime = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74" +
	"020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437" +
	"4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed" +
	"ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff"

// groupSize is the length of a number of the group in bytes.
const groupSize = 128

// An agreement is one side of a key agreement.
type agreement struct{ prime, private *big.Int }

// newAgreement draws a private number of 256 bits: twice what the AES key can
// keep secret, and several times faster than one as long as the prime.
func newAgreement() *agreement {
	prime, ok := new(big.Int).SetString(groupPrime, 16)
	if !ok {
		panic("the prime is no number")
	}
	private := make([]byte, 32)
	rand.Read(private)
	return &agreement{prime, new(big.Int).SetBytes(private)}
}

// public returns what the other side must know.
func (a *agreement) public() []byte {
	return new(big.Int).Exp(big.NewInt(2), a.private, a.prime).Bytes()
}

// key returns the AES key that the other side arrives at too.
func (a *agreement) key(peer []byte) ([]byte, error) {
	if len(peer) > groupSize {
		return nil, fmt.Errorf("its public number has %d bytes, want at most %d", len(peer), groupSize)
	}
	y := new(big.Int).SetBytes(peer)
	// 0, 1 and -1 would make the key known to everybody.
	last := new(big.Int).Sub(a.prime, big.NewInt(1))
	if y.Cmp(big.NewInt(1)) <= 0 || y.Cmp(last) >= 0 {
		return nil, errors.New("its public number is not one of the group")
	}
	shared := new(big.Int).Exp(y, a.private, a.prime).FillBytes(make([]byte, groupSize))
	return hkdf.Key(sha256.New, shared, nil, "", 16)
}

// A secret is a value as it goes over the bus: the Secret of the specification.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte // the initialisation vector
	Value       []byte
	ContentType string
}

// A session is what secrets are encrypted for.
type session struct {
	path dbus.ObjectPath
	key  []byte
}

// seal encrypts data.
func (s *session) seal(data []byte, contentType string) (secret, error) {
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return secret{}, err
	}
	pad := aes.BlockSize - len(data)%aes.BlockSize
	value := make([]byte, len(data)+pad)
	for i := copy(value, data); i < len(value); i++ {
		value[i] = byte(pad)
	}
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(value, value)
	return secret{s.path, iv, value, contentType}, nil
}

// open decrypts what seal has made. Whatever the service has sent, it returns
// data or an error.
func (s *session) open(value secret) ([]byte, error) {
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return nil, err
	}
	n := len(value.Value)
	switch {
	case value.Session != s.path:
		return nil, errors.New("the service answered with a value of another session")
	case len(value.Parameters) != aes.BlockSize:
		return nil, fmt.Errorf("the service sent an initialisation vector of %d bytes, want %d", len(value.Parameters), aes.BlockSize)
	case n == 0 || n%aes.BlockSize != 0:
		return nil, fmt.Errorf("the service sent %d encrypted bytes, want a multiple of %d", n, aes.BlockSize)
	}
	data := make([]byte, n)
	cipher.NewCBCDecrypter(block, value.Parameters).CryptBlocks(data, value.Value)
	pad := int(data[n-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errBadPadding
	}
	for _, b := range data[n-pad:] {
		if int(b) != pad {
			return nil, errBadPadding
		}
	}
	return data[:n-pad], nil
}

// errBadPadding says that a value was not encrypted with the key of the session,
// or is cut short.
var errBadPadding = errors.New("the service sent a value that can't be decrypted")
