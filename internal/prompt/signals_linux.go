package prompt

import "golang.org/x/sys/unix"

// blockJobSignals blocks SIGTTIN and SIGTTOU for this thread.
func blockJobSignals() (unblock func(), err error) {
	var set, old unix.Sigset_t
	set.Val[0] = 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return nil, err
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }, nil // can't fail
}
