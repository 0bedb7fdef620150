package config

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// table reads one TOML table. A key that nobody asked for is unknown: see
// finish.
type table struct {
	doc    *document
	path   string
	values map[string]any
	known  []string
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

// has reports whether the key is given, whatever its value.
func (t *table) has(name string) bool {
	_, ok := t.values[name]
	return ok
}

// read reads every one of the keys that the table has.
func (t *table) read(keys []key) {
	if t.got == nil {
		t.got = map[string]bool{}
	}
	for _, k := range keys {
		if v, ok := t.take(k.name); ok {
			t.got[k.name] = k.value.read(t, k.name, v)
		}
	}
}

// readOnly is read for some of the keys.
func (t *table) readOnly(keys []key, names ...string) {
	t.read(slices.DeleteFunc(keys, func(k key) bool { return !slices.Contains(names, k.name) }))
}

// take is the value of a key, which is known from now on.
func (t *table) take(name string) (any, bool) {
	t.known = append(t.known, name)
	v, ok := t.values[name]
	return v, ok
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

func (t *table) wrongType(name, want string, v any) {
	if _, isText := v.(string); isText && t.doc.expanded[t.key(name)] {
		// Not what: a value of the environment is shown nowhere.
		t.problem(name, "must be "+strings.TrimSuffix(strings.TrimSuffix(want, " without quotes"), ", without quotes")+", and what the variable gives is none", "")
		return
	}
	t.problem(name, "must be "+want+", not "+typeOf(v), "")
}

// sub opens a table inside this one; it is empty where the key is missing.
func (t *table) sub(name string) *table {
	v, ok := t.take(name)
	inner := &table{doc: t.doc, path: t.key(name)}
	if !ok {
		return inner
	}
	switch v := v.(type) {
	case map[string]any:
		inner.values = v
	case []map[string]any:
		t.problem(name, "is given as a list", "write ["+name+"], with one pair of brackets")
	default:
		hint := "write [" + name + "] on a line of its own"
		if t.path != "" {
			hint = "write " + name + " = { … }"
		}
		t.problem(name, "must be a table, not "+typeOf(v), hint)
	}
	return inner
}

// each opens the tables of an array: [[name]].
func (t *table) each(name string, v any) []*table {
	var list []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		list = v
	case []any:
		for i, element := range v {
			inner, ok := element.(map[string]any)
			if !ok {
				t.doc.problem(joinIndex(t.key(name), i), "must be a table, not "+typeOf(element), "")
				continue
			}
			list = append(list, inner)
		}
	default:
		t.problem(name, "must be a list of tables, not "+typeOf(v), "write [["+name+"]], with two pairs of brackets")
	}
	tables := make([]*table, len(list))
	for i, values := range list {
		tables[i] = &table{doc: t.doc, path: joinIndex(t.key(name), i), values: values}
	}
	return tables
}

// named opens the tables inside the table name, in the order of their names:
// [name.a], [name.b].
func (t *table) named(name string) (names []string, tables []*table) {
	outer := t.sub(name)
	for _, n := range slices.Sorted(maps.Keys(outer.values)) {
		values, ok := outer.values[n].(map[string]any)
		if !ok {
			outer.problem(n, "must be a table, not "+typeOf(outer.values[n]), "keys stand in a table with a name: ["+name+".NAME]")
			continue
		}
		names = append(names, n)
		tables = append(tables, &table{doc: t.doc, path: outer.key(n), values: values})
	}
	return names, tables
}

// finish reports every key that nobody asked for.
func (t *table) finish() {
	sort.Strings(t.known)
	for _, name := range slices.Sorted(maps.Keys(t.values)) {
		if slices.Contains(t.known, name) {
			continue
		}
		hint := "keys here: " + strings.Join(slices.Compact(t.known), ", ")
		if near := nearest(name, t.known); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
		t.problem(name, "unknown key", hint)
	}
}
