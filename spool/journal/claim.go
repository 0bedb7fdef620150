package journal

import (
	"context"
	"errors"
	"time"

	"postern/spool"
)

// pick is a share that was taken out of its lane.
type pick struct {
	d     spool.Delivery
	at    place
	meta  uint32 // bytes
	big   bool
	state state
	ended []uint64
	seg   *segment // referenced
}

// take notes that h is claimed and what is needed to deliver it. Store.mu is
// held, and h is in no heap.
func (s *Store) take(h handle) pick {
	e := s.ix.entry(h)
	s.ix.claim(e, true)
	return pick{
		d: spool.Delivery{
			ID: e.id, Token: spool.Token{Epoch: s.ix.epoch, Claim: s.ix.lastClaim}, Share: int(e.share), Upstream: s.ix.lane(e).name, Attempt: int(e.attempts),
			Failover: int(e.failover), InDoubt: e.is(inDoubt), Warned: e.is(warned), Size: e.content(),
		},
		at: e.at, meta: e.metaLen, big: e.is(big), state: e.state(),
		ended: append([]uint64(nil), s.ix.ended[h]...), seg: s.bySeg[e.at.segment].acquire(),
	}
}

// Lease implements spool.Store. No other process has the folder, so every lane
// belongs to this one, from the start to the end; nothing is on record.
func (s *Store) Lease(ctx context.Context, upstream string) (spool.Lease, error) {
	return spool.Lease{Upstream: upstream, Epoch: s.ix.epoch}, ctx.Err()
}

// Leave implements spool.Store. There is nobody to leave a lane to.
func (s *Store) Leave(ctx context.Context, _ spool.Lease) error { return ctx.Err() }

// Claim implements spool.Store. Besides I/O errors it returns
// ErrClosed. A message that turns out to be damaged is set aside and not
// among what is returned.
func (s *Store) Claim(ctx context.Context, lease spool.Lease, now time.Time, limit int, retry spool.Schedule) ([]*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if lease.Epoch != s.ix.epoch {
		return nil, spool.ErrLost
	}
	var picks []pick
	s.mu.Lock()
	if l := s.ix.lanes[lease.Upstream]; l != nil {
		for len(picks) < limit {
			h := s.ix.pop(l, toNano(now))
			if h == 0 {
				break
			}
			picks = append(picks, s.take(h))
		}
	}
	s.mu.Unlock()
	if len(picks) == 0 {
		return nil, nil
	}
	whole := picks[:0]
	for i := range picks {
		if s.fill(&picks[i]) == nil {
			whole = append(whole, picks[i])
		}
	}
	if err := s.recordAttempts(whole, now, retry); err != nil {
		return nil, err
	}
	out := make([]*spool.Delivery, len(whole))
	for i := range whole {
		out[i] = &whole[i].d
	}
	return out, nil
}

// fill reads the envelope of a pick. A message that is damaged is set aside,
// one that cannot be read waits a little.
func (s *Store) fill(p *pick) error {
	env, _, of, err := s.readMeta(p.seg, p.at, p.meta)
	s.release(p.seg)
	switch {
	case errors.Is(err, spool.ErrDamaged):
		s.unclaim([]pick{*p})
		s.setAsideMessage(p.d.ID, p.at, err)
		return err
	case err != nil:
		s.unreadable(p, err)
		return err
	}
	p.d.Envelope = env
	for i, share := range of {
		if share == p.d.Share && !hasBit(p.ended, i) {
			p.d.Pending = append(p.d.Pending, i)
		}
	}
	return nil
}

// unreadablePause is how long a share waits that the disk failed to read, and
// after which that is told again.
const unreadablePause = time.Minute

// unreadable lets a share wait, so that what is due behind it gets its turn.
func (s *Store) unreadable(p *pick, err error) {
	s.mu.Lock()
	if h, e := s.ix.find(p.d.ID, p.d.Share); h != 0 {
		s.ix.claim(e, false)
		e.due = max(e.due, toNano(time.Now().Add(unreadablePause)))
		s.ix.enqueue(h)
	}
	s.mu.Unlock()
	s.tellUnread(p.d.ID, err)
}

// tellUnread tells that the disk failed to read a message, but not of each.
func (s *Store) tellUnread(id spool.ID, err error) {
	s.mu.Lock()
	now := time.Now()
	news := now.Sub(s.unreadTold) >= unreadablePause
	if news {
		s.unreadTold = now
	}
	s.mu.Unlock()
	if news {
		s.ev(&ReadFailed{id, err})
	}
}

