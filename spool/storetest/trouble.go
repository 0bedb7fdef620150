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
	b.want(b.Store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}), spool.ErrLost)
	b.want(b.Store.DotSent(t.Context(), d), spool.ErrLost)
	b.none("up", 59*time.Minute)
	again := b.claim("up", time.Hour)
	if again.ID != id || again.Attempt != 2 || !again.InDoubt {
		t.Errorf("%+v", again)
	}
	b.want(b.Store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}), spool.ErrLost)
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
		b.want(b.Store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}), spool.ErrLost)
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
	b.want(b.Other.Settle(t.Context(), ds[0], spool.Settlement{Outcomes: []spool.Outcome{accepted}}), spool.ErrLost)
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
		if err := b.Store.Settle(t.Context(), ds[i], s); err == nil || errors.Is(err, spool.ErrLost) {
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

// notify makes a notice durable and settles what it is about, or neither.
func notify(t *testing.T, b *bench) {
	env := b.envelope([]string{"up"}, []string{"other"})
	id, apart := b.put(env), b.put(b.envelope([]string{"up"}))
	first, second := b.claim("up", 0), b.claim("other", 0)
	bounced := spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageLocal, Text: "too old", Verdict: spool.Bounced}}}
	ends := []spool.Ending{{Delivery: first, Settlement: bounced}, {Delivery: second, Settlement: bounced}}
	notice := func(ends ...spool.Ending) (spool.ID, error) {
		t.Helper()
		d, err := b.Store.Create(t.Context())
		if err == nil {
			_, err = d.Write([]byte("Subject: notice\r\n\r\n"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return d.ID(), b.Store.Notify(t.Context(), d, b.envelope([]string{"notices"}), ends...)
	}
	neither := func(why string, err, want error) {
		t.Helper()
		b.want(err, want)
		if n := len(b.found(spool.Query{Upstream: "notices"})); n != 0 {
			t.Fatalf("%s: %d notices", why, n)
		}
	}
	foreign := *second
	foreign.Token.Claim += 1000
	_, err := notice(ends[0], spool.Ending{Delivery: &foreign, Settlement: bounced})
	neither("a claim that is none", err, spool.ErrLost)
	_, err = notice(ends[0], spool.Ending{Delivery: b.claim("up", 0), Settlement: bounced})
	neither("about two messages", err, spool.ErrInvalid)
	_, err = notice(spool.Ending{Delivery: first, Settlement: spool.Settlement{Outcomes: make([]spool.Outcome, 2)}})
	neither("an outcome too many", err, spool.ErrInvalid)
	_, err = notice(ends[0], ends[0])
	neither("one claim twice", err, spool.ErrInvalid)

	own, err := notice(ends...)
	if err != nil {
		t.Fatal(err)
	}
	b.settle(first, spool.Settlement{Due: b.now}) // it was settled: nothing changes
	_, err = notice(ends...)
	b.want(err, spool.ErrLost)
	look := func(when string) {
		t.Helper()
		if _, err := b.Store.Detail(t.Context(), id); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("%s: the message is still there: %v", when, err)
		}
		if all := b.found(spool.Query{Upstream: "notices"}); len(all) != 1 || all[0].ID != own {
			t.Errorf("%s: %+v", when, all)
		}
		if _, err := b.Store.Detail(t.Context(), apart); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	look("at once")
	b.Store = b.Restart()
	look("after a restart")
}
