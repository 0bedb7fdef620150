package queue

import (
	"time"

	"postern/spool"
)

// route of a share out of a lane that is down.
type exit struct {
	down bool
	up   bool
}

// failoverRound moves what is due in lanes that are down, or whose upstream
// has vanished, to the next upstream of its list that is up. It reports
// whether it saw any share with more than one upstream.
func (q *Queue) failoverRound() bool {
	seen := map[string]exit{}
	look := func(name string) exit {
		e, ok := seen[name]
		if !ok {
			if l := q.lane(name); l != nil {
				e = l.exit()
			}
			seen[name] = e
		}
		return e
	}
	moved := map[[2]string]int{}
	lists := false
	now := time.Now()
	q.admin.Lock() // nobody holds a share between our look and our move
	defer q.admin.Unlock()
	err := q.store.Walk(q.ctx, func(s spool.Summary) bool {
		if len(s.Upstreams) < 2 {
			return q.ctx.Err() == nil
		}
		lists = true
		if s.Held || s.Claimed || q.doubts.stays(s.ID, s.Share, s.InDoubt) || s.Due.After(now) || !look(s.Upstreams[s.Failover]).down {
			return q.ctx.Err() == nil
		}
		for i := 1; i < len(s.Upstreams); i++ {
			to := (s.Failover + i) % len(s.Upstreams)
			if look(s.Upstreams[to]).up {
				if q.moveTo(s, to) {
					moved[[2]string{s.Upstreams[s.Failover], s.Upstreams[to]}]++
				}
				break
			}
		}
		return q.ctx.Err() == nil
	})
	if err != nil {
		q.storeFailed("walk", 0, err)
		lists = true // it is not known, so another round is to find out
	}
	for way, n := range moved {
		q.events.MovedOn(way[0], way[1], n)
	}
	return lists
}

// exit tells what the lane is as a place to leave and as a place to go.
func (l *lane) exit() exit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return exit{down: l.isDown(), up: l.flows()}
}

// moveTo makes a share be tried with another upstream of its list.
func (q *Queue) moveTo(s spool.Summary, to int) bool {
	d, err := q.store.Take(q.always, s.ID, s.Share)
	if err != nil {
		q.storeFailed("take", s.ID, err)
		return false
	}
	q.put(d, spool.Settlement{Due: s.Due, Failover: to, Warned: s.Warned})
	return true
}
