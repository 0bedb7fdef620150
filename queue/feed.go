package queue

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"postern/config"
	"postern/spool"
)

// defaultIdle is how long a session waits where its upstream doesn't say.
const defaultIdle = 30 * time.Second

// defaultAge is how long a session lasts at most where its upstream doesn't
// say: names move to other addresses, and nodes behind one are drained.
const defaultAge = 5 * time.Minute

// Feed is what one session of one lane is given to do. Its methods may be
// called by the session that it was made for, one at a time.
type Feed struct {
	lane  *lane
	up    *config.Upstream
	gen   int  // of the settings that the session was opened with
	empty bool // a probe without mail: it only has to open
	ch    chan *spool.Delivery
	end   chan struct{} // closed when the session is to end

	// Guarded by lane.mu.
	first      *spool.Delivery // claimed before the session was opened
	firstAt    time.Time       // when that was
	taken      []taking
	opened     bool // it asked for work
	waiting    bool // in lane.idle
	ended      bool // end is closed
	progressed bool // an upstream's answer settled something
	settled    int
	most       int       // deliveries that it may carry; 0: any number
	handed     int       // deliveries that it was given
	carried    int       // transactions that were answered, and are charged to nobody else
	openedAt   time.Time // when it asked first
	last       taking    // what was settled last

	// Of the session alone.
	timer  *time.Timer // of Next; nil before the first wait
	dotted map[*spool.Delivery]bool
	broken map[*spool.Delivery]string // the spool failed it, and how
	lost   map[*spool.Delivery]bool   // somebody else has it
}

// taking is a delivery that a session has.
type taking struct {
	d  *spool.Delivery
	at time.Time // when it was handed out
	// What it takes of the rates: a message for each transaction.
	messages, recipients int
}

func newTaking(d *spool.Delivery, at time.Time) taking { return taking{d, at, 1, len(d.Pending)} }

// hold notes that the session has d, since the given time. lane.mu is held.
func (f *Feed) hold(d *spool.Delivery, at time.Time) {
	f.taken = append(f.taken, newTaking(d, at))
	f.handed++
}

// finish makes the session end after what it is at. lane.mu is held.
func (f *Feed) finish() {
	if !f.ended {
		f.ended = true
		close(f.end)
	}
}

// Next waits for the next delivery. It returns io.EOF when the session is to
// end, which is also when nothing came for the upstream's IdleClose, and the
// error of ctx when that is done first.
func (f *Feed) Next(ctx context.Context) (*spool.Delivery, error) {
	l := f.lane
	l.mu.Lock()
	f.open()
	if d := f.take(); d != nil {
		l.unlock()
		return d, nil
	}
	if f.over() {
		l.unlock()
		return nil, io.EOF
	}
	f.waiting = true
	l.idle = append(l.idle, f)
	l.behind, l.renewals = time.Time{}, 0 // there was nothing left to do
	idle := f.patience()
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
	if f.waiting {
		f.waiting = false
		l.idle = slices.DeleteFunc(l.idle, func(other *Feed) bool { return other == f })
		return nil, err
	}
	return <-f.ch, nil // handed out at the same moment
}

// patience is how long the session may wait for work. lane.mu is held.
func (f *Feed) patience() time.Duration {
	idle := f.up.IdleClose
	if idle <= 0 {
		idle = defaultIdle
	}
	if f.handed > 0 {
		idle = max(min(idle, time.Until(f.openedAt.Add(maxAge(f.up)))), 0)
	}
	return idle
}

// TryNext returns a delivery that is due now, or nil.
func (f *Feed) TryNext() *spool.Delivery {
	f.lane.mu.Lock()
	defer f.lane.unlock()
	f.open()
	return f.take()
}

// open notes that the session is up, which its first question shows. lane.mu
// is held.
func (f *Feed) open() {
	if f.opened {
		return
	}
	l := f.lane
	f.opened, f.openedAt = true, time.Now()
	f.most = l.connections.allot(f.up.MaxMessages, f.openedAt)
	l.connecting--
	l.open++
	l.growStep, l.behind = 0, time.Time{} // whether they keep up shows anew
	if f.gen == l.gen && l.health.state != Up && (!l.health.needAnswer || f.empty) {
		l.recovered()
	}
	l.poke() // others may follow
}

