package journal

import (
	"context"
	"iter"
	"slices"

	"postern/spool"
)

// walkStep is how many messages are looked at while Store.mu is held.
const walkStep = 256

// Find implements spool.Store. Store.mu is held for one slab of the index at a
// time, and then for walkStep messages at a time, so others go on in between,
// and visit may call the Store. The shares of one message are told as of one
// moment. It looks at every entry, which are many to a page of memory, and does
// more only for what is selected.
func (s *Store) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var ids []spool.ID
	for page := range s.pages(&q) {
		ids = append(ids, page...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var found []spool.Summary
	for some := range slices.Chunk(ids, walkStep) {
		if err := ctx.Err(); err != nil {
			return err
		}
		found = s.summaries(found[:0], &q, some...)
		for i := range found {
			if !visit(found[i]) {
				return nil
			}
		}
	}
	return nil
}

// Shares implements spool.Store.
func (s *Store) Shares(ctx context.Context, id spool.ID) ([]spool.Summary, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := s.summaries(nil, &spool.Query{}, id)
	if len(found) == 0 {
		return nil, spool.ErrNotFound
	}
	return found, nil
}

// pages goes through the IDs of what q selects, slab by slab, without a lock
// between them: once for each message where q selects all, else once for each
// share. A share keeps its place for as long as its message lives, so one that
// is there all the time is met once. A page is good until the next.
func (s *Store) pages(q *spool.Query) iter.Seq[[]spool.ID] {
	return func(yield func([]spool.ID) bool) {
		page := make([]spool.ID, 0, slabSize)
		for n := 0; ; n++ {
			s.mu.Lock()
			if n == len(s.ix.slabs) {
				s.mu.Unlock()
				return
			}
			page = page[:0]
			w := s.ix.which(q)
			for i := range s.ix.slabs[n] {
				e := &s.ix.slabs[n][i]
				if w.all && e.id != 0 && e.share == 0 || !w.all && e.pending > 0 && w.selects(e) {
					page = append(page, e.id)
				}
			}
			s.mu.Unlock()
			if !yield(page) {
				return
			}
		}
	}
}

// summaries appends what q selects of the messages.
func (s *Store) summaries(found []spool.Summary, q *spool.Query, ids ...spool.ID) []spool.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.ix.which(q)
	for _, id := range ids {
		for h := s.ix.byID[id]; h != 0; h = s.ix.entry(h).next {
			if e := s.ix.entry(h); e.pending > 0 && w.selects(e) {
				found = append(found, s.summary(e))
			}
		}
	}
	return found
}

// summary tells of one share. Store.mu is held.
func (s *Store) summary(e *entry) spool.Summary {
	sum := spool.Summary{
		ID: e.id, Share: int(e.share), Accepted: toTime(e.accepted), Size: e.content(),
		Upstreams: s.ix.lists[e.list].upstreams, Failover: int(e.failover), Pending: int(e.pending),
		Attempts: int(e.attempts), Due: toTime(e.due), Priority: int(e.priority),
		Held: e.is(held), Claimed: e.is(claimed), InDoubt: e.is(inDoubt), Warned: e.is(warned), Kept: e.is(kept),
	}
	if deadline, ok := s.ix.deadlines[e.id]; ok {
		sum.Deadline = toTime(deadline)
	}
	if at, ok := s.ix.notBefore[e.id]; ok {
		sum.NotBefore = toTime(at)
	}
	return sum
}

// known is what the index holds about one message, for reading the rest.
type known struct {
	entries []entry
	ended   [][]uint64
	lists   [][]string
	seg     *segment // referenced
}

// know copies what the index holds about a message. Store.mu is held.
func (s *Store) know(id spool.ID) (k known, ok bool) {
	for h := s.ix.byID[id]; h != 0; h = s.ix.entry(h).next {
		e := s.ix.entry(h)
		k.entries = append(k.entries, *e)
		k.ended = append(k.ended, slices.Clone(s.ix.ended[h]))
		k.lists = append(k.lists, s.ix.lists[e.list].upstreams)
	}
	if len(k.entries) == 0 {
		return k, false
	}
	k.seg = s.bySeg[k.entries[0].at.segment].acquire()
	return k, true
}

