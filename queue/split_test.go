package queue

import (
	"slices"
	"testing"
	"time"

	"postern/spool"
)

// TestCountedOnce: a message of which two relays have a part each is counted as one,
// also where nothing of the first part is left when the second one is done.
func TestCountedOnce(t *testing.T) {
	inFleet(t, func(t *testing.T, one, two *world) {
		ctx := t.Context()
		if err := one.queue.Pause("office", "ann"); err != nil {
			t.Fatal(err)
		}
		if _, err := two.store.generation().Lease(ctx, "branch"); err != nil {
			t.Fatal(err)
		}
		accept := func(upstreams ...string) spool.ID {
			env := &spool.Envelope{From: "a@app.example", Accepted: time.Now()}
			for _, u := range upstreams {
				env.Recipients = append(env.Recipients, spool.Recipient{Address: u + "@example.com", Upstreams: []string{u}})
			}
			return one.putEnvelope(env)
		}
		both := accept("office", "branch")
		accept("office")
		accept("branch")
		all := Select{All: true}
		r, err := one.queue.Hold(ctx, all, "ann")
		if err != nil || r.Done != 2 || !slices.Equal(r.Split, []spool.ID{both}) {
			t.Errorf("%+v, %v", r, err)
		}
		r, err = two.queue.Hold(ctx, Select{Shares: []Share{{both, 1}}, Counted: r.Split}, "ann")
		if err != nil || r.Done != 0 || r.Recipients != 1 || !slices.Equal(r.Split, []spool.ID{both}) {
			t.Errorf("%+v, %v", r, err)
		}
		r, err = one.queue.Remove(ctx, all, "ann")
		if err != nil || r.Done != 2 || !slices.Equal(r.Split, []spool.ID{both}) {
			t.Errorf("%+v, %v", r, err)
		}
		all.Counted = r.Split
		if r, err = two.queue.Remove(ctx, all, "ann"); err != nil || r.Done != 1 || r.Recipients != 2 || len(r.Split) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err = two.queue.Remove(ctx, Select{All: true}, "ann"); err != nil || r.Done != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
