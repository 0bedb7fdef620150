package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerName names the user at the other end of a control socket, as the
// kernel vouches for it.
func peerName(c net.Conn) string {
	uid := -1
	onSocket(c, func(fd int) {
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return userName(uid)
}
