package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"postern/spool"
)

const (
	// sweepGap is the least time between two rounds through the whole queue,
	// unless a deadline falls in between.
	sweepGap = time.Minute
	// sweepMost is the time after which a round takes place in any case.
	sweepMost = 10 * time.Minute
	// settleGap is the time after which the store is asked again to take a
	// settlement that it has refused.
	settleGap = 2 * time.Second
)

// keeper is the one goroutine that goes through the whole queue: for age, for
// mail in lanes that are down, and for settlements that the store refused.
type keeper struct {
	q    *Queue
	kick chan struct{}

	mu        sync.Mutex // guards everything below
	sweepAt   time.Time
	moveAt    time.Time // of the next failover round; zero: none wanted
	moved     time.Time // end of the last one
	moveGap   time.Duration
	lists     bool // some share or route has more than one upstream
	unsettled []settlement
	settleAt  time.Time
}

type settlement struct {
	d *spool.Delivery
	s spool.Settlement
}

func newKeeper(q *Queue) *keeper {
	return &keeper{q: q, kick: make(chan struct{}, 1), moveGap: time.Second}
}

func (k *keeper) poke() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// sweepBy asks for a round at the given time at the latest.
func (k *keeper) sweepBy(t time.Time) {
	k.mu.Lock()
	if t.Before(k.sweepAt) {
		k.sweepAt = t
	}
	k.mu.Unlock()
	k.poke()
}

// failover asks for a round that moves mail out of lanes that are down.
func (k *keeper) failover() {
	k.mu.Lock()
	if k.moveAt.IsZero() {
		k.moveAt = k.moved.Add(k.moveGap)
	}
	k.mu.Unlock()
	k.poke()
}

// failoverSoon is failover where there is anything to move.
func (k *keeper) failoverSoon() {
	k.mu.Lock()
	lists := k.lists
	k.mu.Unlock()
	if lists {
		k.failover()
	}
}

// later keeps a settlement that the store has refused.
func (k *keeper) later(d *spool.Delivery, s spool.Settlement) {
	k.mu.Lock()
	k.unsettled = append(k.unsettled, settlement{d, s})
	if k.settleAt.IsZero() {
		k.settleAt = time.Now().Add(settleGap)
	}
	k.mu.Unlock()
	k.poke()
}

// run works until the queue stops.
func (k *keeper) run() {
	k.learn(false)
	timer := time.NewTimer(longNap)
	defer timer.Stop()
	for {
		timer.Reset(k.step(time.Now()))
		select {
		case <-k.kick:
		case <-timer.C:
		case <-k.q.ctx.Done():
			return
		}
	}
}

// step does what is wanted by now and returns how long it may rest.
func (k *keeper) step(now time.Time) time.Duration {
	k.mu.Lock()
	settle := !k.settleAt.IsZero() && !now.Before(k.settleAt)
	sweep := !now.Before(k.sweepAt)
	move := !k.moveAt.IsZero() && !now.Before(k.moveAt)
	if move {
		k.moveAt = time.Time{}
	}
	if sweep {
		k.sweepAt = now.Add(sweepMost)
	}
	k.mu.Unlock()
	if settle {
		k.settleAgain()
	}
	if sweep {
		k.sweepBy(k.q.sweep(now))
	}
	if move || sweep {
		k.move()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now = time.Now()
	d := min(longNap, k.sweepAt.Sub(now))
	for _, t := range []time.Time{k.moveAt, k.settleAt} {
		if !t.IsZero() {
			d = min(d, t.Sub(now))
		}
	}
	return max(d, time.Millisecond)
}

// move is one failover round. The more a round costs, the rarer it is.
func (k *keeper) move() {
	start := time.Now()
	k.learn(k.q.failoverRound())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.moved = time.Now()
	k.moveGap = max(time.Second, 20*k.moved.Sub(start))
}

// learn notes whether there are failover lists at all.
func (k *keeper) learn(seen bool) {
	for _, r := range k.q.cfg.Load().Routes {
		seen = seen || len(r.Upstream) > 1
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists = seen
}

// settleAgain offers the store what it has refused.
func (k *keeper) settleAgain() {
	k.mu.Lock()
	todo := k.unsettled
	k.unsettled, k.settleAt = nil, time.Time{}
	k.mu.Unlock()
	for i, u := range todo {
		err := k.q.store.Settle(u.d, u.s)
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			k.q.events.StoreFailed("settle", u.d.ID, err)
			k.mu.Lock()
			k.unsettled = append(k.unsettled, todo[i:]...)
			k.settleAt = time.Now().Add(settleGap)
			k.mu.Unlock()
			return
		}
		k.q.stuck.Add(-1)
	}
	k.q.wakeAll()
}

// lastTry offers the store what it has refused once more, when everything
// else has stopped. What it refuses again is in doubt after the next start,
// or due again by the time that was recorded with its claim.
func (k *keeper) lastTry() { k.settleAgain() }

// wakeAll makes every lane look for work.
func (q *Queue) wakeAll() {
	q.mu.RLock()
	lanes := q.lanesLocked()
	q.mu.RUnlock()
	for _, l := range lanes {
		l.wake(time.Now())
	}
}

// background is the context of what must not be cut short by a stop.
func (q *Queue) background() context.Context { return context.WithoutCancel(q.ctx) }
