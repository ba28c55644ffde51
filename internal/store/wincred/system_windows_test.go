package wincred

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"

	"kura/internal/store"
	"kura/internal/store/storetest"
)

// TestMain lets the test run itself as another process of the user.
func TestMain(m *testing.M) {
	if prefix := os.Getenv("TEST_PREFIX"); prefix != "" {
		s := Open(Options{Prefix: prefix})
		if err := storetest.Work(context.Background(), s, os.Args[1:], os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newPrefix returns a prefix whose credentials are removed after the test.
func newPrefix(t *testing.T) string {
	prefix := "kura-test-" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		mendWine(t, prefix)
		left, err := system{}.list(prefix)
		check(t, err)
		for target := range left {
			check(t, system{}.remove(target))
		}
	})
	return prefix
}

// mendWine removes the credentials that a process was killed while writing, and
// without which Wine can list no others. Wine writes them into its registry one
// value after the other, the blob last; Windows does it in another process, all
// or nothing.
func mendWine(t *testing.T, prefix string) {
	t.Helper()
	all, err := registry.OpenKey(registry.CURRENT_USER, `Software\Wine\Credential Manager`, registry.ALL_ACCESS)
	if err != nil {
		return // this is Windows, or nothing was ever stored
	}
	defer all.Close()
	unlock, err := system{}.lock(context.Background(), prefix) // also after the test
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	names, err := all.ReadSubKeyNames(-1)
	check(t, err)
	for _, name := range names {
		if !strings.HasPrefix(name, "Generic: "+prefix) {
			continue
		}
		key, err := registry.OpenKey(all, name, registry.QUERY_VALUE)
		if err != nil {
			continue // removed by now
		}
		if _, _, err := key.GetBinaryValue("Password"); errors.Is(err, registry.ErrNotExist) {
			check(t, registry.DeleteKey(all, name))
		}
		key.Close()
	}
}

func TestContractOnWindows(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Place {
		prefix := newPrefix(t)
		return storetest.Place{
			Open: func() store.Opened {
				mendWine(t, prefix)
				return Open(Options{Prefix: prefix})
			},
			Process: func(args ...string) *exec.Cmd {
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(os.Environ(), "TEST_PREFIX="+prefix)
				return cmd
			},
		}
	})
}

// Nothing is left of an item that was replaced or deleted.
func TestNothingLeft(t *testing.T) {
	prefix := newPrefix(t)
	s := Open(Options{Prefix: prefix})
	for _, c := range []struct {
		do   func() error
		want int
	}{
		{func() error { return s.Put(t.Context(), prod, large) }, 4},
		{func() error { return s.Put(t.Context(), prod, large) }, 4},
		{func() error { return s.Put(t.Context(), prod, small) }, 1},
		{func() error { return s.Put(t.Context(), prod, large) }, 4},
		{func() error { return s.Delete(t.Context(), prod) }, 0},
	} {
		check(t, c.do())
		left, err := system{}.list(prefix)
		if err != nil || len(left) != c.want {
			t.Errorf("%d credentials, %v, want %d", len(left), err, c.want)
		}
		for target, blob := range left {
			if len(blob) > maxBlob {
				t.Errorf("credential %q has %d bytes", target, len(blob))
			}
		}
	}
}

func TestEntriesOnWindows(t *testing.T) {
	name := "kura-test " + rand.Text()
	target := "aws-vault:aws-vault:" + name
	want := []byte(`{"AccessKeyID":"AKIAIOSFODNN7EXAMPLE"}`)
	check(t, system{}.write(target, want))
	t.Cleanup(func() { check(t, system{}.remove(target)) })
	e := OpenEntries(Options{Prefix: "aws-vault:aws-vault:"})
	if got, err := e.List(t.Context()); err != nil || !slices.Contains(got, name) {
		t.Errorf("List = %q, %v, want %q among them", got, err, name)
	}
	if got, err := e.Get(t.Context(), name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get = %q, %v, want %q", got, err, want)
	}
}
