package journal

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"postern/spool"
)

var errBroken = errors.New("the disk failed, and the journal cannot be continued yet")

// errUncertain marks the refusal of a message that a start may yet find: it
// was written, and the disk took no note of the refusal.
var errUncertain = errors.New("what was written may still be found")

// maxBatch is how many bytes one write and sync carries at most, so that
// nobody waits for all the others' large messages.
const maxBatch = 8 << 20

// syncWithin is how long a record about a share may wait for its sync.
const syncWithin = 20 * time.Millisecond

// retryAfter is how long a failing disk is left alone.
const retryAfter = time.Second

// submission is a message record on its way through the committer.
type submission struct {
	head  header
	frame [headerSize]byte
	meta  []byte
	body  [][]byte
	brief brief
	at    place
	// key is that of the message; nil: it has none. refused is why it isn't
	// written on account of that.
	key     *spool.Key
	refused error
	// settles is what the record says about another message; nil: nothing.
	settles *settles
	// before are written just before it: all of them count together, or none.
	before []*submission
	// prepare fills the rest in at the last moment, with journal.mu held;
	// false: there is nothing to write any more. It may be nil.
	prepare func(*submission) bool
	// durable is called once the record is durable, with Store.mu held, and
	// journal.mu too where it settles something.
	durable func(*submission, *wakes)
	skipped bool
	done    chan error // receives once
}

// submit hands a submission to the committer; its answer comes through done.
func (s *Store) submit(sub *submission) error {
	s.waitMu.Lock()
	if s.closing {
		s.waitMu.Unlock()
		return spool.ErrClosed
	}
	s.waiting = append(s.waiting, sub)
	s.waitMu.Unlock()
	s.poke(s.kick)
	return nil
}

// poke wakes the one goroutine that listens to c.
func (s *Store) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// committer is the goroutine that alone writes messages, syncs, and begins
// segments. It takes everything that waits, writes it with one call, syncs
// once, and answers everybody.
func (s *Store) committer() {
	defer s.running.Done()
	timer := time.NewTimer(0)
	<-timer.C
	armed := false
	var batch []*submission
	for {
		select {
		case <-s.kick:
		case <-s.dirty:
			if !armed {
				timer.Reset(syncWithin)
				armed = true
			}
			continue
		case <-timer.C:
			if armed = !s.syncOwed(); armed {
				timer.Reset(retryAfter)
			}
		}
		// Whoever can run now may have something to add: a commit is dear.
		runtime.Gosched()
		s.waitMu.Lock()
		batch, s.waiting = s.waiting, batch[:0]
		ending := s.closing
		s.waitMu.Unlock()
		if s.retiring.Swap(false) {
			s.j.mu.Lock()
			if s.reopen() == nil && s.j.frontier > segmentStart {
				s.roll()
			}
			s.j.mu.Unlock()
		}
		for rest := batch; len(rest) > 0; {
			rest = rest[s.commitSome(rest):]
		}
		clear(batch)
		if ending {
			timer.Stop()
			s.syncOwed()
			return
		}
	}
}

// commitSome writes and syncs as many of rest as fit one write, answers
// them, and returns how many they were.
func (s *Store) commitSome(rest []*submission) int {
	began := time.Now()
	s.j.mu.Lock()
	n, bytes, err := s.allot(rest)
	seg, off := s.j.seg, s.j.frontier-bytes
	s.j.mu.Unlock()
	if err == nil && bytes > 0 {
		if err = s.writeBatch(seg, off, bytes); err == nil {
			err = s.sync(seg, off+bytes)
		}
	}
	var w wakes
	messages := 0
	if err == nil {
		messages = s.committed(rest[:n], &w)
	}
	for _, sub := range rest[:n] {
		if sub.refused != nil {
			sub.done <- sub.refused
		} else {
			sub.done <- err
		}
	}
	w.call(s)
	if err == nil {
		s.told = Committed{messages, bytes, time.Since(began)}
		s.ev(&s.told)
	}
	return n
}

// committed makes the index say what the records of a batch say, and returns
// how many they are.
func (s *Store) committed(batch []*submission, w *wakes) (messages int) {
	if slices.ContainsFunc(batch, func(sub *submission) bool { return sub.settles != nil }) {
		s.j.mu.Lock()
		defer s.j.mu.Unlock()
		defer s.markBodies() // a message may have ended by a record that is durable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range batch {
		if sub.skipped {
			continue
		}
		for _, b := range sub.before {
			b.durable(b, w)
		}
		sub.durable(sub, w)
		messages += 1 + len(sub.before)
	}
	return messages
}

// allot gives the first of rest that fit the segment their places in it.
// journal.mu is held. n is at least 1, also with an error, which is about
// those n.
func (s *Store) allot(rest []*submission) (n int, bytes int64, err error) {
	j := &s.j
	if err := s.reopen(); err != nil {
		return len(rest), 0, err
	}
	s.batch = s.batch[:0]
	clear(s.batchKeys)
	room := s.opts.SegmentSize - j.frontier
	for _, sub := range rest {
		if sub.prepare == nil && s.short.Load() {
			if n == 0 {
				return 1, 0, spool.ErrFull
			}
			break
		}
		if sub.key != nil && !s.admitKey(sub) {
			break
		}
		if sub.refused != nil || sub.prepare != nil && !sub.prepare(sub) {
			sub.skipped = true
			n++
			continue
		}
		size := sub.size()
		if bytes > 0 && (bytes+size > room || bytes+size > maxBatch) {
			break
		}
		if bytes == 0 && size > room && j.frontier > segmentStart {
			if err := s.roll(); err != nil {
				return max(n, 1), 0, err
			}
			if sub.prepare == nil && s.short.Load() {
				return max(n, 1), 0, spool.ErrFull
			}
			room = s.opts.SegmentSize - j.frontier
		}
		for _, b := range sub.before {
			bytes += s.lay(b, j.frontier+bytes)
		}
		bytes += s.lay(sub, j.frontier+bytes)
		n++
	}
	j.frontier += bytes
	return n, bytes, nil
}

