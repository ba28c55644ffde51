package near_test

import (
	"os"
	"syscall"
	"testing"
)

// Names that can be neither removed nor emptied are not believed any more.
func TestReadOnlyNames(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(p.path("cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", p.path("cache"), "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skip("no right to mount a file system: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(p.path("cache"), 0) })
	s := p.open()
	put(t, s, "dev", "1")
	wantHas(t, s, "prod", false)
	if err := syscall.Mount("", p.path("cache"), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	put(t, p.inner(), "prod", "2")
	wantHas(t, s, "prod", false)
	if !s.Forget() || s.Forget() {
		t.Error("Forget does not say once that there were names")
	}
	wantHas(t, s, "prod", true)
}
