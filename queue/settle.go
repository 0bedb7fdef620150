package queue

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/queue/verdict"
	"postern/spool"
)

// failedBefore ends the attempt of a delivery whose session could not be
// opened: the fault is the outcome of each of its recipients.
func (q *Queue) failedBefore(f *Feed, d *spool.Delivery, fault *spool.Fault, due time.Time) {
	outs := make([]spool.Outcome, len(d.Pending))
	verdicts := make([]verdict.Verdict, len(d.Pending))
	v := verdict.OfFault(fault)
	for i := range outs {
		outs[i], verdicts[i] = fault.Outcome, v
		if outs[i].Code == 0 && outs[i].Cause == "" && fault.Err != nil {
			outs[i].Cause = fault.Err.Error()
		}
	}
	q.record(f, d, outs, verdicts, due)
}

// conclude ends an attempt by what the session reports.
func (q *Queue) conclude(f *Feed, d *spool.Delivery, reported []spool.Outcome) {
	outs := make([]spool.Outcome, len(d.Pending))
	verdicts := make([]verdict.Verdict, len(d.Pending))
	more := q.hasMore(d)
	for i := range outs {
		switch {
		case i < len(reported):
			outs[i] = reported[i]
		case len(reported) > 0:
			outs[i] = reported[len(reported)-1] // one answer for all the rest
			if outs[i].Code/100 == 2 {
				outs[i] = spool.Outcome{Stage: spool.StageLocal, Text: "the session reported no outcome"}
			}
		default:
			outs[i] = spool.Outcome{Stage: spool.StageLocal, Text: "the session reported no outcome"}
		}
		verdicts[i] = verdict.Of(&outs[i], more)
	}
	all := outs
	outs, verdicts, untried := q.untried(f, d, outs, verdicts)
	if untried {
		return
	}
	f.carried++
	q.record(f, d, outs, verdicts, f.lane.note(f, d, all, outs, verdicts))
}

// hasMore says whether a message that d.Upstream can't carry may still find
// one that can: one further down the list, or one that was passed over because
// it is down.
func (q *Queue) hasMore(d *spool.Delivery) bool {
	list := listOf(d)
	if d.Failover+1 < len(list) {
		return true
	}
	for i, name := range list {
		if i != d.Failover && !q.isUp(name) {
			return true
		}
	}
	return false
}

// record decides, tells the sender, settles, and reports. A recipient is let go
// by the commit that makes its notification durable.
func (q *Queue) record(f *Feed, d *spool.Delivery, outs []spool.Outcome, verdicts []verdict.Verdict, laneDue time.Time) {
	now := time.Now()
	retry := &q.cfg.Load().Retry
	for i := range outs {
		outs[i].Verdict = verdicts[i].Status
	}
	n, err := q.write(d, notice.Failed, outs, now)
	if err != nil {
		deferFailed(outs, verdicts)
	}
	kept := keepFailed(d, outs, q.parts.rest(d))
	// That something was handed on is told as well as can be: what was delivered
	// is let go in any case.
	relayed, _ := q.write(d, notice.Relayed, outs, now)
	notices := slices.DeleteFunc([]*written{n, relayed}, func(n *written) bool { return n == nil })
	if kept && len(notices) == 0 { // else with its next attempt
		if s, err := q.keep(d, outs, now); err == nil {
			q.report(f, d, s, verdicts, now, false)
		}
		return
	}
	wish, tries := q.wishes.take(d)
	c := choice{now: now, retry: retry, laneDue: laneDue, at: rand.Float64(),
		next: q.nextUp(listOf(d), d.Failover), more: q.parts.more(d),
		wish: wish, tries: tries, stays: q.doubts.stays(d.ID, d.Share, d.InDoubt)}
	s := plan(d, outs, verdicts, c)
	if s.Hold || anyDoubt(outs, verdicts) {
		q.noteDoubt(d, s.Hold)
	} else if slices.ContainsFunc(outs, func(o spool.Outcome) bool { return o.Code != 0 && o.Stage >= spool.StageDot }) {
		q.doubts.answered(d)
	}
	var over bool
	if len(notices) == 0 {
		over, err = q.put(d, s)
	} else {
		late, lateVerdicts := slices.Clone(outs), slices.Clone(verdicts)
		deferFailed(late, lateVerdicts)
		instead := plan(d, late, lateVerdicts, c)
		var done bool
		over, done, err = q.putNotified(notices, []spool.Ending{{Delivery: d, Settlement: s}}, func(int) spool.Settlement { return instead })
		if !done {
			s, verdicts = instead, lateVerdicts
		}
		q.forgetEnded(d, &s)
	}
	if errors.Is(err, spool.ErrLost) {
		return // whoever has it now tells of it
	}
	q.report(f, d, s, verdicts, now, over)
}

