package journal

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
	said int64
	disk int64 // what the spool held then
	free int64 // now, as far as the spool knows
}

// held is how much of the disk the spool takes up, in bytes.
func (s *Store) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk
}

// noRoom reports whether the limits forbid another message. The disk is asked
// only now and then; in between, the answer of then counts, less what the
// spool has grown since: without the reserve no attempt could be recorded any
// more, and so nothing be delivered that would make room.
func (s *Store) noRoom() bool {
	if s.opts.MaxSize <= 0 && s.opts.MinFree <= 0 && s.opts.MaxMessages <= 0 && !s.short.Load() && !s.full.Load() {
		return false
	}
	if !s.room.mu.TryLock() {
		return s.full.Load() // somebody is asking at this moment
	}
	defer s.room.mu.Unlock()
	if now := time.Now(); s.opts.MinFree > 0 && (now.Sub(s.room.last) >= roomEvery || s.room.last.IsZero()) {
		disk := s.held()
		if free, err := s.fs.Free(); err == nil {
			s.room.said, s.room.disk = free, disk
		}
		s.room.last = now
	}
	s.room.free = s.room.said - (s.held() - s.room.disk)
	s.mu.Lock()
	full := s.short.Load() || s.opts.MaxSize > 0 && s.disk >= s.opts.MaxSize ||
		s.opts.MinFree > 0 && s.room.free < s.opts.MinFree ||
		s.opts.MaxMessages > 0 && len(s.ix.byID) >= s.opts.MaxMessages
	usage := s.usage(s.room.free)
	s.mu.Unlock()
	changed := s.full.Swap(full) != full
	if full {
		s.poke(s.tidy)
	}
	if changed {
		usage.Full = full
		if full {
			s.ev(&Full{usage})
		} else {
			s.ev(&HasRoom{usage})
		}
	}
	return full
}
