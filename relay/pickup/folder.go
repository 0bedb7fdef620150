package pickup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"postern/config/wire"
	"postern/relay/submission"
	"postern/spool/disk"
)

const (
	badFolder = "bad"
	// maxBad is how many files the folder for those takes.
	maxBad = 20_000
)

// folder is the one that is watched, open.
type folder struct {
	root *os.Root
	bad  *os.Root
	info fs.FileInfo
	path string
	held int // files in bad, at least
}

// openFolder opens a folder from which this process can remove what others put
// there.
func openFolder(path string) (_ *folder, err error) {
	root, err := disk.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root, path: path}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.info, err = root.Stat("."); err != nil {
		return nil, err
	}
	if err := mayRemove(path, f.info); err != nil {
		return nil, err
	}
	if err := f.openBad(); err != nil {
		return nil, fmt.Errorf("the folder %s in it: %w", badFolder, err)
	}
	return f, nil
}

// openBad makes the folder for what can't be taken. Something else of that name
// is moved out of the way: others may write to the folder.
func (f *folder) openBad() error {
	for range 2 {
		err := f.root.Mkdir(badFolder, 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := f.root.Lstat(badFolder)
		if err != nil {
			return err
		}
		if info.IsDir() && isOwn(info) {
			if f.bad, err = disk.OpenFolderIn(f.root, badFolder); err != nil {
				return err
			}
			return f.countBad()
		}
		if err := f.root.Rename(badFolder, ".not-"+badFolder+"-"+strconv.FormatInt(time.Now().UnixNano(), 36)); err != nil {
			return err
		}
	}
	return errors.New("somebody else makes one all the time")
}

// countBad counts the files in bad, up to maxBad.
func (f *folder) countBad() error {
	dir, err := f.bad.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxBad)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.held = len(names)
	return nil
}

func (f *folder) close() {
	f.root.Close()
	if f.bad != nil {
		f.bad.Close()
	}
}

// setAside moves a file that can't be taken for good, and writes why beside it.
// Where that fails it stays and is left alone until it changes.
func (w *watch) setAside(c *submission.Client, f finding, why string) {
	err := w.moveAside(f, why)
	if err != nil {
		w.mu.Lock()
		if len(w.left) < maxLeft {
			w.left[f.name] = look{identityOf(f.info), time.Now()}
		}
		w.mu.Unlock()
	}
	w.server.events(&SetAside{c, f.name, why, err})
}

func (w *watch) moveAside(f finding, why string) error {
	w.mu.Lock()
	full := w.folder.held >= maxBad
	if !full {
		w.folder.held += 2
	}
	w.mu.Unlock()
	if full {
		return fmt.Errorf("%s has more than %d files", filepath.Join(w.set.dir, badFolder), maxBad)
	}
	name := time.Now().UTC().Format("20060102T150405.000000000") + suffix
	if err := w.folder.root.Rename(f.name, filepath.Join(badFolder, name)); err != nil {
		return err
	}
	text := why + "\nfile: " + wire.Text(f.name, 300) + "\n"
	return w.folder.bad.WriteFile(name+".reason", []byte(text), 0o640)
}

// remove removes a file that was handed in, unless another one has its name by
// now.
func (f *folder) remove(name string, was identity) error {
	info, err := f.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if identityOf(info) != was {
		return nil // what it is now is a message of its own
	}
	return f.root.Remove(name)
}
