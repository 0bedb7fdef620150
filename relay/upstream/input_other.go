//go:build !unix

package upstream

import "net"

// hasInput: this system is not asked.
func hasInput(net.Conn) bool { return false }
