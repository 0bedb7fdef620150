package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// mainName is what a configuration is called that has further files.
	mainName = "postern.toml"
	// furtherName is their folder, beside it.
	furtherName = "conf.d"
	// maxFurther bounds how many there may be.
	maxFurther = 500
)

// furtherFolder is the folder of the further files of a configuration; empty:
// one of its name has none, such as a second one in the same folder.
func furtherFolder(path string) string {
	if filepath.Base(path) != mainName {
		return ""
	}
	return filepath.Join(filepath.Dir(path), furtherName)
}

// part is where a key of a document stands that a further file has.
type part struct {
	doc  *document
	path string // there
}

// readFurther reads the files of the folder in lexical order, and adds their
// tables to those of the document.
func (d *document) readFurther() {
	folder := furtherFolder(d.file)
	if folder == "" {
		return
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) && d.instead == nil {
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.problems.add(Problem{File: folder, Text: "cannot be read: " + reason(err)})
		return
	}
	d.folder = folder
	left := maxFile
	for _, name := range d.instead.names(entries) {
		if len(d.further) == maxFurther {
			d.problems.add(Problem{File: folder, Text: fmt.Sprintf("has more than %d files", maxFurther), Hint: "put several tables into one"})
			return
		}
		one := &document{file: filepath.Join(folder, name), source: &sourceMap{}}
		left -= d.instead.readOne(one)
		if !d.instead.replaces(one) && leadsOut(one.file, d.file) {
			if d.foreign == nil {
				d.foreign = map[string]bool{}
			}
			d.foreign[one.file] = true
		}
		d.problems.list = append(d.problems.list, one.problems.list...)
		if left < 0 {
			d.problems.add(Problem{File: folder, Text: "holds more than " + FormatSize(maxFile)})
			return
		}
		d.merge("", d.root, one.root, one)
		d.further = append(d.further, one)
	}
}

// leadsOut reports whether a file is a link that leads out of the folder of the
// main one, or nobody knows where.
func leadsOut(file, main string) bool {
	folder, err := filepath.EvalSymlinks(filepath.Dir(main))
	if err != nil {
		return true
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return true
	}
	rel, err := filepath.Rel(folder, real)
	return err != nil || !filepath.IsLocal(rel)
}

// merge adds what a further file has at path. A table that several files write,
// or a key of one, is a problem; tables in lists are added behind those that are
// there, and tables that only hold others, such as [upstream], have those of
// all files.
func (d *document) merge(path string, into, from map[string]any, file *document) {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		key := joinKey(path, name)
		mine, there := into[name]
		if !there {
			into[name] = from[name]
			d.from[key] = part{file, key}
			continue
		}
		switch theirs := from[name].(type) {
		case map[string]any:
			if mine, ok := mine.(map[string]any); ok && (d.writer(key) == nil || !file.source.written[key]) {
				d.merge(key, mine, theirs, file)
				continue
			}
		case []map[string]any:
			if mine, ok := mine.([]map[string]any); ok {
				for i := range theirs {
					d.from[joinIndex(key, len(mine)+i)] = part{file, joinIndex(key, i)}
				}
				into[name] = slices.Concat(mine, theirs)
				continue
			}
		}
		d.twice(key, file)
	}
}

// writer is the file before the present one that writes a table itself, not
// only tables in it; nil: none does.
func (d *document) writer(key string) *document {
	for _, one := range append([]*document{d}, d.further...) {
		if one.source.written[key] {
			return one
		}
	}
	return nil
}

// twice reports a table or key of a further file that another one has.
func (d *document) twice(key string, file *document) {
	first := d.writer(key)
	if first == nil {
		first, _ = d.where(key)
	}
	d.problems.add(Problem{
		File: file.file, Line: file.source.line(key), Key: key,
		Text: fmt.Sprintf("this key or table stands in %s on line %d already", first.file, first.source.line(key)),
		Hint: "keep one of them",
	})
}

// where is the file that a key stands in, and what the key is called there.
func (d *document) where(key string) (*document, string) {
	if at := enclosing(d.from, key); at != "" {
		return d.from[at].doc, d.from[at].path + key[len(at):]
	}
	return d, key
}

// enclosing is key, or the nearest table around it, that has an entry; empty:
// none has.
func enclosing[T any](entries map[string]T, key string) string {
	for at := key; at != ""; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		if _, ok := entries[at]; ok {
			return at
		}
	}
	return ""
}

// FileOf is the file that a key stands in, written as in a Problem; that at Path
// where it stands in none.
func (c *Config) FileOf(key string) string {
	if at := enclosing(c.from, key); at != "" {
		return c.from[at]
	}
	return c.Path
}

// origins are the files of the keys that a further one has.
func (d *document) origins() map[string]string {
	list := map[string]string{}
	for key, p := range d.from {
		list[key] = p.doc.file
	}
	return list
}

// found is a finding about a key.
func (d *document) found(key, text, hint string) Problem {
	in, there := d.where(key)
	return Problem{File: in.file, Line: in.source.line(there), Key: key, Text: text, Hint: hint}
}

// files are all that the document was read from.
func (d *document) files() []string {
	list := []string{d.file}
	for _, one := range d.further {
		list = append(list, one.file)
	}
	return list
}

// place is where a table stands: on which line, and in which further file;
// empty: it is none.
func (d *document) place(path string) (file string, line int) {
	in, there := d.where(path)
	if in != d {
		file = filepath.Base(in.file)
	}
	return file, in.source.line(there)
}

func (r *Route) place() string {
	if r.File == "" {
		return fmt.Sprintf("line %d", r.Line)
	}
	return fmt.Sprintf("line %d of %s", r.Line, r.File)
}
