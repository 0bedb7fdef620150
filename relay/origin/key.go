// Package origin shares what a server has among those who ask for it: places,
// turns, memory, messages a minute, lines of the log, and limits of wrong
// passwords.
//
// An origin is whoever can be told apart at no cost to others: an address, an
// IPv6 network of 64 bits, or of 48 where something is shared out (Key.Wide), a
// user of this machine, a user who has signed in. Whoever takes most loses
// first, so that nobody can keep an ordinary client out by asking more often.
//
// It knows no connection and no message, writes nothing and tells nobody. All
// its tables are bounded, and all its types may be used concurrently.
package origin

import (
	"net/netip"
	"strconv"
)

// Key names an origin, by an address or a user. It is comparable; the zero Key
// is an origin of its own.
type Key struct {
	addr netip.Addr
	user string
	wide bool // addr is a network of 48 bits
	gone bool // somebody at addr, of whom more could have been known earlier
}

// Address is the origin of a client at a. Of IPv6 it is the network of 64
// bits, which is one customer's (RFC 6177 §2), and 127.0.0.0/8, all of which
// every program of this machine has, is one.
func Address(a netip.Addr) Key {
	a = a.Unmap().WithZone("")
	switch {
	case a.Is4() && a.IsLoopback():
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case a.Is6() && !a.IsLoopback():
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return Key{addr: a}
}

// Wide is the origin that counts where something is shared out: of IPv6 the
// network of 48 bits, which is what one customer can have at most (RFC 6177
// §2), so that 65,536 networks of 64 bits take no more than one address of
// IPv4. All others are their own.
func (k Key) Wide() Key {
	if !k.addr.Is6() || k.addr.IsLoopback() || k.wide {
		return k
	}
	return Key{addr: netip.PrefixFrom(k.addr, 48).Masked().Addr(), wide: true}
}

// Local is the origin of a program that runs as the user with this number and
// connects by a unix socket or from whatever loopback address.
func Local(uid uint32) Key { return Key{user: "uid " + strconv.FormatUint(uint64(uid), 10)} }

// Gone is the origin of a program of this machine that has closed its end, so
// that nobody can tell any more whose it was. All of them are one.
func Gone(a netip.Addr) Key {
	k := Address(a)
	k.gone = true
	return k
}

// Unclear tells whether the same client, asked about at another time, could
// have had another origin.
func (k Key) Unclear() bool { return k.gone }

// User is the origin of somebody who has signed in, wherever from.
func User(name string) Key { return Key{user: "user " + name} }

// Named tells whether the origin is known by a name, and not by its address.
func (k Key) Named() bool { return k.user != "" }

// String is the origin as people are told of it: "192.0.2.1",
// "2001:db8::/64", "uid 1000", "user ann". Of the zero
// Key it is empty. Names in it are as they were given.
func (k Key) String() string {
	if !k.addr.IsValid() {
		return k.user
	}
	s := k.addr.String()
	if k.wide {
		return s + "/48"
	}
	if k.addr.Is6() && !k.addr.IsLoopback() {
		s += "/64"
	}
	return s
}
