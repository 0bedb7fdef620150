package intake

import (
	"context"
	"sync/atomic"
	"time"
)

// watch is what others may look at and change of a connection while its own
// goroutine serves it. The zero value is one that waits for nothing.
type watch struct {
	since  atomic.Int64  // when it began to wait for the client, Unix nanoseconds
	phase  atomic.Uint32 // what it waits for
	wake   atomic.Uint32
	asking atomic.Pointer[context.CancelFunc] // ends the wait of a sign-in
}

// A phase says what a read waits for.
type phase uint32

const (
	phaseBusy      phase = iota // not waiting for the client
	phaseCommand                // for a command, outside a transaction
	phaseMail                   // for a command, inside a transaction
	phaseContent                // for content, or the next BDAT
	phaseWrite                  // for the client to read
	phaseSignIn                 // for the turn of a sign-in
	phaseHandshake              // for the handshake of TLS
)

// A connection can be woken from a read for one of these reasons.
const (
	wokenNot      = 0
	wokenShutdown = 1
	wokenEvict    = 2
	wokenReview   = 3 // to see whether new settings still let it in
)

func (w *watch) at(p phase) { w.phase.Store(uint32(p)) }

func (w *watch) woken() uint32 { return w.wake.Load() }

// leaving reports whether the connection was told to end, and not only to look
// at new settings.
func (w *watch) leaving() bool {
	why := w.woken()
	return why != wokenNot && why != wokenReview
}

// interrupt ends a wait for the client. It may be called by anybody.
func (c *conn) interrupt(why uint32) {
	c.watch.wake.Store(why)
	c.raw.SetReadDeadline(time.Unix(1, 0))
	if why == wokenEvict { // it may be one that never reads
		c.raw.SetWriteDeadline(time.Now().Add(evictedTimeout))
	}
	if cancel := c.watch.asking.Load(); cancel != nil {
		(*cancel)()
	}
}
