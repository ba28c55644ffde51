package durable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kura/internal/durable"
)

// mount returns a file system of 64 KiB.
func mount(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no right to mount a small file system: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := mount(t)
	name := filepath.Join(dir, "f")
	if err := durable.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := durable.WriteFile(name, make([]byte, 1<<17), 0o600)
	if !errors.Is(err, durable.ErrDiskFull) {
		t.Errorf("WriteFile on a full disk: %v, want ErrDiskFull", err)
	}
	if got, _ := os.ReadFile(name); !bytes.Equal(got, []byte("old")) {
		t.Errorf("the old file is now %q", got)
	}
	wantFiles(t, dir, "f")
}

func TestReadOnly(t *testing.T) {
	dir := mount(t)
	name := filepath.Join(dir, "f")
	if err := durable.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, errTry := durable.TryLock(filepath.Join(dir, "lock"))
	_, errLock := durable.Lock(t.Context(), filepath.Join(dir, "lock"))
	for what, err := range map[string]error{
		"WriteFile": durable.WriteFile(name, nil, 0o600),
		"Remove":    durable.Remove(name),
		"MkdirAll":  durable.MkdirAll(filepath.Join(dir, "a", "b"), 0o700),
		"TryLock":   errTry,
		"Lock":      errLock,
	} {
		if !errors.Is(err, durable.ErrReadOnly) {
			t.Errorf("%s on a read-only file system: %v, want ErrReadOnly", what, err)
		}
	}
}

// What others may have put in the way neither makes the program wait nor takes
// it elsewhere.
func TestObstacles(t *testing.T) {
	dir := t.TempDir()
	pipe, link, target := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "target")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.ReadFile(pipe, 10); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("ReadFile of a pipe: %v, want ErrNotRegular", err)
	}
	if _, err := durable.ReadFile("/dev/zero", 10); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("ReadFile of a device: %v, want ErrNotRegular", err)
	}
	if err := durable.Overwrite(pipe, []byte("x"), 0o600); err == nil {
		t.Error("Overwrite wrote into a pipe")
	}
	if err := durable.Overwrite(link, []byte("x"), 0o600); err == nil {
		t.Error("Overwrite followed a link")
	}
	if unlock, err := durable.TryLock(link); err == nil {
		unlock()
		t.Error("TryLock followed a link")
	}
	if data, err := os.ReadFile(target); string(data) != "mine" || err != nil {
		t.Errorf("the target holds %q, %v", data, err)
	}

	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.PrivateDir(open); err != nil {
		t.Errorf("PrivateDir of one's own: %v", err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "dirlink")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{open, filepath.Join(dir, "dirlink")} {
		if _, ok := errors.AsType[*durable.ForeignError](durable.PrivateDir(name)); !ok {
			t.Errorf("PrivateDir(%s) took it", name)
		}
	}
}
