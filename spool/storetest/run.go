// Package storetest says by tests what spool.Store means, for whoever
// implements it, and is one that needs no disk, for the tests of whoever uses
// it.
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

// Harness is a store under test, empty.
type Harness struct {
	Store spool.Store
	// Restart ends the process that has the store, as a power cut does, and
	// returns what the next one opens. The old Store is not used any more.
	Restart func() spool.Store
	// Most is how many messages the store takes, at least 50; ErrFull beyond.
	Most int
	// Away makes the store unable to write anything, or able again.
	Away func(away bool)
	// Other is what another relay has of the same store; nil: there can't be any.
	Other spool.Store
	// Expire makes every lease end that isn't renewed from now on; nil as Other.
	Expire func()
}

// Run tests a store; start makes a new one for each test.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, *bench){
		"life": life, "context": contexts, "tokens": tokens, "restart": restart, "take": take, "parts": parts,
		"order": order, "wake": wake, "invalid": invalid, "find": find, "discard": discard,
		"lease": lease, "takeover": takeover, "away": away, "full": full, "notify": notify,
	} {
		t.Run(name, func(t *testing.T) { test(t, &bench{Harness: start(t), t: t, now: time.Now()}) })
	}
}

// hourly tries again each hour.
var hourly = spool.Schedule{Steps: []time.Duration{time.Hour}}

var accepted = spool.Outcome{Stage: spool.StageDot, Code: 250, Verdict: spool.Delivered}

var later = spool.Outcome{Stage: spool.StageRcpt, Code: 450, Text: "later"}

// bench is a store at work.
type bench struct {
	Harness
	t   *testing.T
	now time.Time
}

// envelope has a recipient for each list of upstreams.
func (b *bench) envelope(lists ...[]string) *spool.Envelope {
	env := &spool.Envelope{From: "a@example.com", Accepted: b.now}
	for i, l := range lists {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: string(rune('a'+i)) + "@example.net", Upstreams: l})
	}
	return env
}

func (b *bench) put(env *spool.Envelope) spool.ID {
	b.t.Helper()
	d, err := b.Store.Create(b.t.Context())
	if err == nil {
		io.WriteString(d, "Subject: x\r\n\r\nhello\r\n")
		err = d.Commit(b.t.Context(), env)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return d.ID()
}

// lease takes or renews a lane.
func (b *bench) lease(s spool.Store, upstream string) spool.Lease {
	b.t.Helper()
	l, err := s.Lease(b.t.Context(), upstream)
	if err != nil || l.Upstream != upstream || l.Epoch == 0 || !l.Until.IsZero() && !l.Until.After(time.Now()) {
		b.t.Fatalf("%+v, %v", l, err)
	}
	return l
}

// claim claims one share that is due after so long.
func (b *bench) claim(upstream string, after time.Duration) *spool.Delivery {
	b.t.Helper()
	ds, err := b.Store.Claim(b.t.Context(), b.lease(b.Store, upstream), b.now.Add(after), 1, hourly)
	if err != nil || len(ds) != 1 {
		b.t.Fatalf("claimed %v, %v", ds, err)
	}
	return ds[0]
}

// none checks that nothing is due after so long.
func (b *bench) none(upstream string, after time.Duration) {
	b.t.Helper()
	if ds, err := b.Store.Claim(b.t.Context(), b.lease(b.Store, upstream), b.now.Add(after), 1, hourly); err != nil || len(ds) != 0 {
		b.t.Errorf("claimed %v, %v", ds, err)
	}
}

func (b *bench) settle(d *spool.Delivery, s spool.Settlement) {
	b.t.Helper()
	if err := b.Store.Settle(b.t.Context(), d, s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) want(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("error %v, want %v", err, want)
	}
}

// life is that of a message from commit to its end.
func life(t *testing.T, b *bench) {
	id := b.put(b.envelope([]string{"up"}, []string{"up"}))
	d := b.claim("up", 0)
	if d.ID != id || d.Attempt != 1 || d.Upstream != "up" || !slices.Equal(d.Pending, []int{0, 1}) || d.Envelope.From != "a@example.com" {
		t.Errorf("%+v", d)
	}
	c, err := b.Store.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, c.Size())
	c.ReadAt(text, 0)
	c.Close()
	if string(text) != "Subject: x\r\n\r\nhello\r\n" {
		t.Errorf("content %q", text)
	}
	b.none("up", 48*time.Hour)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted, later}, Due: b.now.Add(time.Minute)})
	detail, err := b.Store.Detail(t.Context(), id)
	if err != nil || detail.Recipients[0].Status != spool.Delivered || detail.Recipients[1].Status != spool.Pending || detail.Recipients[1].Last.Text != "later" {
		t.Errorf("%+v, %v", detail, err)
	}
	b.none("up", 0)
	if d = b.claim("up", time.Minute); d.Attempt != 2 || !slices.Equal(d.Pending, []int{1}) {
		t.Errorf("%+v", d)
	}
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	_, err = b.Store.Detail(t.Context(), id)
	b.want(err, spool.ErrNotFound)
	_, err = b.Store.Content(t.Context(), id)
	b.want(err, spool.ErrNotFound)
	_, err = b.Store.Shares(t.Context(), id)
	b.want(err, spool.ErrNotFound)
	if ups, err := b.Store.Lanes(t.Context()); err != nil || len(ups) != 0 {
		t.Errorf("%v, %v", ups, err)
	}
}

