package journal

import (
	"context"
	"fmt"
	"time"

	"postern/spool"
)

// maxText bounds each text of an outcome that is kept, in bytes.
const maxText = 2000

// Settle implements spool.Store. A zero Due means at once.
//
// Epochs are random and belong to a process. Within one, a token that is not
// the present claim of its share was settled. An error of the disk means that
// the claim has ended as told and this process knows it, but that it could not
// be written yet; it will be as soon as the disk allows.
func (s *Store) Settle(_ context.Context, d *spool.Delivery, st spool.Settlement) (spool.Settled, error) {
	if n := len(st.Outcomes); n != 0 && n != len(d.Pending) {
		return spool.Settled{}, fmt.Errorf("%w: %d outcomes for %d recipients", spool.ErrInvalid, n, len(d.Pending))
	}
	var w wakes
	s.j.mu.Lock()
	s.mu.Lock()
	h, e := s.ix.claimedBy(d)
	if h == 0 {
		err := s.ix.unclaimed(d)
		settled := spool.Settled{Before: err == nil, Over: err == nil && s.ix.byID[d.ID] == 0}
		s.mu.Unlock()
		s.j.mu.Unlock()
		return settled, err
	}
	ch := s.settled(h, e, d, &st)
	kind := recSettle
	if s.endsMessage(h, &ch) {
		kind = recDone
	}
	s.mu.Unlock()
	rec := []record{{kind: kind, id: d.ID}}
	if kind == recSettle {
		rec[0].meta = appendChange(metas.get(), kind, &ch)
	}
	err := s.appendRecords(rec, true)
	s.mu.Lock()
	s.applySettled(d, &ch, rec[0].at, &w)
	s.mu.Unlock()
	s.j.mu.Unlock()
	if rec[0].meta != nil {
		metas.put(rec[0].meta)
	}
	w.call(s)
	if err != nil {
		err = fmt.Errorf("record the outcome of %s: %w", d.ID, err)
	}
	return spool.Settled{Over: kind == recDone}, err
}

// settled is what a settlement changes. Store.mu is held.
func (s *Store) settled(h handle, e *entry, d *spool.Delivery, st *spool.Settlement) change {
	ch := change{share: d.Share, state: e.state(), prev: e.last}
	now := toNano(time.Now())
	unknown := e.is(dotted) && !st.Answered
	for i := range st.Outcomes {
		o := st.Outcomes[i]
		if i == 0 {
			unknown = false
		}
		if o.Verdict == spool.Pending && o.Code == 0 && e.is(dotted) {
			unknown = true
		}
		f := result{
			recipient: d.Pending[i], status: o.Verdict, tried: true, attempt: e.attempts,
			failover: e.failover, at: now, outcome: o,
		}
		f.outcome.Code = max(o.Code, 0)
		for _, t := range []*string{&f.outcome.Enhanced, &f.outcome.Text, &f.outcome.Cause, &f.outcome.Remote} {
			*t = (*t)[:min(len(*t), maxText)]
		}
		ch.results = append(ch.results, f)
	}
	if len(st.Outcomes) == 0 && e.is(counted) && ch.state.attempts > 0 {
		ch.state.attempts--
	}
	ch.state.inDoubt = ch.state.inDoubt || unknown
	ch.state.warned = ch.state.warned || st.Warned
	ch.state.held = st.Hold
	ch.state.kept = st.Hold && st.Kept
	ch.state.due = toNano(st.Due)
	if at, has := s.ix.notBefore[e.id]; has {
		ch.state.due = max(ch.state.due, at)
	}
	ch.state.failover = 0
	if n := len(s.ix.lists[e.list].lanes); st.Failover > 0 && st.Failover < n {
		ch.state.failover = uint8(st.Failover)
	}
	return ch
}

// endsMessage reports whether after ch nothing of the message is owed.
// Store.mu is held.
func (s *Store) endsMessage(h handle, ch *change) bool {
	e := s.ix.entry(h)
	ended := 0
	for i := range ch.results {
		if ch.results[i].status != spool.Pending {
			ended++
		}
	}
	if ended < int(e.pending) {
		return false
	}
	for o := s.ix.byID[e.id]; o != 0; o = s.ix.entry(o).next {
		if o != h && s.ix.entry(o).pending > 0 {
			return false
		}
	}
	return true
}

// applySettled makes the index say what the record at says. Store.mu is held.
func (s *Store) applySettled(d *spool.Delivery, ch *change, at place, w *wakes) {
	h, e := s.ix.find(d.ID, d.Share)
	if h == 0 {
		return
	}
	s.ix.claim(e, false)
	s.ix.setState(e, ch.state)
	if !at.none() && len(ch.results) > 0 {
		e.last = at
	}
	if s.applyEnds(h, endedOf(ch.results)) {
		return
	}
	if e.pending > 0 {
		w.add(s.ix.enqueue(h), e.due)
	}
}

// endedOf lists the recipients that have ended.
func endedOf(results []result) (ended []int) {
	for i := range results {
		if results[i].status != spool.Pending {
			ended = append(ended, results[i].recipient)
		}
	}
	return ended
}

// applyEnds notes that recipients of a share ended; gone: the whole message
// did. Store.mu is held.
func (s *Store) applyEnds(h handle, ended []int) (gone bool) {
	e := s.ix.entry(h)
	for _, r := range ended {
		if s.ix.hasEnded(h, r) || e.pending == 0 {
			continue
		}
		if e.pending > 1 {
			s.ix.end(h, r)
			continue
		}
		copied := *e
		if s.ix.finish(h) {
			s.forget(&copied)
			return true
		}
	}
	return false
}
