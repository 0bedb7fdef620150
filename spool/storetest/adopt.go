package storetest

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"postern/spool"
)

// Adopt implements spool.Store.
func (m *Memory) Adopt(ctx context.Context, draft spool.Draft, from *spool.Detail) error {
	d, ok := draft.(*memDraft)
	if !ok || from.Envelope == nil || len(from.Recipients) != len(from.Envelope.Recipients) ||
		!slices.ContainsFunc(from.Recipients, func(r spool.RecipientState) bool { return r.Status == spool.Pending }) {
		draft.Discard()
		return spool.ErrInvalid
	}
	return d.commit(ctx, from.Envelope, func(msg *memMessage) (work []due) {
		for i := range from.Recipients {
			msg.status[i], msg.last[i], msg.lastAt[i] = from.Recipients[i].Status, from.Recipients[i].Last, from.Recipients[i].LastAt
		}
		for _, s := range msg.shares {
			s.rcpts = slices.DeleteFunc(s.rcpts, func(i int) bool { return msg.status[i] != spool.Pending })
			s.stand(from.Recipients)
			if len(s.rcpts) > 0 && !s.held {
				work = append(work, due{s.list[s.failover], s.due})
			}
		}
		return work
	})
}

// stand makes a share stand as its recipients did elsewhere.
func (s *memShare) stand(all []spool.RecipientState) {
	for n, i := range s.rcpts {
		r := &all[i]
		if n == 0 || r.Due.Before(s.due) {
			s.due, s.failover = r.Due, max(slices.Index(s.list, r.Upstream), 0)
		}
		s.attempts = max(s.attempts, r.Attempts)
		s.held, s.kept = n > 0 && s.held || r.Held, s.kept || r.Kept
		s.doubt, s.warned = s.doubt || r.InDoubt, s.warned || r.Warned
	}
}

// adopt is a message that was in another store: it goes on as it stood there.
func adopt(t *testing.T, b *bench) {
	old := b.stood()
	env := *old.Envelope
	env.Key = b.key("adopted", 1)
	m := &spool.Detail{Envelope: &env, Recipients: old.Recipients}
	take := func() (spool.ID, error) {
		d, err := b.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(d, "Subject: x\r\n\r\nhello\r\n")
		return d.ID(), b.Store.Adopt(t.Context(), d, m)
	}
	id, err := take()
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		t.Helper()
		got, err := b.Store.Detail(t.Context(), id)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for i, r := range got.Recipients {
			want := old.Recipients[i]
			r.Share, want.Share = 0, 0
			if want.Status != spool.Pending { // stores may say less of these
				r = spool.RecipientState{Status: r.Status, Last: r.Last}
				want = spool.RecipientState{Status: want.Status, Last: want.Last}
			}
			if !r.Due.Equal(want.Due) || !r.LastAt.Equal(want.LastAt) {
				t.Errorf("%s: recipient %d: due %v, last %v; want %v, %v", when, i, r.Due, r.LastAt, want.Due, want.LastAt)
			}
			r.Due, r.LastAt = want.Due, want.LastAt
			if !reflect.DeepEqual(r, want) {
				t.Errorf("%s: recipient %d is\n%+v, want\n%+v", when, i, r, want)
			}
		}
		if !got.Envelope.Accepted.Equal(env.Accepted) || got.Envelope.From != env.From {
			t.Errorf("%s: %+v", when, got.Envelope)
		}
		if _, err := take(); !errors.As(err, new(*spool.Repeated)) {
			t.Errorf("%s: once more: %v", when, err)
		}
	}
	look("at once")
	b.Store = b.Restart()
	look("after a restart")

	ended := *m
	ended.Recipients = slices.Clone(m.Recipients)
	for i := range ended.Recipients {
		ended.Recipients[i].Status = spool.Delivered
	}
	for _, bad := range []*spool.Detail{&ended, {Envelope: &env}, {Recipients: m.Recipients}} {
		d, err := b.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.want(b.Store.Adopt(t.Context(), d, bad), spool.ErrInvalid)
	}
	b.adoptedGoesOn(id, old)
}

// stood is a message of which one recipient has got it, one was deferred, one
// is in doubt at its second upstream after a warning, and one is on hold.
func (b *bench) stood() *spool.Detail {
	b.t.Helper()
	id := b.put(b.envelope([]string{"up"}, []string{"up"}, []string{"first", "second"}, []string{"held"}))
	due := b.now.Add(2 * time.Hour)
	d := b.claim("up", 0)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted, later}, Due: due})
	d = b.claim("first", 0)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{later}, Due: b.now, Failover: 1, Warned: true})
	d = b.claim("second", 0)
	if err := b.Store.DotSent(b.t.Context(), d); err != nil {
		b.t.Fatal(err)
	}
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageDot, Cause: "closed"}}, Due: due, Failover: 1, Warned: true})
	held, err := b.Store.Take(b.t.Context(), id, 2)
	if err != nil {
		b.t.Fatal(err)
	}
	b.settle(held, spool.Settlement{Due: due, Hold: true})
	old, err := b.Store.Detail(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if r := old.Recipients; r[0].Status != spool.Delivered || !r[2].InDoubt || !r[2].Warned || r[2].Upstream != "second" || !r[3].Held {
		b.t.Fatalf("%+v", r)
	}
	for share := range 3 { // it is gone before the other one goes on
		taken, err := b.Store.Take(b.t.Context(), id, share)
		if err != nil {
			b.t.Fatal(err)
		}
		b.settle(taken, spool.Settlement{Outcomes: slices.Repeat([]spool.Outcome{{Verdict: spool.Removed}}, len(taken.Pending))})
	}
	return old
}

// adoptedGoesOn claims what was adopted when it is due.
func (b *bench) adoptedGoesOn(id spool.ID, old *spool.Detail) {
	b.t.Helper()
	b.none("up", time.Hour)
	for upstream, recipient := range map[string]int{"up": 1, "second": 2} {
		d := b.claim(upstream, 3*time.Hour)
		was := &old.Recipients[recipient]
		if d.ID != id || !slices.Equal(d.Pending, []int{recipient}) || d.Attempt != was.Attempts+1 || d.InDoubt != was.InDoubt || d.Warned != was.Warned {
			b.t.Errorf("%s: claimed %+v", upstream, d)
		}
		b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	}
	held := b.found(spool.Query{Held: true})
	if len(held) != 1 || held[0].ID != id {
		b.t.Errorf("on hold is %+v", held)
	}
}
