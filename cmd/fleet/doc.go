// Package fleet has relays that share a queue work for each other: what an
// operator asks of one relay, and another one has to do, as it delivers by the
// upstream, is asked of that one, and its answer given back.
//
// It owns the words that relays exchange about it. What it is told by another
// relay is carried out as what an operator of this one says; whoever can write to
// the database of the queue is trusted with that. It decides nothing about mail.
package fleet

import (
	"context"
	"sync"

	"postern/cmd/control"
	"postern/cmd/history"
)

// Queue is that of this relay. *queue.Queue is one.
type Queue interface {
	control.MailQueue
	// Holder names the other relay that delivers by an upstream; empty: none.
	Holder(upstream string) string
}

// Peer is another relay.
type Peer struct {
	Name  string
	Lives bool // it was heard of within the last seconds
}

// Options are what a Fleet works with. All are needed, and used concurrently.
type Options struct {
	Queue Queue
	Relay string // the name of this one
	// Ask has another relay answer a request. Its error says whether something may
	// have been done.
	Ask func(ctx context.Context, relay string, request []byte) ([]byte, error)
	// Peers are the other relays.
	Peers func(ctx context.Context) ([]Peer, error)
	// Search looks for the lives of messages in what this relay has told.
	Search func(ctx context.Context, q history.Query) (*history.Found, error)
	// Panicked is told of a defect that the request of another relay has shown.
	Panicked func(*Panicked)
}

// Panicked: a panic ended what another relay had asked, which is told so.
type Panicked struct {
	Value any
	Stack []byte
}

// Fleet is a control.MailQueue of all relays. Its methods may be called
// concurrently.
type Fleet struct {
	Queue
	opts Options
	// searching is held while the history is searched for another relay.
	searching sync.Mutex
}

// New makes one.
func New(o Options) *Fleet { return &Fleet{Queue: o.Queue, opts: o} }
