//go:build !linux

package peer

import (
	"errors"
	"net"
)

// LocalUser is an error here: this system isn't asked.
func LocalUser(net.Conn) (string, error) { return "", errors.ErrUnsupported }
