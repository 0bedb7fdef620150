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
	"sync"
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
	// Keys is how many keys the store remembers, at most 20.
	Keys int
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
		"lease": lease, "takeover": takeover, "away": away, "full": full, "notify": notify, "unsaid": unsaid, "over": over, "adopt": adopt,
		"scheduled": scheduled, "keys": keys, "keys at once": keysAtOnce, "keys end": keysEnd, "many keys": manyKeys, "keys fail": keysFail,
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

func (b *bench) settle(d *spool.Delivery, s spool.Settlement) spool.Settled {
	b.t.Helper()
	settled, err := b.Store.Settle(b.t.Context(), d, s)
	if err != nil {
		b.t.Fatal(err)
	}
	return settled
}

// lost settles what is to be none of the store's claims any more.
func (b *bench) lost(s spool.Store, d *spool.Delivery) {
	b.t.Helper()
	_, err := s.Settle(b.t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.want(err, spool.ErrLost)
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
	if _, err := b.Store.Settle(done, d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); err != nil {
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
	if s := b.settle(first, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); s != (spool.Settled{Before: true}) { // once more
		t.Errorf("settled once more: %+v", s)
	}
	b.want(b.Store.DotSent(t.Context(), first), spool.ErrLost)
	if s, err := b.Store.Shares(t.Context(), id); err != nil || !s[0].Claimed {
		t.Errorf("an old token ended a claim: %+v, %v", s, err)
	}
	for _, want := range []spool.Settled{{Over: true}, {Over: true, Before: true}} {
		if s := b.settle(second, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); s != want {
			t.Errorf("settled: %+v, want %+v", s, want)
		}
	}
	_, err := b.Store.Settle(t.Context(), &spool.Delivery{ID: id}, spool.Settlement{})
	b.want(err, spool.ErrLost)
}

// take claims what isn't due, and is no attempt.
func take(t *testing.T, b *bench) {
	env := b.envelope([]string{"up"})
	env.Hold, env.Storm = true, 7
	id := b.put(env)
	b.none("up", 48*time.Hour)
	b.want(b.Store.Discard(t.Context(), id, 0), spool.ErrInvalid)
	b.want(b.Store.Discard(t.Context(), id, 1), spool.ErrNotFound)
	b.want(b.Store.Discard(t.Context(), id+1, 0), spool.ErrNotFound)
	if d, err := b.Store.Detail(t.Context(), id); err != nil || d.Envelope.Storm != 7 {
		t.Errorf("%+v, %v", d, err)
	}
	d, err := b.Store.Take(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Store.Take(t.Context(), id, 0)
	b.want(err, spool.ErrClaimed)
	b.want(b.Store.Discard(t.Context(), id, 0), spool.ErrClaimed)
	_, err = b.Store.Take(t.Context(), id, 1)
	b.want(err, spool.ErrNotFound)
	_, err = b.Store.Take(t.Context(), id+1, 0)
	b.want(err, spool.ErrNotFound)
	b.settle(d, spool.Settlement{Due: b.now})
	if d := b.claim("up", 0); d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
}

// over is told by the settlement that leaves nothing of a message.
func over(t *testing.T, b *bench) {
	b.put(b.envelope([]string{"up"}, []string{"other"}, []string{"up"}))
	up, other := b.claim("up", 0), b.claim("other", 0)
	ends := func(d *spool.Delivery, want bool, outs ...spool.Outcome) {
		t.Helper()
		if s := b.settle(d, spool.Settlement{Outcomes: outs, Due: b.now}); s != (spool.Settled{Over: want}) {
			t.Errorf("%d: %+v", d.Share, s)
		}
	}
	ends(up, false, accepted, later)
	ends(other, false, accepted)
	ends(b.claim("up", 0), false)
	ends(b.claim("up", 0), false, later)
	ends(b.claim("up", 0), true, accepted)
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
	work := b.work("up")
	next := func(want time.Time) {
		t.Helper()
		due, ok, err := b.Store.NextDue(t.Context(), "up")
		if err != nil || ok != !want.IsZero() || ok && !due.Equal(want) {
			t.Errorf("next is due %v, %t, %v, want %v", due, ok, err, want)
		}
	}
	next(time.Time{})
	b.put(b.envelope([]string{"up"}))
	work.want(t, b.now) // or it may be told after what follows
	next(b.now)
	d := b.claim("up", 0)
	next(time.Time{})
	at := b.now.Add(time.Hour)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{later}, Due: at})
	next(at)
	work.want(t, b.now, at)
}

// work is what OnWork was told of an upstream. That may be a moment after the answer
// to the call that made it due.
type work struct {
	mu   sync.Mutex
	told []time.Time
}

func (b *bench) work(upstream string) *work {
	w := &work{}
	b.Store.OnWork(func(name string, due time.Time) {
		if name == upstream {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, due)
		}
	})
	return w
}