// deferFailed lets recipients wait of whose failure nobody could be told.
func deferFailed(outs []spool.Outcome, verdicts []verdict.Verdict) {
	for i := range outs {
		if outs[i].Verdict == spool.Bounced {
			outs[i].Verdict, verdicts[i] = spool.Pending, verdict.Verdict{}
		}
	}
}

func anyDoubt(outs []spool.Outcome, verdicts []verdict.Verdict) bool {
	for i, v := range verdicts {
		if v.InDoubt && outs[i].Verdict == spool.Pending {
			return true
		}
	}
	return false
}

// choice is what plan needs to know beside the outcomes.
type choice struct {
	now     time.Time
	retry   *config.Retry
	laneDue time.Time // of the next probe, where the attempt took the lane down
	next    int       // index of the next upstream of this round that is up; -1: none
	at      float64   // point in the range of the jitter, 0 to 1
	more    bool      // recipients beside those of the attempt wait for their first
	wish    time.Time // when it would have been due, had no operator asked for it; zero: none has
	tries   int       // of the attempts so far, that an operator asked for
	stays   bool      // a copy may have arrived at the upstream of the attempt
}

// plan turns verdicts into a settlement. A share goes on to the next upstream
// of its list where all that is left may fare better there; otherwise the
// round is over, and the next begins with the first.
func plan(d *spool.Delivery, outs []spool.Outcome, verdicts []verdict.Verdict, c choice) spool.Settlement {
	s := spool.Settlement{Outcomes: outs, Warned: d.Warned}
	left, failed, next, soon, doubt, progress, misfit := 0, 0, true, true, false, false, false
	for i, v := range verdicts {
		if outs[i].Verdict != spool.Pending {
			progress = progress || outs[i].Verdict == spool.Delivered
			continue
		}
		left++
		if v.Status == spool.Bounced {
			failed++
			continue // of untold: it is tried along until the others have ended
		}
		next = next && v.Next
		soon = soon && v.Soon
		doubt = doubt || v.InDoubt
		misfit = misfit || outs[i].Unsupported
	}
	if left == 0 {
		if c.more {
			s.Due, s.Failover = c.now, d.Failover
		}
		return s
	}
	if failed == left {
		next, soon = false, false
	}
	s.Due = c.now.Add(retryDelay(c.retry.Backoff, d.Attempt-c.tries, c.at))
	if c.wish.After(c.now) {
		s.Due = c.wish // an operator's try is no step of the backoff
	}
	list := listOf(d)
	switch {
	case doubt || c.stays && !(soon && progress):
		s.Failover = d.Failover // the twin, if there is one, is there
		s.Hold = doubt && c.retry.AfterDot == "hold"
		if !doubt && !c.laneDue.IsZero() {
			s.Due = c.laneDue
		}
	case next && c.next >= 0:
		s.Failover, s.Due = c.next, c.now
	case misfit && next:
		s.Failover = (d.Failover + 1) % len(list) // it is down, and the only one that may do
	case soon && progress, c.more && c.laneDue.IsZero():
		s.Failover, s.Due = d.Failover, c.now
	case !c.laneDue.IsZero() && d.Failover == 0:
		s.Due = c.laneDue // the wait is the upstream's doing, not the message's
	}
	return s
}

