package queue

import (
	"slices"
	"time"

	"postern/queue/budget"
	"postern/spool"
)

// rates are the rates of a lane and what is known of them. The lane guards
// them.
type rates struct {
	budget  *budget.Budget // has its own mutex
	short   shortage
	limited bool // the budget has been read from the state folder
	unkept  bool // the state folder could not be written at the last try
}

// room is what a lane may begin now, by its rates and its pace.
type room struct {
	budget     *budget.Budget
	shares     int // that may be claimed
	recipients int // of all of them
	// What is ready and has not begun, which counts already.
	readyShares, readyRecipients int
}

// room looks at the rates and the pace.
func (s *laneState) room(now time.Time, ps *parts) room {
	r := room{budget: s.rates.budget}
	r.shares, r.recipients = r.budget.Free()
	if s.health.state == Up && s.pace.Slowed() {
		r.shares = min(r.shares, 1)
		if !s.pace.Wait(now).IsZero() {
			r.shares = 0
		}
	}
	if r.recipients == budget.Unlimited && r.shares == budget.Unlimited {
		return r
	}
	for _, list := range [...][]*spool.Delivery{s.work.ready, s.work.fresh} {
		for _, d := range list {
			r.readyShares++
			r.readyRecipients += ps.size(d)
		}
	}
	r.shares -= r.readyShares
	if r.recipients != budget.Unlimited {
		if r.recipients -= r.readyRecipients; r.recipients <= 0 {
			r.shares = 0
		}
		r.shares = min(r.shares, 1) // only then it is known how many recipients it has
	}
	return r
}

// reserve makes durable that so much is going to be sent beside what is ready.
func (r *room) reserve(shares, recipients int) error {
	return r.budget.Reserve(r.readyShares+shares, r.readyRecipients+recipients)
}

// reserve makes durable that what was claimed is going to be sent, and cuts
// what has more recipients than there is room for.
func (q *Queue) reserve(claimed []*spool.Delivery, r room) error {
	if len(claimed) == 0 {
		return nil
	}
	recipients := 0
	for _, d := range claimed {
		if len(d.Pending) > r.recipients {
			q.cutPart(d, r.recipients)
		}
		recipients += q.parts.size(d)
	}
	return r.reserve(len(claimed), recipients)
}

// unkeptLocked reports, once, that what a lane knows cannot be kept over a
// restart; nil: it is kept.
func (l *lane) unkeptLocked(err error) {
	if err != nil && !l.state.rates.unkept {
		l.afterLocked(func() { l.q.tell(&StateFailed{l.name, err}) })
	}
	l.state.rates.unkept = err != nil
}

// again counts one more transaction of a message; false: there is no room for
// it now.
func (l *lane) again() bool {
	l.mu.Lock()
	r := l.state.room(time.Now(), &l.q.parts)
	l.mu.Unlock()
	if free, _ := r.budget.Free(); free <= r.readyShares {
		return false
	}
	err := r.reserve(1, 0)
	l.mu.Lock()
	defer l.unlock()
	l.unkeptLocked(err)
	if !l.state.rates.budget.Take(1, 0) {
		return false
	}
	l.state.pace.Began(time.Now())
	return true
}

// unsent takes back that t would be sent: nothing of it was.
func (s *laneState) unsent(t taking, ps *parts) {
	s.rates.budget.Return(t.messages, t.recipients)
	ps.widen(t.d)
}

// sent counts t by how it was answered.
func (s *laneState) sent(t taking, outs []spool.Outcome) {
	if slices.ContainsFunc(outs, counts) {
		s.rates.budget.Spend(t.messages, t.recipients)
	} else {
		s.rates.budget.Return(t.messages, t.recipients)
	}
}

// counts says whether the upstream may have counted something: not where the
// session did not come to MAIL, MAIL was refused, or nothing was sent because
// the upstream lacks an extension. Without an answer it may have.
func counts(o spool.Outcome) bool {
	switch {
	case o.Unsupported:
		return false
	case o.Stage == spool.StageLocal:
		return true
	case o.Stage == spool.StageMail:
		return o.Code/100 != 4 && o.Code/100 != 5
	}
	return o.Stage > spool.StageMail
}

// shortage is the time in which due mail waits for the budget of its lane.
type shortage struct {
	since time.Time // zero: none waits
	eased time.Time // end of the last one
}

// shortagePause is how long no mail has to wait before a shortage is another.
const shortagePause = 10 * time.Minute

// begin notes that due mail waits, and says whether that is news.
func (s *shortage) begin(now time.Time) bool {
	if !s.since.IsZero() {
		return false
	}
	s.since = now
	return s.eased.IsZero() || now.Sub(s.eased) > shortagePause
}

// ease notes that nothing due is left.
func (s *shortage) ease(now time.Time) {
	if !s.since.IsZero() {
		*s = shortage{eased: now}
	}
}
