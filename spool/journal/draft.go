package journal

import (
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
	return d.end(ctx, env, nil)
}

// end is Commit; set is what the record says about another message, or nil.
func (d *draft) end(ctx context.Context, env *spool.Envelope, set *settles) error {
	if d.over {
		return errOver
	}
	d.over = true
	err := d.err
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = d.commit(env, set)
	}
	freeChunks(d.chunks)
	d.chunks = nil
	if d.file != nil {
		d.file.Close()
		if err != nil && !errors.Is(err, errUncertain) {
			d.unlink() // otherwise a start sweeps it, or finds the message whole
		}
	}
	return err
}

func (d *draft) commit(env *spool.Envelope, set *settles) error {
	s := d.store
	shares, of := split(env.Recipients)
	if err := check(env, shares); err != nil {
		return err
	}
	if s.noRoom() {
		return spool.ErrFull
	}
	if env.Key != nil {
		if err := s.Known(context.Background(), env.Key); err != nil {
			return err // before a large body is synced
		}
	}
	head := header{kind: recMessage, id: d.id, bodyCRC: d.crc}
	body := d.chunks
	if d.file != nil {
		if err := d.finishFile(); err != nil {
			return err
		}
		head.flags, body = flagBig, nil
	} else {
		head.bodyLen = uint32(d.size)
	}
	meta := appendEnvelope(metas.get(), env, d.size, shares, of, set)
	defer metas.put(meta)
	head.metaLen, head.metaCRC = uint32(len(meta)), checksum(meta)
	sub, ok := s.submissions.Get().(*submission)
	if !ok {
		sub = &submission{done: make(chan error, 1)}
	}
	sub.head, sub.meta, sub.body = head, meta, body
	sub.brief = brief{
		accepted: toNano(env.Accepted), size: d.size, prefix: len(env.Prefix), deadline: noTime,
		sender: turnOf(env), priority: int8(env.Priority), hold: env.Hold, shares: shares,
	}
	if env.DeliverBy != nil {
		sub.brief.deadline = toNano(env.DeliverBy.Deadline)
	}
	sub.key, sub.settles, sub.durable = env.Key, set, s.accept
	if err := s.submit(sub); err != nil {
		return err
	}
	err := <-sub.done
	*sub = submission{done: sub.done}
	s.submissions.Put(sub)
	return err
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
func (s *Store) accept(sub *submission, w *wakes) {
	h := s.ix.add(sub.head.id, &sub.brief, sub.at, sub.head.metaLen, sub.head.flags&flagBig != 0)
	s.count(sub.at.segment, 1, s.weight(&sub.head, sub.brief.size))
	if sub.key != nil {
		k := recorded(sub.key, sub.head.id, sub.at)
		s.remember(&k)
	}
	for ; h != 0; h = s.ix.entry(h).next {
		w.add(s.ix.enqueue(h), s.ix.entry(h).due)
	}
	if set := sub.settles; set != nil {
		for i := range set.changes {
			ch := &set.changes[i]
			if h, e := s.ix.find(set.id, ch.share); h != 0 && e.is(settling) {
				s.applySettled(&spool.Delivery{ID: set.id, Share: ch.share}, ch, sub.at, w)
			}
		}
		s.poke(s.tidy) // it can be copied forward again
	}
}

// Notify implements spool.Store: one record holds the message and what it
// settles.
func (s *Store) Notify(ctx context.Context, d spool.Draft, env *spool.Envelope, ends ...spool.Ending) error {
	own, ok := d.(*draft)
	if !ok || own.store != s {
		d.Discard()
		return fmt.Errorf("%w: a draft of another store", spool.ErrInvalid)
	}
	set, err := s.beginSettling(ends)
	if err != nil {
		own.Discard()
		return err
	}
	if err = own.end(ctx, env, set); err != nil {
		s.notSettled(ends)
	}
	return err
}

// beginSettling prepares what the record of a notice says about claimed
// shares; nil where there are none. Until that is durable or has failed, their
// message isn't copied forward: the copy would lie behind the notice and not
// tell of it.
func (s *Store) beginSettling(ends []spool.Ending) (*settles, error) {
	for i := range ends {
		d, outs := ends[i].Delivery, ends[i].Settlement.Outcomes
		if n := len(outs); n != 0 && n != len(d.Pending) {
			return nil, fmt.Errorf("%w: %d outcomes for %d recipients", spool.ErrInvalid, n, len(d.Pending))
		}
		for _, e := range ends[:i] {
			if d.ID != e.Delivery.ID || d.Share == e.Delivery.Share {
				return nil, fmt.Errorf("%w: a notice about two messages, or one claim twice", spool.ErrInvalid)
			}
		}
	}
	if len(ends) == 0 {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ends {
		switch h, e := s.ix.claimedBy(ends[i].Delivery); {
		case h == 0:
			return nil, spool.ErrLost
		case e.is(settling):
			return nil, spool.ErrClaimed
		}
	}
	set := &settles{id: ends[0].Delivery.ID}
	for i := range ends {
		h, e := s.ix.claimedBy(ends[i].Delivery)
		e.set(settling, true)
		set.changes = append(set.changes, s.settled(h, e, ends[i].Delivery, &ends[i].Settlement))
	}
	return set, nil
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
