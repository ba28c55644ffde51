//go:build !linux

package peer

import "net"

func owner(net.Conn) (int, error) { return 0, ErrUnsupported }
