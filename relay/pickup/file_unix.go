//go:build unix

package pickup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/relay/peer"
)

// identity is what a file is: another one, or another content, has another.
type identity struct {
	device, inode uint64
	size          int64
	written       time.Time // mtime, which its owner may set
	changed       time.Time // ctime, which nobody can
}

func identityOf(info fs.FileInfo) identity {
	st := info.Sys().(*syscall.Stat_t)
	return identity{uint64(st.Dev), uint64(st.Ino), info.Size(), info.ModTime().Round(0), changeOf(st)}
}

// key is the idempotency key of a file.
func (i identity) key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %d %d", i.device, i.inode, i.size, i.written.UnixNano(), i.changed.UnixNano()))
	return "pickup " + hex.EncodeToString(sum[:])
}

func ownerOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

func isOwn(info fs.FileInfo) bool { return int(ownerOf(info)) == os.Geteuid() }

func nameOf(owner uint32) string { return peer.UserName(owner) }

// mayRemove tells whether this process can remove what others put into a folder:
// else a message would be handed in again and again.
func mayRemove(path string, info fs.FileInfo) error {
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: path, Err: err}
	}
	if info.Mode()&fs.ModeSticky != 0 && !isOwn(info) && os.Geteuid() != 0 {
		return &peer.Advised{Err: fmt.Errorf("%s is sticky and belongs to somebody else, so that messages could not be removed from it", path),
			Remedy: fmt.Sprintf("give it to the user that runs postern: chown %d %s", os.Geteuid(), path)}
	}
	return nil
}

var errForeign = errors.New("it was made in another folder and moved here, so that its owner may not be who sends it; write it here, and then rename it")

// open opens a file that is what was found, and nothing else. key is its
// idempotency key.
func (f *folder) open(name string, was fs.FileInfo) (_ *os.File, key string, _ error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, "", err
	}
	info, err := file.Stat()
	if err == nil && (!os.SameFile(info, was) || identityOf(info) != identityOf(was)) {
		err = errChanged
	}
	if err == nil {
		err = f.trust(info)
	}
	if err != nil {
		file.Close()
		return nil, "", err
	}
	return file, identityOf(info).key(), nil
}

// trust tells whether the owner of a file is who put it there. A file with a
// second name may be anybody's, and so may one that was made elsewhere: in a
// folder that others can write to, new files have the group of the folder.
func (f *folder) trust(info fs.FileInfo) error {
	st, in := info.Sys().(*syscall.Stat_t), f.info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errKind
	case st.Nlink != 1:
		return errLinks
	case f.info.Mode()&fs.ModeSetgid != 0 && st.Gid != in.Gid:
		return errForeign
	}
	return nil
}

func isBusy(error) bool { return false }

// scarce tells whether an error is ours, and of this moment.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EIO)
}
