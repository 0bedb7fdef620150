package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// key is everything that is known of one key of the file. The tables of keys
// stand in keys.go. Reading a file, defaults, what is shown of a configuration,
// what takes a restart, and the check of docs/configuration.md go by them.
type key struct {
	name  string
	value value
	// def counts where the file has no such key, and is written as the file
	// would write it: "5m", 8, true, []any{"1m", "5m"}; nil: unset tells.
	def any
	// unset says in words what counts without the key, where that is no fixed
	// value: "none", "the machine's name".
	unset   string
	help    string // one sentence, for whoever sets the key
	restart bool   // a reload leaves it as it is: see KeepUntilRestart
	hidden  bool   // has no meaning beside other keys of this table: not shown
}

// value binds a key to its place in a Config.
type value interface {
	// read sets the place to what the file says, or reports why it cannot.
	read(t *table, name string, v any) bool
	// show is the value as the file would write it, without any secret; nil:
	// there is none.
	show() any
}

// section is a table of keys inside of another one. check, which may be nil,
// compares its keys with each other.
type section struct {
	keys  []key
	check func(t *table)
}

func (s section) show() any { return show(s.keys) }

func (s section) read(t *table, name string, v any) bool {
	inner := t.sub(name)
	inner.read(s.keys)
	if s.check != nil {
		s.check(inner)
	}
	inner.finish()
	return true
}

// tableList is an array of tables. fresh is an element with its defaults, check
// compares its keys with each other. name, which may be nil, is what no other
// element may be called; given is false where that is no name of its own.
type tableList[T any] struct {
	Place *[]T
	fresh func(i int, t *table) T
	keys  func(*T) []key
	check func(*T, *table)
	name  func(*T) (name string, given bool)
	apart string // where names tell the elements apart
}

func (l tableList[T]) read(t *table, name string, v any) bool {
	*l.Place = nil
	before, names := len(t.doc.problems), map[string]string{}
	list := t.each(name, v)
	usable := len(t.doc.problems) == before
	for i, inner := range list {
		one := l.fresh(i, inner)
		inner.read(l.keys(&one))
		l.check(&one, inner)
		inner.finish()
		*l.Place = append(*l.Place, one)
		if l.name == nil {
			continue
		}
		if own, given := l.name(&one); own != "" {
			if other, twice := names[own]; twice && given {
				inner.problem("name", strconv.Quote(own)+" is the name of "+other+" too", l.apart)
			}
			names[own] = inner.path
		}
	}
	return usable
}

func (l tableList[T]) show() any {
	shown := []any{}
	for i := range *l.Place {
		shown = append(shown, show(l.keys(&(*l.Place)[i])))
	}
	return shown
}

// special is a value that is read and shown in a way of its own.
type special struct {
	reading func(t *table, name string, v any) bool
	showing func() any
}

func (s special) show() any                              { return s.showing() }
func (s special) read(t *table, name string, v any) bool { return s.reading(t, name, v) }

// show is what a table holds, under the names of its keys.
func show(keys []key) map[string]any {
	out := map[string]any{}
	for _, k := range keys {
		if k.hidden {
			continue
		}
		if v := k.value.show(); v != nil {
			out[k.name] = v
		}
	}
	return out
}

// setDefaults sets each key to what counts where a file does not have it.
func setDefaults(keys []key) {
	doc := &document{source: &sourceMap{}}
	t := &table{doc: doc}
	for _, k := range keys {
		if s, ok := k.value.(section); ok {
			setDefaults(s.keys)
		}
		if n, ok := k.def.(int); ok {
			k.def = int64(n) // as TOML has it
		}
		if k.def != nil && !k.value.read(t, k.name, k.def) {
			panic("config: the default of " + k.name + " cannot be used: " + doc.problems[0].String()) // a test reads them all
		}
	}
}

// keepUntilRestart gives keys of next, which are the same as those of running,
// the values of running where a reload does not change them. told is called for
// each that would be another, with both values as they are shown.
func keepUntilRestart(path string, running, next []key, told func(path string, inForce, wanted any)) {
	for i, k := range next {
		at := joinKey(path, k.name)
		if s, ok := k.value.(section); ok {
			keepUntilRestart(at, running[i].value.(section).keys, s.keys, told)
		}
		if !k.restart {
			continue
		}
		inForce, wanted := running[i].value.show(), k.value.show()
		if !reflect.DeepEqual(inForce, wanted) {
			told(at, inForce, wanted)
		}
		// The place is the first field of each value.
		reflect.ValueOf(k.value).Field(0).Elem().Set(reflect.ValueOf(running[i].value).Field(0).Elem())
	}
}

// Redacted is the configuration as it is in effect, defaults included, for
// printing as JSON: the keys of the file, with durations and sizes written as
// the file would, and without any secret. Passwords show where they come
// from, users show their names.
func (c *Config) Redacted() map[string]any { return show(c.keys()) }

// Digest tells two configurations apart, as far as Redacted does: 16 hex
// digits. It gives no secret away.
func (c *Config) Digest() string { return digest(c.Redacted()) }

// Digest is Config.Digest for one upstream.
func (u *Upstream) Digest() string { return digest(show(u.keys())) }

func digest(redacted map[string]any) string {
	text, err := json.Marshal(redacted) // whose keys are sorted
	if err != nil {
		panic("config: " + err.Error()) // texts, numbers and lists
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// KeepUntilRestart is next, in which what only changes at a restart is as in
// running, and names what would be different: sentences for people.
func KeepUntilRestart(running, next *Config) (*Config, []string) {
	c := *next
	var kept []string
	keepUntilRestart("", running.keys(), c.keys(), func(path string, inForce, wanted any) {
		for _, v := range []*any{&inForce, &wanted} {
			if *v == nil {
				*v = ""
			}
		}
		kept = append(kept, fmt.Sprintf("%s changes at a restart: %v is in force, the file says %v", path, inForce, wanted))
	})
	return &c, kept
}

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
		if near := Nearest(name, t.known); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
		t.problem(name, "unknown key", hint)
	}
}
