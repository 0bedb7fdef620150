// Package simdisk faces tests: it is a disk in memory with the manners of a
// real one, for cutting the power under whatever writes to it. What was not
// synced may be lost after a cut: sectors of 512 bytes each for itself, in any
// order, lengths apart from contents, and entries of folders apart from the
// files. A failed sync loses for good what it should have saved. It never
// touches a real disk, and only tests import it.
package simdisk

import (
	"math"
	"path"
	"slices"
	"sync"
)

// Sector is the number of bytes that a cut leaves either old or new.
const Sector = 512

// Op names what is done to the disk.
type Op string

// The operations that change a disk or that can fail.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync"
	OpMkdir    Op = "mkdir"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
	OpRead     Op = "read"
	OpList     Op = "list"
	OpMark     Op = "mark" // by Mark, not by the disk's user
)

// Step is one operation that took place, or a mark.
type Step struct {
	Op   Op
	Name string
	To   string // of rename
	file int
	off  int64
	data []byte
	Mark any
	fail bool // of sync: it failed, and what it was for is lost
}

// Disk is a simulated disk. Its methods may be called concurrently.
type Disk struct {
	mu      sync.Mutex
	files   []*inode
	names   map[string]int // of files, as the running system sees them
	dirs    map[string]bool
	durable map[string]int // names that survive a cut
	durDirs map[string]bool
	pending []Step // changes of names since the last SyncDir of their folder
	trace   []Step
	tracing bool
	locked  *handle // who holds the lock
	free    int64
	room    int64 // bytes that all files may have; 0: no limit
	fault   func(op Op, name string) error
}

// New is an empty disk with no limit.
func New() *Disk {
	return &Disk{
		names: map[string]int{}, dirs: map[string]bool{".": true},
		durable: map[string]int{}, durDirs: map[string]bool{".": true}, free: 1 << 40,
	}
}

// inode is the content of one file: what survives a cut, and what was done
// to it since.
type inode struct {
	now     []byte
	durable []byte
	pending []change
	kept    int64 // bytes allocated without content
}

func (n *inode) size() int64 { return max(int64(len(n.now)), n.kept) }

// change is a write, or with data nil a truncation to off.
type change struct {
	off   int64
	data  []byte
	stuck bool // a sync failed on it: no later one saves it
}

