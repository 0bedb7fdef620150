package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"postern/cmd/control"
	"postern/queue"
	"postern/relay/api"
	"postern/spool"
)

// messages is what clients that have handed in a message may ask about it, and
// do with it.
type messages struct {
	store  spool.Store
	queue  control.MailQueue
	recall *recall
}

// Detail implements api.Messages.
func (m messages) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	d, err := m.store.Detail(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		return m.recall.detail(ctx, id)
	}
	return d, err
}

// Cancel implements api.Messages. The message is put on hold, so that nothing
// is sent while it is looked at.
func (m messages) Cancel(ctx context.Context, id spool.ID, by string) error {
	before, err := m.store.Detail(ctx, id)
	if err != nil {
		return err
	}
	if !nothingSent(before) {
		return api.ErrSent
	}
	onHold := slices.ContainsFunc(before.Recipients, func(r spool.RecipientState) bool { return r.Held })
	sel := queue.Select{IDs: []spool.ID{id}}
	held, err := m.queue.Hold(ctx, sel, by)
	switch {
	case err != nil:
		return err
	case len(held.Missing) > 0:
		return spool.ErrNotFound
	}
	d, err := m.store.Detail(ctx, id)
	if err == nil && len(held.Busy) == 0 && nothingSent(d) {
		done, err := m.queue.Remove(ctx, sel, by)
		switch {
		case err != nil:
			return err
		case len(done.Missing) > 0:
			return spool.ErrNotFound
		case len(done.Busy) == 0:
			m.recall.cancelled(d)
			return nil
		}
	}
	if onHold { // by an operator, who decides
		return cmp.Or(err, api.ErrSent)
	}
	if _, released := m.queue.Release(context.WithoutCancel(ctx), sel, by); err == nil {
		err = released
	}
	if err != nil {
		return err
	}
	return api.ErrSent
}

// nothingSent tells whether nobody has a message, or may have it.
func nothingSent(d *spool.Detail) bool {
	for i := range d.Recipients {
		if r := &d.Recipients[i]; r.Status != spool.Pending || r.InDoubt {
			return false
		}
	}
	return true
}
