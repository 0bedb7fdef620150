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
// whether there is any share with more than one upstream.
func (q *Queue) failoverRound() bool {
	lists, err := q.haveLists()
	if err != nil || !lists {
		return lists
	}
	seen := map[string]exit{}
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	for _, l := range lanes {
		seen[l.name] = l.exit()
	}
	now := time.Now()
	q.admin.Lock() // nobody holds a share between our look and our move
	defer q.admin.Unlock()
	for from, e := range seen {
		if !e.down {
			continue
		}
		moved := map[string]int{}
		err := q.store.Find(q.ctx, spool.Query{Upstream: from, Choice: true}, func(s spool.Summary) bool {
			if to := q.wayOut(&s, seen, now); to >= 0 && q.moveTo(s, to) {
				moved[s.Upstreams[to]]++
			}
			return q.ctx.Err() == nil
		})
		if err != nil {
			q.storeFailed("find", 0, err)
		}
		for to, n := range moved {
			q.tell(&MovedOn{from, to, n})
		}
	}
	return true
}

// haveLists says whether there is any share with more than one upstream. After
// an error it is not known, so that another round is to find out.
func (q *Queue) haveLists() (bool, error) {
	lists := false
	err := q.store.Find(q.ctx, spool.Query{Choice: true}, func(spool.Summary) bool {
		lists = true
		return false
	})
	if err != nil {
		q.storeFailed("find", 0, err)
	}
	return lists || err != nil, err
}

// wayOut is the index of the upstream that a share in a lane that is down is
// to be moved to; -1: none, or it isn't its time.
func (q *Queue) wayOut(s *spool.Summary, exits map[string]exit, now time.Time) int {
	if s.Held || s.Claimed || s.Due.After(now) || q.doubts.stays(s.ID, s.Share, s.InDoubt) {
		return -1
	}
	for i := 1; i < len(s.Upstreams); i++ {
		if to := (s.Failover + i) % len(s.Upstreams); exits[s.Upstreams[to]].up {
			return to
		}
	}
	return -1
}

// exit tells what the lane is as a place to leave and as a place to go.
func (l *lane) exit() exit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return exit{down: l.state.isDown(), up: l.state.flows()}
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
