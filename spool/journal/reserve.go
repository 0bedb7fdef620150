package journal

// The reserve is a file that does nothing but occupy room. When the disk is
// full to the last byte it goes, and what becomes of messages is recorded in
// its place, so that they can be delivered and their room be freed. Until the
// reserve is there again no message is taken.
const reserveName = "reserve"

// dropReserve gives the reserve's room to the journal; false: it was given
// before. journal.mu is held.
func (s *Store) dropReserve() bool {
	if !s.j.reserved {
		return false
	}
	s.j.reserved, s.j.spent = false, true
	s.short.Store(true)
	return s.fs.Remove(reserveName) == nil
}

// keepReserve makes the reserve where it is missing, and lets messages be
// taken again once there is as much room beside it. What was just given is not
// taken back before it was used: where the disk refuses what it tells to have,
// the two would take turns without end. Only the keeper calls it.
func (s *Store) keepReserve() {
	s.j.mu.Lock()
	reserved, spent := s.j.reserved, s.j.spent
	s.j.spent = false
	s.j.mu.Unlock()
	if spent {
		return
	}
	short := s.short.Load()
	if s.opts.Reserve <= 0 {
		s.short.Store(false) // try again, and see
		return
	}
	if reserved && !short {
		return
	}
	if short {
		need := s.opts.Reserve
		if !reserved {
			need *= 2
		}
		if free, err := s.fs.Free(); err == nil && free < need {
			return
		}
	}
	if !reserved {
		if err := s.allocate(reserveName, s.opts.Reserve); err != nil {
			s.fs.Remove(reserveName)
			return
		}
	}
	s.j.mu.Lock()
	s.j.reserved = true
	s.short.Store(false)
	s.j.mu.Unlock()
}

func (s *Store) allocate(name string, size int64) error {
	s.fs.Remove(name) // it may be too small
	file, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Allocate(size)
}

// retire asks for a new segment where mail is refused for want of room and
// three quarters of what was written to the current one can go. It then goes
// as a whole, after what lives in it was copied forward. A new segment takes
// room before the old one gives it back, so where that would be little it is
// done now and then only: small says whether it may be. It returns whether it
// asked. Only the keeper calls it.
func (s *Store) retire(small bool) bool {
	if !s.full.Load() && !s.short.Load() {
		return false
	}
	s.j.mu.Lock()
	written := s.j.frontier - segmentStart
	s.j.mu.Unlock()
	s.mu.Lock()
	live := s.segs[len(s.segs)-1].liveBytes
	s.mu.Unlock()
	if written <= 0 || live > written/4 || !small && written-live <= max(2*s.opts.ZeroAhead, s.opts.Reserve/2) {
		return false
	}
	s.retiring.Store(true)
	s.poke(s.kick)
	return true
}
