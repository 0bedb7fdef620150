package peer

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// LocalUser is the name of the user whose socket is at the other end of a TCP
// connection of this machine, or the number where the user has no name. It
// asks the kernel (sock_diag(7)) for the socket whose addresses are those of c
// turned round. The error is ErrClosed where the
// socket belongs to no process any more; any other means that the kernel can't
// tell.
func LocalUser(c net.Conn) (string, error) {
	here, ok1 := c.LocalAddr().(*net.TCPAddr)
	there, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return "", errors.New("not a TCP connection")
	}
	uid, err := askOwner(there.AddrPort(), here.AddrPort())
	if err != nil {
		return "", err
	}
	return UserName(uid), nil
}

// Sizes and offsets of linux/inet_diag.h and linux/netlink.h.
const (
	sockDiagByFamily = 20
	diagRequestSize  = unix.NLMSG_HDRLEN + 56
	diagAnswerSize   = unix.NLMSG_HDRLEN + 72
	diagAnswerID     = unix.NLMSG_HDRLEN + 4
	diagUID          = unix.NLMSG_HDRLEN + 64
	diagInode        = unix.NLMSG_HDRLEN + 68
	diagPorts        = 4 + 32 // ports and addresses, at the front of the ID
)

// diagSockets are netlink sockets that wait for the next question. Opening one
// for each would cost more than the question.
var diagSockets = make(chan int, 4)

// askOwner finds the user of the socket that is bound to from and connected
// to to.
func askOwner(from, to netip.AddrPort) (uid uint32, err error) {
	fd, err := diagSocket()
	if err != nil {
		return 0, err
	}
	request := diagRequest(from, to)
	answer := make([]byte, 512) // more follows what is read, in attributes
	n := 0
	if err = unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		n, _, err = unix.Recvfrom(fd, answer, 0)
	}
	if err != nil {
		unix.Close(fd) // an answer may still come, to nobody's question
		return 0, err
	}
	select {
	case diagSockets <- fd:
	default:
		unix.Close(fd)
	}
	return diagOwner(request, answer[:n])
}

func diagSocket() (fd int, err error) {
	select {
	case fd = <-diagSockets:
		return fd, nil
	default:
	}
	if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG); err != nil {
		return 0, err
	}
	// The kernel answers while it is asked; this only bounds a fault of it.
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// diagRequest is a nlmsghdr and an inet_diag_req_v2 for one TCP socket.
func diagRequest(from, to netip.AddrPort) []byte {
	b := make([]byte, diagRequestSize)
	host := binary.NativeEndian
	host.PutUint32(b[0:], diagRequestSize)
	host.PutUint16(b[4:], sockDiagByFamily)
	host.PutUint16(b[6:], unix.NLM_F_REQUEST)
	d := b[unix.NLMSG_HDRLEN:]
	src, dst := from.Addr().Unmap(), to.Addr().Unmap()
	d[0], d[1] = unix.AF_INET, unix.IPPROTO_TCP
	if src.Is6() {
		d[0] = unix.AF_INET6
	}
	host.PutUint32(d[4:], ^uint32(0)) // any state
	id := d[8:]
	binary.BigEndian.PutUint16(id[0:], from.Port())
	binary.BigEndian.PutUint16(id[2:], to.Port())
	copy(id[4:20], src.AsSlice())
	copy(id[20:36], dst.AsSlice())
	copy(id[40:48], "\xff\xff\xff\xff\xff\xff\xff\xff") // INET_DIAG_NOCOOKIE
	return b
}

// diagOwner reads the answer. A socket without an inode belongs to no process
// any more, and the kernel then says 0 for its user, which is root's number.
func diagOwner(request, answer []byte) (uint32, error) {
	host := binary.NativeEndian
	switch {
	case len(answer) >= unix.NLMSG_HDRLEN+4 && host.Uint16(answer[4:]) == unix.NLMSG_ERROR:
		return 0, unix.Errno(-int32(host.Uint32(answer[unix.NLMSG_HDRLEN:])))
	case len(answer) < diagAnswerSize || host.Uint16(answer[4:]) != sockDiagByFamily:
		return 0, errors.New("sock_diag: an answer of another form")
	}
	asked, got := request[unix.NLMSG_HDRLEN+8:], answer[diagAnswerID:]
	if string(asked[:diagPorts]) != string(got[:diagPorts]) {
		return 0, errors.New("sock_diag: the answer is about another socket")
	}
	if host.Uint32(answer[diagInode:]) == 0 {
		return 0, ErrClosed
	}
	return host.Uint32(answer[diagUID:]), nil
}
