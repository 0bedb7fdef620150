package queue

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/spool"
)

// sweep goes through everything that is queued, whatever state its lane is in,
// and acts on its age. It returns when the next round is wanted.
func (q *Queue) sweep(now time.Time) time.Time {
	retry := &q.cfg.Load().Retry
	r := &round{q: q, now: now, retry: retry, next: now.Add(sweepMost), near: now.Add(sweepMost), serves: map[string]bool{},
		expireFrom: q.started.Add(min(restartGrace, retry.Lifetime/10))}
	// What is accepted from now on asks for nothing before this.
	for _, d := range []time.Duration{retry.WarnAfter, retry.Lifetime} {
		if d > 0 {
			r.wish(now.Add(d))
		}
	}
	err := q.store.Find(q.ctx, spool.Query{Age: r.ages()}, func(s spool.Summary) bool {
		if len(r.group) > 0 && r.group[0].ID != s.ID {
			r.act()
		}
		r.look(s)
		return q.ctx.Err() == nil
	})
	if err != nil {
		q.storeFailed("find", 0, err)
		return now.Add(storePause)
	}
	r.act()
	r.endKept()
	next := r.next
	if soonest := now.Add(sweepGap); next.Before(soonest) {
		next = soonest
	}
	if near := r.near; near.Before(next) {
		next = near
		if soonest := now.Add(time.Second); next.Before(soonest) {
			next = soonest
		}
	}
	return next
}

// ages are what this round may ask something for, or wish another round for.
func (r *round) ages() *spool.Age {
	until := r.now.Add(sweepMost)
	age := &spool.Age{Deadline: until, DueAfter: r.now.Add(longest(r.retry) + sweepMost), Kept: true}
	if d := r.retry.Lifetime; d > 0 {
		age.Begun = until.Add(-d)
	}
	if d := r.retry.WarnAfter; d > 0 {
		age.Unwarned = until.Add(-d)
	}
	return age
}

// restartGrace is how long a start lets everything be tried before a lifetime
// that ended while the relay was off is held against it.
const restartGrace = time.Hour

// round is one sweep. Shares of one message that are over together share one
// notification.
type round struct {
	q     *Queue
	now   time.Time
	retry *config.Retry
	// next is when age asks for another round, near when a deadline does.
	next, near time.Time
	expireFrom time.Time
	serves     map[string]bool // by upstream: its lane takes what is due, in turn
	group      []spool.Summary
	kept       []spool.Summary
	what       clock
}

func (r *round) wish(t time.Time) {
	if t.Before(r.next) {
		r.next = t
	}
}

// look decides whether a share is for this round.
func (r *round) look(s spool.Summary) {
	if s.Kept {
		if !s.Claimed {
			r.kept = append(r.kept, s)
		}
		return
	}
	what, next := clockOf(r.retry, &s, true, r.now)
	if what == clockReturn {
		what, next = r.lookCloser(&s)
	}
	if !next.IsZero() {
		r.wish(next)
		if next.Equal(s.Deadline) && next.Before(r.near) {
			r.near = next
		}
	}
	if what == clockExpire && r.now.Before(r.expireFrom) {
		r.wish(r.expireFrom)
		return
	}
	if s.Held && what != clockReturn {
		return // an operator's business; its sender's deadline goes on
	}
	if r.hasItsTurn(&s, what) || (what == clockExpire || what == clockReturn) && r.q.wishes.isLate(s.ID, s.Share) {
		return
	}
	if what == clockNothing && s.Due.Sub(r.now) > longest(r.retry)+sweepMost && s.Due.After(s.NotBefore) && !s.Claimed {
		r.pullIn(s)
	}
	if what == clockNothing || s.Claimed {
		return // what is under way settles itself first
	}
	if len(r.group) > 0 && what != r.what {
		r.act()
	}
	r.what = what
	r.group = append(r.group, s)
}

