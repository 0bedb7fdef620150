package peer

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The parts of linux/inet_diag.h that are needed: sizes, and places in them.
const (
	diagHeader  = 16 // struct nlmsghdr
	diagRequest = 56 // struct inet_diag_req_v2
	diagUID     = 64 // of idiag_uid in struct inet_diag_msg
	diagMessage = 72
)

// Loopback is the number of the user who connected to nc, a TCP connection
// whose two ends are on this machine; ok is false where the kernel doesn't
// tell. It asks the kernel for that one socket (sock_diag(7)), which takes a
// few microseconds whatever else is open. A user may close the socket before:
// then nobody is told of.
func Loopback(nc net.Conn) (uid uint32, ok bool) {
	remote, isTCP := nc.RemoteAddr().(*net.TCPAddr)
	local, isTCP2 := nc.LocalAddr().(*net.TCPAddr)
	if !isTCP || !isTCP2 {
		return 0, false
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	patience := unix.NsecToTimeval(int64(100 * time.Millisecond))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	if err := unix.Sendto(fd, diagQuestion(remote.AddrPort(), local.AddrPort()), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, false
	}
	var answer [1024]byte
	n, _, err := unix.Recvfrom(fd, answer[:], 0)
	if err != nil || n < diagHeader+diagMessage || binary.NativeEndian.Uint16(answer[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, false
	}
	return binary.NativeEndian.Uint32(answer[diagHeader+diagUID:]), true
}

// diagQuestion asks for the socket whose own end is src.
func diagQuestion(src, dst netip.AddrPort) []byte {
	b := make([]byte, diagHeader+diagRequest)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	q := b[diagHeader:]
	q[0], q[1] = unix.AF_INET6, unix.IPPROTO_TCP
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	if from.Is4() {
		q[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(q[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(q[8:], src.Port())
	binary.BigEndian.PutUint16(q[10:], dst.Port())
	copy(q[12:28], from.AsSlice())
	copy(q[28:44], to.AsSlice())
	for i := 48; i < 56; i++ {
		q[i] = 0xFF // INET_DIAG_NOCOOKIE
	}
	return b
}
