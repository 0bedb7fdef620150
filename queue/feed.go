package queue

import (
	"context"
	"errors"
	"io"
	"time"

	"postern/spool"
)

// Feed is what one session of one lane is given to do. Its methods may be
// called by the session that it was made for, one at a time. None of them asks
// the store what is due: a session takes what its lane has claimed, or waits.
type Feed struct {
	lane *lane
	session

	// Of the session alone.
	timer  *time.Timer // of Next; nil before the first wait
	dotted map[*spool.Delivery]bool
	broken map[*spool.Delivery]string // the spool failed it, and how
	lost   map[*spool.Delivery]bool   // somebody else has it
	halted map[*spool.Delivery]bool   // the upstream was found to be paused
	// What is told of each attempt, so that telling allocates nothing.
	attempted Attempted
	finished  Finished
}

// Next waits for the next delivery. It returns io.EOF when the session is to
// end, which is also when nothing came for the upstream's IdleClose, and the
// error of ctx when that is done first.
func (f *Feed) Next(ctx context.Context) (*spool.Delivery, error) {
	l, s := f.lane, &f.lane.state
	now := time.Now()
	l.mu.Lock()
	f.standsLocked(now)
	if d := f.takeLocked(now); d != nil {
		l.unlock()
		return d, nil
	}
	if s.isOver(&f.session, now) {
		l.unlock()
		return nil, io.EOF
	}
	s.sessions.wait(&f.session)
	s.sessions.caughtUp()
	if s.work.waits() {
		l.poke() // what waits for the pace or a rate now has somebody who takes it, at a time that the lane has to see to
	}
	idle := f.idleLimit(now)
	l.unlock()

	if f.timer == nil {
		f.timer = time.NewTimer(idle)
	} else {
		f.timer.Reset(idle)
	}
	defer f.timer.Stop()
	err := io.EOF
	select {
	case d := <-f.ch:
		return d, nil
	case <-f.end:
	case <-f.timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.unlock()
	if s.sessions.unwait(&f.session) {
		return nil, err
	}
	return <-f.ch, nil // handed out at the same moment
}

// TryNext returns a delivery that is due now, or nil.
func (f *Feed) TryNext() *spool.Delivery {
	now := time.Now()
	f.lane.mu.Lock()
	defer f.lane.unlock()
	f.standsLocked(now)
	return f.takeLocked(now)
}

// standsLocked notes that the session is up, which its first question shows.
func (f *Feed) standsLocked(now time.Time) {
	if f.opened {
		return
	}
	l, s := f.lane, &f.lane.state
	s.sessions.stands(&f.session, now)
	f.most = s.connections.allot(f.up.MaxMessages, now)
	if f.gen == s.gen && s.health.state != Up && (!s.health.needAnswer || f.empty) {
		l.recoveredLocked(now)
	}
	l.poke() // others may follow
}

// takeLocked takes the next delivery that is claimed; nil: there is none. It
// wakes the lane where more is to be claimed.
func (f *Feed) takeLocked(now time.Time) *spool.Delivery {
	l, s := f.lane, &f.lane.state
	if s.isOver(&f.session, now) {
		return nil
	}
	if d := f.first; d != nil {
		f.first = nil
		f.hold(d, f.firstAt)
		s.pace.Late(now)
		return d
	}
	if !s.flows() {
		return nil
	}
	d := l.beginLocked(&s.work.ready, now)
	if d != nil {
		f.hold(d, now)
	}
	if s.want(now) > 0 {
		l.poke()
	}
	return d
}

// Content opens the content of d.
func (f *Feed) Content(d *spool.Delivery) (spool.Content, error) {
	c, err := f.lane.q.store.Content(f.lane.q.always, d.ID)
	if err != nil {
		f.lane.q.tell(&StoreFailed{"content", d.ID, err})
		f.fail(d, "the content cannot be read from the spool")
	}
	return c, err
}

// DotSent is called before the final dot of d goes out. After an error the
// dot must not be sent.
func (f *Feed) DotSent(d *spool.Delivery) error {
	switch stopped, err := f.lane.stopped(); {
	case err != nil:
		f.lane.q.tell(&StoreFailed{"dot", d.ID, err})
		f.fail(d, "whether the upstream is paused cannot be read")
		return err
	case stopped:
		if f.halted == nil {
			f.halted = map[*spool.Delivery]bool{}
		}
		f.halted[d] = true
		return errPaused
	}
	err := f.lane.q.store.DotSent(f.lane.q.always, d)
	if errors.Is(err, spool.ErrLost) {
		if f.lost == nil {
			f.lost = map[*spool.Delivery]bool{}
		}
		f.lost[d] = true
		f.lane.q.tell(&ClaimLost{"dot", d.ID, d.Upstream, 0})
		return err
	}
	if err != nil {
		f.lane.q.tell(&StoreFailed{"dot", d.ID, err})
		f.fail(d, "the attempt cannot be recorded in the spool")
		return err
	}
	if f.dotted == nil {
		f.dotted = map[*spool.Delivery]bool{}
	}
	f.dotted[d] = true
	return nil
}

var errPaused = errors.New("the upstream is paused")

func (f *Feed) fail(d *spool.Delivery, why string) {
	if f.broken == nil {
		f.broken = map[*spool.Delivery]string{}
	}
	f.broken[d] = why
}

// Again asks whether another transaction of d may begin, for recipients that
// did not fit into the last. Where not, the session takes those out of
// d.Pending before it settles: they go with a later claim.
func (f *Feed) Again(d *spool.Delivery) bool {
	if !f.lane.again() {
		f.lane.q.parts.leave(d)
		return false
	}
	f.lane.mu.Lock()
	defer f.lane.unlock()
	if i := f.find(d); i >= 0 {
		f.taken[i].messages++
	}
	return true
}

// Settle ends d with one outcome for each of d.Pending, in that order.
func (f *Feed) Settle(d *spool.Delivery, outcomes []spool.Outcome) {
	lost, halted := f.lost[d], f.halted[d]
	if !f.forget(d) {
		return // settled before; the first word counts
	}
	if halted {
		l := f.lane
		l.mu.Lock()
		f.progressed = true // the upstream is not to blame
		l.mu.Unlock()
		l.takeBack(f.last)
		return
	}
	if lost {
		l := f.lane
		l.mu.Lock()
		l.state.unsent(f.last, &l.q.parts)
		f.progressed = true // the upstream is not to blame
		l.mu.Unlock()
		l.q.parts.forget(d)
		return
	}
	f.lane.q.conclude(f, d, outcomes)
}

// Release gives d back untried: nothing of it was sent.
func (f *Feed) Release(d *spool.Delivery) {
	if f.dotted[d] {
		f.Settle(d, []spool.Outcome{{Stage: spool.StageDot, Cause: "the session gave it back after its final dot"}})
		return
	}
	if f.lost[d] {
		f.Settle(d, nil)
		return
	}
	if why := f.broken[d]; why != "" {
		// Giving it back would bring it here again at once.
		f.Settle(d, []spool.Outcome{{Stage: spool.StageLocal, Text: why}})
		return
	}
	if f.forget(d) {
		f.lane.takeBack(f.last)
	}
}

// Leave is called by a session that waits for the end of its connection alone:
// its place is free for another.
func (f *Feed) Leave() {
	l := f.lane
	l.mu.Lock()
	defer l.unlock()
	if f.opened {
		l.state.sessions.leave(&f.session, time.Now())
		l.poke()
	}
}

// forget strikes d off what the session holds. It returns false where the
// session doesn't hold it.
func (f *Feed) forget(d *spool.Delivery) bool {
	delete(f.dotted, d)
	delete(f.broken, d)
	delete(f.lost, d)
	delete(f.halted, d)
	f.lane.mu.Lock()
	defer f.lane.mu.Unlock()
	return f.session.forget(d)
}
