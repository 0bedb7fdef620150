package step

import (
	"fmt"
	"os"
	"path/filepath"
)

// replacement is a file that takes the place of another one when it is whole.
// It is for its owner alone, and follows no link that somebody has put there.
type replacement struct {
	*os.File
	path string
}

func newReplacement(path string) (*replacement, error) {
	if i, err := os.Stat(path); err == nil && !i.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &replacement{f, path}, nil
}

// end puts the file into its place, or removes it where err is not nil.
func (r *replacement) end(err error) error {
	if closing := r.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(r.Name(), r.path)
	}
	if err != nil {
		os.Remove(r.Name())
	}
	return err
}
