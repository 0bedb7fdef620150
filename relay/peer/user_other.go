//go:build !linux && !darwin

package peer

import (
	"errors"
	"net"
)

// User is "" here: this system doesn't tell who connected.
func User(*net.UnixConn) (string, error) { return "", nil }

// UserID is an error here.
func UserID(*net.UnixConn) (uint32, error) { return 0, errors.ErrUnsupported }

// UserName is "" here.
func UserName(uint32) string { return "" }
