package origin

import (
	"net/netip"
	"strconv"
)

// Key names an origin. It is comparable; the zero Key is an origin of its own.
type Key struct {
	addr netip.Addr
	user string
}

// Address is the origin of a client at a. Of IPv6 it is the network of 64
// bits, which is one customer's (RFC 6177 §2).
func Address(a netip.Addr) Key {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	return Key{addr: a}
}

// Local is the origin of a program that runs as the user with this number and
// connects from whatever loopback address: each user has 16 million of them.
func Local(uid uint32) Key { return Key{user: "uid " + strconv.FormatUint(uint64(uid), 10)} }

// Unix is the origin of a user of this machine who connects by a unix socket.
func Unix(user string) Key { return Key{user: "unix " + user} }

// User is the origin of somebody who has signed in, wherever from.
func User(name string) Key { return Key{user: "user " + name} }
