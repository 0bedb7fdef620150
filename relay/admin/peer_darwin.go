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
		if cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return userName(uid)
}
