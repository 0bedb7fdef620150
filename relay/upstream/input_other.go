//go:build !unix

package upstream

import "net"

// input: this system is not asked.
type input struct{}

func inputOf(net.Conn) *input { return nil }

func (*input) waits() bool { return false }
