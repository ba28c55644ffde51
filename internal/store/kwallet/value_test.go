package kwallet

import (
	"bytes"
	"testing"
)

// What is taken for a value is what encode writes, byte for byte.
func FuzzValue(f *testing.F) {
	for _, value := range []string{"", "base64:", "base64:YWJj", "base64:YWJjZA==", "base64:YWJjZB==", "base64:YW\nJj", "YWJj"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if data, err := decode(value); err == nil && !bytes.Equal(encode(data), value) {
			t.Errorf("decode(%q) = %q, which is encoded as %q", value, data, encode(data))
		}
		if data, err := decode(encode(value)); err != nil || !bytes.Equal(data, value) {
			t.Errorf("%q comes back as %q, %v", value, data, err)
		}
	})
}
