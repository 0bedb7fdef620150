package spool

import (
	"sync"
	"time"
)

// roomEvery is how often the disk is asked for its free space.
const roomEvery = 250 * time.Millisecond

// roomCheck remembers when that was.
type roomCheck struct {
	mu   sync.Mutex
	last time.Time
	free int64
}

// noRoom reports whether the limits forbid another message. The disk is asked
// only now and then; in between, the answer of then counts.
func (s *Store) noRoom() bool {
	if s.opts.MaxSize <= 0 && s.opts.MinFree <= 0 && !s.short.Load() && !s.full.Load() {
		return false
	}
	if !s.room.mu.TryLock() {
		return s.full.Load() // somebody is asking at this moment
	}
	defer s.room.mu.Unlock()
	if now := time.Now(); s.opts.MinFree > 0 && (now.Sub(s.room.last) >= roomEvery || s.room.last.IsZero()) {
		if free, err := s.fs.Free(); err == nil {
			s.room.free = free
		}
		s.room.last = now
	}
	s.mu.Lock()
	full := s.short.Load() || s.opts.MaxSize > 0 && s.disk >= s.opts.MaxSize ||
		s.opts.MinFree > 0 && s.room.free < s.opts.MinFree
	usage := s.usage(s.room.free)
	s.mu.Unlock()
	changed := s.full.Swap(full) != full
	if full {
		s.poke(s.tidy)
	}
	if changed {
		usage.Full = full
		if full {
			s.ev.SpoolFull(usage)
		} else {
			s.ev.SpoolHasRoom(usage)
		}
	}
	return full
}
