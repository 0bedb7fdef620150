package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
)

// Find implements spool.Reader.
func (d *daemon) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	return d.store.Find(ctx, q, visit)
}

// Shares implements spool.Reader.
func (d *daemon) Shares(ctx context.Context, id spool.ID) ([]spool.Summary, error) {
	return d.store.Shares(ctx, id)
}

// Detail implements spool.Reader.
func (d *daemon) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	return d.store.Detail(ctx, id)
}

// Content implements spool.Reader.
func (d *daemon) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	return d.store.Content(ctx, id)
}

// Act carries out an order.
func (d *daemon) Act(ctx context.Context, o control.Order, operator string) (*control.Acted, error) {
	sel := queue.Select{IDs: o.IDs, Upstream: o.Upstream, All: o.All}
	for _, s := range o.Shares {
		share := queue.Share{ID: s.ID, Share: s.Share}
		sel.Shares = append(sel.Shares, share)
		if s.Recipients != nil {
			if sel.Only == nil {
				sel.Only = map[queue.Share][]int{}
			}
			sel.Only[share] = s.Recipients
		}
	}
	var (
		r   queue.Result
		err error
	)
	switch o.Op {
	case control.OpRetry:
		r, err = d.queue.Retry(ctx, sel, operator)
	case control.OpHold:
		r, err = d.queue.Hold(ctx, sel, operator)
	case control.OpRelease:
		r, err = d.queue.Release(ctx, sel, operator)
	case control.OpRemove:
		r, err = d.queue.Remove(ctx, sel, operator)
	case control.OpBounce:
		r, err = d.queue.Bounce(ctx, sel, operator, o.Reason)
	default:
		return nil, fmt.Errorf("the queue does not know how to %s", o.Op)
	}
	if err != nil {
		return nil, known(err)
	}
	return &control.Acted{Messages: r.Done, Recipients: r.Recipients, Busy: names(r.Busy), Missing: names(r.Missing), Held: names(r.Held), Senderless: names(r.Senderless)}, nil
}

// Hostname is the name of the relay.
func (d *daemon) Hostname() string { return d.state.Load().cfg.Hostname }

// Upstreams names what is configured and what mail waits for.
func (d *daemon) Upstreams() []string {
	all := map[string]bool{}
	for name := range d.state.Load().cfg.Upstreams {
		all[name] = true
	}
	pending, _ := d.store.Lanes(context.Background()) // after an error: what is configured is known all the same
	for name := range pending {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func names(ids []spool.ID) []string {
	var list []string
	for _, id := range ids {
		list = append(list, id.String())
	}
	return list
}

// Pause stops deliveries to one upstream.
func (d *daemon) Pause(upstream, operator string) error {
	return known(d.queue.Pause(upstream, operator))
}

// Resume lets them go on.
func (d *daemon) Resume(upstream, operator string) error {
	return known(d.queue.Resume(upstream, operator))
}

// known turns the queue's words into control's.
func known(err error) error {
	switch {
	case errors.Is(err, queue.ErrNoUpstream):
		return control.ErrNoUpstream
	case errors.Is(err, queue.ErrNotRecorded):
		return &control.NotRecorded{Err: err}
	}
	return err
}
