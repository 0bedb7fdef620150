package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postern/config"
	"postern/spool/disk"
)

// Save writes a file that is not there yet. One that is there stays, unless
// force is true; it is replaced in one step then, and never through a link. The
// new one has the owner and the group of the old one, and is not open to more.
// With the same content it stays as it is. On return the content is on disk.
func Save(path string, content []byte, mode fs.FileMode, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case !force:
		if old, err := config.ReadFile(path); err == nil && bytes.Equal(old, content) && info.Mode().Perm()&^mode == 0 {
			return nil
		}
		return &Exists{path}
	default:
		mode &= info.Mode().Perm() // no wider than it was
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".postern-import-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if info != nil {
		mode = keep(temp, info, mode)
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if !force {
		// A link fails where somebody was faster; a rename would not.
		err = os.Link(temp.Name(), path)
		if errors.Is(err, fs.ErrExist) {
			return &Exists{path}
		}
	}
	if force || err != nil { // a file system without links
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes durable what stands in a folder; a test replaces it.
var syncFolder = func(dir string) error { return disk.At(dir).SyncDir("") }

// Exists is the error of a file that is there and holds something else.
type Exists struct{ Path string }

func (e *Exists) Error() string { return e.Path + " is there already" }

// SaveSecrets writes each password into a file of mode 0600 in dir, which is
// made with mode 0700 where it is missing, and returns the paths, which are
// absolute. Nothing is written where one of the files is there and holds
// something else, unless force is true.
func (f *Found) SaveSecrets(dir string, force bool) (map[*Upstream]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncFolder(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	paths := map[*Upstream]string{}
	for _, u := range f.Upstreams {
		if u.Password == "" {
			continue
		}
		paths[u] = filepath.Join(dir, u.Name+".pw")
		if old, err := config.ReadFile(paths[u]); !force && err == nil && string(old) != u.Password+"\n" {
			return nil, &Exists{paths[u]}
		}
	}
	for u, path := range paths {
		if err := Save(path, []byte(u.Password+"\n"), 0o600, force); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
