package journal

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"postern/spool"
)

const (
	// mostKeys is how many keys are remembered, where Options don't say.
	mostKeys = 1_000_000
	// keySize is what a key takes up in a record of keys, in bytes, and what it
	// counts for in the segment that it is recorded in.
	keySize = 40
	// keyStep is the time within which keys that end are kept together, in
	// seconds, so that they can be dropped together.
	keyStep = 3600
	// sweepEvery is how often keys that have ended are looked for among others,
	// where there is no room for more.
	sweepEvery = 10 * time.Second
)

// keyEntry is what is remembered of a key. It has no pointers.
type keyEntry struct {
	id      spool.ID
	digest  uint64
	until   uint32 // Unix time in seconds, rounded up
	share   uint32
	segment uint32 // where it is recorded
}

// recordedKey is a key with its name, as a record has it.
type recordedKey struct {
	name spool.KeyName
	keyEntry
}

// keyGroup holds the keys that end in the same step.
type keyGroup struct {
	step   uint32
	keys   map[spool.KeyName]keyEntry
	in, of map[uint32]int // how many there are by segment and by share
}

// keys are those that are remembered. Store.mu guards them.
type keys struct {
	most   int
	n      int
	shares map[uint32]int
	groups []*keyGroup // by step
	swept  time.Time   // when those that have ended were looked for
}

// seconds is a time as keys have it, rounded up.
func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Add(time.Second-1).Unix(), 0), 1<<32-1))
}

// find returns the group that a key is in, or nil.
func (x *keys) find(name spool.KeyName) (*keyGroup, keyEntry) {
	for _, g := range x.groups {
		if k, ok := g.keys[name]; ok {
			return g, k
		}
	}
	return nil, keyEntry{}
}

// group returns the group of a step, which it makes where there is none.
func (x *keys) group(step uint32) *keyGroup {
	i, ok := slices.BinarySearchFunc(x.groups, step, func(g *keyGroup, step uint32) int { return int(int64(g.step) - int64(step)) })
	if !ok {
		x.groups = slices.Insert(x.groups, i, &keyGroup{step, map[spool.KeyName]keyEntry{}, map[uint32]int{}, map[uint32]int{}})
	}
	return x.groups[i]
}

// dropKey takes a key out of its group. Store.mu is held.
func (s *Store) dropKey(g *keyGroup, name spool.KeyName) {
	k := g.keys[name]
	delete(g.keys, name)
	add(g.in, k.segment, -1)
	add(g.of, k.share, -1)
	s.keys.n--
	add(s.keys.shares, k.share, -1)
	s.countKeys(k.segment, -1)
}

// add adds to a count, of which there is none where it is 0.
func add(counts map[uint32]int, of uint32, n int) {
	if counts[of] += n; counts[of] == 0 {
		delete(counts, of)
	}
}

// remember puts a key that is on record into memory. Of two records with the
// same name the one that ends later counts, as a key is used again only after
// its end. Store.mu is held.
func (s *Store) remember(k *recordedKey) {
	x := &s.keys
	if g, old := x.find(k.name); g != nil {
		if old.until > k.until {
			return
		}
		s.dropKey(g, k.name)
	}
	g := x.group(k.until / keyStep)
	g.keys[k.name] = k.keyEntry
	add(g.in, k.segment, 1)
	add(g.of, k.share, 1)
	x.n++
	add(x.shares, k.share, 1)
	s.countKeys(k.segment, 1)
}

// countKeys adds to what lives in a segment. Store.mu is held.
func (s *Store) countKeys(segment uint32, n int) {
	if g := s.bySeg[segment]; g != nil {
		g.keys += n
		g.liveBytes += int64(n) * keySize
		if g.keys == 0 && g == s.segs[0] {
			s.poke(s.tidy)
		}
	}
}

// Known implements spool.Store.
func (s *Store) Known(ctx context.Context, k *spool.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(k, 0)
}

// known tells what hinders the commit of a message with this key, of which so
// many are being committed besides. Store.mu is held.
func (s *Store) known(k *spool.Key, besides int) error {
	now := time.Now()
	x := &s.keys
	g, old := x.find(k.Name)
	if g != nil && int64(old.until) > now.Unix() {
		return k.Again(old.id, old.digest)
	}
	if x.full(k.Share, besides) && now.Sub(x.swept) >= sweepEvery {
		x.swept = now
		s.sweepKeys(now)
	}
	if x.full(k.Share, besides) {
		return spool.ErrManyKeys
	}
	return nil
}

// full reports whether there is no room for one more key of a share: it may
// have as many as are still free, so that something is always left for others.
func (x *keys) full(share uint32, besides int) bool {
	return x.shares[share] >= x.most-x.n-besides
}

// sweepKeys drops all keys that have ended. Store.mu is held.
func (s *Store) sweepKeys(now time.Time) {
	s.expireKeys(now)
	for _, g := range s.keys.groups {
		if int64(g.step)*keyStep > now.Unix() {
			break
		}
		for name, k := range g.keys {
			if int64(k.until) <= now.Unix() {
				s.dropKey(g, name)
			}
		}
	}
}

