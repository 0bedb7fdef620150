package simdisk

import (
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"postern/spool/disk"
)

// FS is a view of the disk for one process. After Kill of the view, its calls
// fail, as a killed process makes no more.
func (d *Disk) FS() *View { return &View{d: d} }

// View implements disk.FS.
type View struct {
	d    *Disk
	dead bool // guarded by d.mu
}

var _ disk.FS = (*View)(nil)

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

// Prepare implements disk.FS: the folder is always there.
func (v *View) Prepare(disk.Making) error { return nil }

// Mkdir implements disk.FS.
func (v *View) Mkdir(name string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.dirs[name] {
		return fail(OpMkdir, name, fs.ErrExist)
	}
	return v.do(Step{Op: OpMkdir, Name: name})
}

// Create implements disk.FS.
func (v *View) Create(name string) (disk.File, error) {
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

// Open implements disk.FS.
func (v *View) Open(name string) (disk.File, error) {
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

// OpenWrite implements disk.FS.
func (v *View) OpenWrite(name string) (disk.File, error) {
	f, err := v.Open(name)
	if err == nil {
		f.(*handle).write = true
	}
	return f, err
}

// Rename implements disk.FS.
func (v *View) Rename(from, to string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, ok := v.d.names[from]; !ok {
		return fail(OpRename, from, fs.ErrNotExist)
	}
	return v.do(Step{Op: OpRename, Name: from, To: to})
}

// Remove implements disk.FS.
func (v *View) Remove(name string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, ok := v.d.names[name]; !ok {
		return fail(OpRemove, name, fs.ErrNotExist)
	}
	return v.do(Step{Op: OpRemove, Name: name})
}

// List implements disk.FS.
func (v *View) List(dir string) ([]disk.DirEntry, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if err := v.begin(OpList, dir); err != nil {
		return nil, err
	}
	if !v.d.dirs[dir] {
		return nil, fail(OpList, dir, fs.ErrNotExist)
	}
	var entries []disk.DirEntry
	for name, f := range v.d.names {
		if path.Dir(name) == dir {
			entries = append(entries, disk.DirEntry{Name: path.Base(name), Size: v.d.files[f].size(), Mode: 0o600})
		}
	}
	for name := range v.d.dirs {
		if name != "." && path.Dir(name) == dir {
			entries = append(entries, disk.DirEntry{Name: path.Base(name), Mode: fs.ModeDir | 0o700})
		}
	}
	slices.SortFunc(entries, func(a, b disk.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// SyncDir implements disk.FS.
func (v *View) SyncDir(dir string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	return v.do(Step{Op: OpSyncDir, Name: dir})
}

// Lock implements disk.FS.
func (v *View) Lock(name string) (io.Closer, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.locked != nil {
		return nil, disk.ErrLockHeld
	}
	if _, ok := v.d.names[name]; !ok {
		if err := v.do(Step{Op: OpCreate, Name: name}); err != nil {
			return nil, err
		}
	}
	v.d.locked = &handle{v: v, file: v.d.names[name], name: name, lock: true}
	return v.d.locked, nil
}

// Free implements disk.FS.
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

// WriteVec implements disk.File.
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

// Sync implements disk.File.
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

// Truncate implements disk.File.
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

// Allocate implements disk.File. The room survives no cut.
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

// Size implements disk.File.
func (h *handle) Size() (int64, error) {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	return int64(len(h.v.d.files[h.file].now)), nil
}

// WriteBehind implements disk.File; what it asks for may or may not have
// happened at a cut, like any other write.
func (h *handle) WriteBehind(int64, int64) {}

// Named implements disk.File.
func (h *handle) Named() error {
	h.v.d.mu.Lock()
	defer h.v.d.mu.Unlock()
	if f, ok := h.v.d.names[h.name]; !ok || f != h.file {
		return fail(OpOpen, h.name, fs.ErrNotExist)
	}
	return nil
}

// Close implements disk.File.
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
