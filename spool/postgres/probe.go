package postgres

import (
	"context"
	"sync"
	"time"
)

const (
	// probeEach is how long an answer of the database counts.
	probeEach = time.Second
	// probeTimeout is how long it has for one.
	probeTimeout = 2 * time.Second
)

// probe is what is known of whether the database answers.
type probe struct {
	asking sync.Mutex // held while it is asked

	mu      sync.Mutex // guards what follows
	at      time.Time
	answers bool
}

// fresh is what is known; ok is false where that is too old.
func (p *probe) fresh() (answers, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers, time.Since(p.at) < probeEach
}

func (p *probe) set(answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.answers = time.Now(), answers
}

// Answers tells whether the database answers and can be written: as of the last
// second, else it is asked.
func (s *Store) Answers(ctx context.Context) bool {
	if !s.joined.Load() {
		return false
	}
	if answers, ok := s.probe.fresh(); ok {
		return answers
	}
	s.probe.asking.Lock()
	defer s.probe.asking.Unlock()
	if answers, ok := s.probe.fresh(); ok {
		return answers
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	var standby bool
	err := s.pool.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby)
	if err != nil { // the connection may have ended since it was used last
		err = s.pool.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby)
	}
	s.probe.set(err == nil && !standby)
	return err == nil && !standby
}
