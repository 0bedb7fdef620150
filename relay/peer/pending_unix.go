//go:build unix

package peer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pending reports whether c has bytes that nobody has read yet, and the first
// of them. It waits for nothing and takes nothing away.
func Pending(c net.Conn) (first byte, any bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var b [1]byte
	raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		any = err == nil && n == 1
	})
	return b[0], any
}
