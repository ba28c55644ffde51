//go:build !linux

package main

// confined is for Linux only, where scripts use it.
func confined() { panic("not on this system") }
