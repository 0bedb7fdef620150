//go:build linux || darwin

package peer

import (
	"net"
	"os/user"
	"strconv"
)

// User is the name of the user who connected, as the kernel vouches for it,
// or the number where the user has no name.
func User(c *net.UnixConn) (string, error) {
	uid, err := UserID(c)
	if err != nil {
		return "", err
	}
	return UserName(uid), nil
}

// UserID is the number of the user who connected.
func UserID(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { uid, asked = uidOf(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, asked
}

// UserName is the name of a user, or the number where there is none.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
