package queue

import (
	"slices"
	"time"

	"postern/config"
	"postern/spool"
)

const (
	// defaultConnections is used where an upstream doesn't say.
	defaultConnections = 8
	// defaultIdle is how long a session waits where its upstream doesn't say.
	defaultIdle = 30 * time.Second
	// defaultAge is how long a session lasts at most where its upstream doesn't
	// say: names move to other addresses, and nodes behind one are drained.
	defaultAge = 5 * time.Minute
	// catchUpTime is how long the open sessions are given to catch up before
	// another one is opened. Few busy ones cost less than many that are woken
	// for a message each, on both sides, and chain more.
	catchUpTime = 5 * time.Millisecond
	// handover is how long an upstream may still count a connection that was
	// closed.
	handover = time.Second
)

// session is what a lane knows of one of its sessions. The lane guards what is
// below end.
type session struct {
	up    *config.Upstream
	gen   int  // of the settings that it was opened with
	empty bool // a probe without mail: it only has to open
	ch    chan *spool.Delivery
	end   chan struct{} // closed when the session is to end

	first      *spool.Delivery // claimed before the session was opened
	firstAt    time.Time       // when that was
	taken      []taking
	opened     bool // it asked for work
	waiting    bool // it is idle
	ended      bool // end is closed
	progressed bool // an upstream's answer settled something
	settled    int
	most       int       // deliveries that it may carry; 0: any number
	handed     int       // deliveries that it was given
	carried    int       // transactions that were answered, and are charged to nobody else
	openedAt   time.Time // when it asked first
	last       taking    // what was settled last
}

// taking is a delivery that a session has.
type taking struct {
	d  *spool.Delivery
	at time.Time // when it was handed out
	// What it takes of the rates: a message for each transaction.
	messages, recipients int
}

func newTaking(d *spool.Delivery, at time.Time) taking { return taking{d, at, 1, len(d.Pending)} }

// hold notes that the session has d, since the given time.
func (f *session) hold(d *spool.Delivery, at time.Time) {
	f.taken = append(f.taken, newTaking(d, at))
	f.handed++
}

// find is the place of d among what the session has; -1: it has not.
func (f *session) find(d *spool.Delivery) int {
	return slices.IndexFunc(f.taken, func(t taking) bool { return t.d == d })
}

// forget strikes d off; false: the session doesn't have it.
func (f *session) forget(d *spool.Delivery) bool {
	i := f.find(d)
	if i < 0 {
		return false
	}
	f.last = f.taken[i]
	f.taken = slices.Delete(f.taken, i, i+1)
	f.settled++
	return true
}

// finish makes the session end after what it is at.
func (f *session) finish() {
	if !f.ended {
		f.ended = true
		close(f.end)
	}
}

// isSpent says whether the session has carried as much, or has lasted as long,
// as one connection may.
func (f *session) isSpent(now time.Time) bool {
	return f.most > 0 && f.handed >= f.most || now.Sub(f.openedAt) >= maxAge(f.up)
}

// idleLimit is how long the session may wait for work.
func (f *session) idleLimit(now time.Time) time.Duration {
	idle := f.up.IdleClose
	if idle <= 0 {
		idle = defaultIdle
	}
	if f.handed > 0 {
		idle = max(min(idle, f.openedAt.Add(maxAge(f.up)).Sub(now)), 0)
	}
	return idle
}

// maxAge is how long a session may last.
func maxAge(up *config.Upstream) time.Duration {
	if up.MaxAge <= 0 {
		return defaultAge
	}
	return up.MaxAge
}

// sessions are the sessions of a lane, and whether there are enough of them.
// Their lane guards them.
type sessions struct {
	all        map[*session]struct{}
	idle       []*session // waiting for work
	connecting int        // that have not asked for work yet
	open       int        // that have
	behind     time.Time  // since when there is more to do than the open ones take; zero: they keep up
	growAt     time.Time  // when another may be tried beside those that are open
	growStep   int        // in a row that could not be opened beside others
	fruitless  int        // in a row that ended well and did nothing
	renewals   int        // that had carried as much as a connection may, and have no successor yet
	left       time.Time  // when the last open one left; zero: that is accounted for
}

