package standin

import (
	"context"
	"errors"
	"iter"

	"postern/spool"
)

// Reader reads what is in the database together with what waits in the local
// spool. It is for people: what is in the local spool can be looked at, and nothing
// else.
func (s *Store) Reader() spool.Reader { return reader{s} }

// Waits tells whether a message is in the local spool.
func (s *Store) Waits(ctx context.Context, id spool.ID) bool {
	_, err := s.opts.Local.Shares(ctx, id)
	return err == nil
}

type reader struct{ s *Store }

// where is the store that has a message.
func (r reader) where(ctx context.Context, id spool.ID) spool.Reader {
	if r.s.Waits(ctx, id) {
		return r.s.opts.Local
	}
	return r.s.opts.Shared
}

// Content implements spool.Reader, as do those that follow. A message that is moved
// at this moment may be in neither.
func (r reader) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	return r.where(ctx, id).Content(ctx, id)
}

// Detail tells of one message.
func (r reader) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	return r.where(ctx, id).Detail(ctx, id)
}

// Shares tells of one message.
func (r reader) Shares(ctx context.Context, id spool.ID) ([]spool.Summary, error) {
	return r.where(ctx, id).Shares(ctx, id)
}

// Usage is that of the database.
func (r reader) Usage(ctx context.Context) (spool.Usage, error) { return r.s.opts.Shared.Usage(ctx) }

// Find visits both in the order of their IDs. Where the database does not answer,
// what is in the local spool is visited, and the error says so.
func (r reader) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	var failed error
	next, stop := iter.Pull(func(yield func(spool.Summary) bool) {
		failed = r.s.opts.Local.Find(ctx, q, yield)
	})
	defer stop()
	local, some := next()
	going := true
	show := func(m spool.Summary) bool {
		going = going && visit(m)
		return going
	}
	before := func(m *spool.Summary) bool { // m nil: all that are left
		for going && some && (m == nil || local.ID < m.ID) {
			if show(local) {
				local, some = next()
			}
		}
		return going
	}
	err := spool.ErrAway
	if u, e := r.s.opts.Local.Usage(ctx); e != nil || u.Messages == 0 || r.s.opts.Answers(ctx) {
		err = r.s.opts.Shared.Find(ctx, q, func(m spool.Summary) bool { return before(&m) && show(m) })
	}
	before(nil)
	if !going {
		return nil
	}
	return errors.Join(err, failed)
}
