//go:build !linux

package peer

import "net"

// Loopback tells nothing here: this system isn't asked who is at the other end
// of a TCP connection.
func loopback(net.Conn) (uid uint32, ok bool) { return 0, false }
