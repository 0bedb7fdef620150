// Package peer faces the kernel at both ends of a connection: it asks who is
// there (a unix socket, or TCP within this machine) and what it holds unread,
// makes the sockets that others may connect to, and bounds what those who do
// can hold. It decides nothing about mail.
package peer

import "errors"

// ErrClosed: the client closed its socket before it was asked for.
var ErrClosed = errors.New("the client's socket is closed")
