//go:build unix

package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postern/spool"
	"postern/spool/disk"
)

const syncsFolders = true

// inherits tells whether what this process makes in a folder is given to another
// user.
func inherits(folder *os.Root) bool {
	owner, err := heir(folder)
	return owner != nil || err != nil
}

// inherit gives an empty file that root has just made to the owner of its folder, who
// could have made it. It must not be one that was found under a name.
func inherit(f *os.File, folder *os.Root) error {
	owner, err := heir(folder)
	if owner == nil || err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid == owner.Uid {
		return nil
	}
	if st.Uid != 0 || st.Nlink != 1 || st.Size != 0 || !info.Mode().IsRegular() {
		return fmt.Errorf("%s %w", f.Name(), spool.ErrForm)
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// inheritFolder gives an empty folder that root made to the owner of the folder
// above, who could have made it.
func inheritFolder(r, above *os.Root) error {
	owner, err := heir(above)
	if owner == nil || err != nil {
		return err
	}
	f, err := r.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Sys().(*syscall.Stat_t).Uid == owner.Uid {
		return nil
	}
	if names, err := f.Readdirnames(1); len(names) > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s was exchanged while it was made: try again", r.Name())
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// heir is who gets what this process makes in a folder; nil: it keeps it.
func heir(folder *os.Root) (*syscall.Stat_t, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := folder.Stat(".")
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		return st, nil
	}
	return nil, nil
}

// ours refuses a folder that others than its owner can write to, or whose
// owner is neither root, nor we, nor whoever owns the folder above it and could
// replace it anyway.
func ours(path string, info, above fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o002 != 0 || mode&0o020 != 0 && !disk.GroupIsOurs(info) {
		return fmt.Errorf("%s has mode %04o: others can put files there: chmod 0700 %s", path, mode, path)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	up, known := above.Sys().(*syscall.Stat_t)
	if ok && known && st.Uid != 0 && int(st.Uid) != os.Geteuid() && st.Uid != up.Uid {
		return fmt.Errorf("%s belongs to user %d, who could put files there: chown it to the owner of %s",
			path, st.Uid, filepath.Dir(path))
	}
	return nil
}

// private refuses a file that others can use. Those whom its folder was given
// to are none of them.
func private(info, folder fs.FileInfo) error {
	others := fs.FileMode(0o077)
	if disk.GroupIsOurs(folder) && sameGroup(info, folder) {
		others = 0o007
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("has mode %04o: others than its owner can use it", mode)
	}
	return nil
}

func sameGroup(a, b fs.FileInfo) bool {
	one, ok := a.Sys().(*syscall.Stat_t)
	other, too := b.Sys().(*syscall.Stat_t)
	return ok && too && one.Gid == other.Gid
}
