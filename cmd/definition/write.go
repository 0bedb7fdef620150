package definition

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/BurntSushi/toml"

	"postern/spool/statefile"
)

// replace gives a file of conf.d its content at once, or removes it where that
// is nil. When it returns nil, a power cut does not undo it; when not, the old
// content is there or the new one.
func (s *Store) replace(name string, content []byte) error {
	if err := s.prepare(); err != nil {
		return err
	}
	r, err := statefile.Open(s.folder)
	if err != nil {
		return err
	}
	defer r.Close()
	if content == nil {
		if err := r.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncFolder(r)
	}
	temporary := "." + name + ".new" // which no configuration reads
	if err := writeNew(r, temporary, content); err != nil {
		_ = r.Remove(temporary)
		return err
	}
	if err := r.Rename(temporary, name); err != nil {
		_ = r.Remove(temporary)
		return err
	}
	return syncFolder(r)
}

// Writable is an error where this process cannot write definitions: conf.d, or,
// where there is none, the folder that it would be in, is not its to change.
func (s *Store) Writable() error {
	folder := s.folder
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		folder = filepath.Dir(folder)
	} else if r, err := statefile.Open(folder); err != nil {
		return err
	} else {
		r.Close()
	}
	f, err := os.CreateTemp(folder, ".postern-") // the only question that every kind of confinement answers
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeNew writes a file that the group of the folder can read, and nobody else.
func writeNew(r *os.Root, name string, content []byte) error {
	_ = r.Remove(name) // of a crash
	f, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	folder, err := r.Stat(".")
	if err != nil {
		return err
	}
	if err := share(f, folder, 0o640); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// prepare makes conf.d where there is none.
func (s *Store) prepare() error {
	above, err := os.Stat(filepath.Dir(s.folder))
	if err != nil {
		return err
	}
	if err := os.Mkdir(s.folder, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	f, err := os.Open(s.folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return share(f, above, 0o750)
}

// nameIn is the name of the only definition of a kind in a text; empty: there is
// not one.
func nameIn(kind Kind, text string) string {
	var root map[string]any
	if _, err := toml.Decode(text, &root); err != nil {
		return ""
	}
	switch list := root[string(kind)].(type) {
	case map[string]any:
		for name := range list {
			return name
		}
	case []map[string]any:
		if len(list) == 1 {
			name, _ := list[0]["name"].(string)
			return name
		}
	}
	return ""
}
