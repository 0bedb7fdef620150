//go:build unix

package daemon

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// mayGive tells whether this process may give a file to a group.
func mayGive(group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("the group %q does not exist", group)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil || os.Geteuid() == 0 || gid == os.Getegid() {
		return err
	}
	if mine, err := os.Getgroups(); err != nil || slices.Contains(mine, gid) {
		return err
	}
	return fmt.Errorf("user %d is not in the group %q and cannot give a socket to it", os.Geteuid(), group)
}

// mayBind binds an address and lets it go again. It does not listen, so that
// nobody can connect; an address at which somebody listens is in use even so.
func mayBind(target string) error {
	a, err := net.ResolveTCPAddr("tcp", target)
	if err != nil || a.Port == 0 {
		return err
	}
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: a.Port}) // without a host
	if four := a.IP.To4(); four != nil {
		address = &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(four)}
	} else if a.IP != nil {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil // a system without this family: the start will tell
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // as net.Listen does
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, address)
}