// want waits until as many were told, and compares them.
func (w *work) want(t *testing.T, want ...time.Time) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		told := slices.Clone(w.told)
		w.mu.Unlock()
		if slices.EqualFunc(told, want, time.Time.Equal) {
			return
		}
		if len(told) > len(want) || time.Now().After(end) {
			t.Errorf("told %v, want %v", told, want)
			return
		}
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
	_, err := b.Store.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted, accepted}})
	b.want(err, spool.ErrInvalid)
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.none("up", 48*time.Hour)
}

// find answers each query by what it means.
func find(t *testing.T, b *bench) {
	for i := range 40 {
		env := b.envelope([][]string{{"a"}, {"b", "a"}}[i%2:]...)
		env.Accepted = b.now.Add(time.Duration(i) * time.Minute)
		env.Hold = i%5 == 0
		if i%4 == 1 {
			env.NotBefore = env.Accepted.Add(time.Duration(i-20) * time.Minute)
		}
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
	for n, q := range []spool.Query{{Upstream: "a"}, {Upstream: "b"}, {Upstream: "c"}, {Held: true}, {Choice: true}, {Upstream: "a", Choice: true}, {After: all[30].ID}, {Upstream: "a", After: all[30].ID},
		{Age: &spool.Age{Begun: at(9)}}, {Age: &spool.Age{Unwarned: at(9)}}, {Age: &spool.Age{Deadline: at(80)}}, {Age: &spool.Age{DueAfter: at(70)}},
		{Age: &spool.Age{Kept: true}}, {Age: &spool.Age{}}, {Upstream: "b", Age: &spool.Age{Begun: at(5), Deadline: at(90), Kept: true}}} {
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

// scheduled: nothing is due before its time, whatever is said of it, over a
// restart and for whoever looks at its age.
func scheduled(t *testing.T, b *bench) {
	at := b.now.Add(time.Hour)
	work := b.work("up")
	env := b.envelope([]string{"up"}, []string{"other"})
	env.NotBefore = at
	id := b.put(env)
	past := b.envelope([]string{"past"})
	past.NotBefore = b.now.Add(-time.Hour)
	b.put(past)
	b.claim("past", 0) // what is over is no time
	work.want(t, at)
	early := func() {
		t.Helper()
		b.none("up", 59*time.Minute)
		b.none("other", 59*time.Minute)
		if due, ok, err := b.Store.NextDue(t.Context(), "up"); err != nil || !ok || !due.Equal(at) {
			t.Errorf("next is due %v, %t, %v", due, ok, err)
		}
		shares, err := b.Store.Shares(t.Context(), id)
		if err != nil || len(shares) != 2 || !shares[0].NotBefore.Equal(at) || !shares[0].Begins().Equal(at) || !shares[0].Due.Equal(at) {
			t.Errorf("%+v, %v", shares, err)
		}
		if d, err := b.Store.Detail(t.Context(), id); err != nil || !d.Envelope.NotBefore.Equal(at) || !d.Recipients[1].Due.Equal(at) {
			t.Errorf("%+v, %v", d, err)
		}
		if old := b.found(spool.Query{Age: &spool.Age{Begun: at, Unwarned: at, DueAfter: b.now}}); slices.ContainsFunc(old, func(s spool.Summary) bool { return s.ID == id }) {
			t.Errorf("it is old already: %+v", old)
		}
	}
	early()
	count := func(want spool.Tally) {
		t.Helper()
		lanes, err := b.Store.Lanes(t.Context())
		if s := lanes["other"]; err != nil || s.Shares != 1 || !s.Due.IsZero() || !s.Scheduled.Equal(at) {
			t.Errorf("%+v, %v", lanes, err)
		}
		if got, err := b.Store.Tally(t.Context(), b.now); err != nil || got != want {
			t.Errorf("counted %+v, %v, want %+v", got, err, want)
		}
	}
	count(spool.Tally{Scheduled: 2, Claimed: 1})
	for _, s := range []spool.Settlement{{Due: b.now}, {}, {Due: b.now, Hold: true}, {Due: b.now, Failover: 1}} {
		d, err := b.Store.Take(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.settle(d, s)
		if !s.Hold {
			early()
		}
	}
	b.Store = b.Restart()
	early()
	count(spool.Tally{Scheduled: 2, Deferred: 1})
	if old := b.found(spool.Query{Age: &spool.Age{Begun: at.Add(time.Second)}}); !slices.ContainsFunc(old, func(s spool.Summary) bool { return s.ID == id }) {
		t.Errorf("its age does not count: %+v", old)
	}
	d := b.claim("up", time.Hour)
	if !d.Envelope.NotBefore.Equal(at) || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
	b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	b.claim("other", time.Hour)
}
