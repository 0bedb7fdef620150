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

// Local is the origin of a program of this machine that connects from a and
// runs as the user with this number.
func Local(a netip.Addr, uid uint32) Key {
	return Key{addr: a.Unmap().WithZone(""), user: "uid " + strconv.FormatUint(uint64(uid), 10)}
}

// Unix is the origin of a user of this machine who connects by a unix socket.
func Unix(user string) Key { return Key{user: "unix " + user} }

// User is the origin of somebody who has signed in, wherever from.
func User(name string) Key { return Key{user: "user " + name} }

// home is k without a choice among the addresses of loopback: every program of
// this machine has all of 127.0.0.0/8.
func (k Key) home() Key {
	if k.addr.Is4() && k.addr.IsLoopback() {
		k.addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return k
}

// String is the origin as people are told of it: "192.0.2.1",
// "2001:db8::/64", "127.0.0.1 (uid 1000)", "unix app", "user ann". Of the zero
// Key it is empty. Names in it are as they were given.
func (k Key) String() string {
	if !k.addr.IsValid() {
		return k.user
	}
	s := k.addr.String()
	if k.addr.Is6() && !k.addr.IsLoopback() {
		s += "/64"
	}
	if k.user != "" {
		s += " (" + k.user + ")"
	}
	return s
}
