package peer

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

var errNotTCP = errors.New("not a TCP connection")

// loopback is the number of the user who connected to nc, a TCP connection
// whose two ends are on this machine. ErrClosed: the kernel would have told
// another time, for one before the user closed the socket; any other error: it
// doesn't tell.
func loopback(nc net.Conn) (uid uint32, err error) {
	remote, isTCP := nc.RemoteAddr().(*net.TCPAddr)
	local, isTCP2 := nc.LocalAddr().(*net.TCPAddr)
	if !isTCP || !isTCP2 {
		return 0, errNotTCP
	}
	uid, err = askOwner(remote.AddrPort(), local.AddrPort())
	for _, passing := range []error{unix.ENOENT, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN, unix.EINTR} {
		if errors.Is(err, passing) {
			return 0, ErrClosed
		}
	}
	return uid, err
}