// recordAttempts puts the attempts on record, with one write.
func (s *Store) recordAttempts(picks []pick, now time.Time, retry spool.Schedule) error {
	if len(picks) == 0 {
		return nil
	}
	recs := make([]record, len(picks))
	for i := range picks {
		p := &picks[i]
		p.d.Attempt = int(p.state.attempts) + 1
		if p.state.attempts < 65535 {
			p.state.attempts++
		}
		p.state.due = toNano(retry.Next(now, p.d.Attempt))
		meta := appendChange(metas.get(), recAttempt, &change{share: p.d.Share, state: p.state})
		recs[i] = record{kind: recAttempt, id: p.d.ID, meta: meta}
	}
	s.j.mu.Lock()
	err := s.appendRecords(recs, false)
	if err == nil {
		s.mu.Lock()
		for i := range picks {
			if h, e := s.ix.find(picks[i].d.ID, picks[i].d.Share); h != 0 {
				e.attempts, e.due = picks[i].state.attempts, picks[i].state.due
				e.set(counted, true)
			}
		}
		s.mu.Unlock()
	}
	s.j.mu.Unlock()
	for i := range recs {
		metas.put(recs[i].meta)
	}
	if err != nil {
		s.unclaim(picks)
	}
	return err
}

// unclaim makes picks wait again as they did before.
func (s *Store) unclaim(picks []pick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range picks {
		if h, e := s.ix.find(picks[i].d.ID, picks[i].d.Share); h != 0 {
			s.ix.claim(e, false)
			s.ix.enqueue(h)
		}
	}
}

// Take implements spool.Store. Besides the errors of reading it returns
// ErrDamaged: the message was set aside.
func (s *Store) Take(ctx context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	h, e := s.ix.find(id, share)
	if h == 0 || e.pending == 0 {
		s.mu.Unlock()
		return nil, spool.ErrNotFound
	}
	if e.is(claimed) {
		s.mu.Unlock()
		return nil, spool.ErrClaimed
	}
	s.ix.unqueue(h)
	p := s.take(h)
	s.mu.Unlock()
	if err := s.fill(&p); err != nil {
		return nil, err
	}
	return &p.d, nil
}

// Discard implements spool.Store. What turns out to be damaged is set aside, so
// there is nothing to be discarded.
func (s *Store) Discard(ctx context.Context, id spool.ID, share int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch h, e := s.ix.find(id, share); {
	case h == 0 || e.pending == 0:
		return spool.ErrNotFound
	case e.is(claimed):
		return spool.ErrClaimed
	}
	return spool.ErrInvalid
}

// DotSent implements spool.Store.
func (s *Store) DotSent(ctx context.Context, d *spool.Delivery) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	s.mu.Lock()
	_, e := s.ix.claimedBy(d)
	if e == nil {
		s.mu.Unlock()
		return spool.ErrLost
	}
	st := e.state()
	s.mu.Unlock()
	st.inDoubt = true // unless a later record tells the outcome
	meta := appendChange(metas.get(), recDot, &change{share: d.Share, state: st})
	defer metas.put(meta)
	if err := s.appendRecords([]record{{kind: recDot, id: d.ID, meta: meta}}, false); err != nil {
		return err
	}
	s.mu.Lock()
	if h, e := s.ix.find(d.ID, d.Share); h != 0 {
		e.set(dotted, true)
	}
	s.mu.Unlock()
	return nil
}

// claim notes whether a share is claimed. Of an attempt nothing is known then.
func (x *index) claim(e *entry, on bool) {
	switch {
	case on && !e.is(claimed):
		x.claimed++
		x.lastClaim++
		x.claims[claimKey{e.id, e.share}] = x.lastClaim
	case !on && e.is(claimed):
		x.claimed--
		delete(x.claims, claimKey{e.id, e.share})
	}
	e.set(claimed, on)
	e.set(counted|dotted|settling, false)
}

// orphan ends the claim of a share that is set aside, if there is one. Its
// holder is told when it settles.
func (x *index) orphan(e *entry) {
	key := claimKey{e.id, e.share}
	n, held := x.claims[key]
	if x.claim(e, false); held {
		x.claims[key] = n
	}
}

// claimedBy returns the share that d is the claim of; 0 and nil: of none.
func (x *index) claimedBy(d *spool.Delivery) (handle, *entry) {
	if d.Token.Epoch != x.epoch || x.claims[claimKey{d.ID, uint16(d.Share)}] != d.Token.Claim || d.Token.Claim == 0 {
		return 0, nil
	}
	return x.find(d.ID, d.Share)
}

// unclaimed says why a settlement of d finds no claim; nil: it was settled.
func (x *index) unclaimed(d *spool.Delivery) error {
	if d.Token.Epoch != x.epoch || d.Token.Claim == 0 || d.Token.Claim > x.lastClaim {
		return spool.ErrLost
	}
	key := claimKey{d.ID, uint16(d.Share)}
	if x.claims[key] == d.Token.Claim {
		delete(x.claims, key)
		return spool.ErrNotFound
	}
	return nil
}