// mayConnect says whether one more may be opened beside those that are being
// opened. While none is open one has to show that it works; from then on each
// may bring one along: no herd after a restart or an outage.
func (ss *sessions) mayConnect(limit int) bool {
	return len(ss.all) < limit && ss.connecting < max(1, ss.open)+ss.renewals
}

// canGrow says whether one more session may be opened for what is due: where
// none is open, or those that are don't keep up.
func (ss *sessions) canGrow(now time.Time, limit int) bool {
	return ss.mayConnect(limit) && (ss.open == 0 || ss.renewals > 0 ||
		!ss.behind.IsZero() && !now.Before(ss.catchUpUntil()) && !now.Before(ss.growAt))
}

// catchUpUntil is when the open sessions have had their time to catch up.
func (ss *sessions) catchUpUntil() time.Time { return ss.behind.Add(catchUpTime) }

// falls notes whether there is more to do than the open sessions take.
func (ss *sessions) falls(behind bool, now time.Time) {
	if ss.behind.IsZero() && len(ss.idle) == 0 && behind {
		ss.behind = now
	}
}

// caughtUp notes that there is nothing left to do.
func (ss *sessions) caughtUp() { ss.behind, ss.renewals = time.Time{}, 0 }

// add notes a session that is being opened.
func (ss *sessions) add(f *session) {
	ss.all[f] = struct{}{}
	ss.connecting++
	ss.renewals = max(0, ss.renewals-1)
}

// stands notes that a session is open. Whether those that are open keep up
// shows anew.
func (ss *sessions) stands(f *session, now time.Time) {
	f.opened, f.openedAt = true, now
	ss.connecting--
	ss.open++
	ss.growStep, ss.behind = 0, time.Time{}
}

// leave frees the place of a session, once.
func (ss *sessions) leave(f *session, now time.Time) {
	if _, has := ss.all[f]; !has {
		return
	}
	delete(ss.all, f)
	if f.opened {
		ss.open--
		ss.left = now
	} else {
		ss.connecting--
	}
}

// wait notes that a session is idle.
func (ss *sessions) wait(f *session) {
	f.waiting = true
	ss.idle = append(ss.idle, f)
}

// unwait is the end of that; false: the session was not idle.
func (ss *sessions) unwait(f *session) bool {
	if !f.waiting {
		return false
	}
	f.waiting = false
	ss.idle = slices.DeleteFunc(ss.idle, func(other *session) bool { return other == f })
	return true
}

// lastIdle takes the session that has waited least: the others may close in
// time.
func (ss *sessions) lastIdle() *session {
	f := ss.idle[len(ss.idle)-1]
	ss.idle = ss.idle[:len(ss.idle)-1]
	f.waiting = false
	return f
}

// refused notes that one more could not be opened beside those that are open.
func (ss *sessions) refused(now time.Time, backoff []time.Duration) {
	ss.growStep++
	ss.growAt = now.Add(probeDelay(Waiting, backoff, ss.growStep, 0.5))
}

// early says, once for each session that left, whether one that was begun at
// the given time was refused because the upstream still counted that one.
func (ss *sessions) early(begun time.Time, o *spool.Outcome) bool {
	if ss.left.IsZero() || begun.Sub(ss.left) >= handover || o.Stage != spool.StageGreet || o.Code/100 != 4 {
		return false
	}
	ss.left = time.Time{}
	return true
}

// renewed forgets what hindered further sessions.
func (ss *sessions) renewed() { ss.growAt, ss.growStep, ss.fruitless = time.Time{}, 0, 0 }

// endAll tells every session to end after what it is at.
func (ss *sessions) endAll() {
	for f := range ss.all {
		f.finish()
	}
}

// makePlace ends a session, unless one is ending: those that stay open must
// not keep a fresh one out. One without work comes first.
func (ss *sessions) makePlace() {
	var chosen *session
	for f := range ss.all {
		switch {
		case f.ended:
			return
		case f.opened && (chosen == nil || f.waiting):
			chosen = f
		}
	}
	if chosen != nil {
		chosen.finish()
	}
}
