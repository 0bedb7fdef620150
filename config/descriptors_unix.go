//go:build unix

package config

import (
	"os"
	"strconv"
	"syscall"
)

// noWait opens a pipe whose other end nobody has.
const noWait = syscall.O_NONBLOCK

// keepDescriptors keeps every open file but the standard ones from programs
// that are run. Go's own are kept already; those that this process was started
// with, such as the sockets of a service manager, are not.
func keepDescriptors() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
