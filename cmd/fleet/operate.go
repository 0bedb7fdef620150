package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
)

const (
	// mostShares is how many shares another relay is asked about at a time, so that
	// each answer comes within a while.
	mostShares = 2000
	// rounds is how often it is asked anew who has what was left.
	rounds = 3
	// pauseWaits is how long the relay that delivers by an upstream has to say that
	// it has heard of a pause. It reads it by itself, too.
	pauseWaits = 5 * time.Second
)

// Retry implements control.MailQueue, as do those that follow.
func (f *Fleet) Retry(ctx context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.do(ctx, control.OpRetry, sel, by, "")
}

// Hold is for all relays.
func (f *Fleet) Hold(ctx context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.do(ctx, control.OpHold, sel, by, "")
}

// Release is for all relays.
func (f *Fleet) Release(ctx context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.do(ctx, control.OpRelease, sel, by, "")
}

// Remove is for all relays.
func (f *Fleet) Remove(ctx context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.do(ctx, control.OpRemove, sel, by, "")
}

// Bounce is for all relays.
func (f *Fleet) Bounce(ctx context.Context, sel queue.Select, by, reason string) (queue.Result, error) {
	return f.do(ctx, control.OpBounce, sel, by, reason)
}

// do does something here, and has each relay that is in charge of some of what was
// selected do it there. A *control.Unfinished: one of them has not.
func (f *Fleet) do(ctx context.Context, op control.Op, sel queue.Select, by, reason string) (queue.Result, error) {
	all, err := control.Do(ctx, f.Queue, op, sel, by, reason)
	left := all.Elsewhere
	all.Elsewhere = nil
	if err != nil {
		return all, err
	}
	var failed error
	for round := 0; len(left) > 0; round++ {
		if round == rounds {
			return all, &control.Unfinished{Done: all, Err: errors.New("the relays in charge change at this moment")}
		}
		next := map[string][]queue.Share{}
		for _, relay := range slices.Sorted(maps.Keys(left)) {
			err := f.doAt(ctx, relay, op, &sel, left[relay], by, reason, &all, next)
			failed = errors.Join(failed, err)
		}
		left = next
	}
	if failed != nil {
		return all, &control.Unfinished{Done: all, Err: failed}
	}
	return all, nil
}

// doAt does a part at one relay. Without shares it is all that is selected and that
// the relay is in charge of. What has come into the charge of another one is left in
// next.
func (f *Fleet) doAt(ctx context.Context, relay string, op control.Op, sel *queue.Select, shares []queue.Share, by, reason string, all *queue.Result, next map[string][]queue.Share) error {
	r := request{Verb: string(op), By: by + " at " + f.opts.Relay, Reason: reason, Upstream: sel.Upstream, All: sel.All}
	if shares == nil {
		r.Counted = all.Split
		_, err := f.part(ctx, relay, &r, by, all)
		return err
	}
	r.Upstream, r.All = "", false
	for some := range slices.Chunk(shares, mostShares) {
		r.Shares, r.Counted = sharesOf(some, sel), among(all.Split, some)
		a, err := f.part(ctx, relay, &r, by, all)
		if err != nil {
			return err
		}
		for other, list := range a.Elsewhere {
			for _, s := range list {
				next[other] = append(next[other], queue.Share{ID: s.ID, Share: s.Share})
			}
		}
	}
	return nil
}

// among are those of sorted messages that have some of the shares.
func among(ids []spool.ID, shares []queue.Share) (list []spool.ID) {
	for _, s := range shares {
		_, found := slices.BinarySearch(ids, s.ID)
		if found && !slices.Contains(list[max(len(list)-1, 0):], s.ID) {
			list = append(list, s.ID)
		}
	}
	return list
}

// part does what a request says at one relay, which may be this one by now, and
// adds what it has come to.
func (f *Fleet) part(ctx context.Context, relay string, r *request, by string, all *queue.Result) (*answer, error) {
	var a *answer
	if relay == f.opts.Relay {
		own := *r
		own.By = by
		a = f.carryOut(ctx, &own)
	} else {
		var err error
		if a, err = f.ask(ctx, relay, r); err != nil {
			return nil, err
		}
	}
	if a.Result != nil {
		a.Result.Split = a.Split
		all.Add(a.Result)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("the relay %s says: %s", relay, a.Error)
	}
	return a, nil
}

func (f *Fleet) ask(ctx context.Context, relay string, r *request) (*answer, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	said, err := f.opts.Ask(ctx, relay, text)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := read(said, &a); err != nil {
		return nil, fmt.Errorf("what the relay %s has answered cannot be read: %w", relay, err)
	}
	return &a, nil
}

// Pause is recorded for all relays, and told to the one in charge. A
// *control.Unheard: that one has not answered.
func (f *Fleet) Pause(upstream, by string) error {
	if err := f.Queue.Pause(upstream, by); err != nil {
		return err
	}
	return f.tell(pause, upstream, by)
}

// Resume is as Pause.
func (f *Fleet) Resume(upstream, by string) error {
	if err := f.Queue.Resume(upstream, by); err != nil {
		return err
	}
	return f.tell(resume, upstream, by)
}

// tell tells the relay that delivers by an upstream.
func (f *Fleet) tell(verb, upstream, by string) error {
	relay := f.Queue.Holder(upstream)
	if relay == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pauseWaits)
	defer cancel()
	a, err := f.ask(ctx, relay, &request{Verb: verb, By: by + " at " + f.opts.Relay, Upstream: upstream})
	if err == nil && a.Error != "" {
		err = fmt.Errorf("the relay %s says: %s", relay, a.Error)
	}
	if err != nil {
		return &control.Unheard{Err: err}
	}
	return nil
}
