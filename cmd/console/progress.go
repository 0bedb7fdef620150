package console

import "sync"

// progress is how far something has come that goes on while its page is shown.
// Its methods may be called concurrently.
type progress[T any] struct {
	mu      sync.Mutex // guards what follows
	state   T
	changed chan struct{} // closed with the next change
}

func newProgress[T any](state T) *progress[T] {
	return &progress[T]{state: state, changed: make(chan struct{})}
}

func (p *progress[T]) set(change func(*T)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress[T]) now() *T {
	state, _ := p.follow()
	return state
}

// follow is now, and what is closed when that is over.
func (p *progress[T]) follow() (*T, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.state
	return &state, p.changed
}
