package simdisk

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
)

// Play repeats the recorded steps on a copy of base, which is the disk as it
// was when the trace began (nil: empty), and calls visit before each step and
// after the last. visit may Cut the disk it is given, and must not change it.
func Play(base *Disk, steps []Step, visit func(i int, d *Disk)) {
	d := New()
	if base != nil {
		d = base.Copy()
	}
	for i := range steps {
		visit(i, d)
		s := steps[i]
		d.apply(&s)
	}
	visit(len(steps), d)
}

// Copy is a disk of its own with the same content, nothing of it in doubt.
func (d *Disk) Copy() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	c.free = d.free
	for name := range d.dirs {
		c.dirs[name], c.durDirs[name] = true, true
	}
	for _, n := range d.files { // in the same order, as steps name them by number
		c.files = append(c.files, &inode{now: slices.Clone(n.now), durable: slices.Clone(n.now)})
	}
	for name, f := range d.names {
		c.names[name], c.durable[name] = f, f
	}
	return c
}

func (d *Disk) add(name string, b []byte) {
	d.names[name], d.durable[name] = len(d.files), len(d.files)
	d.files = append(d.files, &inode{now: b, durable: slices.Clone(b)})
}

// Mood says how much of what is in doubt survives a cut.
type Mood int

// The moods. Mixed decides about each sector, length and entry by itself.
const (
	Mixed      Mood = iota
	Nothing         // nothing unsynced survives
	Everything      // everything does, as after the end of the process only
	NoNames         // contents survive, entries of folders don't
	NoData          // entries and lengths survive, contents don't
)

// Moods are all moods.
var Moods = []Mood{Mixed, Nothing, Everything, NoNames, NoData}

// Cut is the disk that is found after the power was cut at this moment.
func (d *Disk) Cut(mood Mood, rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := func(otherwise bool) bool {
		if mood == Mixed {
			return rng.Uint64()&1 == 0
		}
		return otherwise
	}
	c := New()
	c.free = d.free
	names := map[string]int{}
	for n, f := range d.durable {
		names[n] = f
	}
	for n := range d.durDirs {
		c.dirs[n], c.durDirs[n] = true, true
	}
	for i := range d.pending {
		if keep(mood == Everything || mood == NoData) {
			applyName(&d.pending[i], names, c.dirs)
		}
	}
	for n := range c.dirs {
		c.durDirs[n] = true
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted) // the same cut for the same random numbers
	for _, n := range sorted {
		c.add(n, d.files[names[n]].cut(mood, rng))
	}
	return c
}

// cut is the content that is found after the power was cut.
func (n *inode) cut(mood Mood, rng *rand.Rand) []byte {
	b := slices.Clone(n.durable)
	if len(n.pending) == 0 || mood == Nothing {
		return b
	}
	if mood == Everything || mood == NoNames {
		for _, c := range n.pending {
			b = put(b, c.off, c.data)
		}
		return b
	}
	// Each sector is as some prefix of the writes left it, and the length is
	// one that the file has had.
	size := int64(len(b))
	length := size
	times := map[int64]int{} // writes that touch a sector
	pick := rng.IntN(len(n.pending) + 1)
	for i, c := range n.pending {
		end := c.off + int64(len(c.data))
		if c.data == nil {
			size = c.off
		} else {
			size = max(size, end)
			for s := c.off / Sector; s*Sector < end; s++ {
				times[s]++
			}
		}
		if i < pick || mood == NoData {
			length = size
		}
	}
	if mood == NoData {
		return put(b, length, nil)
	}
	order := make([]int64, 0, len(times))
	for s := range times {
		order = append(order, s)
	}
	slices.Sort(order)
	for _, s := range order {
		times[s] = rng.IntN(times[s] + 1)
	}
	b = put(b, max(length, int64(len(b))), nil)
	for _, c := range n.pending {
		b = partial(b, c, times)
	}
	return put(b, length, nil)
}

// partial applies a write to the sectors that still take one.
func partial(b []byte, c change, times map[int64]int) []byte {
	if c.data == nil {
		return b // lengths are decided upon apart
	}
	end := c.off + int64(len(c.data))
	for s := c.off / Sector; s*Sector < end; s++ {
		if times[s] == 0 {
			continue
		}
		times[s]--
		from, to := max(c.off, s*Sector), min(end, (s+1)*Sector)
		b = put(b, from, c.data[from-c.off:to-c.off])
	}
	return b
}

var seed = maphash.MakeSeed()

// Sum is a number that differs between disks of different content.
func (d *Disk) Sum() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, name := range d.Files() {
		h.WriteString(name)
		h.WriteByte(0)
		h.Write(d.files[d.names[name]].now)
		h.WriteByte(1)
	}
	return h.Sum64()
}

// Lax is a view of a disk whose user believes to have synced: the calls for
// which skip returns true do nothing. It shows that a test can find losses.
type Lax struct {
	*View
	Skip func(op Op, name string) bool
}
