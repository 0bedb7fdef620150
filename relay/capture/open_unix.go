//go:build unix

package capture

import "golang.org/x/sys/unix"

// noWait keeps an open from waiting for the other end of a pipe, and from
// following a link.
const noWait = unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_NOCTTY
