// Package keyctl is a store in a keyring of the Linux kernel, see keyrings(7).
// It knows nothing of what the items mean, and needs no program, service or
// unlocking.
//
// What it keeps is in the memory of the kernel and nowhere else: it is gone
// when the system restarts, and in the persistent keyring also after three days
// without use. It is a place for keys that can be had again, not the only one
// for keys that can't. The package is empty on systems other than Linux.
package keyctl
