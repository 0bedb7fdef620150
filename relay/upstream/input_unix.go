//go:build unix

package upstream

import (
	"net"
	"syscall"
)

// hasInput tells whether the kernel has bytes, or the end, of a connection
// that nobody has read. It does not wait.
func hasInput(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	_ = raw.Read(func(fd uintptr) bool { // an error: the write that follows meets it, too
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = err == nil && n > 0
		return true
	})
	return found
}
