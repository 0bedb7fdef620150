// Package ack lets the other side of a connection go on where it waits for an
// acknowledgement.
//
// The kernel holds one back for up to 40 ms, for something to send along
// (RFC 1122 §4.2.3.2). A peer without TCP_NODELAY sends no second piece before
// the first is acknowledged (§4.2.3.4). Where the two meet, and we have
// nothing to say before we have heard the second piece, each message costs
// those 40 ms.
package ack

import (
	"net"
	"syscall"
)

// Control is a connection's. The zero value is that of a connection without
// acknowledgements, and does nothing.
type Control struct{ raw syscall.RawConn }

// Of is the control of conn, which is not yet wrapped in TLS.
func Of(conn net.Conn) Control {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			return Control{raw}
		}
	}
	return Control{}
}

// Now acknowledges at once what has come, and what comes until the connection
// is written to. It is for the moment before a read between which and the last
// read nothing was written: elsewhere it costs a packet. It does nothing on
// systems that have no way to ask for it.
func (c Control) Now() {
	if c.raw != nil {
		_ = c.raw.Control(now) // a help, no more
	}
}
