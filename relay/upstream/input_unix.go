//go:build unix

package upstream

import (
	"net"
	"syscall"
)

// input asks the kernel about one connection. It is made once, so that asking
// allocates nothing: that is done for each message.
type input struct {
	raw   syscall.RawConn // nil: there is no way to ask
	peek  func(fd uintptr) bool
	found bool
}

func inputOf(conn net.Conn) *input {
	in := &input{}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return in
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return in
	}
	in.raw, in.peek = raw, func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		in.found = err == nil && n > 0
		return true
	}
	return in
}

// waits tells whether the kernel has bytes of the connection that nobody has
// read. It does not wait.
func (in *input) waits() bool {
	if in.raw == nil {
		return false
	}
	in.found = false
	_ = in.raw.Read(in.peek) // an error: the write that follows meets it, too
	return in.found
}
