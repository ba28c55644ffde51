//go:build !linux

package prompt

func terminalName() string { return "" }
