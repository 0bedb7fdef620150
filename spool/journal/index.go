package journal

import (
	"math"
	"math/rand/v2"

	"postern/spool"
)

// index is what is known of every share without reading the disk: about a
// hundred bytes for a message with one share, and no envelope and no body. It
// is not safe for concurrent use; Store.mu guards it.
type index struct {
	slabs  []*slab
	fresh  handle              // the first that was never used
	spare  handle              // head of the free list, through next
	byID   map[spool.ID]handle // first share of each message
	shares int                 // that have recipients pending: each is claimed, waits in a heap, or is held
	lists  []list              // interned failover lists
	byList map[string]uint32   // by listKey
	lanes  map[string]*lane    // by upstream to be tried next

	now     int64 // of the last claim, Unix time in nanoseconds
	claimed int   // shares
	// claims are the numbers of the claims that were not settled, also of those
	// whose message was set aside. They are unique together with epoch.
	claims    map[claimKey]uint64
	lastClaim uint64
	epoch     uint64        // of this process; random
	kept      int           // shares, claimed or not
	waiting   map[int64]int // shares in heaps, by tallyStep of their due time; no zeros
	asked     map[int64]int // of them, those that are scheduled

	// What only few messages have.
	ended     map[handle][]uint64 // bit set of recipients, by index in the envelope, that ended before the share did
	deadlines map[spool.ID]int64  // of RFC 2852, Unix time in nanoseconds
	notBefore map[spool.ID]int64  // before which they aren't due, Unix time in nanoseconds
}

// claimKey names a share.
type claimKey struct {
	id    spool.ID
	share uint16
}

// handle names an entry. 0 is none.
type handle uint32

const slabSize = 4096

// slab is memory for entries, outside of what the garbage collector counts
// where the system allows it: it lets the heap grow to twice what is in use,
// which is too much where that is a million entries. An entry is good as long
// as its index is; Store.mu, which is released after its use, sees to that.
type slab [slabSize]entry

// entry is one share. Entries hold no pointers, so that a million of them
// cost the garbage collector nothing.
type entry struct {
	id       spool.ID
	accepted int64  // Unix time in nanoseconds
	due      int64  // Unix time in nanoseconds
	sizes    uint64 // bytes of the body, and in the lowest bits of the prefix
	at       place  // the message's record
	last     place  // the share's newest settle record
	metaLen  uint32
	list     uint32 // index into lists
	sender   uint32 // whose turn it takes; see turnOf
	pending  uint32 // recipients still owed
	next     handle // next share of the message, or of the free list
	slot     int32  // position in its heap; -1: in none
	attempts uint16
	share    uint16
	failover uint8
	priority int8
	flags    entryFlags
}

type entryFlags uint16

const (
	held entryFlags = 1 << iota
	warned
	inDoubt
	claimed
	counted   // the claim under way is an attempt
	dotted    // its final dot may have gone out
	big       // the body is in big/
	ripe      // it waits in its sender's turn
	kept      // held because it failed
	settling  // a message is being committed that settles it
	scheduled // it waits, and waits for its NotBefore
)

// prefixBits is how many bits a number up to maxPrefix takes; maxBody leaves
// them.
const prefixBits = 17

// body and prefix are the sizes of the two parts of the content in bytes, and
// content is that of both.
func (e *entry) body() int64    { return int64(e.sizes >> prefixBits) }
func (e *entry) prefix() int64  { return int64(e.sizes & (1<<prefixBits - 1)) }
func (e *entry) content() int64 { return e.body() + e.prefix() }

func (e *entry) is(f entryFlags) bool { return e.flags&f != 0 }

func (e *entry) set(f entryFlags, on bool) {
	if on {
		e.flags |= f
	} else {
		e.flags &^= f
	}
}

// list is an interned failover list.
type list struct {
	key       string
	upstreams []string
	lanes     []*lane // of each upstream
}

func newIndex() *index {
	return &index{
		fresh: 1, // 0 stays unused
		byID:  map[spool.ID]handle{}, byList: map[string]uint32{}, lanes: map[string]*lane{}, waiting: map[int64]int{}, asked: map[int64]int{},
		ended: map[handle][]uint64{}, deadlines: map[spool.ID]int64{}, notBefore: map[spool.ID]int64{},
		claims: map[claimKey]uint64{}, epoch: rand.Uint64() | 1,
	}
}

func (x *index) entry(h handle) *entry { return &x.slabs[h/slabSize][h%slabSize] }

func (x *index) alloc() (handle, *entry) {
	h := x.spare
	if h == 0 {
		h = x.fresh
		x.fresh++
		if int(h/slabSize) == len(x.slabs) {
			x.slabs = append(x.slabs, newSlab(x))
		}
	}
	e := x.entry(h)
	x.spare = e.next // 0 in a fresh one
	*e = entry{slot: -1}
	return h, e
}

