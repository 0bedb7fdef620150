package queue

import (
	"sync"
	"time"
)

const (
	// sweepGap is the least time between two rounds through the whole queue,
	// unless a deadline falls in between.
	sweepGap = time.Minute
	// sweepMost is the time after which a round takes place in any case.
	sweepMost = 10 * time.Minute
)

// keeper is the one goroutine that goes through the whole queue: for age, and
// for mail in lanes that are down.
type keeper struct {
	q    *Queue
	kick chan struct{}

	mu      sync.Mutex // guards everything below
	sweepAt time.Time
	fitAt   time.Time // when the store is asked again what waits; zero: not
	moveAt  time.Time // of the next failover round; zero: none wanted
	moved   time.Time // end of the last one
	moveGap time.Duration
	lists   bool // some share or route has more than one upstream
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

// fitBy asks for another Queue.fitLanes at the given time.
func (k *keeper) fitBy(t time.Time) {
	k.mu.Lock()
	k.fitAt = t
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
	sweep := !now.Before(k.sweepAt)
	move := !k.moveAt.IsZero() && !now.Before(k.moveAt)
	if move {
		k.moveAt = time.Time{}
	}
	if sweep {
		k.sweepAt = now.Add(sweepMost)
	}
	fit := !k.fitAt.IsZero() && !now.Before(k.fitAt)
	if fit {
		k.fitAt = time.Time{}
	}
	k.mu.Unlock()
	if fit {
		k.q.fitLanes()
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
	for _, t := range [...]time.Time{k.moveAt, k.fitAt} {
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
