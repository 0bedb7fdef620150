package disk

import (
	"io"
	"io/fs"
)

// FS is the seam between the spool and its disk: the operations that the
// spool performs, and no others, so that a test can stand in for the disk and
// cut the power between any two of them. Names are relative to the folder of
// the spool, with slashes; "." is the folder itself. An implementation never
// follows a symbolic link and may be called concurrently.
//
// Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist and, for a full
// disk, syscall.ENOSPC.
type FS interface {
	// Prepare checks that the folder exists and is ours alone. A missing one is
	// made, durably, as far as making allows.
	Prepare(making Making) error
	// Mkdir makes a folder that only we can enter.
	Mkdir(name string) error
	// Create makes a file that must not exist yet, for reading and writing.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens a file for reading and writing.
	OpenWrite(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// List returns the entries of a folder in order of name.
	List(dir string) ([]DirEntry, error)
	// SyncDir makes the entries of a folder durable.
	SyncDir(dir string) error
	// Lock takes the lock file for this process; ErrLockHeld where another
	// has it.
	Lock(name string) (io.Closer, error)
	// Free is the number of bytes that we may still write.
	Free() (int64, error)
}

// DirEntry is one entry of a folder.
type DirEntry struct {
	Name string
	Size int64 // bytes
	Mode fs.FileMode
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	// WriteVec writes the buffers one after the other from off on, if it can
	// in one call, and returns how many bytes it wrote.
	WriteVec(bufs [][]byte, off int64) (int64, error)
	// Sync makes the content and the length durable (fdatasync).
	Sync() error
	Truncate(size int64) error
	// Allocate occupies room on the disk for size bytes, as their content
	// would. The content is undefined.
	Allocate(size int64) error
	Size() (int64, error)
	// Named returns nil while the name by which the file was opened leads to
	// it: not where somebody has removed or moved it, or its folder.
	Named() error
	// WriteBehind asks the system to begin writing the range, and waits for
	// what was asked for before it, so that a later Sync is short. It
	// promises nothing.
	WriteBehind(off, n int64)
	Close() error
}

// Making says which missing folders FS.Prepare makes.
type Making uint8

// What is made.
const (
	MakeNothing Making = iota
	MakeLast           // the folder itself, where the one above it is there
	MakeAll            // those above it, too
)
