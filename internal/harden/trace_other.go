//go:build unix && !linux && !freebsd

package harden

func refuseTracing() {}