// SetFault sets what is asked before each operation; an error makes it fail.
// A write that fails with ENOSPC has written about half. A failed sync loses what it
// was for. nil: nothing fails.
func (d *Disk) SetFault(fault func(op Op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// SetFaultLocked is SetFault for a fault to call.
func (d *Disk) SetFaultLocked(fault func(op Op, name string) error) { d.fault = fault }

// SetFree sets what Free reports, in bytes.
func (d *Disk) SetFree(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = n
}

// SetRoom limits how many bytes all files together may have; 0: no limit.
func (d *Disk) SetRoom(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

// left is how many bytes may still be added to files. d.mu is held.
func (d *Disk) left() int64 {
	left := d.room
	for _, f := range d.names {
		left -= d.files[f].size()
	}
	return max(left, 0)
}

// Trace begins to record each step.
func (d *Disk) Trace() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace, d.tracing = nil, true
}

// Steps is what was recorded.
func (d *Disk) Steps() []Step {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trace
}

// Mark records something of the test between the steps.
func (d *Disk) Mark(v any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.record(Step{Op: OpMark, Mark: v})
}

func (d *Disk) record(s Step) {
	if d.tracing {
		d.trace = append(d.trace, s)
	}
}

// apply carries out a step, in the running system's view.
func (d *Disk) apply(s *Step) {
	switch s.Op {
	case OpCreate:
		s.file = len(d.files)
		d.files = append(d.files, &inode{})
		d.names[s.Name] = s.file
		d.pending = append(d.pending, *s)
	case OpMkdir:
		d.dirs[s.Name] = true
		d.pending = append(d.pending, *s)
	case OpRemove:
		delete(d.names, s.Name)
		d.pending = append(d.pending, *s)
	case OpRename:
		s.file = d.names[s.Name]
		d.names[s.To] = s.file
		delete(d.names, s.Name)
		d.pending = append(d.pending, *s)
	case OpWrite:
		d.files[s.file].write(s.off, s.data)
	case OpTruncate:
		d.files[s.file].write(s.off, nil)
	case OpSync:
		d.files[s.file].sync(s.fail)
	case OpSyncDir:
		d.syncDir(s.Name)
	}
}

func (d *Disk) syncDir(dir string) {
	kept := d.pending[:0]
	for i := range d.pending {
		p := &d.pending[i]
		if path.Dir(p.Name) == dir || p.Op == OpRename && path.Dir(p.To) == dir {
			applyName(p, d.durable, d.durDirs)
		} else {
			kept = append(kept, *p)
		}
	}
	d.pending = kept
}

func applyName(p *Step, names map[string]int, dirs map[string]bool) {
	switch p.Op {
	case OpCreate:
		names[p.Name] = p.file
	case OpMkdir:
		dirs[p.Name] = true
	case OpRemove:
		delete(names, p.Name)
	case OpRename:
		delete(names, p.Name)
		names[p.To] = p.file
	}
}

func put(b []byte, off int64, data []byte) []byte {
	if data == nil {
		if off <= int64(len(b)) {
			return b[:off]
		}
		return append(b, make([]byte, off-int64(len(b)))...)
	}
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[off:], data)
	return b
}

func (n *inode) write(off int64, data []byte) {
	n.now = put(n.now, off, data)
	n.pending = append(n.pending, change{off: off, data: data})
}

// sync makes the content durable, but for what an earlier failed sync was for:
// the system takes that for saved. Where a later write touched the same sector,
// the whole sector is saved as it is now.
func (n *inode) sync(fails bool) {
	if fails {
		for i := range n.pending {
			n.pending[i].stuck = true
		}
		return
	}
	stuck := 0 // those that are come first
	for stuck < len(n.pending) && n.pending[stuck].stuck {
		stuck++
	}
	kept := slices.Clone(n.pending[:stuck])
	for _, c := range n.pending[stuck:] {
		n.durable = put(n.durable, c.off, c.data)
		if c.data == nil {
			kept = without(kept, c.off, math.MaxInt64)
		}
	}
	for _, c := range n.pending[stuck:] {
		from, to := c.off/Sector*Sector, (c.off+int64(len(c.data))+Sector-1)/Sector*Sector
		if to = min(to, int64(len(n.durable)), int64(len(n.now))); from < to && c.data != nil {
			copy(n.durable[from:to], n.now[from:])
			kept = without(kept, from, to)
		}
	}
	n.pending = kept
}

// without is what is left of changes when the range is taken out of them.
func without(changes []change, from, to int64) (left []change) {
	for _, c := range changes {
		end := c.off + int64(len(c.data))
		if c.data == nil || end <= from || c.off >= to {
			left = append(left, c)
			continue
		}
		if c.off < from {
			left = append(left, change{c.off, c.data[:from-c.off], c.stuck})
		}
		if end > to {
			left = append(left, change{to, c.data[to-c.off:], c.stuck})
		}
	}
	return left
}

// Files lists the files that the running system sees.
func (d *Disk) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Read returns the content of a file as the running system sees it.
func (d *Disk) Read(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[name]
	if !ok {
		return nil
	}
	return slices.Clone(d.files[f].now)
}

// Write replaces the content of a file, durably and unseen by the trace.
func (d *Disk) Write(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[name]
	if !ok {
		f = len(d.files)
		d.files = append(d.files, &inode{})
		d.names[name], d.durable[name] = f, f
	}
	d.files[f] = &inode{now: slices.Clone(b), durable: slices.Clone(b)}
}
