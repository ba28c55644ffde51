package wincred

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/danieljoos/wincred"
	"golang.org/x/sys/windows"
)

// Open returns the store of a prefix. It touches nothing yet.
func Open(o Options) *Store { return open(system{}, o) }

// OpenEntries returns what another program has left in the credentials of the
// user, under Prefix.
func OpenEntries(o Options) *Entries { return openEntries(system{}, o) }

// system is the Credential Manager.
type system struct{}

func (system) read(target string) ([]byte, error) {
	c, err := wincred.GetGenericCredential(target)
	if err != nil {
		return nil, missing(err)
	}
	return c.CredentialBlob, nil
}

// write keeps the credential on this machine: it does not roam with the user's
// profile.
func (system) write(target string, blob []byte) error {
	c := wincred.NewGenericCredential(target)
	c.CredentialBlob = blob
	return c.Write()
}

func (system) remove(target string) error {
	return missing(wincred.NewGenericCredential(target).Delete())
}

func (system) list(prefix string) (map[string][]byte, error) {
	all, err := wincred.FilteredList(prefix + "*")
	if err != nil {
		return nil, err
	}
	creds := make(map[string][]byte, len(all))
	for _, c := range all {
		creds[c.TargetName] = c.CredentialBlob
	}
	return creds, nil
}

// missing makes errMissing of what says that there is no credential. Wine, which
// keeps them in its registry, says ERROR_KEY_DELETED of one that is removed
// while it is read.
func missing(err error) error {
	if errors.Is(err, wincred.ErrElementNotFound) || errors.Is(err, windows.ERROR_KEY_DELETED) {
		return errMissing
	}
	return err
}

// lock holds a mutex of the user, in whichever of his sessions, elevated or
// not. Windows gives it up if the process dies.
func (system) lock(ctx context.Context, name string) (unlock func(), err error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	sid := user.User.Sid.String()
	// Without a list of its own the mutex of an elevated process would be
	// closed to the others of its user.
	descriptor, err := windows.SecurityDescriptorFromString("D:P(A;;GA;;;" + sid + ")")
	if err != nil {
		return nil, err
	}
	text, err := windows.UTF16PtrFromString(`Global\kura-wincred-` + sid + "-" + name)
	if err != nil {
		return nil, err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	mutex, err := windows.CreateMutex(&attributes, false, text)
	if mutex == 0 { // err says no more than that it was there before
		return nil, fmt.Errorf("the lock of the store: %w", err)
	}
	runtime.LockOSThread() // which is the owner of the mutex
	for {
		event, err := windows.WaitForSingleObject(mutex, uint32((20 * time.Millisecond).Milliseconds()))
		switch {
		case err == nil && (event == windows.WAIT_OBJECT_0 || event == windows.WAIT_ABANDONED):
			return func() {
				_ = windows.ReleaseMutex(mutex)
				_ = windows.CloseHandle(mutex)
				runtime.UnlockOSThread()
			}, nil
		case err == nil && ctx.Err() == nil:
			continue
		case err == nil:
			err = context.Cause(ctx)
		}
		_ = windows.CloseHandle(mutex)
		runtime.UnlockOSThread()
		return nil, err
	}
}
