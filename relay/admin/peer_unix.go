//go:build linux || darwin

package admin

import (
	"net"
	"os/user"
	"strconv"
)

func onSocket(c net.Conn, do func(fd int)) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { do(int(fd)) })
}

// userName is the name of a user ID, or "uid N" where it has none.
func userName(uid int) string {
	if uid < 0 {
		return "operator"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}
