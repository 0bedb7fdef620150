// Package peer faces the kernel: it asks who is at the other end of a unix
// socket or of a TCP connection within this machine, and what it holds unread. It owns nothing and decides nothing.
package peer

import "errors"

// ErrClosed: the client closed its socket before it was asked for.
var ErrClosed = errors.New("the client's socket is closed")
