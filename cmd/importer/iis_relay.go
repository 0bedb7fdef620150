package importer

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
)

// A list of addresses in the metabase (IPSECLIST) is a block of numbers of 32
// bits, least octet first: where four sections begin (addresses denied, addresses
// granted, names denied, names granted), two that say nothing of addresses, and
// the sections. A section has the number of its groups, that of its entries, and
// the groups; a group has its family, how many values it has, the octets of each,
// a zero, and where they are. The first value of a group is its mask. Places have
// the highest bit set. Scripts that make such lists show as much; Microsoft has
// published nothing of it.
const (
	listSections = 4
	listHead     = 4*listSections + 8
	isPlace      = 1 << 31
	familyIPv4   = 2
	// mostListed bounds the addresses of a list.
	mostListed = 1000
)

// grantedNetworks are the networks that a list grants something to. It is not ok
// where any part of the list is not understood, or it denies something.
func grantedNetworks(text string) (list []string, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, false
	}
	r := addressList(b)
	for i := range listSections {
		at, ok := r.place(4 * i)
		if !ok || at < listHead {
			return nil, false
		}
		groups, known := r.number(at)
		if !known || i != 1 && groups != 0 || groups > mostListed {
			return nil, false
		}
		for n := range groups {
			more, ok := r.group(at + 8 + 20*n)
			if list = append(list, more...); !ok || len(list) > mostListed {
				return nil, false
			}
		}
	}
	return list, true
}

// addressList is the block.
type addressList []byte

func (r addressList) number(at int) (int, bool) {
	if at < 0 || at > len(r)-4 {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(r[at:])), true
}

func (r addressList) place(at int) (int, bool) {
	n, ok := r.number(at)
	return n &^ isPlace, ok && n&isPlace != 0
}

// group reads the networks of a group of IPv4.
func (r addressList) group(at int) (list []string, ok bool) {
	family, _ := r.number(at)
	count, _ := r.number(at + 4)
	size, _ := r.number(at + 8)
	from, ok := r.place(at + 16)
	if !ok || family != familyIPv4 || size != 4 || count < 1 || count > mostListed+1 || from > len(r)-4*count {
		return nil, false
	}
	mask := binary.BigEndian.Uint32(r[from:])
	length := bits.LeadingZeros32(^mask)
	if mask<<length != 0 || length == 0 {
		return nil, false // no network, or everybody
	}
	for i := 1; i < count; i++ {
		address := netip.AddrFrom4([4]byte(r[from+4*i:]))
		if length == 32 {
			list = append(list, address.String())
		} else {
			list = append(list, netip.PrefixFrom(address, length).Masked().String())
		}
	}
	return list, true
}