// over says whether the session is to end. lane.mu is held.
func (f *Feed) over() bool {
	l := f.lane
	return f.empty || f.ended || f.gen != l.gen || l.stopping || l.pause.Paused || l.up == nil || f.spent(time.Now()) ||
		l.pace.Slowed() && f.first == nil && len(l.feeds) > l.sessions() // fewer are wanted
}

// spent says whether the session has carried as much, or has lasted as long,
// as one connection may. lane.mu is held, l.up is set.
func (f *Feed) spent(now time.Time) bool {
	if f.handed == 0 || f.ended {
		return false
	}
	if f.most > 0 && f.handed >= f.most || now.Sub(f.openedAt) >= maxAge(f.up) {
		f.finish()
		f.lane.renewals++
		return true
	}
	return false
}

// maxAge is how long a session may last.
func maxAge(up *config.Upstream) time.Duration {
	if up.MaxAge <= 0 {
		return defaultAge
	}
	return up.MaxAge
}

// take takes the next delivery, claiming more where that is needed; nil:
// nothing is due. lane.mu is held, and released for a while.
func (f *Feed) take() *spool.Delivery {
	l := f.lane
	if f.over() {
		return nil
	}
	if d := f.first; d != nil {
		f.first = nil
		f.hold(d, f.firstAt)
		l.pace.Late(time.Now())
		return d
	}
	if !l.flows() {
		return nil
	}
	if len(l.ready) == 0 && l.hot && !l.claiming {
		l.fill(l.batch())
	}
	if f.over() || !l.flows() {
		return nil
	}
	d := l.begin(&l.ready)
	if d != nil {
		f.hold(d, time.Now())
	}
	return d
}

// Content opens the content of d.
func (f *Feed) Content(d *spool.Delivery) (spool.Content, error) {
	c, err := f.lane.q.store.Content(f.lane.q.always, d.ID)
	if err != nil {
		f.lane.q.events.StoreFailed("content", d.ID, err)
		f.fail(d, "the content cannot be read from the spool")
	}
	return c, err
}

// DotSent is called before the final dot of d goes out. After an error the
// dot must not be sent.
func (f *Feed) DotSent(d *spool.Delivery) error {
	err := f.lane.q.store.DotSent(f.lane.q.always, d)
	if errors.Is(err, spool.ErrLost) {
		if f.lost == nil {
			f.lost = map[*spool.Delivery]bool{}
		}
		f.lost[d] = true
		f.lane.q.events.ClaimLost("dot", d.ID, d.Upstream, 0)
		return err
	}
	if err != nil {
		f.lane.q.events.StoreFailed("dot", d.ID, err)
		f.fail(d, "the attempt cannot be recorded in the spool")
		return err
	}
	if f.dotted == nil {
		f.dotted = map[*spool.Delivery]bool{}
	}
	f.dotted[d] = true
	return nil
}

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
	if !f.lane.again(d) {
		f.lane.q.parts.leave(d)
		return false
	}
	f.lane.mu.Lock()
	defer f.lane.unlock()
	if i := slices.IndexFunc(f.taken, func(t taking) bool { return t.d == d }); i >= 0 {
		f.taken[i].messages++
	}
	return true
}

// Settle ends d with one outcome for each of d.Pending, in that order.
func (f *Feed) Settle(d *spool.Delivery, outcomes []spool.Outcome) {
	lost := f.lost[d]
	if !f.forget(d) {
		return // settled before; the first word counts
	}
	if lost {
		f.lane.unsent(f.last)
		f.lane.q.parts.forget(d)
		f.lane.mu.Lock()
		f.progressed = true // the upstream is not to blame
		f.lane.mu.Unlock()
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
		f.lane.unsent(f.last)
		f.lane.takeBack(f, d)
	}
}

// Leave is called by a session that waits for the end of its connection alone:
// its place is free for another.
func (f *Feed) Leave() {
	l := f.lane
	l.mu.Lock()
	defer l.unlock()
	if f.opened {
		l.vacate(f)
		l.poke()
	}
}

// forget strikes d off what the session holds. It returns false where the
// session doesn't hold it.
func (f *Feed) forget(d *spool.Delivery) bool {
	delete(f.dotted, d)
	delete(f.broken, d)
	delete(f.lost, d)
	l := f.lane
	l.mu.Lock()
	defer l.unlock()
	i := slices.IndexFunc(f.taken, func(t taking) bool { return t.d == d })
	if i < 0 {
		return false
	}
	f.last = f.taken[i]
	f.taken = slices.Delete(f.taken, i, i+1)
	f.settled++
	return true
}
