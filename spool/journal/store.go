package journal

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

var _ spool.Store = (*Store)(nil)

// Store is a spool on a local disk. Its methods may be called concurrently.
//
// Locks are taken in this order: journal.mu, Store.mu. Neither is held
// while the disk syncs, except where a segment begins.
type Store struct {
	opts Options
	fs   disk.FS
	ev   func(Event)
	told Committed // the last that was told, so that telling allocates nothing; the committer has it
	lock io.Closer // nil: opened for reading only
	// strayed: files were found to have lost their names. journal.mu guards it.
	strayed bool
	failing error // why the journal is broken; nil: it is not. mu guards it
	report  Recovery

	readOnly bool

	lastID atomic.Uint64
	full   atomic.Bool
	short  atomic.Bool // the disk refused a write for want of room, whatever the limits say

	retiring atomic.Bool // the committer shall begin a new segment

	room    roomCheck
	setting sync.Mutex // one goroutine sets aside at a time

	submissions sync.Pool // of *submission

	batch     [][]byte                   // what the committer is writing
	batchKeys map[spool.KeyName]struct{} // of it
	j         journal
	retryAt   time.Time // when a failed journal is tried again; guarded by journal.mu
	closed    bool      // nothing more is written; guarded by journal.mu
	tail      tail      // the end of the segment before ours
	began     int64     // when the process began, Unix time in seconds

	mu       sync.Mutex // guards what follows
	ix       *index
	keys     keys
	segs     []*segment // in order
	bySeg    map[uint32]*segment
	disk     int64 // bytes in segments and bodies
	setAside int
	stuck    bool          // a removal may not be durable: no segment is reclaimed any more
	stalled  time.Time     // when there was no room to copy forward; the keeper alone has it
	bodies   []settledBody // big bodies to be removed
	onWork   func(string, time.Time)
	// unreadTold is when it was last told that the disk fails to read.
	unreadTold time.Time

	waitMu  sync.Mutex // guards what follows
	waiting []*submission
	closing bool

	kick, dirty, tidy chan struct{}
	stop              chan struct{}
	running           sync.WaitGroup // committer
	tidying           sync.WaitGroup // keeper
}

// tail is the end of the segment that the last run was writing.
type tail struct{ num, end uint32 }

// settledBody is the file of a message that is settled. It goes once the record
// that says so is durable, so that no message is ever found without its body.
type settledBody struct {
	id      spool.ID
	size    int64
	after   uint64 // number of that record, of journal.appended
	durable bool
}

func newStore(opts Options) *Store {
	opts = opts.withDefaults()
	s := &Store{
		opts: opts, fs: opts.FS, ev: opts.Events, ix: newIndex(), bySeg: map[uint32]*segment{},
		kick: make(chan struct{}, 1), dirty: make(chan struct{}, 1), tidy: make(chan struct{}, 1),
		stop: make(chan struct{}), began: time.Now().Unix(),
		batchKeys: map[spool.KeyName]struct{}{}, keys: keys{most: opts.MaxKeys, shares: map[uint32]int{}},
	}
	return s
}

// Recovery reports what was found when the spool was opened.
func (s *Store) Recovery() Recovery { return s.report }

// Usage implements spool.Store. It asks the disk for its free space.
func (s *Store) Usage(ctx context.Context) (spool.Usage, error) {
	if err := ctx.Err(); err != nil {
		return spool.Usage{}, err
	}
	free, err := s.fs.Free()
	if err != nil {
		free = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage(free), nil
}

// usage is Usage with Store.mu held.
func (s *Store) usage(free int64) spool.Usage {
	u := spool.Usage{
		Disk: s.disk, Segments: len(s.segs), Messages: len(s.ix.byID), Shares: s.ix.shares, Kept: s.ix.kept, Free: free,
		MaxSize: s.opts.MaxSize, MinFree: s.opts.MinFree, MaxMessages: s.opts.MaxMessages, Full: s.full.Load() || s.short.Load(), SetAside: s.setAside, Failing: s.failing,
	}
	for _, g := range s.segs {
		u.Live += g.liveBytes
	}
	return u
}

// OnWork sets whom to tell that a share became due earlier than anything
// before it for its upstream. It is called at once for every upstream with
// work, and later from several goroutines, without locks held; wake must not
// block. Set it once, before use.
func (s *Store) OnWork(wake func(upstream string, due time.Time)) {
	var w wakes
	s.mu.Lock()
	s.onWork = wake
	for _, l := range s.ix.lanes {
		if due, ok := s.ix.nextDue(l); ok {
			w.add(l, due)
		}
	}
	s.mu.Unlock()
	w.call(s)
}

// NextDue implements spool.Store.
func (s *Store) NextDue(ctx context.Context, upstream string) (time.Time, bool, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ix.lanes[upstream]
	if l == nil {
		return time.Time{}, false, nil
	}
	due, ok := s.ix.nextDue(l)
	return toTime(due), ok, nil
}

// Lanes implements spool.Store.
func (s *Store) Lanes(ctx context.Context) (map[string]spool.LaneState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lanes := map[string]spool.LaneState{}
	for name, l := range s.ix.lanes {
		if l.shares == 0 {
			continue
		}
		state := spool.LaneState{Shares: l.shares}
		if due, ok := s.ix.nextBegun(l); ok {
			state.Due = toTime(due)
		}
		if at, ok := s.ix.nextScheduled(l); ok {
			state.Scheduled = toTime(at)
		}
		lanes[name] = state
	}
	return lanes, nil
}

// weight is what a message occupies on the disk, in bytes.
func (s *Store) weight(h *header, size int64) int64 {
	if h.flags&flagBig != 0 {
		return h.size() + size
	}
	return h.size()
}

// entryWeight is weight for a message in the index.
func entryWeight(e *entry) int64 { return headerSize + int64(e.metaLen) + e.body() }

// count adds to what lives in a segment. Store.mu is held.
func (s *Store) count(segment uint32, messages int, bytes int64) {
	if g := s.bySeg[segment]; g != nil {
		g.live += messages
		g.liveBytes += bytes
	}
}

// forget drops from the accounts a message that leaves the index by the
// record that was appended last. Both locks are held.
func (s *Store) forget(e *entry) {
	s.count(e.at.segment, -1, -entryWeight(e))
	if e.is(big) {
		s.bodies = append(s.bodies, settledBody{id: e.id, size: e.body(), after: s.j.appended})
	}
	if g := s.bySeg[e.at.segment]; g != nil && g.live == 0 && g == s.segs[0] {
		s.poke(s.tidy)
	}
}

// markBodies marks the bodies of messages whose last record has just become
// durable. journal.mu is held.
func (s *Store) markBodies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.bodies {
		if d := &s.bodies[i]; !d.durable && d.after <= s.j.settled {
			d.durable = true
			s.poke(s.tidy)
		}
	}
}

// removeBodies removes the bodies that markBodies marked.
func (s *Store) removeBodies() {
	s.mu.Lock()
	var gone []settledBody
	s.bodies = slices.DeleteFunc(s.bodies, func(d settledBody) bool {
		if d.durable {
			gone = append(gone, d)
		}
		return d.durable
	})
	s.mu.Unlock()
	for _, d := range gone {
		err := s.fs.Remove(bodyName(d.id))
		s.mu.Lock()
		if err == nil {
			s.disk -= d.size
		} else if !disk.RemovesOpen {
			s.bodies = append(s.bodies, d) // somebody still reads it
		}
		s.mu.Unlock()
	}
}
