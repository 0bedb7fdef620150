package console

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"postern/cmd/definition"
	"postern/config"
)

// kindsOf are the kinds of definitions, in the order of the page.
var kindsOf = []definition.Kind{definition.Upstream, definition.Route, definition.Book, definition.Alert}

// defined is the page of all definitions.
type defined struct {
	Kinds   []definedKind
	Problem string // why none can be made here; empty: they can
}

// definedKind is those of one kind.
type definedKind struct {
	Kind definition.Kind
	List []definedOne
}

// definedOne is one definition of the configuration in force.
type definedOne struct {
	Name  string
	Where string // file and line
	Link  string
	Ours  bool // this console, or the command, has written it
}

// definitionStore is where definitions are kept.
func (s *Server) definitionStore() (*definition.Store, error) {
	path := s.Config().Path
	if path == "" {
		return nil, errors.New("this relay runs without a configuration file, so that there is nothing to add to: write one first")
	}
	return definition.Open(path)
}

func (s *Server) definitions(w http.ResponseWriter, r *request) {
	cfg := s.Config()
	store, err := s.definitionStore()
	page := &defined{}
	if err != nil {
		page.Problem = err.Error()
	}
	lines := map[string]func(string) int{}
	for _, kind := range kindsOf {
		part := definedKind{Kind: kind}
		var ours []string
		if store != nil {
			ours = store.Names(kind)
		}
		for _, one := range inForce(cfg, kind) {
			file, line := placeOfKey(cfg, lines, one.key)
			out := definedOne{Name: one.name, Where: file, Ours: slices.Contains(ours, one.name), Link: formPath(kind, one.name)}
			if line > 0 {
				out.Where += ", line " + strconv.Itoa(line)
			}
			part.List = append(part.List, out)
		}
		page.Kinds = append(page.Kinds, part)
	}
	s.page(w, r, http.StatusOK, "definitions", "Definitions", page)
}

func formPath(kind definition.Kind, name string) string {
	return "/definitions/" + string(kind) + "?" + url.Values{"name": {name}}.Encode()
}

// keyed is a definition with the key of its table.
type keyed struct{ name, key string }

// inForce are the definitions of a kind, tables by name, others in their order.
func inForce(cfg *config.Config, kind definition.Kind) (list []keyed) {
	switch kind {
	case definition.Upstream:
		for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
			list = append(list, keyed{name, "upstream." + name})
		}
	case definition.Route:
		for i := range cfg.Routes {
			list = append(list, keyed{cfg.Routes[i].Name, fmt.Sprintf("route[%d]", i)})
		}
	case definition.Book:
		for i := range cfg.Books {
			list = append(list, keyed{cfg.Books[i].Name, "book." + cfg.Books[i].Name})
		}
	case definition.Alert:
		for i := range cfg.Alerts {
			list = append(list, keyed{cfg.Alerts[i].Name, fmt.Sprintf("alert[%d]", i)})
		}
	}
	return list
}

// placeOfKey is where a table stands; line is 0 where nobody can tell. lines
// keeps what was read of files.
func placeOfKey(cfg *config.Config, lines map[string]func(string) int, key string) (file string, line int) {
	file = cfg.FileOf(key)
	if lines[file] == nil {
		lines[file] = func(string) int { return 0 }
		if content, err := config.ReadFile(file); err == nil {
			lines[file], _ = config.Lines(string(content))
		}
	}
	if file != cfg.Path { // where lists are counted anew, and one definition stands in each of ours
		if at := lines[file](key); at > 0 {
			return file, at
		}
		return file, 0
	}
	return file, lines[file](key)
}

// shownSetting is a key of a definition that is looked at.
type shownSetting struct{ Name, Value string }

// settingsOf are the keys of a definition in force, with defaults, without
// secrets.
func settingsOf(cfg *config.Config, kind definition.Kind, name string) (list []shownSetting, key string) {
	for i, one := range inForce(cfg, kind) {
		if one.name != name {
			continue
		}
		var values map[string]any
		switch all := cfg.Redacted()[string(kind)].(type) {
		case map[string]any:
			values, _ = all[name].(map[string]any)
		case []any:
			if i < len(all) {
				values, _ = all[i].(map[string]any)
			}
		case []map[string]any:
			if i < len(all) {
				values = all[i]
			}
		}
		return flat("", values), one.key
	}
	return nil, ""
}

func flat(at string, values map[string]any) (list []shownSetting) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if inner, ok := values[name].(map[string]any); ok {
			list = append(list, flat(at+name+".", inner)...)
		} else if text := fmt.Sprint(values[name]); text != "" && text != "[]" && text != "<nil>" {
			list = append(list, shownSetting{at + name, text})
		}
	}
	return list
}
