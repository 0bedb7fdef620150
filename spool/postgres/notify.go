package postgres

import (
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// Notify implements spool.Store.
func (s *Store) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (settled spool.Settled, err error) {
	var made []*message
	for _, n := range notices {
		d, ok := n.Draft.(*draft)
		if !ok || d.s != s || n.Envelope.Key != nil {
			n.Draft.Discard()
			err = cmp.Or(err, error(spool.ErrInvalid))
			continue
		}
		m, failed := d.end(ctx, n.Envelope, nil)
		if err = cmp.Or(err, failed); failed == nil {
			made = append(made, m)
		}
	}
	defer func() {
		if err != nil || settled.Before {
			for _, n := range notices {
				if d, ok := n.Draft.(*draft); ok {
					d.drop()
				}
			}
		}
	}()
	if err == nil {
		err = valid(notices, ends)
	}
	if err != nil {
		return settled, err
	}
	all, gone, err := s.endings(ends)
	if err != nil {
		return settled, err
	}
	if gone == len(ends) {
		return s.beforeAll(ends)
	}
	if gone > 0 {
		return settled, spool.ErrLost
	}
	return s.notify(made, all)
}

// endings finds the claims that are to be settled. gone counts those that are
// none.
func (s *Store) endings(ends []spool.Ending) (all []*settling, gone int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range ends {
		c := s.claims[int64(e.Delivery.Token.Claim)]
		if c == nil || c.d.Token != e.Delivery.Token {
			gone++
			continue
		}
		p, err := c.settling(e.Delivery, e.Settlement)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, p)
	}
	return all, gone, nil
}

func (s *Store) beforeAll(ends []spool.Ending) (settled spool.Settled, err error) {
	for _, e := range ends {
		if settled, err = s.before(e.Delivery); err != nil {
			return spool.Settled{}, err
		}
	}
	return settled, nil
}

// valid looks at what Notify is called with.
func valid(notices []spool.Notice, ends []spool.Ending) error {
	if len(notices) == 0 || len(ends) == 0 {
		return spool.ErrInvalid
	}
	for i, e := range ends {
		if n := len(e.Settlement.Outcomes); n > 0 && n != len(e.Delivery.Pending) {
			return spool.ErrInvalid
		}
		for _, o := range ends[:i] {
			if o.Delivery.ID != e.Delivery.ID || o.Delivery.Share == e.Delivery.Share {
				return spool.ErrInvalid
			}
		}
	}
	return nil
}

// notify writes notices, and settles what they are about, or neither.
func (s *Store) notify(made []*message, all []*settling) (settled spool.Settled, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		return settled, err
	}
	var pid uint32
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		pid = tx.Conn().PgConn().PID()
		b, n := &pgx.Batch{}, 0
		for _, m := range made {
			n += m.queue(b)
		}
		for _, p := range all {
			p.queue(b)
		}
		r := tx.SendBatch(ctx, b)
		err := skip(r, n)
		for _, p := range all {
			if err == nil {
				err = p.read(r)
			}
			if err == nil && !p.found {
				err = spool.ErrLost
			}
		}
		if closed := r.Close(); err == nil {
			err = closed
		}
		return err
	})
	if err != nil && pid != 0 && err != error(spool.ErrLost) && !refused(err) {
		// Notices that were committed stay: what they are about was settled with them.
		_, err = s.ask(pid, made[0].id, err)
	}
	if err != nil {
		return settled, err
	}
	s.mu.Lock()
	for _, p := range all {
		delete(s.claims, p.Claim)
		settled.Over = settled.Over || p.over
	}
	s.mu.Unlock()
	for _, p := range all {
		s.settled(p)
	}
	for _, m := range made {
		s.accepted(m)
	}
	return settled, nil
}
