package secretservice

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/godbus/dbus/v5"
)

const testSession = dbus.ObjectPath("/session/1")

// Both sides arrive at one key, and what one seals the other opens.
func TestAgreement(t *testing.T) {
	a, b := newAgreement(), newAgreement()
	key, err := a.key(b.public())
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.key(a.public())
	if err != nil || !bytes.Equal(key, other) || len(key) != 16 {
		t.Fatalf("keys of %d and %d bytes differ, or %v", len(key), len(other), err)
	}
	mine, theirs := &session{testSession, key}, &session{testSession, other}
	for n := range 40 {
		data := bytes.Repeat([]byte{byte(n)}, n)
		value, err := mine.seal(data, "")
		if err != nil {
			t.Fatal(err)
		}
		if n > 8 && bytes.Contains(value.Value, data) {
			t.Error("a sealed value can be read")
		}
		if got, err := theirs.open(value); err != nil || !bytes.Equal(got, data) {
			t.Errorf("open = %q, %v, want %q", got, err, data)
		}
		if _, err := (&session{"/session/2", other}).open(value); err == nil {
			t.Error("a value of another session was opened")
		}
	}
}

// A public number that would make the key known to everybody is refused.
func TestBadPublicNumbers(t *testing.T) {
	a := newAgreement()
	last := new(big.Int).Sub(a.prime, big.NewInt(1))
	for _, bad := range [][]byte{
		nil, {0}, {1}, make([]byte, 128), last.Bytes(), a.prime.Bytes(),
		bytes.Repeat([]byte{0xff}, 128), append([]byte{0}, bytes.Repeat([]byte{2}, 128)...),
	} {
		if _, err := a.key(bad); err == nil {
			t.Errorf("the public number %x was accepted", bad)
		}
	}
	// One with zeros before it is the same number.
	if _, err := a.key(append(make([]byte, 100), 2)); err != nil {
		t.Error(err)
	}
}

// Whatever a service sends is an error, or a value that would be sealed to
// something of the same length.
func FuzzOpen(f *testing.F) {
	s := &session{testSession, bytes.Repeat([]byte{7}, 16)}
	for _, data := range []string{"", "sixteen bytes...", "more"} {
		value, err := s.seal([]byte(data), "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value.Parameters, value.Value)
	}
	f.Add([]byte{}, []byte{})
	f.Add(make([]byte, 16), make([]byte, 17))
	f.Fuzz(func(t *testing.T, iv, value []byte) {
		data, err := s.open(secret{Session: testSession, Parameters: iv, Value: value})
		if err != nil {
			return
		}
		again, err := s.seal(data, "")
		if err != nil || len(again.Value) != len(value) {
			t.Errorf("%d bytes were opened to %d, which seal to %d, %v", len(value), len(data), len(again.Value), err)
		}
	})
}
