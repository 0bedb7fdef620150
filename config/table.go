package config

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// table reads the keys of one TOML table. Each reading method leaves its
// target alone where the key is missing, records a problem where its value
// cannot be used, and reports whether the target was set. What nobody asked
// for is an unknown key: see finish.
type table struct {
	doc    *document
	path   string
	values map[string]any
	known  []string
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

func (t *table) take(name string) (any, bool) {
	t.known = append(t.known, name)
	v, ok := t.values[name]
	return v, ok
}

// kind names the type of a value, never the value.
func kind(v any) string {
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
	t.problem(name, "must be "+want+", not "+kind(v), "")
}

// text reads a string that may not be empty and has no control characters.
func (t *table) text(name string, dst *string) bool {
	v, ok := t.take(name)
	if !ok {
		return false
	}
	s, ok := v.(string)
	switch {
	case !ok:
		hint := ""
		if n, isInt := v.(int64); isInt && !secretPath(name) {
			hint = "write " + strconv.Quote(strconv.FormatInt(n, 10))
		}
		t.problem(name, "must be a string, not "+kind(v), hint)
	case s == "":
		t.problem(name, "is empty", "remove the key or give it a value")
	case hasControl(s):
		t.problem(name, "contains a control character", "")
	default:
		*dst = s
		return true
	}
	return false
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}

// oneOf reads a string out of a short list.
func (t *table) oneOf(name string, dst *string, allowed ...string) bool {
	var s string
	if !t.text(name, &s) {
		return false
	}
	if !slices.Contains(allowed, s) {
		hint := "one of " + strings.Join(allowed, ", ")
		if near := nearest(s, allowed); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
		}
		t.problem(name, strconv.Quote(s)+" is not known", hint)
		return false
	}
	*dst = s
	return true
}

func (t *table) boolean(name string, dst *bool) bool {
	v, ok := t.take(name)
	if !ok {
		return false
	}
	v = t.expandedNumber(name, v)
	b, ok := v.(bool)
	if !ok {
		t.wrongType(name, "true or false, without quotes", v)
		return false
	}
	*dst = b
	return true
}

// integer reads a whole number from low to high.
func (t *table) integer(name string, dst *int, low, high int) bool {
	v, ok := t.take(name)
	if !ok {
		return false
	}
	n, ok := t.expandedNumber(name, v).(int64)
	if !ok {
		t.wrongType(name, "a whole number without quotes", v)
		return false
	}
	if n < int64(low) || n > int64(high) {
		t.problem(name, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("from %d to %d", low, high))
		return false
	}
	*dst = int(n)
	return true
}

// duration reads a duration of at least low and at most high.
func (t *table) duration(name string, dst *time.Duration, low, high time.Duration) bool {
	v, ok := t.take(name)
	return ok && t.oneDuration(name, v, dst, low, high)
}

func (t *table) oneDuration(name string, v any, dst *time.Duration, low, high time.Duration) bool {
	key := joinPath(t.path, name)
	s, ok := v.(string)
	if !ok {
		text := `must be a duration such as "5m", not ` + kind(v)
		switch v.(type) {
		case int64, float64:
			text = `must be a duration such as "5m", not a bare number`
		}
		t.doc.problem(key, text, "units are ms, s, m, h, d, w")
		return false
	}
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		t.doc.problem(key, strconv.Quote(s)+" "+err.Error(), "units are ms, s, m, h, d, w")
	case d < low:
		t.doc.problem(key, strconv.Quote(s)+" is too short", "at least "+FormatDuration(low))
	case d > high:
		t.doc.problem(key, strconv.Quote(s)+" is too long", "at most "+FormatDuration(high))
	default:
		*dst = d
		return true
	}
	return false
}

// joinPath is joinKey for a name that may carry an index: "backoff[2]".
func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// size reads a number of bytes of at least low.
func (t *table) size(name string, dst *int64, low int64) bool {
	v, ok := t.take(name)
	if !ok {
		return false
	}
	s, ok := v.(string)
	if !ok {
		text := `must be a size such as "35MiB", not ` + kind(v)
		switch v.(type) {
		case int64, float64:
			text = `must be a size such as "35MiB", not a bare number`
		}
		t.problem(name, text, "units are B, KB, MB, GB, KiB, MiB, GiB")
		return false
	}
	n, err := ParseSize(s)
	switch {
	case err != nil:
		t.problem(name, strconv.Quote(s)+" "+err.Error(), "units are B, KB, MB, GB, KiB, MiB, GiB")
	case n < low:
		t.problem(name, strconv.Quote(s)+" is too small", "at least "+FormatSize(low))
	default:
		*dst = n
		return true
	}
	return false
}

// mode reads file permissions such as "0660".
func (t *table) mode(name string, dst *fs.FileMode) bool {
	v, ok := t.take(name)
	if !ok {
		return false
	}
	s, ok := v.(string)
	if !ok {
		t.wrongType(name, `file permissions such as "0660", in quotes`, v)
		return false
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		t.problem(name, strconv.Quote(s)+" is not a set of file permissions", `octal digits such as "0660"`)
		return false
	}
	*dst = fs.FileMode(n)
	return true
}

// list reads a list of strings. A list that is given may not be empty. What
// cannot be used of it is reported and stands in the target as "".
func (t *table) list(name string, dst *[]string) bool {
	v, ok := t.take(name)
	return ok && t.oneList(name, v, dst)
}

func (t *table) oneList(name string, v any, dst *[]string) bool {
	key := joinPath(t.path, name)
	values, ok := v.([]any)
	if !ok {
		hint := ""
		if _, single := v.(string); single {
			hint = `put it in brackets, ["…"]`
		}
		t.doc.problem(key, "must be a list of strings, not "+kind(v), hint)
		return false
	}
	if len(values) == 0 {
		t.doc.problem(key, "is an empty list", "remove the key or name something")
		return false
	}
	out := make([]string, len(values))
	for i, element := range values {
		s, ok := element.(string)
		switch {
		case !ok:
			t.doc.problem(joinIndex(key, i), "must be a string, not "+kind(element), "")
		case s == "":
			t.doc.problem(joinIndex(key, i), "is empty", "")
		case hasControl(s):
			t.doc.problem(joinIndex(key, i), "contains a control character", "")
		default:
			out[i] = s
		}
	}
	*dst = out
	return true
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
		t.problem(name, "must be a table, not "+kind(v), hint)
	}
	return inner
}

// each opens the tables of an array: [[name]].
func (t *table) each(name string) []*table {
	v, ok := t.take(name)
	if !ok {
		return nil
	}
	var list []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		list = v
	case []any:
		for i, element := range v {
			inner, ok := element.(map[string]any)
			if !ok {
				t.doc.problem(joinIndex(t.key(name), i), "must be a table, not "+kind(element), "")
				continue
			}
			list = append(list, inner)
		}
	default:
		t.problem(name, "must be a list of tables, not "+kind(v), "write [["+name+"]], with two pairs of brackets")
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
			outer.problem(n, "must be a table, not "+kind(outer.values[n]), "keys stand in a table with a name: ["+name+".NAME]")
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