// nextUp is the index of the next upstream of this round that is up; -1: none.
func (q *Queue) nextUp(list []string, current int) int {
	for i := current + 1; i < len(list); i++ {
		if q.isUp(list[i]) {
			return i
		}
	}
	return -1
}

// giveBack returns a claim of which nothing was tried.
func (q *Queue) giveBack(d *spool.Delivery) {
	q.put(d, spool.Settlement{Due: time.Now(), Failover: d.Failover, Warned: d.Warned, Answered: true})
}

// put settles. After an error the claim has ended as told and the store writes
// it as soon as it can, so there is nothing to do again here; claims fail too
// while that lasts, so nothing more is begun. The error is for those who tell
// somebody that it is done; ErrLost says that it isn't. over says that nothing
// of the message is owed any more.
func (q *Queue) put(d *spool.Delivery, s spool.Settlement) (over bool, err error) {
	settled, err := q.settle(d, s)
	q.forgetEnded(d, &s)
	return settled.Over, err
}

// forgetEnded forgets what is known of a share of which nothing is left.
func (q *Queue) forgetEnded(d *spool.Delivery, s *spool.Settlement) {
	if endsAll(s) {
		q.doubts.forget(d)
		q.wishes.forget(d)
	}
}

// endsAll says whether each recipient that a claim names ends by s.
func endsAll(s *spool.Settlement) bool {
	return len(s.Outcomes) > 0 && !slices.ContainsFunc(s.Outcomes, func(o spool.Outcome) bool { return o.Verdict == spool.Pending })
}

// settle is put for a share that may go on, with recipients that d does not
// name.
func (q *Queue) settle(d *spool.Delivery, s spool.Settlement) (spool.Settled, error) {
	q.parts.forget(d)
	settled, err := q.store.Settle(q.always, d, s)
	switch {
	case errors.Is(err, spool.ErrLost):
		q.tell(&ClaimLost{"settle", d.ID, d.Upstream, delivered(s.Outcomes)})
		return settled, err
	case errors.Is(err, spool.ErrNotFound):
		err = nil
	case err != nil:
		q.tell(&StoreFailed{"settle", d.ID, err})
	}
	if endsAll(&s) && len(d.Pending) == len(d.Envelope.Recipients) {
		settled.Over = settled.Over || !settled.Before // also where the answer was lost
	}
	return settled, err
}

func delivered(outs []spool.Outcome) (n int) {
	for i := range outs {
		if outs[i].Verdict == spool.Delivered {
			n++
		}
	}
	return n
}

// report tells the events of an attempt.
func (q *Queue) report(f *Feed, d *spool.Delivery, s spool.Settlement, verdicts []verdict.Verdict, now time.Time, over bool) {
	env := d.Envelope
	for i, o := range s.Outcomes {
		a := &f.attempted
		to := &env.Recipients[d.Pending[i]]
		*a = Attempted{ID: d.ID, From: env.From, To: to.Address, Copy: to.Copy, Listener: env.Listener, Upstream: d.Upstream,
			Number: d.Attempt, Delay: now.Sub(env.Begins()), Size: d.Size, Outcome: o, Blame: verdicts[i].Blame, Duplicate: d.InDoubt}
		switch {
		case o.Verdict != spool.Pending:
		case s.Kept:
			a.Outcome.Verdict, a.Held = spool.Bounced, true
		default:
			a.Due, a.NextUp, a.Held = s.Due, listOf(d)[s.Failover], s.Hold
		}
		q.tell(a)
	}
	if over {
		q.finished(d, now, &f.finished)
	}
}

// finished reports the end of a message by e.
func (q *Queue) finished(d *spool.Delivery, now time.Time, e *Finished) {
	*e = Finished{ID: d.ID, From: d.Envelope.From, Age: now.Sub(d.Envelope.Begins()), Attempts: d.Attempt}
	q.tell(e)
}
