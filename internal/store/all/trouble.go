package all

import (
	"errors"

	"kura/internal/store/helper"
	"kura/internal/store/onepassword"
	"kura/internal/store/program"
)

// A Trouble is what keeps a backend from working, where a person can do
// something about it.
type Trouble string

const (
	NoBus         Trouble = "no session bus"
	NoService     Trouble = "no such service on the bus"
	NoAnswer      Trouble = "the service does not answer"
	Disabled      Trouble = "KWallet is disabled"
	Dismissed     Trouble = "the question was dismissed"
	Unanswered    Trouble = "the question was not answered"
	NobodyToAsk   Trouble = "there is nobody to ask"
	Silent        Trouble = "locked, and names are not told"
	WrongPassword Trouble = "wrong password"
	NoPasswords   Trouble = "the password store was never initialized"
	NoGPGKey      Trouble = "gpg has no such key"
	NoPinentry    Trouble = "gpg-agent has nowhere to ask"
	NoIdentity    Trouble = "no age identity"
	Full          Trouble = "no room for more"
	NoProgram     Trouble = "a program is not installed"
	NotHelper     Trouble = "not a credential helper"
	NoLogon       Trouble = "the logon session has no credentials"
	NoWindows     Trouble = "the session may not ask in a window"
	NoItemName    Trouble = "an item of 1Password without the name of its key"
	OthersItem    Trouble = "an item of 1Password is the user's own"
)

// Diagnose returns the trouble that an error of a store is about, if it is
// known, and the name of what lacks: a program, a service, a key.
func Diagnose(err error) (t Trouble, name string) {
	if e, ok := errors.AsType[*program.MissingError](err); ok {
		return NoProgram, e.Program
	}
	if errors.Is(err, helper.ErrNotHelper) {
		return NotHelper, ""
	}
	switch {
	case errors.Is(err, onepassword.ErrNoName):
		return NoItemName, ""
	case errors.Is(err, onepassword.ErrNotOurs):
		return OthersItem, ""
	}
	return diagnose(err)
}