// Detail implements spool.Store. ErrNotFound; ErrDamaged: the message
// was set aside.
func (s *Store) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	k, ok := s.know(id)
	s.mu.Unlock()
	if !ok {
		return nil, spool.ErrNotFound
	}
	env, snap, of, err := s.readMeta(k.seg, k.entries[0].at, k.entries[0].metaLen)
	s.release(k.seg)
	if err != nil {
		return nil, err
	}
	results := s.results(&k, snap, len(of))
	d := &spool.Detail{ID: id, Size: k.entries[0].content(), Envelope: env, Recipients: make([]spool.RecipientState, len(of))}
	for i, share := range of {
		d.Recipients[i] = recipientState(&k, share, i, results[i])
	}
	return d, nil
}

// recipientState puts together what is known of recipient i.
func recipientState(k *known, share, i int, f *result) spool.RecipientState {
	n := slices.IndexFunc(k.entries, func(e entry) bool { return int(e.share) == share })
	if n < 0 {
		return spool.RecipientState{Share: share}
	}
	e := &k.entries[n]
	r := spool.RecipientState{
		Share: share, Upstream: k.lists[n][e.failover], Attempts: int(e.attempts),
		Due: toTime(e.due), Held: e.is(held), InDoubt: e.is(inDoubt), Kept: e.is(kept), Warned: e.is(warned),
	}
	ended := e.pending == 0 || hasBit(k.ended[n], i)
	if f != nil && f.tried {
		o := f.outcome
		r.Last, r.LastAt = &o, toTime(f.at)
	}
	if !ended {
		return r
	}
	r.Status, r.Due, r.Held, r.InDoubt, r.Kept = spool.Removed, toTime(noTime), false, false, false
	if f != nil && f.status != spool.Pending {
		r.Status, r.Attempts = f.status, int(f.attempt)
		if int(f.failover) < len(k.lists[n]) {
			r.Upstream = k.lists[n][f.failover]
		}
	}
	return r
}

// results gathers the newest record about each recipient: from the settle
// records of each share, newest first, and then from the snapshot.
func (s *Store) results(k *known, snap *snapshot, recipients int) []*result {
	found := make([]*result, recipients)
	note := func(f *result) {
		if f.recipient < recipients && found[f.recipient] == nil {
			found[f.recipient] = f
		}
	}
	for i := range k.entries {
		e := &k.entries[i]
		// What lies before the message's own record is in its snapshot.
		for at := e.last; !at.none() && e.at.before(at); {
			ch, err := s.readSettle(e.id, int(e.share), at)
			if err != nil || ch.share != int(e.share) {
				break // it was lost: the rest is told without it
			}
			for n := range ch.results {
				note(&ch.results[n])
			}
			if !ch.prev.before(at) {
				break
			}
			at = ch.prev
		}
	}
	if snap != nil {
		for i := range snap.results {
			note(&snap.results[i])
		}
	}
	return found
}

// readSettle reads what the record at a place says about a share.
func (s *Store) readSettle(id spool.ID, share int, at place) (*change, error) {
	s.mu.Lock()
	g := s.bySeg[at.segment]
	if g == nil {
		s.mu.Unlock()
		return nil, spool.ErrNotFound
	}
	g.acquire()
	s.mu.Unlock()
	defer s.release(g)
	h, err := readHeader(g, at)
	if err != nil {
		return nil, err
	}
	meta := make([]byte, h.metaLen)
	if err := readFull(g.file, meta, int64(at.offset)+headerSize); err != nil {
		return nil, err
	}
	if checksum(meta) != h.metaCRC {
		return nil, damaged("state")
	}
	return settleIn(&h, string(meta), id, share)
}
