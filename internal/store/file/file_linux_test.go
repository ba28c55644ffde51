package file_test

import (
	"bytes"
	"path/filepath"
	"syscall"
	"testing"

	"kura/internal/durable"
	"kura/internal/store"
)

// mount returns the path of a store on a file system of a few pages.
func mount(t *testing.T) (mountPoint, dir string) {
	t.Helper()
	mountPoint = t.TempDir()
	if err := syscall.Mount("tmpfs", mountPoint, "tmpfs", 0, "size=128k"); err != nil {
		t.Skip("no right to mount a small file system: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(mountPoint, 0) })
	return mountPoint, filepath.Join(mountPoint, "store")
}

func TestDiskFull(t *testing.T) {
	_, dir := mount(t)
	s := open(dir)
	put(t, s, "a", "old")
	for _, s := range []store.Store{s, open(dir)} {
		err := s.Put(t.Context(), key("a"), make([]byte, 1<<18))
		wantError(t, err, durable.ErrDiskFull, "the disk is full", filepath.Join(dir, "items/access-key.a.age"))
		want(t, s, "a", "old")
	}
	if files, err := filepath.Glob(filepath.Join(dir, "tmp/.tmp*")); err != nil || len(files) > 0 {
		t.Errorf("temporary files are left: %q, %v", files, err)
	}
	put(t, s, "a", "new")
}

// The disk may be full from the start.
func TestDiskFullAtFirst(t *testing.T) {
	mountPoint, dir := mount(t)
	fill := filepath.Join(mountPoint, "fill")
	for size := 128 << 10; ; size -= 4096 {
		err := durable.WriteFile(fill, bytes.Repeat([]byte("x"), size), 0o600)
		if err == nil {
			break
		}
		wantError(t, err, durable.ErrDiskFull)
	}
	wantError(t, open(dir).Put(t.Context(), key("a"), nil), durable.ErrDiskFull)
	remove(t, fill)
	put(t, open(dir), "a", "data")
	want(t, open(dir), "a", "data")
}

// A store on a medium that can't be written to can be read.
func TestReadOnly(t *testing.T) {
	mountPoint, dir := mount(t)
	put(t, with(dir, pass, pass), "a", "data")
	if err := syscall.Mount("", mountPoint, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := with(dir, pass, pass)
	want(t, s, "a", "data")
	for _, err := range []error{
		s.Put(t.Context(), key("a"), nil),
		s.Delete(t.Context(), key("a")),
		s.ChangePassphrase(t.Context()),
		s.AddPassphrase(t.Context(), "b"),
		with(filepath.Join(mountPoint, "new"), pass, pass).Put(t.Context(), key("a"), nil),
	} {
		wantError(t, err, durable.ErrReadOnly, "the directory is read-only")
	}
	want(t, s, "a", "data")
}
