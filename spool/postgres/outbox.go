package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// outbox is what the database has not taken yet. It is in the file, too, so that
// it outlives the process.
type outbox struct {
	ends   []*settling // in order
	doubts []doubtful
	slow   int // settlements that the database has not answered yet, and that are in the file
}

// doubtful is a message that was refused and may be in the database.
type doubtful struct {
	PID uint32 `json:"pid"` // of the process of the database that had it
	ID  int64  `json:"id"`
}

// writeEnding writes a settlement. One of which the database says nothing for a
// while is in the file meanwhile, as the process may end.
func (s *Store) writeEnding(p *settling) error {
	slow := false
	err := s.writeSlow(newWrite(p.queue, p.read), func() {
		slow = true
		s.keep(record{End: &p.ending}, func() { s.outbox.slow++ })
	})
	if slow {
		s.mu.Lock()
		s.outbox.slow--
		s.mu.Unlock()
	}
	return err
}

// postpone keeps a settlement until the database takes it. It counts as long as
// nobody has begun anything with the share since.
func (s *Store) postpone(p *settling) {
	p.late = true
	n := 0
	s.keep(record{End: &p.ending}, func() {
		s.outbox.ends = append(s.outbox.ends, p)
		n = len(s.outbox.ends)
	})
	if n == 1 {
		s.work.Go(s.catchUp)
	}
	s.opts.Events(&Behind{n})
}

// doubt keeps in mind a message that has to be removed.
func (s *Store) doubt(d doubtful) {
	s.keep(record{Doubt: &d}, func() { s.outbox.doubts = append(s.outbox.doubts, d) })
}

// keep writes a record to the file and then does what goes with it, so that the
// file is not emptied between.
func (s *Store) keep(r record, then func()) {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	if err := s.file.append(r); err != nil {
		s.opts.Events(&Failed{"outbox", err}) // it is in memory all the same
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	then()
}

// recall reads what an earlier process of this relay could not write.
func (s *Store) recall() error {
	list, err := s.file.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = outbox{} // of an earlier try to open the queue
	for _, r := range list {
		if r.End != nil {
			s.outbox.ends = append(s.outbox.ends, &settling{ending: *r.End, late: true})
		}
		if r.Doubt != nil {
			s.outbox.doubts = append(s.outbox.doubts, *r.Doubt)
		}
	}
	return err
}

// catchUp writes the outbox as soon as the database answers.
func (s *Store) catchUp() {
	for sleep(s.ctx, time.Second) {
		s.mu.Lock()
		n := len(s.outbox.ends)
		s.mu.Unlock()
		if n == 0 || s.write(newWrite(func(*pgx.Batch) {}, func(pgx.BatchResults) error { return nil })) == nil {
			return
		}
	}
}

// flush writes the outbox, in order, and withdraws what was refused. It is
// called by one at a time but for the end.
func (s *Store) flush(ctx context.Context) error {
	if err := s.mayAsk(ctx); err != nil {
		return err // the file was not read yet
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.withdraw(ctx); err != nil {
		return err
	}
	for written, refused := 0, 0; ; written++ {
		s.mu.Lock()
		var p *settling
		if len(s.outbox.ends) > 0 {
			p = s.outbox.ends[0]
		}
		s.mu.Unlock()
		if p == nil {
			if written > 0 {
				s.opts.Events(&CaughtUp{Settlements: written, Refused: refused})
			}
			return s.emptied()
		}
		if _, err := s.send(ctx, []*write{newWrite(p.queue, p.read)}); err != nil {
			return err
		}
		if !p.found {
			late, err := s.isLate(ctx, p)
			if err != nil {
				return err
			}
			if late {
				refused++
			}
		}
		s.mu.Lock()
		s.outbox.ends = s.outbox.ends[1:]
		s.mu.Unlock()
		s.settled(p)
	}
}

// isLate tells whether a settlement that found no claim came too late, and was
// not simply written before.
func (s *Store) isLate(ctx context.Context, p *settling) (late bool, err error) {
	if len(p.Left) > 0 {
		return false, nil // nobody can tell, and it is only an attempt more
	}
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM share WHERE id = $1 AND share = $2)`, p.ID, p.Share).Scan(&late)
	return late, err
}

// emptied empties the file where nothing waits.
func (s *Store) emptied() error {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.mu.Lock()
	waits := len(s.outbox.ends) + len(s.outbox.doubts) + s.outbox.slow
	s.mu.Unlock()
	if waits > 0 {
		return nil
	}
	if err := s.file.empty(); err != nil {
		s.opts.Events(&Failed{"outbox", err}) // what is there is written again, and changes nothing
	}
	return nil
}

// withdraw removes messages that were refused and are in the database all the
// same.
func (s *Store) withdraw(ctx context.Context) error {
	s.mu.Lock()
	all := slices.Clone(s.outbox.doubts)
	s.mu.Unlock()
	for _, d := range all {
		if err := s.ended(ctx, d.PID); err != nil {
			return err
		}
		for _, table := range []string{"share", "outcome", "body_part", "key", "message"} {
			if _, err := s.pool.Exec(ctx, `DELETE FROM `+table+` WHERE id = $1`, d.ID); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.outbox.doubts = slices.DeleteFunc(s.outbox.doubts, func(o doubtful) bool { return o == d })
		s.mu.Unlock()
	}
	return nil
}
