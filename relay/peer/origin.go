package peer

import (
	"net"
	"net/netip"

	"postern/relay/origin"
)

// Origin is whom places are counted for at the other end of c: a user of this
// machine where the kernel tells, by whatever address he connects, else an
// address.
func Origin(c net.Conn) origin.Key {
	if u, ok := c.(*net.UnixConn); ok {
		if uid, err := UserID(u); err == nil {
			return origin.Local(uid)
		}
		return origin.Key{}
	}
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return origin.Key{}
	}
	a := remote.Addr().Unmap()
	if a.IsLoopback() {
		if uid, ok := loopback(c); ok {
			return origin.Local(uid)
		}
	}
	return origin.Address(a)
}
