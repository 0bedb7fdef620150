package postgres

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// endSilent bounds how long what is sent may go without an acknowledgement: keepalives
// wait as long as there is such a thing (tcp(7), TCP_USER_TIMEOUT).
func endSilent(network, _ string, c syscall.RawConn) (err error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	if controlled := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentAfter.Milliseconds()))
	}); controlled != nil {
		return controlled
	}
	return err
}
