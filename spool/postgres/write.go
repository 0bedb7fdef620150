package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// write is a part of a transaction. Parts that wait at the same moment are
// written by one, so that they share its sync.
type write struct {
	queue func(*pgx.Batch)
	read  func(pgx.BatchResults) error // what queue has queued, in order
	done  chan error
	pid   uint32 // of the process of the database that had it; 0: none
}

func newWrite(queue func(*pgx.Batch), read func(pgx.BatchResults) error) *write {
	return &write{queue: queue, read: read, done: make(chan error, 1)}
}

// write waits until w is durable. After an error it may be, or become so as
// long as the process w.pid of the database lives.
func (s *Store) write(w *write) error { return s.writeSlow(w, nil) }

// slow is how long a settlement may take before it is in the outbox, too.
const slow = time.Second

// writeSlow is write. onSlow is called once where it takes long; nil: nothing is.
func (s *Store) writeSlow(w *write, onSlow func()) error {
	var late <-chan time.Time
	if onSlow != nil {
		t := time.NewTimer(slow)
		defer t.Stop()
		late = t.C
	}
	to := s.writes
	for {
		select {
		case to <- w:
			to = nil
		case err := <-w.done:
			return err
		case <-late:
			onSlow()
		case <-s.ctx.Done():
			return errClosed
		}
	}
}

// mostWrites is how many parts one transaction has.
const mostWrites = 256

// writing is the one goroutine that writes: one at a time is faster on one disk
// than two.
func (s *Store) writing() {
	for {
		var all []*write
		select {
		case w := <-s.writes:
			all = append(all, w)
		case <-s.ctx.Done():
			return
		}
	more:
		for len(all) < mostWrites {
			select {
			case w := <-s.writes:
				all = append(all, w)
			default:
				break more
			}
		}
		s.together(all)
	}
}

// together writes the outbox, then all parts. Where the database refuses one of
// them, each is tried by itself.
func (s *Store) together(all []*write) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	err := s.flush(ctx)
	var pid uint32
	if err == nil {
		pid, err = s.send(ctx, all)
	}
	if err != nil && pid == 0 && len(all) > 1 { // nothing was written
		for _, w := range all {
			w.pid, err = s.send(ctx, []*write{w})
			w.done <- err
		}
		return
	}
	for _, w := range all {
		w.pid = pid
		w.done <- err
	}
}

// send writes parts in one transaction. pid is not 0 after an error that leaves
// open whether they were written.
func (s *Store) send(ctx context.Context, all []*write) (pid uint32, err error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		s.probe.set(false)
		return 0, err
	}
	defer c.Release()
	b := &pgx.Batch{}
	for _, w := range all {
		w.queue(b)
	}
	r := c.SendBatch(ctx, b)
	for _, w := range all {
		if err == nil {
			err = w.read(r)
		}
	}
	if closed := r.Close(); err == nil {
		err = closed
	}
	if err == nil || refused(err) {
		s.probe.set(true)
	}
	if err != nil && !refused(err) {
		s.probe.set(false)
		pid = c.Conn().PgConn().PID()
		_ = c.Conn().Close(ctx)
	}
	return pid, err
}

// ended waits until a process of the database has ended, so that what it was
// to write is written, or never will be.
func (s *Store) ended(ctx context.Context, pid uint32) error {
	for {
		var lives bool
		err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE pid = $1 AND application_name = 'postern ' || $2)`, int32(pid), s.opts.Relay).Scan(&lives)
		if err != nil {
			return err
		}
		if !lives {
			return s.settledAll(ctx)
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// settledAll returns when all that can be seen in the database is as durable as
// commits are. A commit that waited for a standby can be seen once its connection
// has ended, and after a restart of the primary, without the standby having it.
// The one made here waits for the standby, and so for all before. It changes no
// row, over which those that wait would wait for each other.
func (s *Store) settledAll(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `SELECT pg_logical_emit_message(true, 'postern', '')`)
	return err
}
