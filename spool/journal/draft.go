package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// Drafts collect a body in chunks that they share through pools: a small one
// first, for ordinary mail, then large ones.
const (
	smallChunk = 4 << 10
	largeChunk = 32 << 10
)

var smallChunks = sync.Pool{New: func() any { return new([smallChunk]byte) }}
var largeChunks = sync.Pool{New: func() any { return new([largeChunk]byte) }}

// draft implements Draft.
type draft struct {
	store  *Store
	id     spool.ID
	chunks [][]byte // each with its content as length
	size   int64    // bytes of content so far
	crc    uint32
	file   disk.File // of a big body; nil: everything is in chunks
	synced int64
	over   bool // committed or discarded
	err    error
}

// Create begins a message. ErrFull: the spool takes no more.
func (s *Store) Create(ctx context.Context) (spool.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.isClosing() {
		return nil, spool.ErrClosed
	}
	if s.noRoom() {
		return nil, spool.ErrFull
	}
	return &draft{store: s, id: s.newID()}, nil
}

// newID is the clock where it runs ahead of the last ID, and the next number
// where it doesn't: strictly growing, and not the same again in another spool.
func (s *Store) newID() spool.ID {
	for {
		last := s.lastID.Load()
		next := max(last+1, uint64(time.Now().UnixNano()))
		if s.lastID.CompareAndSwap(last, next) {
			return spool.ID(next)
		}
	}
}

func (d *draft) ID() spool.ID { return d.id }

var errOver = errors.New("the draft has ended")

func (d *draft) Write(p []byte) (int, error) {
	if d.over {
		return 0, errOver
	}
	if d.err != nil {
		return 0, d.err
	}
	d.crc = crc32.Update(d.crc, castagnoli, p)
	written := len(p)
	for len(p) > 0 {
		n := len(d.chunks)
		if n == 0 || len(d.chunks[n-1]) == cap(d.chunks[n-1]) {
			if d.buffered() >= d.store.opts.BigBody {
				if d.err = d.flush(); d.err != nil {
					return 0, d.err
				}
			}
			d.chunks = append(d.chunks, newChunk(len(d.chunks)))
			n = len(d.chunks)
		}
		last := &d.chunks[n-1]
		room := int64(cap(*last) - len(*last))
		if left := d.store.opts.BigBody - d.buffered(); left > 0 {
			room = min(room, left)
		}
		k := min(int64(len(p)), room)
		*last = append(*last, p[:k]...)
		d.size += k
		p = p[k:]
		if d.buffered() >= d.store.opts.BigBody {
			if d.err = d.flush(); d.err != nil {
				return 0, d.err
			}
		}
	}
	return written, nil
}

// buffered is how many bytes are in memory only.
func (d *draft) buffered() int64 { return d.size - d.synced }

func newChunk(n int) []byte {
	if n == 0 {
		return smallChunks.Get().(*[smallChunk]byte)[:0]
	}
	return largeChunks.Get().(*[largeChunk]byte)[:0]
}

func freeChunks(chunks [][]byte) {
	for _, c := range chunks {
		switch cap(c) {
		case smallChunk:
			smallChunks.Put((*[smallChunk]byte)(c[:smallChunk]))
		case largeChunk:
			largeChunks.Put((*[largeChunk]byte)(c[:largeChunk]))
		}
	}
}

// flush moves what is in memory to the big body's file.
func (d *draft) flush() error {
	s := d.store
	if d.file == nil {
		file, err := s.fs.Create(bodyName(d.id))
		if errors.Is(err, fs.ErrNotExist) && s.makeBig() == nil {
			file, err = s.fs.Create(bodyName(d.id))
		}
		if err != nil {
			return s.diskError("create", err)
		}
		d.file = file
	}
	n := d.buffered()
	wrote, err := d.file.WriteVec(d.chunks, d.synced)
	s.mu.Lock()
	s.disk += wrote
	s.mu.Unlock()
	if wrote < n {
		return s.diskError("write", err)
	}
	d.file.WriteBehind(d.synced, n)
	d.synced += n
	for i := range d.chunks {
		d.chunks[i] = d.chunks[i][:0]
	}
	freeChunks(d.chunks[1:])
	d.chunks = d.chunks[:1]
	if s.noRoom() {
		return spool.ErrFull
	}
	return nil
}

// Commit implements Draft.
func (d *draft) Commit(ctx context.Context, env *spool.Envelope) error {
	return d.end(ctx, env, nil, besides{})
}

// end is Commit. before are drafts that count together with this one, and with
// is what the record says beside the envelope.
func (d *draft) end(ctx context.Context, env *spool.Envelope, before []*submission, with besides) error {
	sub, err := d.begin(ctx, env, with)
	if err == nil {
		if sub.before = before; len(before) > 0 {
			sub.head.flags |= flagRest
		}
		err = d.store.commit(sub)
	}
	d.ended(err)
	return err
}

