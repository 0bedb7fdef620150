// Package simdisk faces tests: it is a disk in memory with the manners of a
// real one, for cutting the power under whatever writes to it. What was not
// synced may be lost after a cut: sectors of 512 bytes each for itself, in any
// order, lengths apart from contents, and entries of folders apart from the
// files. A failed sync loses for good what it should have saved. It never
// touches a real disk, and only tests import it.
package simdisk

import (
	"io"
	"io/fs"
	"math"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"postern/spool"
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

// FS is a view of the disk for one process. After Kill of the view, its calls
// fail, as a killed process makes no more.
func (d *Disk) FS() *View { return &View{d: d} }

// View implements spool.FS.
type View struct {
	d    *Disk
	dead bool // guarded by d.mu
}

var _ spool.FS = (*View)(nil)

// Kill ends the process that has this view, without a cut of power.
func (v *View) Kill() {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	v.dead = true
	if v.d.locked != nil && v.d.locked.v == v {
		v.d.locked = nil
	}
}

func fail(op Op, name string, err error) error {
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}

// begin checks whether an operation can take place. d.mu is held.
func (v *View) begin(op Op, name string) error {
	if v.dead {
		return fail(op, name, fs.ErrClosed)
	}
	if v.d.fault != nil {
		if err := v.d.fault(op, name); err != nil {
			return fail(op, name, err)
		}
	}
	return nil
}

func (v *View) do(s Step) error {
	if err := v.begin(s.Op, s.Name); err != nil {
		return err
	}
	v.d.apply(&s)
	v.d.record(s)
	return nil
}

// Prepare implements spool.FS: the folder is always there.
func (v *View) Prepare(bool) error { return nil }

// Mkdir implements spool.FS.
func (v *View) Mkdir(name string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.dirs[name] {
		return fail(OpMkdir, name, fs.ErrExist)
	}
	return v.do(Step{Op: OpMkdir, Name: name})
}

// Create implements spool.FS.
func (v *View) Create(name string) (spool.File, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, ok := v.d.names[name]; ok {
		return nil, fail(OpCreate, name, fs.ErrExist)
	}
	if !v.d.dirs[path.Dir(name)] {
		return nil, fail(OpCreate, name, fs.ErrNotExist)
	}
	if err := v.do(Step{Op: OpCreate, Name: name}); err != nil {
		return nil, err
	}
	return &handle{v: v, file: v.d.names[name], name: name, write: true}, nil
}

// Open implements spool.FS.
func (v *View) Open(name string) (spool.File, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if err := v.begin(OpOpen, name); err != nil {
		return nil, err
	}
	f, ok := v.d.names[name]
	if !ok {
		return nil, fail(OpOpen, name, fs.ErrNotExist)
	}
	return &handle{v: v, file: f, name: name}, nil
}

// OpenWrite implements spool.FS.
func (v *View) OpenWrite(name string) (spool.File, error) {
	f, err := v.Open(name)
	if err == nil {
		f.(*handle).write = true
	}
	return f, err
}

// Rename implements spool.FS.
func (v *View) Rename(from, to string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, ok := v.d.names[from]; !ok {
		return fail(OpRename, from, fs.ErrNotExist)
	}
	return v.do(Step{Op: OpRename, Name: from, To: to})
}

// Remove implements spool.FS.
func (v *View) Remove(name string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, ok := v.d.names[name]; !ok {
		return fail(OpRemove, name, fs.ErrNotExist)
	}
	return v.do(Step{Op: OpRemove, Name: name})
}

// List implements spool.FS.
func (v *View) List(dir string) ([]spool.DirEntry, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if err := v.begin(OpList, dir); err != nil {
		return nil, err
	}
	if !v.d.dirs[dir] {
		return nil, fail(OpList, dir, fs.ErrNotExist)
	}
	var entries []spool.DirEntry
	for name, f := range v.d.names {
		if path.Dir(name) == dir {
			entries = append(entries, spool.DirEntry{Name: path.Base(name), Size: v.d.files[f].size(), Mode: 0o600})
		}
	}
	for name := range v.d.dirs {
		if name != "." && path.Dir(name) == dir {
			entries = append(entries, spool.DirEntry{Name: path.Base(name), Mode: fs.ModeDir | 0o700})
		}
	}
	slices.SortFunc(entries, func(a, b spool.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// SyncDir implements spool.FS.
func (v *View) SyncDir(dir string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	return v.do(Step{Op: OpSyncDir, Name: dir})
}

// Lock implements spool.FS.
func (v *View) Lock(name string) (io.Closer, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.locked != nil {
		return nil, spool.ErrLockHeld()
	}
	if _, ok := v.d.names[name]; !ok {
		if err := v.do(Step{Op: OpCreate, Name: name}); err != nil {
			return nil, err
		}
	}
	v.d.locked = &handle{v: v, file: v.d.names[name], name: name, lock: true}
	return v.d.locked, nil
}

// Free implements spool.FS.
func (v *View) Free() (int64, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.room > 0 {
		return v.d.left(), nil
	}
	return v.d.free, nil
}

// handle is an open file.
type handle struct {
	v     *View
	file  int
	name  string
	write bool
	lock  bool
	over  bool
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if h.over {
		return 0, fail(OpRead, h.name, fs.ErrClosed)
	}
	if err := h.v.begin(OpRead, h.name); err != nil {
		return 0, err
	}
	b := h.v.d.files[h.file].now
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteVec implements spool.File.
func (h *handle) WriteVec(bufs [][]byte, off int64) (int64, error) {
	runtime.Gosched() // let others come between
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if h.over || !h.write {
		return 0, fail(OpWrite, h.name, fs.ErrClosed)
	}
	data := slices.Concat(bufs...)
	if data == nil {
		data = []byte{}
	}
	err := h.v.begin(OpWrite, h.name)
	if err != nil {
		if h.v.dead || !isFull(err) {
			return 0, err
		}
		// Disks are full by the block, never within a sector.
		end := (off + int64(len(data))/2) / Sector * Sector
		data = data[:max(end-off, 0)]
	} else if h.v.d.room > 0 {
		have := int64(len(h.v.d.files[h.file].now))
		if fits := have + h.v.d.left() - off; fits < int64(len(data)) && off+int64(len(data)) > have {
			data = data[:max(min((off+fits)/Sector*Sector-off, int64(len(data))), 0)]
			err = fail(OpWrite, h.name, syscall.ENOSPC)
		}
	}
	s := Step{Op: OpWrite, Name: h.name, file: h.file, off: off, data: data}
	h.v.d.apply(&s)
	h.v.d.record(s)
	return int64(len(data)), err
}

func isFull(err error) bool {
	pe, ok := err.(*fs.PathError)
	return ok && pe.Err == syscall.ENOSPC
}

// Sync implements spool.File.
func (h *handle) Sync() error {
	runtime.Gosched()
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	s := Step{Op: OpSync, Name: h.name, file: h.file}
	err := h.v.begin(OpSync, h.name)
	if h.v.dead {
		return err
	}
	s.fail = err != nil
	h.v.d.apply(&s)
	h.v.d.record(s)
	return err
}

// Truncate implements spool.File.
func (h *handle) Truncate(size int64) error {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if err := h.v.begin(OpTruncate, h.name); err != nil {
		return err
	}
	s := Step{Op: OpTruncate, Name: h.name, file: h.file, off: size}
	h.v.d.apply(&s)
	h.v.d.record(s)
	return nil
}

// Allocate implements spool.File. The room survives no cut.
func (h *handle) Allocate(size int64) error {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if err := h.v.begin(OpWrite, h.name); err != nil {
		return err
	}
	if h.v.d.room > 0 && size > h.v.d.left() {
		return fail(OpWrite, h.name, syscall.ENOSPC)
	}
	h.v.d.files[h.file].kept = size
	return nil
}

// Size implements spool.File.
func (h *handle) Size() (int64, error) {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	return int64(len(h.v.d.files[h.file].now)), nil
}

// WriteBehind implements spool.File; what it asks for may or may not have
// happened at a cut, like any other write.
func (h *handle) WriteBehind(int64, int64) {}

// Close implements spool.File.
func (h *handle) Close() error {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if h.over {
		return fail("close", h.name, fs.ErrClosed)
	}
	h.over = true
	if h.lock && h.v.d.locked == h {
		h.v.d.locked = nil
	}
	return nil
}