// hasItsTurn puts off what the age of a share asks for while its lane works
// and will come to it: rates and throttling let mail wait, and that alone is
// neither a failure nor worth a notification for each message, which would only
// wait in the same line. Once it has been tried, its age counts again. The
// sender's own deadline is not put off.
func (r *round) hasItsTurn(s *spool.Summary, what clock) bool {
	if what != clockWarn && what != clockExpire || s.Claimed || s.Due.After(r.now) {
		return false
	}
	if what == clockWarn && !s.Deadline.IsZero() && !r.now.Before(s.Deadline) {
		return false
	}
	upstream := s.Upstreams[s.Failover]
	serves, known := r.serves[upstream]
	if !known {
		l := r.q.lane(upstream)
		serves = l != nil && l.exit().up
		r.serves[upstream] = serves
	}
	return serves
}

// lookCloser reads by-mode, which a Summary doesn't have.
func (r *round) lookCloser(s *spool.Summary) (clock, time.Time) {
	detail, err := r.q.store.Detail(r.q.always, s.ID)
	if err != nil {
		r.q.storeFailed("detail", s.ID, err)
	}
	if err != nil || detail.Envelope.DeliverBy == nil {
		return clockNothing, time.Time{}
	}
	return clockOf(r.retry, s, detail.Envelope.DeliverBy.Return, r.now)
}

// pullIn brings a due time back that no setting explains any more: the clock
// was set back, or retry.backoff was shortened.
func (r *round) pullIn(s spool.Summary) {
	r.q.admin.Lock()
	defer r.q.admin.Unlock()
	d, err := r.q.store.Take(r.q.always, s.ID, s.Share)
	if err != nil {
		r.q.storeFailed("take", s.ID, err)
		return
	}
	at := r.now.Add(retryDelay(r.retry.Backoff, 1, rand.Float64()))
	r.q.put(d, spool.Settlement{Due: at, Failover: d.Failover, Warned: d.Warned})
}

// act carries out what the collected shares of one message ask for.
func (r *round) act() {
	group, what := r.group, r.what
	r.group = nil
	if len(group) == 0 {
		return
	}
	r.q.admin.Lock()
	defer r.q.admin.Unlock()
	detail, err := r.q.store.Detail(r.q.always, group[0].ID)
	if err != nil {
		r.q.storeFailed("detail", group[0].ID, err)
		return
	}
	var taken []*spool.Delivery
	for _, s := range group {
		d := r.q.takeShare(s.ID, s.Share, s.Upstreams[s.Failover])
		if d != nil && len(d.Pending) > 0 {
			taken = append(taken, d)
		}
	}
	switch {
	case len(taken) == 0:
	case what == clockWarn:
		r.q.warn(taken, detail, r.now)
	default:
		r.q.expire(taken, what, r.now, detail)
	}
}

// takeShare claims a share for an operator or a sweep, also where a lane has
// claimed it and not begun; nil: an attempt is under way, or it is gone.
func (q *Queue) takeShare(id spool.ID, share int, upstream string) *spool.Delivery {
	d, err := q.store.Take(q.always, id, share)
	if err == nil {
		return d
	}
	q.storeFailed("take", id, err)
	if !errors.Is(err, spool.ErrClaimed) {
		return nil
	}
	if l := q.lane(upstream); l != nil {
		return l.pluck(id, share)
	}
	return nil
}

// putBack returns a share that was taken to the state that detail tells.
func (q *Queue) putBack(d *spool.Delivery, detail *spool.Detail) {
	q.put(d, asBefore(d, detail, d.Warned))
}

// asBefore leaves a share in the state that detail tells.
func asBefore(d *spool.Delivery, detail *spool.Detail, warned bool) spool.Settlement {
	state := detail.Recipients[d.Pending[0]]
	at := state.Due
	if at.IsZero() {
		at = time.Now()
	}
	return spool.Settlement{Due: at, Failover: d.Failover, Hold: state.Held, Kept: state.Kept, Warned: warned}
}

