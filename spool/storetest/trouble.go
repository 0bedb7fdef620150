package storetest

import (
	"errors"
	"io"
	"testing"
	"time"

	"postern/spool"
)

// lease takes or renews a lane.
func (b *bench) lease(s spool.Store, upstream string) spool.Lease {
	b.t.Helper()
	l, err := s.Lease(b.t.Context(), upstream)
	if err != nil || l.Upstream != upstream || l.Epoch == 0 || !l.Until.IsZero() && !l.Until.After(time.Now()) {
		b.t.Fatalf("%+v, %v", l, err)
	}
	return l
}

// restart loses claims, and nothing else.
func restart(t *testing.T, b *bench) {
	id := b.put(b.envelope([]string{"up"}))
	d := b.claim("up", 0)
	if err := b.Store.DotSent(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	b.Store = b.Restart()
	b.lost(b.Store, d)
	b.want(b.Store.DotSent(t.Context(), d), spool.ErrLost)
	b.none("up", 59*time.Minute)
	again := b.claim("up", time.Hour)
	if again.ID != id || again.Attempt != 2 || !again.InDoubt {
		t.Errorf("%+v", again)
	}
	b.lost(b.Store, d)
	b.settle(again, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
}

// lease of a lane is renewed in the same epoch. Claims carry it, and are made in
// no other.
func lease(t *testing.T, b *bench) {
	b.put(b.envelope([]string{"up"}))
	l := b.lease(b.Store, "up")
	if again := b.lease(b.Store, "up"); again.Epoch != l.Epoch || again.Until.Before(l.Until) {
		t.Errorf("renewed %+v as %+v", l, again)
	}
	for _, wrong := range []spool.Lease{{Upstream: "up"}, {Upstream: "up", Epoch: l.Epoch + 1}} {
		_, err := b.Store.Claim(t.Context(), wrong, b.now, 1, hourly)
		b.want(err, spool.ErrLost)
	}
	d := b.claim("up", 0)
	if d.Token.Epoch != l.Epoch {
		t.Errorf("%+v under %+v", d.Token, l)
	}
	b.settle(d, spool.Settlement{Due: b.now})
	for range 2 {
		if err := b.Store.Leave(t.Context(), l); err != nil {
			t.Error(err)
		}
	}
	b.settle(b.claim("up", 0), spool.Settlement{Outcomes: []spool.Outcome{accepted}})
}

// takeover is by one relay at a time. What was claimed in an epoch that is over
// changes nothing any more.
func takeover(t *testing.T, b *bench) {
	if b.Other == nil {
		t.Skip("no other relay can have this store")
	}
	id := b.put(b.envelope([]string{"up"}))
	b.put(b.envelope([]string{"up"}))
	old := b.lease(b.Store, "up")
	dotted, plain := b.claim("up", 0), b.claim("up", 0)
	if err := b.Store.DotSent(t.Context(), dotted); err != nil {
		t.Fatal(err)
	}
	var leased *spool.Leased
	_, err := b.Other.Lease(t.Context(), "up")
	b.want(err, spool.ErrLeased)
	if !errors.As(err, &leased) || leased.Holder == "" || leased.Until.Before(time.Now()) {
		t.Errorf("leased: %+v", leased)
	}
	_, err = b.Other.Take(t.Context(), id, 0)
	b.want(err, spool.ErrLeased)
	b.lease(b.Other, "elsewhere")

	b.Expire()
	if again := b.lease(b.Store, "up"); again.Epoch != old.Epoch {
		t.Errorf("renewed %+v, which nobody had taken, as %+v", old, again)
	}
	b.Expire()
	next := b.lease(b.Other, "up")
	if next.Epoch == old.Epoch {
		t.Errorf("%+v after %+v", next, old)
	}
	b.want(b.Store.DotSent(t.Context(), plain), spool.ErrLost)
	for _, d := range []*spool.Delivery{plain, dotted} {
		b.lost(b.Store, d)
	}
	_, err = b.Store.Claim(t.Context(), old, b.now, 1, hourly)
	b.want(err, spool.ErrLost)
	_, err = b.Store.Lease(t.Context(), "up")
	b.want(err, spool.ErrLeased)
	if err := b.Store.Leave(t.Context(), old); err != nil {
		t.Error(err)
	}
	ds, err := b.Other.Claim(t.Context(), next, b.now.Add(time.Hour), 2, hourly)
	if err != nil || len(ds) != 2 || ds[0].Attempt != 2 || ds[0].InDoubt != (ds[0].ID == dotted.ID) || ds[1].InDoubt != (ds[1].ID == dotted.ID) {
		t.Fatalf("%+v, %v", ds, err)
	}
	if err := b.Other.Leave(t.Context(), next); err != nil {
		t.Error(err)
	}
	b.lease(b.Store, "up")
	b.lost(b.Other, ds[0])
}

// away is a store that can't write for a while. What it refuses has not
// happened; what was settled meanwhile has, and is on record once it can.
func away(t *testing.T, b *bench) {
	done, back, dot, waits := b.put(b.envelope([]string{"up"})), b.put(b.envelope([]string{"up"})), b.put(b.envelope([]string{"up"})), b.put(b.envelope([]string{"other"}))
	ds := []*spool.Delivery{b.claim("up", 0), b.claim("up", 0), b.claim("up", 0)}
	lease := b.lease(b.Store, "other")
	b.Away(true)
	draft, err := b.Store.Create(t.Context())
	if err == nil {
		io.WriteString(draft, "Subject: x\r\n\r\n")
		err = draft.Commit(t.Context(), b.envelope([]string{"other"}))
	}
	if err == nil {
		t.Error("accepted by a store that can't write")
	}
	if got, err := b.Store.Claim(t.Context(), lease, b.now, 1, hourly); err == nil {
		t.Errorf("claimed %v", got)
	}
	if b.Store.DotSent(t.Context(), ds[2]) == nil {
		t.Error("a dot is on record with a store that can't write")
	}
	for i, s := range []spool.Settlement{{Outcomes: []spool.Outcome{accepted}}, {Due: b.now}} {
		if _, err := b.Store.Settle(t.Context(), ds[i], s); err == nil || errors.Is(err, spool.ErrLost) {
			t.Errorf("settled with %v", err)
		}
	}
	b.Away(false)
	b.settle(ds[0], spool.Settlement{Due: b.now}) // once more: the first one counts
	b.eventually(func() error { return b.Store.DotSent(t.Context(), ds[2]) })
	b.settle(ds[2], spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	for range 2 {
		for _, id := range []spool.ID{done, dot} {
			_, err = b.Store.Shares(t.Context(), id)
			b.want(err, spool.ErrNotFound)
		}
		if all := b.found(spool.Query{}); len(all) != 2 || all[0].ID != back || all[1].ID != waits || all[0].Attempts != 0 || all[1].Attempts != 0 {
			t.Errorf("%+v", all)
		}
		b.Store = b.Restart()
	}
	if d := b.claim("up", 0); d.ID != back || d.Attempt != 1 || d.InDoubt {
		t.Errorf("%+v", d)
	}
	if d := b.claim("other", 0); d.ID != waits || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
}

// eventually waits until a store that is able again is at work again.
func (b *bench) eventually(do func() error) {
	b.t.Helper()
	err := do()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); err = do() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// full refuses more, and goes on with what it has.
func full(t *testing.T, b *bench) {
	for range b.Most {
		b.put(b.envelope([]string{"up"}))
	}
	draft, err := b.Store.Create(t.Context())
	if err == nil {
		err = draft.Commit(t.Context(), b.envelope([]string{"up"}))
	}
	b.want(err, spool.ErrFull)
	if u, err := b.Store.Usage(t.Context()); err != nil || !u.Full || u.Messages != b.Most || u.Shares != b.Most {
		t.Errorf("%+v, %v", u, err)
	}
	d := b.claim("up", 0)
	if got, err := b.Store.Tally(t.Context(), b.now); err != nil || got != (spool.Tally{Due: b.Most - 1, Claimed: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.eventually(func() error {
		draft, err := b.Store.Create(t.Context())
		if err == nil {
			err = draft.Commit(t.Context(), b.envelope([]string{"up"}))
		}
		return err
	})
}

// notify makes notices durable and settles what they are about, or neither.
func notify(t *testing.T, b *bench) {
	id, apart := b.put(b.envelope([]string{"up"}, []string{"other"})), b.put(b.envelope([]string{"up"}))
	first, second := b.claim("up", 0), b.claim("other", 0)
	bounced := spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageLocal, Text: "too old", Verdict: spool.Bounced}}}
	ends := []spool.Ending{{Delivery: first, Settlement: bounced}, {Delivery: second, Settlement: bounced}}
	refused := func(why string, want error, notices int, ends ...spool.Ending) {
		t.Helper()
		_, settled, err := b.notify(notices, ends...)
		if !errors.Is(err, want) || settled != (spool.Settled{}) {
			t.Errorf("%s: %+v, %v", why, settled, err)
		}
		if n := len(b.found(spool.Query{Upstream: "notices"})); n != 0 {
			t.Fatalf("%s: %d notices", why, n)
		}
	}
	foreign := *second
	foreign.Token.Claim += 1000
	refused("a claim that is none", spool.ErrLost, 2, ends[0], spool.Ending{Delivery: &foreign, Settlement: bounced})
	unrelated := b.claim("up", 0)
	refused("about two messages", spool.ErrInvalid, 2, ends[0], spool.Ending{Delivery: unrelated, Settlement: bounced})
	b.settle(unrelated, spool.Settlement{Due: b.now})
	refused("an outcome too many", spool.ErrInvalid, 1, spool.Ending{Delivery: first, Settlement: spool.Settlement{Outcomes: make([]spool.Outcome, 2)}})
	refused("one claim twice", spool.ErrInvalid, 1, ends[0], ends[0])
	refused("no claim", spool.ErrInvalid, 1)
	refused("no notice", spool.ErrInvalid, 0, ends...)

	own, settled, err := b.notify(2, ends...)
	if err != nil || settled != (spool.Settled{Over: true}) {
		t.Fatalf("%+v, %v", settled, err)
	}
	b.settle(first, spool.Settlement{Due: b.now}) // it was settled: nothing changes
	if _, settled, err := b.notify(2, ends...); err != nil || settled != (spool.Settled{Over: true, Before: true}) {
		t.Errorf("once more: %+v, %v", settled, err)
	}
	look := func(when string) {
		t.Helper()
		if _, err := b.Store.Detail(t.Context(), id); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("%s: the message is still there: %v", when, err)
		}
		if all := b.found(spool.Query{Upstream: "notices"}); len(all) != 2 || all[0].ID != own[0] || all[1].ID != own[1] {
			t.Errorf("%s: %+v", when, all)
		}
		if _, err := b.Store.Detail(t.Context(), apart); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	look("at once")
	b.Store = b.Restart()
	look("after a restart")
	for _, n := range own {
		if c, err := b.Store.Content(t.Context(), n); err != nil || c.Size() != int64(len("Subject: notice\r\n\r\n")) {
			t.Errorf("%v, %v", c, err)
		} else {
			c.Close()
		}
	}
}

// notify makes so many notices, and settles claims.
func (b *bench) notify(n int, ends ...spool.Ending) (own []spool.ID, settled spool.Settled, err error) {
	b.t.Helper()
	var notices []spool.Notice
	for range n {
		d, err := b.Store.Create(b.t.Context())
		if err == nil {
			_, err = io.WriteString(d, "Subject: notice\r\n\r\n")
		}
		if err != nil {
			b.t.Fatal(err)
		}
		own, notices = append(own, d.ID()), append(notices, spool.Notice{Draft: d, Envelope: b.envelope([]string{"notices"})})
	}
	settled, err = b.Store.Notify(b.t.Context(), notices, ends...)
	return own, settled, err
}

// unsaid is a store that can't write while a notice is made: it has not
// happened, the claim goes on, and it can be said later.
func unsaid(t *testing.T, b *bench) {
	id := b.put(b.envelope([]string{"up"}, []string{"other"}))
	d := b.claim("up", 0)
	end := spool.Ending{Delivery: d, Settlement: spool.Settlement{Outcomes: []spool.Outcome{{Text: "too old", Verdict: spool.Bounced}}}}
	var notices []spool.Notice
	for range 2 {
		draft, err := b.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		notices = append(notices, spool.Notice{Draft: draft, Envelope: b.envelope([]string{"notices"})})
	}
	b.Away(true)
	if s, err := b.Store.Notify(t.Context(), notices, end); err == nil || errors.Is(err, spool.ErrLost) {
		t.Errorf("%+v, %v", s, err)
	}
	b.Away(false)
	b.eventually(func() error { _, err := b.Store.Shares(t.Context(), id); return err })
	look := func(notices, owed int) {
		t.Helper()
		if n := len(b.found(spool.Query{Upstream: "notices"})); n != notices {
			t.Errorf("%d notices, want %d", n, notices)
		}
		if s, err := b.Store.Shares(t.Context(), id); err != nil || len(s) != owed {
			t.Errorf("%+v, %v", s, err)
		}
	}
	look(0, 2)
	b.eventually(func() error {
		_, settled, err := b.notify(2, end)
		if err == nil && settled != (spool.Settled{}) {
			t.Errorf("%+v", settled)
		}
		return err
	})
	look(2, 1)
	b.Store = b.Restart()
	look(2, 1)
	if s := b.settle(b.claim("other", 0), spool.Settlement{Outcomes: []spool.Outcome{accepted}}); !s.Over {
		t.Errorf("%+v", s)
	}
}