// contexts that are done end what has not begun, and change nothing.
func contexts(t *testing.T, b *bench) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	id := b.put(b.envelope([]string{"up"}))
	draft, err := b.Store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.want(draft.Commit(done, b.envelope([]string{"up"})), context.Canceled)
	_, err = b.Store.Create(done)
	b.want(err, context.Canceled)
	_, err = b.Store.Claim(done, b.lease(b.Store, "up"), b.now, 1, hourly)
	b.want(err, context.Canceled)
	_, err = b.Store.Lease(done, "up")
	b.want(err, context.Canceled)
	_, err = b.Store.Usage(done)
	b.want(err, context.Canceled)
	_, err = b.Store.Tally(done, b.now)
	b.want(err, context.Canceled)
	_, err = b.Store.Take(done, id, 0)
	b.want(err, context.Canceled)
	_, _, err = b.Store.NextDue(done, "up")
	b.want(err, context.Canceled)
	_, err = b.Store.Lanes(done)
	b.want(err, context.Canceled)
	_, err = b.Store.Content(done, id)
	b.want(err, context.Canceled)
	_, err = b.Store.Detail(done, id)
	b.want(err, context.Canceled)
	_, err = b.Store.Shares(done, id)
	b.want(err, context.Canceled)
	b.want(b.Store.Find(done, spool.Query{}, func(spool.Summary) bool { return true }), context.Canceled)
	d := b.claim("up", 0)
	if d.Attempt != 1 {
		t.Errorf("attempt %d", d.Attempt)
	}
	b.want(b.Store.DotSent(done, d), context.Canceled)
	if err := b.Store.Settle(done, d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); err != nil {
		t.Errorf("a context ended a settlement: %v", err)
	}
	b.none("up", 48*time.Hour)
}

// tokens make a settlement count once.
func tokens(t *testing.T, b *bench) {
	id := b.put(b.envelope([]string{"up"}))
	first := b.claim("up", 0)
	b.settle(first, spool.Settlement{Due: b.now})
	second := b.claim("up", 0)
	if first.Token == second.Token || second.Attempt != 1 {
		t.Errorf("%+v after %+v", second, first)
	}
	b.settle(first, spool.Settlement{Outcomes: []spool.Outcome{accepted}}) // once more
	b.want(b.Store.DotSent(t.Context(), first), spool.ErrLost)
	if s, err := b.Store.Shares(t.Context(), id); err != nil || !s[0].Claimed {
		t.Errorf("an old token ended a claim: %+v, %v", s, err)
	}
	b.settle(second, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.settle(second, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.want(b.Store.Settle(t.Context(), &spool.Delivery{ID: id}, spool.Settlement{}), spool.ErrLost)
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

// take claims what isn't due, and is no attempt.
func take(t *testing.T, b *bench) {
	env := b.envelope([]string{"up"})
	env.Hold = true
	id := b.put(env)
	b.none("up", 48*time.Hour)
	d, err := b.Store.Take(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Store.Take(t.Context(), id, 0)
	b.want(err, spool.ErrClaimed)
	_, err = b.Store.Take(t.Context(), id, 1)
	b.want(err, spool.ErrNotFound)
	_, err = b.Store.Take(t.Context(), id+1, 0)
	b.want(err, spool.ErrNotFound)
	b.settle(d, spool.Settlement{Due: b.now})
	if d := b.claim("up", 0); d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
}

// parts of a share may be left out of a settlement.
func parts(t *testing.T, b *bench) {
	id := b.put(b.envelope([]string{"up", "spare"}, []string{"up", "spare"}, []string{"other"}))
	d := b.claim("up", 0)
	d.Pending = d.Pending[1:]
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}, Due: b.now, Failover: 1})
	b.none("up", 48*time.Hour)
	d = b.claim("spare", 0)
	if d.Failover != 1 || !slices.Equal(d.Pending, []int{0}) {
		t.Errorf("%+v", d)
	}
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	if s, err := b.Store.Shares(t.Context(), id); err != nil || len(s) != 1 || s[0].Share != 1 || s[0].Upstreams[0] != "other" {
		t.Errorf("%+v, %v", s, err)
	}
	if ups, err := b.Store.Lanes(t.Context()); err != nil || len(ups) != 1 || ups["other"].Shares != 1 || !ups["other"].Due.Equal(b.now) {
		t.Errorf("%v, %v", ups, err)
	}
}

// order is urgent before ordinary.
func order(t *testing.T, b *bench) {
	plain := b.put(b.envelope([]string{"up"}))
	env := b.envelope([]string{"up"})
	env.Priority = 3
	urgent := b.put(env)
	if urgent <= plain {
		t.Errorf("IDs don't grow: %v after %v", urgent, plain)
	}
	for _, want := range []spool.ID{urgent, plain} {
		if d := b.claim("up", 0); d.ID != want {
			t.Errorf("%v before %v", d.ID, want)
		}
	}
}

// wake tells of work, and NextDue when it is due.
func wake(t *testing.T, b *bench) {
	var told []time.Time
	b.Store.OnWork(func(upstream string, due time.Time) {
		if upstream == "up" {
			told = append(told, due)
		}
	})
	next := func(want time.Time) {
		t.Helper()
		due, ok, err := b.Store.NextDue(t.Context(), "up")
		if err != nil || ok != !want.IsZero() || ok && !due.Equal(want) {
			t.Errorf("next is due %v, %t, %v, want %v", due, ok, err, want)
		}
	}
	next(time.Time{})
	b.put(b.envelope([]string{"up"}))
	next(b.now)
	d := b.claim("up", 0)
	next(time.Time{})
	at := b.now.Add(time.Hour)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{later}, Due: at})
	next(at)
	if len(told) != 2 || !told[0].Equal(b.now) || !told[1].Equal(at) {
		t.Errorf("told %v", told)
	}
}

