package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"postern/spool"
)

const (
	// again is how long nothing is tried where something failed.
	again = time.Second
	// stuck is the same where nothing but single messages failed.
	stuck = 30 * time.Second
	// atOnce is how many messages are moved at a time, so that they share syncs.
	atOnce = 16
	// page is how many are looked up at a time.
	page = 1000
	// keyLife is how long it is remembered at least what was moved, so that a crash
	// between the two spools makes no second message.
	keyLife = 24 * time.Hour
	// keyShare is whose room for keys moved messages share.
	keyShare = 0x6d6f7665
)

// moving moves what is in the local spool, whenever there is something and the
// database answers.
func (s *Store) moving(ctx context.Context) {
	for {
		moved, err := s.move(ctx)
		if moved > 0 && err == nil {
			s.opts.Events(&Moved{moved})
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil || s.waits(ctx) {
			pause := again
			if err != nil && !errors.Is(err, spool.ErrAway) {
				s.opts.Events(&Failed{Err: err})
			}
			if err == nil && moved == 0 {
				pause = stuck
			}
			sleep(ctx, pause)
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store) waits(ctx context.Context) bool {
	u, err := s.opts.Local.Usage(ctx)
	return err == nil && u.Messages > 0
}

// move moves all that there is. An error says that no more can be.
func (s *Store) move(ctx context.Context) (moved int, err error) {
	var after spool.ID
	for ctx.Err() == nil {
		ids, err := s.next(ctx, after)
		if err != nil || len(ids) == 0 {
			return moved, err
		}
		if !s.opts.Answers(ctx) {
			return moved, spool.ErrAway
		}
		n, err := s.moveAll(ctx, ids)
		moved += n
		if err != nil {
			return moved, err
		}
		after = ids[len(ids)-1]
	}
	return moved, ctx.Err()
}

// next are the first messages after one.
func (s *Store) next(ctx context.Context, after spool.ID) (ids []spool.ID, err error) {
	err = s.opts.Local.Find(ctx, spool.Query{After: after}, func(m spool.Summary) bool {
		if len(ids) == 0 || ids[len(ids)-1] != m.ID {
			ids = append(ids, m.ID)
		}
		return len(ids) < page
	})
	return ids, err
}

func (s *Store) moveAll(ctx context.Context, ids []spool.ID) (moved int, err error) {
	var mu sync.Mutex
	var work sync.WaitGroup
	next := make(chan spool.ID)
	for range atOnce {
		work.Go(func() {
			for id := range next {
				failed := s.moveOne(ctx, id)
				var alone *alone
				if errors.As(failed, &alone) {
					s.opts.Events(&Failed{id, alone.err})
					continue
				}
				mu.Lock()
				if failed == nil {
					moved++
				} else if err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	for _, id := range ids {
		mu.Lock()
		stop := err != nil || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		next <- id
	}
	close(next)
	work.Wait()
	return moved, err
}

// alone is an error that says nothing about other messages.
type alone struct{ err error }

func (e *alone) Error() string { return e.err.Error() }

// moveOne makes a message durable in the database, and removes it from the local
// spool then. Its key keeps it from being there twice.
func (s *Store) moveOne(ctx context.Context, id spool.ID) error {
	m, err := s.opts.Local.Detail(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return &alone{err}
	}
	c, err := s.opts.Local.Content(ctx, id)
	if err != nil {
		return &alone{err}
	}
	defer c.Close()
	key(m)
	d, err := s.opts.Shared.Create(ctx)
	if err != nil {
		return err
	}
	prefix := int64(len(m.Envelope.Prefix))
	if _, err := io.Copy(d, io.NewSectionReader(c, prefix, c.Size()-prefix)); err != nil {
		d.Discard()
		return err
	}
	err = s.opts.Shared.Adopt(ctx, d, m)
	var known *spool.Repeated
	switch {
	case errors.As(err, &known):
		s.opts.Events(&MovedOne{ID: known.ID, Old: id, Envelope: m.Envelope, Repeated: true})
	case errors.Is(err, spool.ErrInvalid):
		return &alone{err}
	case err != nil:
		return err
	default:
		s.opts.Events(&MovedOne{ID: d.ID(), Old: id, Envelope: m.Envelope})
	}
	return s.remove(ctx, m)
}

// key makes sure that a message has one for as long as it takes.
func key(m *spool.Detail) {
	k := m.Envelope.Key
	if k == nil {
		k = &spool.Key{Name: spool.NameKey("accepted by a stand-in", m.ID.String()+" "+m.Envelope.Accepted.String()+" "+m.Envelope.From), Share: keyShare}
	} else {
		own := *k
		k = &own
	}
	if until := time.Now().Add(keyLife); k.Until.Before(until) {
		k.Until = until
	}
	e := *m.Envelope
	e.Key = k
	m.Envelope = &e
}

// remove removes a message that is in the database from the local spool.
func (s *Store) remove(ctx context.Context, m *spool.Detail) error {
	shares, err := s.opts.Local.Shares(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("message %s: %w", m.ID, err)
	}
	for _, one := range shares {
		d, err := s.opts.Local.Take(ctx, m.ID, one.Share)
		if err != nil {
			return fmt.Errorf("message %s: %w", m.ID, err)
		}
		outs := slices.Repeat([]spool.Outcome{{Text: "moved into the database", Verdict: spool.Removed}}, len(d.Pending))
		if _, err := s.opts.Local.Settle(ctx, d, spool.Settlement{Outcomes: outs}); err != nil {
			return fmt.Errorf("message %s: %w", m.ID, err)
		}
	}
	return nil
}
