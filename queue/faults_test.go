package queue

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
	"postern/spool/storetest"
)

// Whichever call to the store fails once, before it is made or by losing its
// answer, no message is lost, and none goes twice, unless its client was told
// that it was not accepted and sends it again.
func TestEachCallFailsInTurn(t *testing.T) {
	met := map[string]bool{}
	for _, op := range storetest.Ops {
		for _, at := range []string{op, "answer of " + op} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s %d", at, n), func(t *testing.T) {
					if failsOnce(t, at, n) {
						met[at] = true
					}
				})
			}
		}
	}
	for _, op := range []string{"create", "commit", "lease", "claim", "take", "dot", "settle", "due", "lanes", "content", "detail", "find", "notify", "answer of commit", "answer of notify", "answer of dot", "answer of claim"} {
		if !met[op] {
			t.Errorf("%s never failed", op)
		}
	}
}

// failsOnce lets the nth call of an op fail, and tells whether there was one.
func failsOnce(t *testing.T, op string, n int) (failed bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "office", "spare")
		var calls atomic.Int64
		w.store.failWith(func(asked string) error {
			if asked == op && calls.Add(1) == int64(n) {
				return storetest.ErrAway
			}
			return nil
		})
		defer func() { failed = calls.Load() >= int64(n) }()
		w.queue.Start()
		defer w.end()
		w.peers.set("office", func(p *peer) {
			p.answer = func(d *spool.Delivery, to string) spool.Outcome {
				if to == "bad@example.com" {
					return replyAt(spool.StageRcpt, 550, "5.1.1", "nobody")
				}
				if d.Attempt == 1 || to == "slow@example.com" {
					return replyAt(spool.StageRcpt, 450, "4.2.0", "later")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		again := 0
		accept := func(to ...string) {
			env := &spool.Envelope{From: "a@app.example", Accepted: time.Now()}
			for i, r := range to {
				env.Recipients = append(env.Recipients, spool.Recipient{Address: r, Upstreams: [][]string{{"office", "spare"}, {"spare"}}[i%2]})
			}
			for ; ; again++ {
				d, err := w.queue.Create(bg)
				if err == nil {
					io.WriteString(d, content)
					err = d.Commit(bg, env)
				}
				if err == nil {
					return
				}
			}
		}
		for i := range 4 {
			accept(fmt.Sprintf("b%d@example.com", i), fmt.Sprintf("c%d@example.com", i))
			after(time.Second)
		}
		accept("bad@example.com")
		accept("slow@example.com") // its sender is warned
		w.queue.Hold(bg, Select{Upstream: "office"}, "op")
		w.queue.Release(bg, Select{Upstream: "office"}, "op")
		w.queue.Apply(w.queue.cfg.Load())
		after(6 * time.Hour)
		w.store.failWith(nil)
		w.queue.Release(bg, Select{All: true}, "op")
		after(6 * time.Hour)
		w.queue.Remove(bg, Select{All: true}, "op")
		got := map[string]int{}
		for _, a := range w.peers.mail("") {
			got[a.to]++
		}
		for i := range 4 {
			for _, to := range []string{fmt.Sprintf("b%d@example.com", i), fmt.Sprintf("c%d@example.com", i)} {
				if got[to] < 1 || got[to] > 1+again {
					t.Errorf("%s: %d arrived, sent again %d times", to, got[to], again)
				}
			}
		}
		if n := w.store.count(); n != 0 || got["a@app.example"] != 2 && again == 0 {
			t.Errorf("%d are left, %d notices", n, got["a@app.example"])
		}
	})
	return failed
}

// A process that ends when its notices are durable, and before it knows, leaves
// nothing that is told a second time.
func TestOneNoticeWhenTheProcessEndsBehindIt(t *testing.T) {
	refused, later := replyAt(spool.StageRcpt, 550, "5.1.1", "nobody"), replyAt(spool.StageRcpt, 450, "4.2.0", "later")
	for name, c := range map[string]struct {
		answer spool.Outcome // about b@
		wait   time.Duration
		told   int
		other  []string // upstreams of a second recipient
		notify spool.Notify
	}{
		"refused":              {refused, time.Second, 1, nil, 0},
		"late":                 {later, 5 * time.Hour, 1, nil, 0},
		"expired":              {later, 6 * 24 * time.Hour, 1, nil, 0},
		"bounced":              {later, time.Second, 1, nil, 0},
		"success":              {replyAt(spool.StageDot, 250, "2.0.0", "ok"), time.Second, 1, nil, spool.NotifySuccess},
		"refused and relayed":  {refused, time.Second, 2, []string{"office"}, spool.NotifySuccess | spool.NotifyFailure},
		"two shares late":      {later, 5 * time.Hour, 1, []string{"spare"}, 0},
		"two shares expired":   {later, 6 * 24 * time.Hour, 1, []string{"spare"}, 0},
		"one share of two":     {refused, time.Second, 1, []string{"spare"}, 0},
		"one bounced of two":   {later, time.Second, 1, []string{"spare"}, 0},
		"success of two lists": {replyAt(spool.StageDot, 250, "2.0.0", "ok"), time.Second, 1, []string{"spare"}, spool.NotifySuccess},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office", "spare"}, func(t *testing.T, w *world) {
				if strings.Contains(name, "expired") {
					w.cfg.Retry.WarnAfter = 0
				}
				for _, up := range []string{"office", "spare"} {
					w.peers.set(up, func(p *peer) {
						p.answer = func(d *spool.Delivery, to string) spool.Outcome {
							if to == "b@example.com" || up == "spare" && c.answer.Code == 450 && d.Envelope.From != "" {
								return c.answer
							}
							return replyAt(spool.StageDot, 250, "2.0.0", "ok")
						}
					})
				}
				w.queue.route = func(sender string, _ []string) []spool.Recipient {
					return []spool.Recipient{{Address: sender, Upstreams: []string{"notices"}}}
				} // wait for ever
				env := &spool.Envelope{From: "a@app.example", Accepted: time.Now(),
					Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"office"}, Notify: c.notify}}}
				if c.other != nil {
					env.Recipients = append(env.Recipients, spool.Recipient{Address: "c@example.com", Upstreams: c.other, Notify: c.notify &^ spool.NotifyFailure})
				}
				if c.notify == spool.NotifySuccess && c.other != nil {
					env.Recipients[1].Notify = spool.NotifyNever
				}
				var gone atomic.Bool
				w.store.failWith(func(op string) error {
					switch {
					case op == "answer of commit": // of the message itself, which may be tried before its client is told
					case gone.Load():
						return errGone
					case op == "answer of notify":
						gone.Store(true)
						return errGone
					}
					return nil
				})
				id := w.putEnvelope(env)
				if strings.Contains(name, "bounced") {
					after(time.Second)
					w.queue.Bounce(bg, Select{Shares: []Share{{ID: id}}}, "op", "enough")
				}
				after(c.wait)
				if !gone.Load() {
					t.Fatal("no notice was made")
				}
				w.store.failWith(nil)
				w.crash()
				w.queue.route = func(sender string, _ []string) []spool.Recipient {
					return []spool.Recipient{{Address: sender, Upstreams: []string{"notices"}}}
				}
				after(3 * time.Hour)
				told := 0
				w.store.walk(func(s spool.Summary) bool {
					if s.Upstreams[0] == "notices" {
						told++
					}
					return true
				})
				if told != c.told {
					t.Errorf("told %d times, want %d", told, c.told)
				}
			})
		})
	}
}

