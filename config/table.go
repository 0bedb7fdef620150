package config

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// table reads one TOML table.
type table struct {
	doc    *document
	path   string
	values map[string]any
	got    map[string]bool // keys whose values could be used
}

func (d *document) top() *table { return &table{doc: d, values: d.root} }

// key is the path of one of the table's keys, and of the table itself for "".
func (t *table) key(name string) string {
	if name == "" {
		return t.path
	}
	return joinKey(t.path, name)
}

func (t *table) problem(name, text, hint string) { t.doc.problem(t.key(name), text, hint) }
func (t *table) warn(name, text, hint string)    { t.doc.warn(t.key(name), text, hint) }

// refuse reports each of the keys that is given.
func (t *table) refuse(text, hint string, names ...string) {
	for _, name := range names {
		if t.has(name) {
			t.problem(name, text, hint)
		}
	}
}

// refuseSecret reports a secret that is given, by whichever key.
func (t *table) refuseSecret(s Secret, text, hint string) {
	if s.IsSet() {
		t.problem(s.source.key(), text, hint)
	}
}

// need reports a key that is not given.
func (t *table) need(name, hint string) {
	if !t.has(name) {
		t.problem(name, "is missing", hint)
	}
}

// has reports whether the key is given, whatever its value.
func (t *table) has(name string) bool {
	_, ok := t.values[name]
	return ok
}

// hasAny reports whether one of the keys is given.
func (t *table) hasAny(names ...string) bool { return slices.ContainsFunc(names, t.has) }

// firstGiven is the first of the keys that the file has, to name where
// something beside them is missing; "" is the table itself.
func (t *table) firstGiven(names ...string) string {
	if i := slices.IndexFunc(names, t.has); i >= 0 {
		return names[i]
	}
	return ""
}

// read reads every one of the keys that the table has. Any other is unknown.
func (t *table) read(keys []key) {
	var known []string
	for _, k := range keys {
		known = append(known, k.name)
	}
	t.readOnly(keys, known...)
	sort.Strings(known)
	for _, name := range slices.Sorted(maps.Keys(t.values)) {
		if slices.Contains(known, name) {
			continue
		}
		if t.doc.problems.full() {
			t.problem(name, "", "") // is counted
			continue
		}
		hint := "keys here: " + strings.Join(known, ", ")
		if near := Nearest(name, known); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
		t.problem(name, "unknown key", hint)
	}
}

// readOnly reads some of the keys, and leaves the rest of the table alone.
func (t *table) readOnly(keys []key, names ...string) {
	t.got = map[string]bool{}
	for _, k := range keys {
		if v, given := t.values[k.name]; given && slices.Contains(names, k.name) {
			t.got[k.name] = k.value.read(t.field(k.name), v)
		}
	}
}

// sub opens a table inside this one; it is empty where the key is missing.
func (t *table) sub(name string) *table { return t.field(name).table(t.values[name]) }

// field is a key of a table, or an element of its list, that is being read.
type field struct {
	t    *table
	name string // of the key
	key  string // the whole path: "listener[0].allow[1]"
}

func (t *table) field(name string) field { return field{t, name, t.key(name)} }

func (f field) element(i int) field { return field{f.t, f.name, joinIndex(f.key, i)} }

// problem reports what is wrong with the value, and is false.
func (f field) problem(text, hint string) bool {
	f.t.doc.problem(f.key, text, hint)
	return false
}

func (f field) warn(text, hint string) { f.t.doc.warn(f.key, text, hint) }

// table is the value as a table; it is empty where the value is none.
func (f field) table(v any) *table {
	inner := &table{doc: f.t.doc, path: f.key}
	switch v := v.(type) {
	case nil: // the key is missing
	case map[string]any:
		inner.values = v
	case []map[string]any:
		f.problem("is given as a list", "write ["+f.name+"], with one pair of brackets")
	default:
		hint := "write [" + f.name + "] on a line of its own"
		if f.t.path != "" {
			hint = "write " + f.name + " = { … }"
		}
		f.problem("must be a table, not "+typeOf(v), hint)
	}
	return inner
}

// tables are the tables of an array: [[name]].
func (f field) tables(v any) (tables []*table) {
	add := func(values map[string]any) {
		tables = append(tables, &table{doc: f.t.doc, path: joinIndex(f.key, len(tables)), values: values})
	}
	switch v := v.(type) {
	case []map[string]any:
		for _, values := range v {
			add(values)
		}
	case []any:
		for i, element := range v {
			if values, ok := element.(map[string]any); ok {
				add(values)
			} else {
				f.element(i).problem("must be a table, not "+typeOf(element), "")
			}
		}
	default:
		f.problem("must be a list of tables, not "+typeOf(v), "write [["+f.name+"]], with two pairs of brackets")
	}
	return tables
}

// wrongType reports a value of another type than the key has.
func (f field) wrongType(want string, v any) bool {
	if _, isText := v.(string); isText && f.t.doc.expanded[f.key] {
		// Not what: a value of the environment is shown nowhere.
		return f.problem("must be "+strings.TrimSuffix(strings.TrimSuffix(want, " without quotes"), ", without quotes")+", and what the variable gives is none", "")
	}
	return f.problem("must be "+want+", not "+typeOf(v), "")
}

// plain is a number or truth that came out of the environment, where everything
// is text; any other value stays as it is.
func (f field) plain(v any) any {
	s, isText := v.(string)
	if !isText || !f.t.doc.expanded[f.key] {
		return v
	}
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if s == "true" || s == "false" {
		return s == "true"
	}
	return v
}

// typeOf names the type of a value, never the value.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a value"
}
