package spool

import (
	"sync"
	"time"
)

// roomEvery is how often the disk is asked for its free space.
const roomEvery = 250 * time.Millisecond

// roomCheck remembers when that was, and what it said.
type roomCheck struct {
	mu   sync.Mutex
	last time.Time
	free int64
	disk int64 // what the spool held then
}

// noRoom reports whether the limits forbid another message. The disk is asked
// only now and then; in between, the answer of then counts, less what the
// spool has grown since: without the reserve no attempt could be recorded any
// more, and so nothing be delivered that would make room.
func (s *Store) noRoom() bool {
	if s.opts.MaxSize <= 0 && s.opts.MinFree <= 0 {
		return false
	}
	if !s.room.mu.TryLock() {
		return s.full.Load() // somebody is asking at this moment
	}
	defer s.room.mu.Unlock()
	if now := time.Now(); s.opts.MinFree > 0 && (now.Sub(s.room.last) >= roomEvery || s.room.last.IsZero()) {
		s.mu.Lock()
		disk := s.disk
		s.mu.Unlock()
		if free, err := s.fs.Free(); err == nil {
			s.room.free, s.room.disk = free, disk
		}
		s.room.last = now
	}
	s.mu.Lock()
	free := s.room.free - (s.disk - s.room.disk)
	full := s.opts.MaxSize > 0 && s.disk >= s.opts.MaxSize ||
		s.opts.MinFree > 0 && free < s.opts.MinFree
	usage := s.usage(free)
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