// warn tells the sender that shares of one message are late.
func (q *Queue) warn(taken []*spool.Delivery, detail *spool.Detail, now time.Time) {
	ends := make([]spool.Ending, len(taken))
	for i, d := range taken {
		ends[i] = spool.Ending{Delivery: d, Settlement: asBefore(d, detail, true)}
	}
	n, err := q.writeTaken(taken, notice.Delayed, detail, nil, now)
	before := func(i int) spool.Settlement { return asBefore(taken[i], detail, taken[i].Warned) }
	if n != nil {
		_, _, _ = q.putNotified([]*written{n}, ends, before) // told, or another time
		return
	}
	for i, e := range ends {
		if err != nil {
			e.Settlement = before(i)
		}
		q.put(e.Delivery, e.Settlement)
	}
}

// expire ends shares of one message that are too old. detail may be nil.
func (q *Queue) expire(taken []*spool.Delivery, what clock, now time.Time, detail *spool.Detail) {
	if detail == nil {
		var err error
		if detail, err = q.store.Detail(q.always, taken[0].ID); err != nil {
			q.storeFailed("detail", taken[0].ID, err)
			for _, d := range taken {
				q.put(d, spool.Settlement{Due: now.Add(storePause), Failover: d.Failover, Warned: d.Warned})
			}
			return
		}
	}
	why := spool.Outcome{Stage: spool.StageLocal, Enhanced: "4.4.7", Verdict: spool.Bounced,
		Text: "the message could not be delivered within its lifetime"}
	if what == clockReturn {
		why.Enhanced = "5.4.7" // RFC 2852 §4.2
		why.Text = "the message could not be delivered before the deadline that its sender has set"
	}
	taken = slices.DeleteFunc(taken, func(d *spool.Delivery) bool {
		if !allUntold(d) {
			return false
		}
		q.leaves(d)
		q.tell(&Expired{d.ID, d.Upstream, len(d.Pending), now.Sub(d.Envelope.Accepted)})
		q.keepOld(d, detail, why, now)
		return true
	})
	if len(taken) == 0 {
		return
	}
	ends := make([]spool.Ending, len(taken))
	for i, d := range taken {
		ends[i] = spool.Ending{Delivery: d, Settlement: endOld(d, why, now)}
	}
	over, ended := false, taken
	switch n, err := q.writeTaken(taken, notice.Failed, detail, &why, now); {
	case err != nil:
		for _, d := range taken {
			q.putBack(d, detail)
		}
		return
	case n != nil:
		var done bool
		over, done, _ = q.putNotified([]*written{n}, ends, func(i int) spool.Settlement { return asBefore(taken[i], detail, taken[i].Warned) })
		if !done {
			return
		}
		for i := range ends {
			q.forgetEnded(taken[i], &ends[i].Settlement)
		}
	default:
		ended = nil
		for _, e := range ends {
			last, err := q.put(e.Delivery, e.Settlement)
			if over = over || last; !errors.Is(err, spool.ErrLost) {
				ended = append(ended, e.Delivery)
			}
		}
	}
	for _, d := range ended {
		q.leaves(d)
		q.tell(&Expired{d.ID, d.Upstream, len(d.Pending), now.Sub(d.Envelope.Accepted)})
	}
	if over {
		q.finished(taken[len(taken)-1], now, new(Finished))
	}
}

// endOld ends a share that is too old by the outcome why. Those of whom no
// sender is told are kept when they are alone, by the next round.
func endOld(d *spool.Delivery, why spool.Outcome, now time.Time) spool.Settlement {
	s := spool.Settlement{Outcomes: repeat(why, len(d.Pending)), Failover: d.Failover, Warned: d.Warned}
	for i, r := range d.Pending {
		if untold(d.Envelope, r) {
			s.Outcomes[i].Verdict, s.Due = spool.Pending, now
		}
	}
	return s
}

func repeat(o spool.Outcome, n int) []spool.Outcome {
	outs := make([]spool.Outcome, n)
	for i := range outs {
		outs[i] = o
	}
	return outs
}
