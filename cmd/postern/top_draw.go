package main

import (
	"context"
	"io"
	"time"
)

// drawing is a terminal that shows the newest of what it is given. One that takes
// less than that leaves out what came before.
type drawing struct {
	next  chan string // at most one
	ended chan struct{}
}

const (
	// Without a cursor. Nothing wraps: what a terminal takes to be wider than we do
	// must not become a line of its own.
	otherScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	firstScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	// lastDraw is how long the end waits for a terminal to take what it is given.
	lastDraw = time.Second
)

func newDrawing(w io.Writer) *drawing {
	d := &drawing{make(chan string, 1), make(chan struct{})}
	go func() {
		defer close(d.ended)
		_, _ = io.WriteString(w, otherScreen) // of a terminal that is gone, the end of the keys tells
		for text := range d.next {
			_, _ = io.WriteString(w, text)
		}
		_, _ = io.WriteString(w, firstScreen)
	}()
	return d
}

// show has a whole screen drawn, as soon as the terminal takes it. One goroutine
// calls it.
func (d *drawing) show(screen string) {
	d.drop()
	d.next <- screen
}

// drop leaves out what was not drawn yet.
func (d *drawing) drop() {
	select {
	case <-d.next:
	default:
	}
}

// end gives the terminal back, but to one that takes nothing.
func (d *drawing) end() {
	d.drop()
	close(d.next)
	select {
	case <-d.ended:
	case <-time.After(lastDraw):
	}
}

// asking asks a relay, one question at a time. One goroutine owns it.
type asking struct {
	relay  func(context.Context) (sample, error)
	answer chan heard // has room for one
	busy   bool       // an answer is to come, and is to be read
	cancel context.CancelFunc
}

// heard is what a relay has told, or why it has not.
type heard struct {
	sample
	err error
}

// ask begins a question, unless one is under way.
func (q *asking) ask(ctx context.Context) {
	if q.busy {
		return
	}
	q.busy = true
	ctx, cancel := context.WithCancel(ctx)
	q.cancel = cancel
	go func() { // end waits for it
		defer cancel()
		s, err := q.relay(ctx)
		q.answer <- heard{s, err}
	}()
}

// end ends the question that is under way.
func (q *asking) end() {
	if q.busy {
		q.cancel()
		<-q.answer
	}
}