// invalid envelopes and settlements are refused.
func invalid(t *testing.T, b *bench) {
	for _, env := range []*spool.Envelope{b.envelope(), b.envelope(nil)} {
		d, err := b.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.want(d.Commit(t.Context(), env), spool.ErrInvalid)
		if d.Commit(t.Context(), b.envelope([]string{"up"})) == nil {
			t.Error("a draft was committed after an error")
		}
	}
	b.put(b.envelope([]string{"up"}))
	d := b.claim("up", 0)
	b.want(b.Store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted, accepted}}), spool.ErrInvalid)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.none("up", 48*time.Hour)
}

// find answers each query by what it means.
func find(t *testing.T, b *bench) {
	for i := range 40 {
		env := b.envelope([][]string{{"a"}, {"b", "a"}}[i%2:]...)
		env.Accepted = b.now.Add(time.Duration(i) * time.Minute)
		env.Hold = i%5 == 0
		if i%7 == 0 {
			env.DeliverBy = &spool.DeliverBy{Deadline: env.Accepted.Add(time.Hour)}
		}
		id := b.put(env)
		if i%3 != 0 {
			continue
		}
		d, err := b.Store.Take(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.settle(d, spool.Settlement{Due: env.Accepted.Add(time.Hour), Failover: i % 2, Warned: i%2 == 0, Hold: i%4 == 0, Kept: i%4 == 0})
	}
	all := b.found(spool.Query{})
	if len(all) != 60 {
		t.Errorf("%d shares", len(all))
	}
	at := func(m int) time.Time { return b.now.Add(time.Duration(m) * time.Minute) }
	for n, q := range []spool.Query{{Upstream: "a"}, {Upstream: "b"}, {Upstream: "c"}, {Held: true}, {Choice: true}, {Upstream: "a", Choice: true},
		{Age: &spool.Age{Accepted: at(9)}}, {Age: &spool.Age{Unwarned: at(9)}}, {Age: &spool.Age{Deadline: at(80)}}, {Age: &spool.Age{DueAfter: at(70)}},
		{Age: &spool.Age{Kept: true}}, {Age: &spool.Age{}}, {Upstream: "b", Age: &spool.Age{Accepted: at(5), Deadline: at(90), Kept: true}}} {
		want := slices.DeleteFunc(slices.Clone(all), func(s spool.Summary) bool { return !Selects(&q, &s) })
		if got := b.found(q); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("query %d: %d shares, want %d", n, len(got), len(want))
		}
	}
	for _, s := range all {
		if shares, err := b.Store.Shares(t.Context(), s.ID); err != nil || !slices.ContainsFunc(shares, func(o spool.Summary) bool { return reflect.DeepEqual(o, s) }) {
			t.Errorf("%v isn't among %v, %v", s, shares, err)
		}
	}
}

// found is what a query finds, in order.
func (b *bench) found(q spool.Query) (all []spool.Summary) {
	b.t.Helper()
	err := b.Store.Find(b.t.Context(), q, func(s spool.Summary) bool { all = append(all, s); return true })
	if err != nil || !slices.IsSortedFunc(all, func(x, y spool.Summary) int { return int(int64(x.ID - y.ID)) }) {
		b.t.Errorf("%v, %v", all, err)
	}
	return all
}

// discard leaves nothing.
func discard(t *testing.T, b *bench) {
	d, err := b.Store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, "x")
	d.Discard()
	if d.Commit(t.Context(), b.envelope([]string{"up"})) == nil || len(b.found(spool.Query{})) != 0 {
		t.Error("a discarded draft was accepted")
	}
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
