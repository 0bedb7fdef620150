package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"postern/spool"
)

// OpenFolder is os.OpenRoot that waits for nobody: a pipe that has taken the place
// of the folder is an error at once.
func OpenFolder(path string) (*os.Root, error) {
	r, err := os.OpenRoot(path + string(os.PathSeparator))
	return r, called(err, path)
}

// OpenFolderIn is OpenFolder for one in another.
func OpenFolderIn(above *os.Root, name string) (*os.Root, error) {
	r, err := above.OpenRoot(name + string(os.PathSeparator))
	return r, called(err, name)
}

// called is an error with the path as it was asked for.
func called(err error, path string) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		at.Path = path
	}
	return err
}

// OpenFile opens a file that is there under its own name in a folder: no link
// leads to it, it is a regular one, and nobody is waited for. spool.ErrForm: it is not
// so.
func OpenFile(folder *os.Root, name string, flag int) (*os.File, error) {
	f, err := folder.OpenFile(name, flag|NoWait, 0)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = folder.Lstat(name); err == nil && (!os.SameFile(named, opened) || !opened.Mode().IsRegular()) {
			err = fmt.Errorf("%s %w", f.Name(), spool.ErrForm)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