// Where only the answer of the store was lost, what was told and settled counts,
// and is reported as it is.
func TestLostAnswerOfANotice(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuse("b@example.com") })
		var lost atomic.Int32
		w.store.failWith(func(op string) error {
			if op == "answer of notify" {
				lost.Add(1)
				return storetest.ErrAway
			}
			return nil
		})
		id := w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Hour)
		tried := w.recorder.tried()
		if lost.Load() != 1 || tried[0].ID != id || tried[0].Outcome.Verdict != spool.Bounced || !tried[0].Due.IsZero() {
			t.Errorf("%d lost, %+v", lost.Load(), tried[0])
		}
		if n := w.recorder.notifications(); len(n) != 1 || w.recorder.heard("not notified") != 0 || len(w.peers.mail("office")) != 1 || w.recorder.ended() != 2 {
			t.Errorf("%+v, %d messages ended, %v", n, w.recorder.ended(), w.recorder.log)
		}
	})
}

// What a session asks of the store between a final dot and the next MAIL: it has
// its outcome written down, and nothing else, unless somebody has to be told.
func TestWhatSessionsAskTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		answer spool.Outcome
		other  string // upstream of a second recipient; empty: there is none
		notify spool.Notify
		want   []string
	}{
		"delivered":           {replyAt(spool.StageDot, 250, "2.0.0", "ok"), "", 0, []string{"settle"}},
		"delivered, share":    {replyAt(spool.StageDot, 250, "2.0.0", "ok"), "spare", 0, []string{"settle"}},
		"deferred":            {replyAt(spool.StageRcpt, 450, "4.2.0", "later"), "", 0, []string{"settle"}},
		"deferred, share":     {replyAt(spool.StageRcpt, 450, "4.2.0", "later"), "spare", 0, []string{"settle"}},
		"in doubt":            {spool.Outcome{Stage: spool.StageDot, Cause: "connection lost"}, "", 0, []string{"settle"}},
		"refused":             {replyAt(spool.StageRcpt, 550, "5.1.1", "nobody"), "", 0, []string{"create", "content", "notify"}},
		"refused, share":      {replyAt(spool.StageRcpt, 550, "5.1.1", "nobody"), "spare", 0, []string{"create", "content", "notify"}},
		"refused, not told":   {replyAt(spool.StageRcpt, 550, "5.1.1", "nobody"), "spare", spool.NotifyNever, []string{"settle"}},
		"relayed and told":    {replyAt(spool.StageDot, 250, "2.0.0", "ok"), "", spool.NotifySuccess, []string{"create", "content", "notify"}},
		"relayed, told, more": {replyAt(spool.StageDot, 250, "2.0.0", "ok"), "spare", spool.NotifySuccess, []string{"create", "content", "notify"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "office", "spare")
				var mu sync.Mutex
				var asked []string // by the session, once its first message is out
				var session bool
				turns := make(chan bool)
				w.queue.deliverer = deliverFunc(func(ctx context.Context, up *config.Upstream, feed *Feed) error {
					if up.Name != "office" {
						<-ctx.Done()
						return nil
					}
					first, _ := feed.Next(ctx)
					if first == nil {
						return nil
					}
					select {
					case <-turns: // the lane has claimed ahead by now
					case <-ctx.Done(): // a session that was begun while the queue stopped
						feed.Release(first)
						return nil
					}
					if err := feed.DotSent(first); err != nil {
						t.Error(err)
					}
					mu.Lock()
					session = true
					mu.Unlock()
					feed.Settle(first, repeat(c.answer, len(first.Pending)))
					second := feed.TryNext()
					mu.Lock()
					session = false
					mu.Unlock()
					if second == nil {
						t.Error("nothing was claimed ahead")
					} else {
						feed.Release(second)
					}
					<-ctx.Done()
					return nil
				})
				w.store.failWith(func(op string) error {
					mu.Lock()
					defer mu.Unlock()
					if session && !strings.HasPrefix(op, "answer") && bySession() {
						asked = append(asked, op)
					}
					return nil
				})
				for range 3 {
					env := &spool.Envelope{From: "a@app.example", Accepted: time.Now(),
						Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"office"}, Notify: c.notify}}}
					if c.other != "" {
						env.Recipients = append(env.Recipients, spool.Recipient{Address: "c@example.com", Upstreams: []string{c.other}})
					}
					w.putEnvelope(env)
				}
				w.queue.Start()
				synctest.Wait()
				turns <- true
				synctest.Wait()
				w.end()
				if !slices.Equal(asked, c.want) {
					t.Errorf("asked %q, want %q", asked, c.want)
				}
			})
		})
	}
}

// bySession tells whether it is called by a session.
func bySession() bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "(*Queue).deliver") {
			return true
		}
		if !more {
			return false
		}
	}
}

type deliverFunc func(context.Context, *config.Upstream, *Feed) error

func (f deliverFunc) Deliver(ctx context.Context, up *config.Upstream, feed *Feed) error {
	return f(ctx, up, feed)
}
