package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"postern/config"
)

// kept is what a configuration that is replaced says of other things than what was
// found.
type kept struct {
	path   string
	top    []string // keys that stand before all tables, each with its lines
	tables []string // tables, each with its lines
	names  []string // of both, for people
}

// keptFrom is the comment above them.
const keptFrom = "Kept of the file that was here before:"

// Keep has TOML take over what a configuration file, which is about to be replaced,
// says of things that f does not speak of: groups and sockets, spool, console,
// alerts. Its upstreams and routes are not among them, and its listeners only at
// unix sockets and those of systemd, unless f has none. Where no file is there,
// there is nothing to keep. names are the parts that are kept.
func (f *Found) Keep(path string) (names []string, err error) {
	content, err := config.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	text := string(content)
	if _, deep := config.Lines(text); deep > 0 {
		return nil, fmt.Errorf("%s is no configuration: line %d is nested too deep", path, deep)
	}
	var root struct {
		Listener []struct{ Address string }
	}
	if _, err := toml.Decode(text, &root); err != nil {
		return nil, fmt.Errorf("%s is no TOML, so that nothing of it can be kept: move it away", path) // its words can be secrets
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f.kept = nil // of which it would speak
	k := &kept{path: path}
	spoken := f.speaksOf()
	listener := -1
	for _, p := range partsOf(text) {
		name := firstKey(p.Path)
		begins := name == "listener" && strings.HasPrefix(p.Path, "listener[") && !strings.Contains(p.Path, ".")
		if begins {
			listener++
		}
		switch {
		case name == "listener" && listener >= 0 && listener < len(root.Listener):
			if address := root.Listener[listener].Address; spoken[name] && !strings.HasPrefix(address, "unix:") && !strings.HasPrefix(address, "systemd:") {
				continue
			} else if begins {
				name += " " + address
			}
		case spoken[name]:
			continue
		}
		if strings.HasPrefix(p.text[p.header:], "[") {
			k.tables = append(k.tables, p.text)
		} else {
			k.top = append(k.top, p.text)
		}
		if !slices.Contains(k.names, name) {
			k.names = append(k.names, name)
		}
	}
	f.kept = k
	return k.names, nil
}

// speaksOf are the tables and keys that the file of f has, and those that it has to
// itself.
func (f *Found) speaksOf() map[string]bool {
	names := map[string]bool{"upstream": true, "route": true}
	for _, p := range config.Parts(string(f.TOML("", "", nil))) {
		names[firstKey(p.Path)] = true
	}
	return names
}

// firstKey is the first key of a path.
func firstKey(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

// part is a part of a text with its lines, and the comment right above them.
type part struct {
	config.Part
	text   string
	header int // where the part itself begins in text
}

// partsOf divides a text. A comment that no part follows at once is left out.
func partsOf(text string) (all []part) {
	lines := strings.SplitAfter(text, "\n")
	parts := config.Parts(text)
	begin := func(i int) int { // the line that a part begins at with its comment, from 0
		line := parts[i].Line - 1
		for line > 0 && strings.HasPrefix(strings.TrimSpace(lines[line-1]), "#") && !strings.Contains(lines[line-1], keptFrom) && (i == 0 || line-1 >= parts[i-1].Line) {
			line--
		}
		return line
	}
	for i := range parts {
		end := len(lines)
		if i+1 < len(parts) {
			end = begin(i + 1)
		}
		own := parts[i].Line - 1
		comment := strings.Join(lines[begin(i):own], "")
		body := strings.TrimRight(strings.Join(lines[own:end], ""), " \t\r\n")
		all = append(all, part{parts[i], comment + body + "\n", len(comment) + len(body) - len(strings.TrimLeft(body, " \t"))})
	}
	return all
}

// keptTop and keptTables write what is kept, where it may stand.
func (w *writer) keptTop() {
	if k := w.f.kept; k != nil && len(k.top) > 0 {
		fmt.Fprintln(w)
		w.comment("", keptFrom)
		fmt.Fprint(w, strings.Join(k.top, ""))
	}
}

func (w *writer) keptTables() {
	if k := w.f.kept; k != nil && len(k.tables) > 0 {
		fmt.Fprintln(w)
		w.comment("", keptFrom)
		fmt.Fprint(w, strings.Join(k.tables, "\n"))
	}
}

// excused are the problems of a configuration that the replaced one has as well,
// such as a group that is not there yet. The error are the others.
func (k *kept) excused(file string, err error) (same []config.Problem, _ error) {
	var problems, before *config.Problems
	if !errors.As(err, &problems) {
		return nil, err
	}
	had := map[string]bool{}
	if k != nil {
		if _, err := config.Load(k.path); errors.As(err, &before) {
			for _, p := range before.List {
				had[p.Text] = true
			}
		}
	}
	others := &config.Problems{Untold: problems.Untold}
	for _, p := range problems.List {
		unplaced(&p, file)
		if had[p.Text] {
			same = append(same, p)
		} else {
			others.List = append(others.List, p)
		}
	}
	if len(others.List) > 0 {
		return nil, others
	}
	return same, nil
}

// unplaced takes the place from a problem of the file that nobody has seen yet.
func unplaced(p *config.Problem, file string) {
	if p.File == file {
		p.File, p.Line = "", 0
	}
}
