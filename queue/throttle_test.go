package queue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"postern/spool"
)

// bucket is the limit of an upstream: so many messages a second, and some at
// once. What is beyond is answered by refusal.
type bucket struct {
	refusal spool.Outcome

	mu     sync.Mutex
	rate   float64 // 0: no limit
	burst  float64
	tokens float64
	filled time.Time
	taken  int
	denied int
}

func (b *bucket) answer(*spool.Delivery, string) spool.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.rate > 0 && b.tokens < 1 {
		b.denied++
		return b.refusal
	}
	b.tokens--
	b.taken++
	return replyAt(spool.StageDot, 250, "2.0.0", "ok")
}

func (b *bucket) lift() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = 0
}

func (b *bucket) count() (taken, denied int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken, b.denied
}

// A lane finds the pace of an upstream that throttles: near its limit, with
// few refusals, without losing anything; and is fast again where the limit is
// lifted.
func TestFindsThePace(t *testing.T) {
	for _, refusal := range []spool.Outcome{
		replyAt(spool.StageDot, 451, "4.7.28", "unusual rate"),
		replyAt(spool.StageMail, 454, "4.7.0", "Throttling failure: maximum sending rate exceeded"),
		replyAt(spool.StageMail, 421, "4.7.0", "try again later, closing"),
		replyAt(spool.StageRcpt, 450, "4.7.1", "throttled"),
	} {
		for _, limit := range []struct{ rate, burst float64 }{
			{20, 1}, {14, 14}, {2, 1}, {2, 60}, {0.5, 30}, {0.1, 5}, {100.0 / 3600, 100},
		} {
			t.Run(fmt.Sprintf("%d at stage %d, %.3g a second, %v at once", refusal.Code, refusal.Stage, limit.rate, limit.burst), func(t *testing.T) {
				inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
					w.findsThePace(t, &bucket{refusal: refusal, rate: limit.rate, burst: limit.burst, tokens: limit.burst, filled: time.Now()})
				})
			})
		}
	}
}

func (w *world) findsThePace(t *testing.T, b *bucket) {
	messages := max(400, int(60*b.rate)) // the search for the pace takes some seconds
	w.peers.set("office", func(p *peer) {
		p.answer = b.answer
		p.connect = 200 * time.Millisecond
		p.takes = func(*spool.Delivery) (time.Duration, bool) { return 30 * time.Millisecond, true }
	})
	start := time.Now()
	for range messages {
		w.put("<>", []string{"office"}, "b@example.com")
	}
	best := time.Duration((float64(messages) - b.burst) / b.rate * float64(time.Second))
	taken, denied := 0, 0
	for taken < messages && time.Since(start) < best+best/2+5*time.Second {
		after(best / 100)
		taken, denied = b.count()
	}
	if taken != messages {
		t.Errorf("%d of %d were taken in 1.5 times the least time (%v): %+v", taken, messages, best, w.lanes())
	}
	if share := float64(denied) / float64(taken+denied); share > 0.10 {
		t.Errorf("%d of %d attempts were refused", denied, taken+denied)
	}
	if n := len(w.recorder.changes()); n > 12 {
		t.Errorf("%d changes of state: %v", n, w.recorder.log)
	}
	if n := len(w.recorder.notifications()); n != 0 || w.store.count() > messages-taken {
		t.Errorf("%d notifications, %d messages left", n, w.store.count())
	}
	t.Logf("took %.2f times the least time (%v), %.1f %% refused, %d changes", time.Since(start).Seconds()/best.Seconds(),
		best.Round(time.Second), 100*float64(denied)/float64(taken+denied), len(w.recorder.changes()))
}

// Once the limit is gone the lane is as fast as before.
func TestFullSpeedAgain(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		b := &bucket{refusal: replyAt(spool.StageDot, 451, "4.7.28", "unusual rate"), rate: 1, burst: 10, tokens: 10, filled: time.Now()}
		w.peers.set("office", func(p *peer) {
			p.answer = b.answer
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 100 * time.Millisecond, true }
		})
		send := func(n int) {
			for range n {
				w.put("<>", []string{"office"}, "b@example.com")
			}
		}
		send(200)
		after(4 * time.Minute)
		if s := w.queue.States()["office"]; s != Slowed {
			t.Fatalf("the lane is %s", s)
		}
		b.lift()
		send(1000)
		after(3 * time.Minute)
		if s := w.queue.States()["office"]; s != Up {
			t.Errorf("three minutes after the limit is gone the lane is %s", s)
		}
		before, _ := b.count()
		send(400)
		after(11 * time.Second)
		if taken, _ := b.count(); taken-before < 400 {
			t.Errorf("%d of 400 in 11 seconds with 4 sessions of 10 a second", taken-before)
		}
	})
}

// A lane that was slowed and has little to send is at full speed again after a
// while.
func TestCalmsDown(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		once := sync.Once{}
		w.peers.set("office", func(p *peer) {
			p.answer = func(*spool.Delivery, string) (o spool.Outcome) {
				o = replyAt(spool.StageDot, 250, "2.0.0", "ok")
				once.Do(func() { o = replyAt(spool.StageMail, 421, "4.3.2", "busy") })
				return o
			}
		})
		w.fill(1)
		after(5 * time.Minute)
		if s := w.queue.States()["office"]; s != Slowed || len(w.peers.mail("")) != 1 {
			t.Fatalf("the lane is %s", s)
		}
		after(10 * time.Minute)
		if s := w.queue.States()["office"]; s != Up || len(w.recorder.changes()) != 2 {
			t.Errorf("the lane is %s after %d changes", s, len(w.recorder.changes()))
		}
	})
}

// Refusals that come whatever the speed change the state of a lane a few times
// in an hour, and cost little: not one event for each.
func TestNoStorm(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		r := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		w.peers.set("office", func(p *peer) {
			p.takes = func(*spool.Delivery) (time.Duration, bool) { return 50 * time.Millisecond, true }
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				mu.Lock()
				defer mu.Unlock()
				if r.IntN(7) == 0 {
					return replyAt(spool.StageMail, 451, "4.3.0", "busy")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		for range 30 * 60 {
			for range 2 {
				w.put("<>", []string{"office"}, "b@example.com")
			}
			after(time.Second)
		}
		after(10 * time.Minute)
		if n := len(w.recorder.changes()); n > 12 {
			t.Errorf("%d changes of state in 40 minutes", n)
		}
		if n := len(w.peers.mail("")); n < 3550 {
			t.Errorf("%d of 3600 arrived", n)
		}
	})
}