// expireKeys drops the groups of which all keys have ended. Store.mu is held.
func (s *Store) expireKeys(now time.Time) {
	x := &s.keys
	for len(x.groups) > 0 && (int64(x.groups[0].step)+1)*keyStep <= now.Unix() {
		g := x.groups[0]
		x.groups = slices.Delete(x.groups, 0, 1)
		for segment, n := range g.in {
			s.countKeys(segment, -n)
		}
		for share, n := range g.of {
			add(x.shares, share, -n)
		}
		x.n -= len(g.keys)
	}
}

// admitKey decides, before a message is written, whether it may be: false
// where it has to wait for another one of the same batch that has the same key.
// Only the committer calls it.
func (s *Store) admitKey(sub *submission) bool {
	if _, twice := s.batchKeys[sub.key.Name]; twice {
		return false
	}
	s.mu.Lock()
	sub.refused = s.known(sub.key, len(s.batchKeys))
	s.mu.Unlock()
	if sub.refused == nil {
		s.batchKeys[sub.key.Name] = struct{}{}
	}
	return true
}

// recorded is a key in the terms of a record at a place.
func recorded(k *spool.Key, id spool.ID, at place) recordedKey {
	return recordedKey{k.Name, keyEntry{id: id, digest: k.Digest, until: seconds(k.Until), share: k.Share, segment: at.segment}}
}

// fieldSizeKey is the length of the field of a key, in bytes.
const fieldSizeKey = 36

func appendKey(b []byte, k *spool.Key) []byte {
	b = append(b, k.Name[:]...)
	b = putInt64(putInt64(b, int64(k.Digest)), toNano(k.Until))
	return binary.LittleEndian.AppendUint32(b, k.Share)
}

// readKey reads the field of a key.
func readKey(c *cursor, value string) *spool.Key {
	v := cursor{rest: value}
	k := &spool.Key{Name: v.keyName(), Digest: uint64(v.int64()), Until: toTime(v.int64()), Share: v.uint32()}
	if !v.done() || k.Name == (spool.KeyName{}) {
		c.fail()
	}
	return k
}

func (c *cursor) keyName() (n spool.KeyName) {
	if len(c.rest) < len(n) {
		c.fail()
		return n
	}
	copy(n[:], c.rest)
	c.rest = c.rest[len(n):]
	return n
}

func (c *cursor) uint32() uint32 {
	if len(c.rest) < 4 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32([]byte(c.rest[:4]))
	c.rest = c.rest[4:]
	return v
}

// appendRecordedKeys writes keys as a record of keys and an index have them.
func appendRecordedKeys(b []byte, list []recordedKey) []byte {
	b = putUint(b, uint64(len(list)))
	for i := range list {
		k := &list[i]
		b = append(b, k.name[:]...)
		b = putInt64(putInt64(b, int64(k.id)), int64(k.digest))
		b = binary.LittleEndian.AppendUint32(b, k.until)
		b = binary.LittleEndian.AppendUint32(b, k.share)
	}
	return b
}

func readRecordedKeys(c *cursor, list []recordedKey, segment uint32) []recordedKey {
	for range c.upTo(uint64(len(c.rest) / keySize)) {
		k := recordedKey{name: c.keyName()}
		k.id, k.digest, k.until, k.share = spool.ID(c.int64()), uint64(c.int64()), c.uint32(), c.uint32()
		k.segment = segment
		if k.name == (spool.KeyName{}) || k.id == 0 {
			c.fail()
		}
		list = append(list, k)
	}
	return list
}

// maxCarried is how many keys a record of keys holds at most.
const maxCarried = 1024

// carryKeys writes those keys that are recorded in a segment and have not ended
// to the end of the journal, and returns how many once they are durable there.
func (s *Store) carryKeys(g *segment, names []spool.KeyName) (n int, err error) {
	for some := range slices.Chunk(names, maxCarried) {
		c := carrying{store: s, from: g.num, names: some}
		sub := &submission{head: header{kind: recKeys}, prepare: c.prepare, durable: c.durable, done: make(chan error, 1)}
		if err := s.submitAll([]*submission{sub}); err != nil {
			return n, err
		}
		n += len(c.list)
	}
	return n, nil
}

// carrying is the writing of one record of keys.
type carrying struct {
	store *Store
	from  uint32
	names []spool.KeyName
	list  []recordedKey
}

// prepare takes what is recorded in the segment at the moment at which the
// record goes into the journal.
func (c *carrying) prepare(sub *submission) bool {
	s, now := c.store, time.Now().Unix()
	c.list = c.list[:0]
	s.mu.Lock()
	for _, name := range c.names {
		g, k := s.keys.find(name)
		switch {
		case g == nil || k.segment != c.from:
		case int64(k.until) <= now:
			s.dropKey(g, name)
		default:
			c.list = append(c.list, recordedKey{name, k})
		}
	}
	s.mu.Unlock()
	if len(c.list) == 0 {
		return false
	}
	sub.meta = append(appendRecordedKeys(append(sub.meta[:0], metaVersion), c.list), 0)
	sub.head.metaLen, sub.head.metaCRC = uint32(len(sub.meta)), checksum(sub.meta)
	return true
}

// durable notes where the keys are recorded now. Store.mu is held.
func (c *carrying) durable(sub *submission, _ *wakes) {
	for i := range c.list {
		c.list[i].segment = sub.at.segment
		c.store.remember(&c.list[i])
	}
}
