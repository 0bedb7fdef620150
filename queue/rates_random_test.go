package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
	"postern/spool"
)

// checkRates holds what the upstream has counted against the rates.
func (w *world) checkRates(t *testing.T) {
	t.Helper()
	w.peers.mu.Lock()
	defer w.peers.mu.Unlock()
	all := w.peers.counted
	slices.SortFunc(all, func(a, b counted) int { return a.at.Compare(b.at) })
	for _, r := range w.cfg.Upstreams["office"].Rate {
		sum, from := 0, 0
		size := func(c counted) int {
			if r.Recipients {
				return c.recipients
			}
			return 1
		}
		for _, c := range all {
			sum += size(c)
			for ; c.at.Sub(all[from].at) >= r.Per; from++ {
				sum -= size(all[from])
			}
			if sum > r.Count {
				t.Fatalf("%v: the upstream counted %d until %v", r, sum, c.at)
			}
		}
	}
}

// Whatever the mixture of sessions, refusals, broken lines, restarts, crashes
// and reloads: no window sees more than its rate, and everything arrives.
func TestRatesInRandomWorlds(t *testing.T) {
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			rates := [][]string{{"5/1m"}, {"20 recipients/10m"}, {"3/10s", "40 recipients/1h"}, {"30/1h", "4/1m"}}[seed%4]
			limited(t, rates, func(t *testing.T, w *world) { w.unruly(t, r) })
		})
	}
}

func (w *world) unruly(t *testing.T, r *rand.Rand) {
	var calm atomic.Bool
	var mu sync.Mutex
	dice := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	w.peers.set("office", func(p *peer) {
		p.connect, p.rcptMax = 50*time.Millisecond, 4*r.IntN(3)
		p.takes = func(*spool.Delivery) (time.Duration, bool) {
			return time.Duration(dice(3000)) * time.Millisecond, calm.Load() || dice(10) > 0
		}
		p.answer = func(*spool.Delivery, string) spool.Outcome {
			if calm.Load() {
				return replyAt(spool.StageDot, 250, "", "ok")
			}
			return []spool.Outcome{
				replyAt(spool.StageDot, 250, "", "ok"), replyAt(spool.StageDot, 250, "", "ok"), replyAt(spool.StageDot, 250, "", "ok"),
				replyAt(spool.StageDot, 451, "4.7.1", "slower"), replyAt(spool.StageMail, 421, "", "closing"),
				replyAt(spool.StageRcpt, 450, "4.2.1", "greylisted"),
			}[dice(6)]
		}
	})
	total := 0
	for range 25 {
		var to []string
		for i := range 1 + dice(3)*dice(15) {
			to = append(to, fmt.Sprintf("b%d@example.com", i))
		}
		total += len(to)
		w.put("a@app.example", []string{"office"}, to...)
		after(time.Duration(dice(120)) * time.Second)
		switch dice(8) {
		case 0:
			w.crash()
		case 1:
			w.restart()
		case 2:
			cfg := *w.cfg
			up := *cfg.Upstreams["office"]
			up.MaxConnections = 1 + dice(6)
			cfg.Upstreams = map[string]*config.Upstream{"office": &up}
			w.cfg = &cfg
			w.queue.Apply(w.cfg)
		}
	}
	calm.Store(true)
	after(48 * time.Hour)
	if n := w.store.count(); n != 0 {
		t.Errorf("%d messages are left: %+v", n, w.lanes())
	}
	if n := len(w.peers.mail("")); n < total {
		t.Errorf("%d of %d recipients got their mail", n, total)
	}
	w.checkRates(t)
}
