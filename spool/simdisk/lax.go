package simdisk

import "postern/spool/disk"

// Create implements disk.FS.
func (l *Lax) Create(name string) (disk.File, error) {
	f, err := l.View.Create(name)
	if err != nil {
		return nil, err
	}
	return &laxFile{File: f, l: l, name: name}, nil
}

// Remove implements disk.FS. Skip is told of it, and can't prevent it.
func (l *Lax) Remove(name string) error {
	l.Skip(OpRemove, name)
	return l.View.Remove(name)
}

// OpenWrite implements disk.FS.
func (l *Lax) OpenWrite(name string) (disk.File, error) {
	f, err := l.View.OpenWrite(name)
	if err != nil {
		return nil, err
	}
	return &laxFile{File: f, l: l, name: name}, nil
}

// SyncDir implements disk.FS.
func (l *Lax) SyncDir(dir string) error {
	if l.Skip(OpSyncDir, dir) {
		return nil
	}
	return l.View.SyncDir(dir)
}

type laxFile struct {
	disk.File
	l    *Lax
	name string
}

func (f *laxFile) Sync() error {
	if f.l.Skip(OpSync, f.name) {
		return nil
	}
	return f.File.Sync()
}
