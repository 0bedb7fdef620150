package disk

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxVec is IOV_MAX: more buffers than that go out in several calls.
const maxVec = 1024

func (f *osFile) WriteVec(bufs [][]byte, off int64) (int64, error) {
	var done, want int64
	for _, b := range bufs {
		want += int64(len(b))
	}
	rest := bufs
	if len(rest) > maxVec {
		rest = rest[:maxVec]
	}
	for done < want {
		n, err := unix.Pwritev(int(f.Fd()), rest, off+done)
		if n > 0 {
			done += int64(n)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrShortWrite
		case done < want:
			rest = after(bufs, done)
		}
	}
	return done, nil
}

// after is what is left of bufs once n bytes are written. It leaves bufs as
// they are; only a short write or a very long batch comes here.
func after(bufs [][]byte, n int64) [][]byte {
	i := 0
	for n >= int64(len(bufs[i])) {
		n -= int64(len(bufs[i]))
		i++
	}
	rest := append([][]byte(nil), bufs[i:]...)
	rest[0] = rest[0][n:]
	if len(rest) > maxVec {
		rest = rest[:maxVec]
	}
	return rest
}

func (f *osFile) Allocate(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if err == unix.EOPNOTSUPP {
			return f.fill(size)
		}
		if err != unix.EINTR {
			return err
		}
	}
}

func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

func (f *osFile) WriteBehind(off, n int64) {
	fd := int(f.Fd())
	unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
	if f.behindLen > 0 {
		// Waiting for the range before keeps little dirty, so that neither
		// this file's sync nor anybody else's has much to carry.
		unix.SyncFileRange(fd, f.behindOff, f.behindLen, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
	}
	f.behindOff, f.behindLen = off, n
}

func identityOf(f *os.File) (identity, error) { return identify(int(f.Fd()), "", unix.AT_EMPTY_PATH) }
func identityAt(path string) (identity, error) {
	return identify(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
}

// identify asks for no times. Since Linux 6.13 a file whose times were asked
// for gets finer ones with the next write, and on ext4 without a journal each
// sync then writes the inode, too: a fifth more work for ten clients.
func identify(at int, path string, flags int) (identity, error) {
	var st unix.Statx_t
	for {
		err := unix.Statx(at, path, flags|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
		switch err {
		case nil:
			return identity{uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), st.Ino}, nil
		case unix.EINTR:
			continue
		}
		return identity{}, err
	}
}
