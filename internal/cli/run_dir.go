package cli

import (
	"os"
	"path/filepath"

	"kura/internal/durable"
)

// A runDir is a directory for what a server and those who use it have in common,
// for as long as this process runs. It is made when it is needed. A process that
// is killed leaves its own behind, to be removed by the next.
type runDir struct {
	a      *app
	path   string
	unlock func() // whose lock on it says that this process runs
}

const (
	runPrefix = "kura-run-"
	runLock   = "lock"
)

// file returns the path of a file in d.
func (d *runDir) file(name string) (string, error) {
	for d.path == "" {
		if err := d.make(); err != nil {
			return "", err
		}
	}
	return filepath.Join(d.path, name), nil
}

// make makes the directory, unless another process takes it for one that was left
// behind before this one has its lock.
func (d *runDir) make() error {
	base, err := d.a.runBase()
	if err != nil {
		return err
	}
	removeLeftRunDirs(base)
	path, err := os.MkdirTemp(base, runPrefix)
	if err != nil {
		return err
	}
	unlock, err := durable.TryLock(filepath.Join(path, runLock))
	if _, gone := os.Lstat(filepath.Join(path, runLock)); gone != nil {
		if unlock != nil {
			unlock()
		}
		return nil
	}
	if err == nil && unlock != nil {
		d.path, d.unlock = path, unlock
	}
	return err
}

// remove removes the directory, if there is one.
func (d *runDir) remove() {
	if d.path != "" {
		removeRunDir(d.path, d.unlock)
	}
}

// removeRunDir removes a run directory and gives up the lock on it. What can't be
// removed does no harm, and is tried again by the next process.
func removeRunDir(dir string, unlock func()) {
	_ = os.RemoveAll(dir)
	unlock()
	_ = os.RemoveAll(dir) // Windows removes no file that is open
}

// runBase returns where run directories are made: where the system keeps such
// things, if that is as it should be, or with the cache.
func (a *app) runBase() (string, error) {
	dir := a.Getenv("XDG_RUNTIME_DIR")
	if _, err := os.Lstat(dir); err == nil && filepath.IsAbs(dir) && durable.PrivateDir(dir) == nil {
		return dir, nil
	}
	return a.cacheDir(), os.MkdirAll(a.cacheDir(), 0o700)
}

// removeLeftRunDirs removes the run directories of processes that do not run any
// more.
func removeLeftRunDirs(base string) {
	left, _ := filepath.Glob(filepath.Join(base, runPrefix+"*"))
	for _, dir := range left {
		lock := filepath.Join(dir, runLock)
		if info, err := os.Lstat(lock); err != nil || !info.Mode().IsRegular() {
			continue // it is being made
		}
		if unlock, err := durable.TryLock(lock); err == nil && unlock != nil {
			removeRunDir(dir, unlock)
		}
	}
}
