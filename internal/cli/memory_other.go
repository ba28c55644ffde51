//go:build !linux

package cli

// forgetPages does nothing here.
func forgetPages() {}
