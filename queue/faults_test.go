package queue

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
	for _, op := range []string{"create", "commit", "lease", "claim", "take", "dot", "settle", "due", "lanes", "content", "detail", "find", "answer of commit", "answer of dot", "answer of claim"} {
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
				if d.Attempt == 1 {
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
		w.queue.Hold(bg, Select{Upstream: "office"}, "op")
		w.queue.Release(bg, Select{Upstream: "office"}, "op")
		w.queue.Apply(w.queue.cfg.Load())
		after(6 * time.Hour)
		w.store.failWith(nil)
		w.queue.Release(bg, Select{All: true}, "op")
		after(6 * time.Hour)
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
		if n := w.store.count(); n != 0 || got["a@app.example"] != 1 && again == 0 {
			t.Errorf("%d are left, %d notices", n, got["a@app.example"])
		}
	})
	return failed
}