// lay adds a record to Store.batch, for its place at off, and returns its size.
// journal.mu is held.
func (s *Store) lay(sub *submission, off int64) int64 {
	j := &s.j
	sub.head.mark, sub.head.segment, sub.head.durable = j.seg.mark, j.seg.num, uint32(j.durable)
	sub.head.encode(sub.frame[:])
	sub.at = place{j.seg.num, uint32(off)}
	s.batch = append(append(s.batch, sub.frame[:], sub.meta), sub.body...)
	return sub.head.size()
}

// size is that of all records that count together with it, in bytes.
func (sub *submission) size() int64 {
	n := sub.head.size()
	for _, b := range sub.before {
		n += b.head.size()
	}
	return n
}

// pieceSize is how many bytes of a batch are written at once, so that records
// about shares needn't wait for all of it: the system lets one write at a time
// into a file.
const pieceSize = 64 << 10

// writeBatch writes what is in Store.batch to the place that was reserved for
// it, and zeros ahead of it. journal.mu is not held: records about shares are
// written behind it meanwhile.
func (s *Store) writeBatch(seg *segment, off, bytes int64) error {
	var wrote int64
	var err error
	for rest := s.batch; len(rest) > 0 && err == nil; {
		k, n := 0, int64(0)
		for k < len(rest) && (k == 0 || n+int64(len(rest[k])) <= pieceSize) {
			n += int64(len(rest[k]))
			k++
		}
		var w int64
		w, err = seg.file.WriteVec(rest[:k], off+wrote)
		if wrote += w; w == n {
			err = nil
		} else if err == nil {
			err = io.ErrShortWrite
		}
		rest = rest[k:]
	}
	clear(s.batch)
	if err == nil {
		s.j.mu.Lock()
		s.grow(&s.j, off+bytes)
		s.j.mu.Unlock()
		if bytes < zeroLimit {
			s.writeAhead()
		}
		return nil
	}
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	if s.j.frontier == off+bytes {
		s.j.frontier = off // nothing was written behind it
	}
	if err = s.writeFailed(off, wrote, err); s.j.broken && s.reopen() != nil {
		// Otherwise it is told only after the journal goes on elsewhere, and
		// says there that these were not accepted.
		err = fmt.Errorf("%w: %w", errUncertain, err)
	}
	return err
}

// sync makes the segment durable up to end. After a failure the segment is
// given up: nothing is written to it again, and the journal goes on in a new
// one. errUncertain: not even that could be done.
func (s *Store) sync(seg *segment, end int64) error {
	operation, err := "sync", seg.file.Sync()
	strayed := false
	if err == nil {
		if err = seg.file.Named(); err != nil {
			operation, strayed = "find", true
		} else if err = s.lockNamed(); err != nil {
			operation = "find"
		}
	}
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	s.strayed = s.strayed || strayed
	if err == nil && s.j.broken {
		// Somebody else's write or sync failed meanwhile. The system reports
		// that data was lost to one caller only, so our success says nothing.
		err = errBroken
	}
	if err == nil {
		s.j.paid(end)
		s.markBodies()
		return nil
	}
	s.giveUp(operation, err)
	s.retryAt = time.Time{}
	if s.reopen() != nil {
		err = fmt.Errorf("%w: %w", errUncertain, err)
	}
	return fmt.Errorf("journal: %w", err)
}

// giveUp notes that nothing more may be written to the current segment, as
// what was written to it may be lost. journal.mu is held.
func (s *Store) giveUp(operation string, err error) {
	s.breaks(err)
	s.mu.Lock()
	s.j.seg.suspect = true
	s.mu.Unlock()
	s.ev(&WriteFailed{s.j.seg.num, operation, err})
}

// breaks notes that the journal can't go on in the current segment, for
// whoever asks how the spool is. journal.mu is held.
func (s *Store) breaks(err error) {
	s.j.broken = true
	s.mu.Lock()
	s.failing = err
	s.mu.Unlock()
}

// syncOwed syncs records about shares that nothing else has synced; false: it
// has to be tried again.
func (s *Store) syncOwed() bool {
	s.j.mu.Lock()
	if len(s.j.owed) == 0 {
		s.j.mu.Unlock()
		return true
	}
	if s.reopen() != nil {
		s.j.mu.Unlock()
		return false
	}
	seg, end := s.j.seg, s.j.frontier
	s.j.mu.Unlock()
	return s.sync(seg, end) == nil
}

// wakes collects whom OnWork has to tell.
type wakes struct{ lanes []wakeup }

type wakeup struct {
	upstream string
	due      int64
}

func (w *wakes) add(l *lane, due int64) {
	if l != nil {
		w.lanes = append(w.lanes, wakeup{l.name, due})
	}
}

// call tells them, without locks held.
func (w *wakes) call(s *Store) {
	if s.onWork == nil {
		return
	}
	for _, l := range w.lanes {
		s.onWork(l.upstream, toTime(l.due))
	}
}
