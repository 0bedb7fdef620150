//go:build unix

package eventlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// readiness tells, at each call, whether a write of a line would not wait; nil
// for a file on a disk, which nobody reads away.
func readiness(f *os.File) func() bool {
	info, err := f.Stat()
	if err != nil || info.Mode().IsRegular() {
		return nil
	}
	fd := int32(f.Fd())
	return func() bool {
		poll := []unix.PollFd{{Fd: fd, Events: unix.POLLOUT}}
		n, err := unix.Poll(poll, 0)
		return n > 0 && err == nil // an error of the descriptor is the write's to tell
	}
}
