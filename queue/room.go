package queue

import (
	"slices"
	"time"

	"postern/queue/budget"
	"postern/spool"
)

// room is what a lane may begin now, by its rates and its pace.
type room struct {
	shares     int // that may be claimed
	recipients int // of all of them
	// What is ready and has not begun, which counts already.
	readyShares, readyRecipients int
}

// room looks at the rates and the pace. mu is held.
func (l *lane) room() room {
	var r room
	r.shares, r.recipients = l.budget.Free()
	if l.health.state == Up && l.pace.Slowed() {
		r.shares = min(r.shares, 1)
		if !l.pace.Wait(time.Now()).IsZero() {
			r.shares = 0
		}
	}
	if r.recipients == budget.Unlimited && r.shares == budget.Unlimited {
		return r
	}
	for _, list := range [...][]*spool.Delivery{l.ready, l.fresh} {
		for _, d := range list {
			r.readyShares++
			r.readyRecipients += l.q.parts.size(d)
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

// lacksRoom follows a wish to claim for which there was no room. What is due
// stays as it is, and untouched. mu is held, and released while the store is
// asked.
func (l *lane) lacksRoom() {
	if l.pace.Slowed() && !l.pace.Wait(time.Now()).IsZero() {
		return
	}
	l.claiming, l.hot = true, false
	l.mu.Unlock()
	now := time.Now()
	next, known, err := l.q.store.NextDue(l.q.ctx, l.name)
	if err != nil {
		l.q.storeFailed("due", 0, err)
		next, known = now.Add(storePause), true
	}
	l.mu.Lock()
	l.claiming = false
	if !known || next.After(now) {
		if known && (l.nextWake.IsZero() || next.Before(l.nextWake)) {
			l.nextWake = next
		}
		l.short.ease(now)
		return
	}
	l.hot = true
	if !l.budget.Next().IsZero() && l.short.begin(now) {
		left := l.budget.Left()
		l.after(func() { l.q.events.BudgetSpent(l.name, left) })
	}
}

// reserve makes durable that what was claimed is going to be sent, and cuts
// what has more recipients than there is room for. mu is not held.
func (l *lane) reserve(claimed []*spool.Delivery, r room) {
	shares, recipients := r.readyShares, r.readyRecipients
	for _, d := range claimed {
		if len(d.Pending) > r.recipients {
			l.q.cutPart(d, r.recipients)
		}
		shares++
		recipients += l.q.parts.size(d)
	}
	if len(claimed) == 0 {
		return
	}
	err := l.budget.Reserve(shares, recipients)
	l.mu.Lock()
	defer l.unlock()
	l.forgetful(err)
}

// forgetful reports, once, that what a lane knows cannot be kept over a
// restart. mu is held.
func (l *lane) forgetful(err error) {
	if err != nil && !l.unkept {
		l.after(func() { l.q.events.StateFailed(l.name, err) })
	}
	l.unkept = err != nil
}

// begin takes the first of a list, ready or fresh; nil: it is empty, or it is
// not its time yet. It counts as sent from now on. mu is held.
func (l *lane) begin(from *[]*spool.Delivery) *spool.Delivery {
	list := *from
	if len(list) == 0 {
		return nil
	}
	now := time.Now()
	if l.health.state == Up && !l.pace.Wait(now).IsZero() {
		return nil
	}
	d := list[0]
	l.q.parts.narrow(d)
	if !l.budget.Take(1, len(d.Pending)) {
		l.q.parts.widen(d)
		l.returnReady() // the rates have changed since it was claimed
		return nil
	}
	l.pace.Began(now)
	list[0] = nil
	*from = list[1:]
	return d
}

// again counts one more transaction of what d is; false: there is no room for
// it now.
func (l *lane) again(d *spool.Delivery) bool {
	l.mu.Lock()
	ready := l.room()
	l.mu.Unlock()
	if free, _ := l.budget.Free(); free <= ready.readyShares {
		return false
	}
	err := l.budget.Reserve(ready.readyShares+1, ready.readyRecipients)
	l.mu.Lock()
	defer l.unlock()
	l.forgetful(err)
	if !l.budget.Take(1, 0) {
		return false
	}
	l.pace.Began(time.Now())
	return true
}

// unsent takes back that t would be sent: nothing of it was.
func (l *lane) unsent(t taking) {
	l.budget.Return(t.messages, t.recipients)
	l.q.parts.widen(t.d)
}

// sent counts t by how it was answered.
func (l *lane) sent(t taking, outs []spool.Outcome) {
	if slices.ContainsFunc(outs, counts) {
		l.budget.Spend(t.messages, t.recipients)
	} else {
		l.budget.Return(t.messages, t.recipients)
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
