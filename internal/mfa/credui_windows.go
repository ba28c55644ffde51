package mfa

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// hasCredUI says that this system has the window of wincredui.
const hasCredUI = true

// creduiInfo is CREDUI_INFOW, and the constants are of the same header:
// https://learn.microsoft.com/en-us/windows/win32/api/wincred/nf-wincred-creduipromptforcredentialsw
type creduiInfo struct {
	size    uint32
	parent  windows.HWND
	message *uint16
	caption *uint16
	banner  windows.Handle
}

const (
	creduiDoNotPersist       = 0x00002
	creduiAlwaysShowUI       = 0x00080
	creduiGenericCredentials = 0x40000
	creduiKeepUsername       = 0x100000

	creduiMaxUsername = 513 // UTF-16 units, without the one at the end
	creduiMaxPassword = 256
)

// credUI asks in the window in which Windows asks for credentials: the user
// name is the device, the password its code. Nothing ends such a window but the
// user; one that is left behind when ctx is done goes with this process.
func (p *Prompt) credUI(ctx context.Context, serial, text string) (string, error) {
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		code, err := promptForCredentials(shortSerial(p.plain(serial, 100)), text)
		answers <- answer{code, err}
	}()
	select {
	case a := <-answers:
		return a.code, a.err
	case <-time.After(p.timeout()):
		return "", fmt.Errorf("%w after %v", ErrNoAnswer, p.timeout())
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// shortSerial is what aws-vault shows as the user name.
func shortSerial(serial string) string {
	return strings.NewReplacer("arn:aws:iam::", "", ":mfa", "").Replace(serial)
}

func promptForCredentials(user, text string) (string, error) {
	proc := windows.NewLazySystemDLL("credui.dll").NewProc("CredUIPromptForCredentialsW")
	if proc.Find() != nil {
		return "", ErrMissing // Nano Server has no windows
	}
	message, err := windows.UTF16PtrFromString(text)
	if err != nil {
		return "", err
	}
	username, err := windows.UTF16FromString(user)
	if err != nil {
		return "", err
	}
	username = append(username, make([]uint16, creduiMaxUsername+1-len(username))...)
	password := make([]uint16, creduiMaxPassword+1)
	defer clear(password)
	info := creduiInfo{message: message, caption: windows.StringToUTF16Ptr("Enter MFA code for kura")}
	info.size = uint32(unsafe.Sizeof(info))
	var save int32
	status, _, _ := proc.Call(
		uintptr(unsafe.Pointer(&info)),
		uintptr(unsafe.Pointer(windows.StringToUTF16Ptr("kura"))), // what the credentials are for
		0, 0,
		uintptr(unsafe.Pointer(&username[0])), uintptr(len(username)),
		uintptr(unsafe.Pointer(&password[0])), uintptr(len(password)),
		uintptr(unsafe.Pointer(&save)),
		creduiAlwaysShowUI|creduiGenericCredentials|creduiKeepUsername|creduiDoNotPersist)
	switch windows.Errno(status) {
	case windows.NO_ERROR:
		return windows.UTF16ToString(password), nil
	case windows.ERROR_CANCELLED:
		return "", ErrDismissed
	case windows.ERROR_NO_SUCH_LOGON_SESSION: // of a service, say
		return "", ErrNoDisplay
	default:
		return "", windows.Errno(status)
	}
}
