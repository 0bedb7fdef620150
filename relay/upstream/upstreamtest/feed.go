package upstreamtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"postern/spool"
)

// Content is a message in memory.
type Content struct {
	*bytes.Reader
	closed func()
}

// Close counts; the Feed reports contents that stay open.
func (c *Content) Close() error {
	c.closed()
	return nil
}

// Size is the number of bytes.
func (c *Content) Size() int64 { return c.Reader.Size() }

// Settled is what became of one delivery.
type Settled struct {
	Delivery *spool.Delivery
	Outcomes []spool.Outcome
	Released bool
	DotSent  int // how often it was announced
}

// Feed hands out messages and records what becomes of them. It follows the
// contract of the queue's, and reports every breach of it.
type Feed struct {
	// Keep is how long Next waits for more after the last message before it
	// ends with io.EOF, as a queue does; 0: not at all.
	Keep time.Duration
	// Chain lets TryNext hand out messages; without it only Next does.
	Chain bool
	// FailDotSent is what DotSent returns.
	FailDotSent error
	// Rounds is how many transactions each message may have; 0: any number.
	Rounds int
	// OnNext runs, if set, whenever Next is about to hand out message n, from 0.
	OnNext func(n int)
	// OnLeave runs, if set, when the session leaves.
	OnLeave func()

	mu      sync.Mutex
	queue   []*spool.Delivery
	bodies  map[spool.ID][]byte
	taken   map[spool.ID]int // dots announced of those that are out
	next    int
	settled []Settled
	rounds  map[spool.ID]int // begun by Again
	open    int
	breach  []string
	more    chan struct{}
}

// NewFeed is a Feed that chains.
func NewFeed() *Feed {
	return &Feed{Chain: true, bodies: map[spool.ID][]byte{}, taken: map[spool.ID]int{}, rounds: map[spool.ID]int{}, more: make(chan struct{}, 1)}
}

// Add queues a message for every recipient of env.
func (f *Feed) Add(env *spool.Envelope, body []byte) *spool.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &spool.Delivery{
		ID: spool.ID(len(f.bodies) + 1), Upstream: "test", Attempt: 1,
		Envelope: env, Size: int64(len(body)),
	}
	for i := range env.Recipients {
		d.Pending = append(d.Pending, i)
	}
	f.bodies[d.ID] = body
	f.queue = append(f.queue, d)
	select {
	case f.more <- struct{}{}:
	default:
	}
	return d
}

// Next implements upstream.Feed.
func (f *Feed) Next(ctx context.Context) (*spool.Delivery, error) {
	for {
		if d := f.take(); d != nil {
			return d, nil
		}
		if f.Keep == 0 {
			return nil, io.EOF
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(f.Keep):
			return nil, io.EOF
		case <-f.more:
		}
	}
}

// TryNext implements upstream.Feed.
func (f *Feed) TryNext() *spool.Delivery {
	if !f.Chain {
		return nil
	}
	return f.take()
}

func (f *Feed) take() *spool.Delivery {
	f.mu.Lock()
	if f.next == len(f.queue) {
		f.mu.Unlock()
		return nil
	}
	n := f.next
	f.next++
	d := f.queue[n]
	f.taken[d.ID] = 0
	f.mu.Unlock()
	if f.OnNext != nil {
		f.OnNext(n)
	}
	return d
}

// Content implements upstream.Feed.
func (f *Feed) Content(d *spool.Delivery) (spool.Content, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &Content{bytes.NewReader(f.bodies[d.ID]), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open--
	}}, nil
}

// Again implements upstream.Feed.
func (f *Feed) Again(d *spool.Delivery) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Rounds > 0 && f.rounds[d.ID]+1 >= f.Rounds {
		return false
	}
	f.rounds[d.ID]++
	return true
}

// DotSent implements upstream.Feed.
func (f *Feed) DotSent(d *spool.Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.taken[d.ID]; !ok {
		f.breach = append(f.breach, fmt.Sprintf("DotSent of %d, which is not out", d.ID))
	}
	f.taken[d.ID]++
	return f.FailDotSent
}

// Settle implements upstream.Feed.
func (f *Feed) Settle(d *spool.Delivery, outcomes []spool.Outcome) {
	f.end(Settled{Delivery: d, Outcomes: outcomes})
	if len(outcomes) != len(d.Pending) {
		f.breach = append(f.breach, fmt.Sprintf("%d outcomes for %d recipients", len(outcomes), len(d.Pending)))
	}
}

// Release implements upstream.Feed.
func (f *Feed) Release(d *spool.Delivery) { f.end(Settled{Delivery: d, Released: true}) }

// Leave implements upstream.Feed.
func (f *Feed) Leave() {
	f.mu.Lock()
	if len(f.taken) > 0 {
		f.breach = append(f.breach, fmt.Sprintf("left with %d messages", len(f.taken)))
	}
	f.mu.Unlock()
	if f.OnLeave != nil {
		f.OnLeave()
	}
}

func (f *Feed) end(s Settled) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dots, ok := f.taken[s.Delivery.ID]
	if !ok {
		f.breach = append(f.breach, fmt.Sprintf("message %d was given back twice", s.Delivery.ID))
	}
	delete(f.taken, s.Delivery.ID)
	s.DotSent = dots
	f.settled = append(f.settled, s)
}

// Settled lists what became of the messages, in the order in which it did.
func (f *Feed) Settled() []Settled {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Settled(nil), f.settled...)
}

// Breaches lists what a session did against the contract. Call it when the
// session is over.
func (f *Feed) Breaches() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := append([]string(nil), f.breach...)
	for id := range f.taken {
		out = append(out, fmt.Sprintf("message %d was never given back", id))
	}
	if f.open != 0 {
		out = append(out, fmt.Sprintf("%d contents stayed open", f.open))
	}
	return out
}
