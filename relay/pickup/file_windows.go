package pickup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// identity is what a file is: another one, or another content, has another.
type identity struct {
	created, size int64
	written       time.Time
	file          uint64 // where it is open: which nobody else has on this volume
}

func identityOf(info fs.FileInfo) identity {
	is := identity{size: info.Size(), written: info.ModTime().Round(0)}
	if d, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		is.created = d.CreationTime.Nanoseconds()
	}
	return is
}

// key is the idempotency key of a file.
func (i identity) key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %d", i.file, i.created, i.size, i.written.UnixNano()))
	return "pickup " + hex.EncodeToString(sum[:])
}

func ownerOf(fs.FileInfo) uint32 { return 0 }

func isOwn(fs.FileInfo) bool { return true }

// nameOf is empty: routes don't ask for users of this system.
func nameOf(uint32) string { return "" }

func mayRemove(string, fs.FileInfo) error { return nil }

// open opens a file that nobody writes to at this moment, and no link. key is
// its idempotency key.
func (f *folder) open(name string, was fs.FileInfo) (_ *os.File, key string, _ error) {
	path, err := windows.UTF16PtrFromString(filepath.Join(f.path, name))
	if err != nil {
		return nil, "", err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(h), name)
	info, err := file.Stat()
	var of windows.ByHandleFileInformation
	if err == nil {
		err = windows.GetFileInformationByHandle(h, &of)
	}
	switch {
	case err != nil:
	case !info.Mode().IsRegular() || of.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0:
		err = errKind
	case of.NumberOfLinks != 1:
		err = errLinks
	case identityOf(info) != identityOf(was):
		err = errChanged
	}
	if err != nil {
		file.Close()
		return nil, "", err
	}
	is := identityOf(info)
	is.file = uint64(of.FileIndexHigh)<<32 | uint64(of.FileIndexLow)
	return file, is.key(), nil
}

// isBusy tells whether somebody writes to a file.
func isBusy(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// scarce tells whether an error is ours, and of this moment.
func scarce(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY)
}
