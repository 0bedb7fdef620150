package peer

import "net"

// loopback is the number of the user who connected to nc, a TCP connection
// whose two ends are on this machine; ok is false where the kernel doesn't
// tell, or the user has closed the socket already.
func loopback(nc net.Conn) (uid uint32, ok bool) {
	remote, isTCP := nc.RemoteAddr().(*net.TCPAddr)
	local, isTCP2 := nc.LocalAddr().(*net.TCPAddr)
	if !isTCP || !isTCP2 {
		return 0, false
	}
	uid, err := askOwner(remote.AddrPort(), local.AddrPort())
	return uid, err == nil
}
