package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"postern/spool/disk"
)

// What is read of one source, at most: settings of thousands of senders are
// smaller.
const (
	maxFile  = 8 << 20  // bytes of one file
	maxAll   = 32 << 20 // bytes of all files
	maxFiles = 256
	maxLine  = 64 << 10 // bytes of one line, with those that continue it
)

// source opens the files of one relay. Those that its settings name by an
// absolute path are looked for where the settings themselves lie: a copy of
// another machine's folder never leads to a file of this machine.
type source struct {
	base  string // the folder of the settings, as it was given
	usual string // where that folder is on a machine that runs the relay: "/etc/postfix"
	// root stands before absolute paths; of is true where there is one: the
	// folder lies at its usual place, or in a copy of the whole tree.
	root string
	of   bool
	left int64 // bytes that may still be read
	n    int   // files that were read
}

// errElsewhere is the error of a file that only the other machine has.
var errElsewhere = errors.New("is not in the copy that is read")

// newSource is for settings in a folder whose usual place is usual.
func newSource(base, usual string) *source {
	s := &source{base: base, usual: usual, left: maxAll}
	if abs, err := filepath.Abs(base); err == nil {
		abs = filepath.ToSlash(abs)
		if root, ok := strings.CutSuffix(abs, usual); ok {
			s.of = true
			if root != "" {
				s.root = filepath.Clean(base + strings.Repeat("/..", strings.Count(usual, "/")))
			}
		}
	}
	return s
}

// here tells whether the settings are those of this machine, so that a path in
// them can stand in the new ones.
func (s *source) here() bool { return s.of && s.root == "" }

// path is where a file is that the settings name.
func (s *source) path(name string) (string, error) {
	if !strings.HasPrefix(name, "/") {
		name = s.usual + "/" + name
	}
	name = filepath.ToSlash(filepath.Clean(name))
	if rest, ok := strings.CutPrefix(name, s.usual+"/"); ok {
		return filepath.Join(s.base, filepath.FromSlash(rest)), nil
	}
	if !s.of {
		return filepath.FromSlash(name), errElsewhere
	}
	if s.root == "" {
		return filepath.FromSlash(name), nil
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), nil
}

// file is a file that was read, in lines without their ends.
type file struct {
	name  string // as it is shown
	lines []string
}

func (f *file) at(line int) Place { return Place{f.name, line} }

// named reads a file that the settings name.
func (s *source) named(name string) (*file, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	return s.read(path)
}

// read reads one regular file of text.
func (s *source) read(path string) (*file, error) {
	b, err := s.bytes(path)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, errors.New("is not a text")
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	f := &file{name: path}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) > maxLine {
			return nil, fmt.Errorf("has a line of more than %d bytes", maxLine)
		}
		f.lines = append(f.lines, line)
	}
	return f, nil
}

// folder is where files are opened: in a copy, no link leads out of it.
type folder interface {
	Stat(name string) (os.FileInfo, error)
	OpenFile(name string, flag int, mode os.FileMode) (*os.File, error)
}

// machine is all of this machine.
type machine struct{}

func (machine) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }

func (machine) OpenFile(name string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, mode)
}

// open opens a regular file. What is none, such as a pipe that nobody writes
// to, is not waited for.
func (s *source) open(path string) (*os.File, error) {
	var in folder = machine{}
	if !s.here() {
		top := s.base
		if s.of {
			top = s.root
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return nil, err
		}
		root, err := disk.OpenFolder(top)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		in, path = root, rel
	}
	info, err := in.Stat(path)
	if err == nil {
		err = readable(info)
	}
	if err != nil {
		return nil, err
	}
	f, err := in.OpenFile(path, os.O_RDONLY|disk.NoWait, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil { // it may have been exchanged since
		err = readable(info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readable is why something is not read; nil: it is.
func readable(info os.FileInfo) error {
	switch {
	case info.IsDir():
		return errors.New("is a folder")
	case !info.Mode().IsRegular():
		return errors.New("is not a regular file")
	}
	return nil
}

// bytes reads one regular file.
func (s *source) bytes(path string) ([]byte, error) {
	if s.n++; s.n > maxFiles {
		return nil, fmt.Errorf("is one of more than %d files", maxFiles)
	}
	f, err := s.open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	most := min(maxFile, s.left)
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case int64(len(b)) > most:
		return nil, errors.New("is too large")
	}
	s.left -= int64(len(b))
	return b, nil
}

// reason is err without the path, which is shown before it.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// isFolder tells whether path is a folder.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
