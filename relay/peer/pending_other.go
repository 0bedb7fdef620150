//go:build !unix

package peer

import "net"

// Pending is false here: this system isn't asked.
func Pending(net.Conn) (first byte, any bool) { return 0, false }
