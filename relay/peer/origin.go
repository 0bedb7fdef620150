package peer

import (
	"errors"
	"net"
	"net/netip"

	"postern/relay/origin"
)

// Origin is whom places are counted for at the other end of c: a user of this
// machine where the kernel tells, by whatever address he connects, else an
// address. Where the kernel would have told earlier, the origin is Unclear.
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
		switch uid, err := loopback(c); {
		case err == nil:
			return origin.Local(uid)
		case errors.Is(err, ErrClosed):
			return origin.Gone(a)
		}
	}
	return origin.Address(a)
}