// begin makes the record of a draft, which ends by it. ended has to follow.
func (d *draft) begin(ctx context.Context, env *spool.Envelope, with besides) (*submission, error) {
	if d.over {
		return nil, errOver
	}
	d.over = true
	if d.err != nil {
		return nil, d.err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.record(env, with)
}

// ended lets go of what a draft was made of. err is what became of it.
func (d *draft) ended(err error) {
	if errors.Is(err, errOver) {
		return
	}
	freeChunks(d.chunks)
	d.chunks = nil
	if d.file != nil {
		d.file.Close()
		if err != nil && !errors.Is(err, errUncertain) {
			d.unlink() // otherwise a start sweeps it, or finds the message whole
		}
	}
}

func (d *draft) record(env *spool.Envelope, with besides) (*submission, error) {
	s := d.store
	shares, of := split(env.Recipients)
	if err := check(env, shares); err != nil {
		return nil, err
	}
	if s.noRoom() {
		return nil, spool.ErrFull
	}
	if env.Key != nil {
		if err := s.Known(context.Background(), env.Key); err != nil {
			return nil, err // before a large body is synced
		}
	}
	head := header{kind: recMessage, id: d.id, bodyCRC: d.crc}
	body := d.chunks
	if d.file != nil {
		if err := d.finishFile(); err != nil {
			return nil, err
		}
		head.flags, body = flagBig, nil
	} else {
		head.bodyLen = uint32(d.size)
	}
	meta := appendEnvelope(metas.get(), env, d.size, shares, of, with)
	head.metaLen, head.metaCRC = uint32(len(meta)), checksum(meta)
	sub, ok := s.submissions.Get().(*submission)
	if !ok {
		sub = &submission{done: make(chan error, 1)}
	}
	sub.head, sub.meta, sub.body = head, meta, body
	sub.brief = brief{
		accepted: toNano(env.Accepted), size: d.size, prefix: len(env.Prefix), deadline: noTime, notBefore: noTime,
		sender: turnOf(env), priority: int8(env.Priority), hold: env.Hold, shares: shares,
	}
	if env.DeliverBy != nil {
		sub.brief.deadline = toNano(env.DeliverBy.Deadline)
	}
	if env.NotBefore.After(env.Accepted) {
		sub.brief.notBefore = toNano(env.NotBefore)
	}
	sub.key, sub.settles, sub.durable = env.Key, with.settles, s.accept
	if with.stood != nil {
		sub.durable = func(sub *submission, w *wakes) { s.acceptAs(sub, with.stood, of, w) }
	}
	return sub, nil
}

// commit writes a record and those before it, and waits until they are durable.
func (s *Store) commit(sub *submission) error {
	err := s.submit(sub)
	if err == nil {
		err = <-sub.done
	}
	for _, b := range sub.before {
		s.recycle(b)
	}
	s.recycle(sub)
	return err
}

// recycle keeps a submission for the next one. Nobody has it any more.
func (s *Store) recycle(sub *submission) {
	metas.put(sub.meta)
	*sub = submission{done: sub.done}
	s.submissions.Put(sub)
}

// finishFile makes a big body and its entry durable, before the record that
// names it.
func (d *draft) finishFile() error {
	if d.buffered() > 0 {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if err := d.file.Sync(); err != nil {
		return d.store.diskError("sync", err)
	}
	if err := d.store.fs.SyncDir(bigDir); err != nil {
		return d.store.diskError("sync", err)
	}
	if err := d.file.Named(); err != nil {
		return d.store.diskError("find", err)
	}
	return nil
}

// makeBig makes the folder of big bodies again, after somebody has removed it.
func (s *Store) makeBig() error {
	if err := s.fs.Prepare(disk.MakeNothing); err != nil {
		return err
	}
	if err := s.fs.Mkdir(bigDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.fs.SyncDir(".")
}

// accept takes a message into the index once it is durable. Store.mu is held,
// and journal.mu where it settles something.
func (s *Store) accept(sub *submission, w *wakes) { s.acceptAs(sub, nil, nil, w) }

// acceptAs is accept of a message that stood like this in another store; nil:
// it is new. of are the shares of its recipients.
func (s *Store) acceptAs(sub *submission, stood *snapshot, of []int, w *wakes) {
	h := s.ix.add(sub.head.id, &sub.brief, sub.at, sub.head.metaLen, sub.head.flags&flagBig != 0)
	s.count(sub.at.segment, 1, s.weight(&sub.head, sub.brief.size))
	if sub.key != nil {
		k := recorded(sub.key, sub.head.id, sub.at)
		s.remember(&k)
	}
	if stood != nil {
		ev := event{id: sub.head.id, brief: sub.brief}
		ev.setSnapshot(stood, of)
		for i := range ev.shares {
			s.replayChange(ev.id, recMessage, sub.at, &ev.shares[i])
		}
	}
	for ; h != 0; h = s.ix.entry(h).next {
		if s.ix.entry(h).pending > 0 {
			w.add(s.ix.enqueue(h), s.ix.entry(h).due)
		}
	}
	if set := sub.settles; set != nil {
		for i := range set.changes {
			ch := &set.changes[i]
			if h, e := s.ix.find(set.id, ch.share); h != 0 && e.is(settling) {
				s.applySettled(&spool.Delivery{ID: set.id, Share: ch.share}, ch, sub.at, w)
			}
		}
		set.over = s.ix.byID[set.id] == 0
		s.poke(s.tidy) // it can be copied forward again
	}
}

// Notify implements spool.Store. The record of the last notice tells what is
// settled. Those of the others stand before it, and count only together with it.
func (s *Store) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (settled spool.Settled, err error) {
	set, over, err := s.beginSettling(ends)
	if err == nil && len(notices) == 0 {
		err = fmt.Errorf("%w: no notice", spool.ErrInvalid)
	}
	var before []*submission
	for i := range notices {
		d, ok := notices[i].Draft.(*draft)
		switch {
		case !ok || d.store != s || notices[i].Envelope.Key != nil:
			err = cmp.Or(err, fmt.Errorf("%w: a draft of another store, or a notice with a key", spool.ErrInvalid))
			fallthrough
		case err != nil || set == nil:
			notices[i].Draft.Discard()
		case i < len(notices)-1:
			var sub *submission
			if sub, err = d.begin(ctx, notices[i].Envelope, besides{}); err == nil {
				sub.head.flags |= flagMore
				if i > 0 {
					sub.head.flags |= flagRest
				}
				before = append(before, sub)
			}
			defer func() { d.ended(err) }()
		default:
			err = d.end(ctx, notices[i].Envelope, before, besides{settles: set})
		}
	}
	switch {
	case err == nil && set == nil:
		return spool.Settled{Over: over, Before: true}, nil
	case err != nil && set != nil:
		s.notSettled(ends)
	}
	return spool.Settled{Over: err == nil && set.over}, err
}

// beginSettling prepares what a record says about claimed shares. Until that is
// durable or has failed, their message isn't copied forward: the copy would lie
// behind the notice and not tell of it. nil: all were settled before, and over
// tells whether nothing of the message is owed.
func (s *Store) beginSettling(ends []spool.Ending) (_ *settles, over bool, err error) {
	for i := range ends {
		d, outs := ends[i].Delivery, ends[i].Settlement.Outcomes
		if n := len(outs); n != 0 && n != len(d.Pending) {
			return nil, false, fmt.Errorf("%w: %d outcomes for %d recipients", spool.ErrInvalid, n, len(d.Pending))
		}
		for _, e := range ends[:i] {
			if d.ID != e.Delivery.ID || d.Share == e.Delivery.Share {
				return nil, false, fmt.Errorf("%w: a notice about two messages, or one claim twice", spool.ErrInvalid)
			}
		}
	}
	if len(ends) == 0 {
		return nil, false, fmt.Errorf("%w: a notice about no claim", spool.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := 0
	for i := range ends {
		h, e := s.ix.claimedBy(ends[i].Delivery)
		if h == 0 {
			if err := s.ix.unclaimed(ends[i].Delivery); err != nil {
				return nil, false, err
			}
			before++
		} else if e.is(settling) {
			return nil, false, spool.ErrClaimed
		}
	}
	id := ends[0].Delivery.ID
	switch before {
	case 0:
	case len(ends):
		return nil, s.ix.byID[id] == 0, nil
	default:
		return nil, false, spool.ErrLost
	}
	set := &settles{id: id}
	for i := range ends {
		h, e := s.ix.claimedBy(ends[i].Delivery)
		e.set(settling, true)
		set.changes = append(set.changes, s.settled(h, e, ends[i].Delivery, &ends[i].Settlement))
	}
	return set, false, nil
}

func (s *Store) notSettled(ends []spool.Ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ends {
		if h, e := s.ix.claimedBy(ends[i].Delivery); h != 0 {
			e.set(settling, false)
		}
	}
	s.poke(s.tidy)
}

// Discard implements Draft.
func (d *draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	freeChunks(d.chunks)
	d.chunks = nil
	if d.file != nil {
		d.file.Close()
		d.unlink()
	}
}

// unlink removes the file of a body that belongs to no message.
func (d *draft) unlink() {
	s := d.store
	if err := s.fs.Remove(bodyName(d.id)); err == nil || errors.Is(err, fs.ErrNotExist) {
		s.mu.Lock()
		s.disk -= d.synced
		s.mu.Unlock()
	}
}

// diskError marks an error of a full disk as ErrFull.
func (s *Store) diskError(operation string, err error) error {
	s.ev(&WriteFailed{0, operation, err})
	if disk.IsFull(err) {
		return errors.Join(spool.ErrFull, err)
	}
	return err
}

// bufferPool keeps buffers for meta parts.
type bufferPool struct{ pool sync.Pool }

var metas bufferPool

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 512)
}

func (p *bufferPool) put(b []byte) {
	if cap(b) <= 64<<10 {
		p.pool.Put(&b)
	}
}