// intern returns the number of a failover list. The names are copied, as
// they may be parts of a whole envelope.
func (x *index) intern(upstreams []string) uint32 {
	key := listKey(upstreams)
	if n, ok := x.byList[key]; ok {
		return n
	}
	l := list{}
	for _, u := range upstreams {
		ln := x.lanes[u]
		if ln == nil {
			ln = &lane{name: string([]byte(u)), told: math.MaxInt64}
			x.lanes[ln.name] = ln
		}
		l.upstreams = append(l.upstreams, ln.name)
		l.lanes = append(l.lanes, ln)
	}
	l.key = listKey(l.upstreams)
	n := uint32(len(x.lists))
	x.lists = append(x.lists, l)
	x.byList[l.key] = n
	return n
}

func (x *index) lane(e *entry) *lane { return x.lists[e.list].lanes[e.failover] }

// add puts a message into the index, its shares not yet queued. It returns
// the first share.
func (x *index) add(id spool.ID, br *brief, at place, metaLen uint32, isBig bool) handle {
	var first, prev handle
	for i, s := range br.shares {
		h, e := x.alloc()
		e.id, e.accepted, e.due = id, br.accepted, max(br.accepted, br.notBefore)
		e.sizes = uint64(br.size)<<prefixBits | uint64(br.prefix)
		e.at, e.metaLen, e.share, e.priority = at, metaLen, uint16(i), br.priority
		e.list, e.sender, e.pending = x.intern(s.upstreams), br.sender, uint32(s.recipients)
		e.set(held, br.hold)
		e.set(big, isBig)
		if prev == 0 {
			first = h
		} else {
			x.entry(prev).next = h
		}
		prev = h
		x.lane(e).shares++
		x.shares++
	}
	x.byID[id] = first
	if br.deadline != noTime {
		x.deadlines[id] = br.deadline
	}
	if br.notBefore != noTime {
		x.notBefore[id] = br.notBefore
	}
	return first
}

// find returns one share of a message.
func (x *index) find(id spool.ID, share int) (handle, *entry) {
	for h := x.byID[id]; h != 0; {
		e := x.entry(h)
		if int(e.share) == share {
			return h, e
		}
		h = e.next
	}
	return 0, nil
}

// finish ends a share of which nothing is pending any more. It stays known,
// for Detail, until its message has no other; gone: so it was, and the
// message is out of the index.
func (x *index) finish(h handle) (gone bool) {
	e := x.entry(h)
	x.unqueue(h)
	x.keep(e, false)
	x.lane(e).shares--
	x.shares--
	e.pending = 0
	delete(x.ended, h)
	for o := x.byID[e.id]; o != 0; o = x.entry(o).next {
		if x.entry(o).pending > 0 {
			return false
		}
	}
	x.drop(e.id)
	return true
}

// drop takes a whole message out.
func (x *index) drop(id spool.ID) {
	for h := x.byID[id]; h != 0; {
		e := x.entry(h)
		if e.pending > 0 {
			x.unqueue(h)
			x.orphan(e)
			x.keep(e, false)
			x.lane(e).shares--
			x.shares--
			delete(x.ended, h)
		}
		next := e.next
		*e = entry{next: x.spare, slot: -1}
		x.spare, h = h, next
	}
	delete(x.byID, id)
	delete(x.deadlines, id)
	delete(x.notBefore, id)
}

// state is how a share stands, as its records tell it.
func (e *entry) state() state {
	return state{
		attempts: e.attempts, failover: e.failover, due: e.due,
		held: e.is(held), warned: e.is(warned), inDoubt: e.is(inDoubt), kept: e.is(kept),
	}
}

// setState makes a share that is in no heap, and not finished, stand as a
// record tells it.
func (x *index) setState(e *entry, s state) {
	x.lane(e).shares--
	e.attempts, e.due = s.attempts, s.due
	if at, has := x.notBefore[e.id]; has {
		e.due = max(e.due, at)
	}
	e.failover = s.failover
	if int(e.failover) >= len(x.lists[e.list].lanes) {
		e.failover = 0
	}
	e.set(held, s.held)
	e.set(warned, s.warned)
	e.set(inDoubt, s.inDoubt)
	x.keep(e, s.kept)
	x.lane(e).shares++
}

// end notes that one recipient of a share that has others has ended.
func (x *index) end(h handle, recipient int) {
	if x.hasEnded(h, recipient) {
		return
	}
	x.entry(h).pending--
	set := x.ended[h]
	for len(set) <= recipient/64 {
		set = append(set, 0)
	}
	set[recipient/64] |= 1 << (recipient % 64)
	x.ended[h] = set
}

func (x *index) hasEnded(h handle, recipient int) bool {
	return hasBit(x.ended[h], recipient)
}

func hasBit(set []uint64, i int) bool { return i/64 < len(set) && set[i/64]&(1<<(i%64)) != 0 }
