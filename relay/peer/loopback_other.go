//go:build !linux

package peer

import (
	"errors"
	"net"
)

var errNotAsked = errors.New("this system isn't asked")

// Loopback tells nothing here: this system isn't asked who is at the other end
// of a TCP connection.
func loopback(net.Conn) (uid uint32, err error) { return 0, errNotAsked }
