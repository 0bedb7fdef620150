package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LoadWith is Load, as it would be if the further file of that name, such as
// "50-office.toml", held content; nil: if there were none. Nothing is written.
// It is an error where the configuration has no further files.
func LoadWith(path, name string, content []byte) (*Config, error) {
	if FurtherFolder(path) == "" || filepath.Base(name) != name || !isFurther(name) {
		return nil, &Problems{List: []Problem{{File: path, Text: "has no further file " + name,
			Hint: "only a configuration that is called " + mainName + " has further files, conf.d/*.toml beside it"}}}
	}
	doc := &document{file: path, source: &sourceMap{}, from: map[string]part{}, instead: &replacement{name, content}}
	return doc.load()
}

// LoadAs is Load, as it would be if the file held text, which need not be there.
// Nothing is written.
func LoadAs(path, text string) (*Config, error) {
	return (&document{file: path, source: &sourceMap{}, from: map[string]part{}, text: &text}).load()
}

// FurtherFolder is where the further files of a configuration stand, whether or
// not the folder is there; empty: one of its name has none.
func FurtherFolder(path string) string { return furtherFolder(path) }

// replacement is what a further file is taken to hold; nil: there is none.
type replacement struct {
	name    string
	content []byte
}

// isFurther tells whether a file of the folder counts.
func isFurther(name string) bool {
	return !strings.HasPrefix(name, ".") && filepath.Ext(name) == ".toml"
}

// names are the files that count among entries, in order.
func (r *replacement) names(entries []os.DirEntry) (list []string) {
	for _, e := range entries {
		if isFurther(e.Name()) && (r == nil || e.Name() != r.name) {
			list = append(list, e.Name())
		}
	}
	if r != nil && r.content != nil {
		list = append(list, r.name)
	}
	slices.Sort(list)
	return list
}

// replaces tells whether r stands for a further file.
func (r *replacement) replaces(one *document) bool {
	return r != nil && filepath.Base(one.file) == r.name
}

// readOne reads a further file, or takes what stands for it, and returns its
// size in bytes.
func (r *replacement) readOne(one *document) int {
	if !r.replaces(one) {
		return one.read(ReadFile)
	}
	one.parse(string(r.content))
	return len(r.content)
}
