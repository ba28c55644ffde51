package unlocked_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"kura/internal/unlocked"
)

// open returns a keep of the test's own.
func open(t testing.TB) *unlocked.Keep {
	t.Helper()
	k := unlocked.Open(namespace(t))
	if err := k.Works(); err != nil {
		t.Skip("nothing can be kept here: ", err)
	}
	return k
}

func namespace(t testing.TB) string {
	name := "test-" + rand.Text()
	t.Cleanup(func() {
		if err := unlocked.Open(name).Forget(); err != nil {
			t.Error(err)
		}
	})
	return name
}

func put(t testing.TB, k *unlocked.Keep, name, data string) {
	t.Helper()
	if err := k.Put(name, []byte(data), time.Minute); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, k *unlocked.Keep, name, want string, wantOK bool) {
	t.Helper()
	if got, ok := k.Get(name); string(got) != want || ok != wantOK {
		t.Errorf("Get(%q) = %d bytes, %t, want %d bytes, %t", name, len(got), ok, len(want), wantOK)
	}
}

func TestKeep(t *testing.T) {
	k := open(t)
	want(t, k, "a", "", false)
	put(t, k, "a", "one")
	want(t, k, "a", "one", true)
	put(t, k, "a", "two")
	put(t, k, "b:c", "three")
	want(t, k, "a", "two", true)
	want(t, k, "b:c", "three", true)

	big := string(bytes.Repeat([]byte("x"), 10_000)) // a user's quota is 20,000
	put(t, k, "a", big)
	want(t, k, "a", big, true)
	if err := k.Put("a", make([]byte, 32_768), time.Minute); err == nil {
		t.Error("Put of 32,768 bytes succeeded")
	}
	want(t, k, "a", big, true)
}

func TestForgetIsOfANamespace(t *testing.T) {
	k, other := open(t), open(t)
	put(t, k, "a", "one")
	put(t, k, "b", "two")
	put(t, other, "a", "three")
	if err := k.Forget(); err != nil {
		t.Fatal(err)
	}
	want(t, k, "a", "", false)
	want(t, k, "b", "", false)
	want(t, other, "a", "three", true)
	put(t, k, "a", "four")
	want(t, k, "a", "four", true)
}

func TestDropIsOfOneSecret(t *testing.T) {
	k, other := open(t), open(t)
	put(t, k, "a", "one")
	put(t, k, "a:b", "two")
	put(t, other, "a", "three")
	for range 2 { // a secret that is not there is none to drop
		if err := k.Drop("a"); err != nil {
			t.Fatal(err)
		}
		want(t, k, "a", "", false)
	}
	want(t, k, "a:b", "two", true)
	want(t, other, "a", "three", true)
	put(t, k, "a", "four")
	want(t, k, "a", "four", true)
}

func TestNoTimeKeepsNothing(t *testing.T) {
	k := open(t)
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if err := k.Put("a", []byte("secret"), ttl); err != nil {
			t.Errorf("Put for %v: %v", ttl, err)
		}
		want(t, k, "a", "", false)
	}
	// More than the kernel counts to.
	if err := k.Put("a", []byte("secret"), 1<<63-1); err != nil {
		t.Error(err)
	}
	want(t, k, "a", "secret", true)
}

func TestNilKeepsNothing(t *testing.T) {
	var k *unlocked.Keep
	if err := k.Put("a", []byte("secret"), time.Minute); err != nil {
		t.Error(err)
	}
	want(t, k, "a", "", false)
	if err := k.Drop("a"); err != nil {
		t.Error(err)
	}
	if err := k.Forget(); err != nil {
		t.Error(err)
	}
	if k.Works() == nil {
		t.Error("a nil keep says that it works")
	}
}

// Every thread must find what another has put, those that there were before
// the first call too.
func TestThreads(t *testing.T) {
	k := open(t)
	put(t, k, "a", "one")
	done := make(chan bool)
	for i := range 50 {
		go func() {
			name := fmt.Sprint("thread-", i)
			_, ok := k.Get("a")
			err := k.Put(name, []byte(name), time.Minute)
			got, _ := k.Get(name)
			done <- ok && err == nil && string(got) == name
		}()
	}
	for range 50 {
		if !<-done {
			t.Error("a thread did not find what was put")
		}
	}
}

func BenchmarkGet(b *testing.B) {
	k := open(b)
	put(b, k, "a", "secret")
	for b.Loop() {
		if _, ok := k.Get("a"); !ok {
			b.Fatal("nothing there")
		}
	}
}
