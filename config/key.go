package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
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
	read(f field, v any) bool
	// show is the value as the file would write it, without any secret; nil:
	// there is none.
	show() any
	// keep sets the place to what running has, which is the same key of another
	// Config.
	keep(running value)
	describe() description
}

// description is what a form has to know of a value.
type description struct {
	kind    string
	choices []string // all that it can be; nil: whatever can be read
	secret  bool     // show gives nothing of it away
	keys    []key    // of a table
}

// section is a table of keys inside of another one. check, which may be nil,
// compares its keys with each other.
type section struct {
	keys  []key
	check func(t *table)
}

func (s section) show() any             { return show(s.keys) }
func (s section) keep(value)            {} // key by key: see keepUntilRestart
func (s section) describe() description { return description{kind: "table", keys: s.keys} }

func (s section) read(f field, v any) bool {
	inner := f.table(v)
	inner.read(s.keys)
	if s.check != nil {
		s.check(inner)
	}
	return true
}

// tableList is an array of tables. fresh is an element with its defaults, check
// compares its keys with each other. name, which may be nil, is what no other
// element may be called; given is false where that is no name of its own.
type tableList[T any] struct {
	place *[]T
	fresh func(i int, t *table) T
	keys  func(*T) []key
	check func(*T, *table)
	name  func(*T) (name string, given bool)
	apart string // where names tell the elements apart
	// empty is the hint for a list without elements; "": there may be none.
	empty string
	most  int // how many there can be; 0: any number
}

func (l tableList[T]) read(f field, v any) bool {
	*l.place = nil
	list, names := f.tables(v), map[string]string{}
	if len(list) == 0 && l.empty != "" && len(f.t.doc.problems.list) == 0 {
		return f.problem("is an empty list", l.empty)
	}
	for i, inner := range list {
		if i == l.most && i > 0 {
			inner.problem("", fmt.Sprintf("is one of %d, and there can be %d", len(list), l.most), "")
			break
		}
		one := l.fresh(i, inner)
		inner.read(l.keys(&one))
		l.check(&one, inner)
		*l.place = append(*l.place, one)
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
	return true
}

func (l tableList[T]) show() any {
	shown := []any{}
	for i := range *l.place {
		shown = append(shown, show(l.keys(&(*l.place)[i])))
	}
	return shown
}

func (l tableList[T]) keep(running value) { *l.place = *running.(tableList[T]).place }
func (l tableList[T]) describe() description {
	return description{kind: "tables", keys: l.keys(new(T))}
}

// tableMap is a table of tables, each of which has a name that the file gives
// it.
type tableMap[T any] struct {
	place *map[string]*T
	fresh func(name string) *T
	keys  func(*T) []key
	check func(*T, *table)
}

func (m tableMap[T]) read(f field, v any) bool {
	outer := f.table(v)
	if *m.place == nil {
		*m.place = map[string]*T{}
	}
	for _, name := range slices.Sorted(maps.Keys(outer.values)) {
		values, ok := outer.values[name].(map[string]any)
		if !ok {
			outer.problem(name, "must be a table, not "+typeOf(outer.values[name]), "keys stand in a table with a name: ["+f.name+".NAME]")
			continue
		}
		inner := &table{doc: f.t.doc, path: outer.key(name), values: values}
		one := m.fresh(name)
		inner.read(m.keys(one))
		m.check(one, inner)
		(*m.place)[name] = one
	}
	return true
}

func (m tableMap[T]) show() any {
	shown := map[string]any{}
	for name, one := range *m.place {
		shown[name] = show(m.keys(one))
	}
	return shown
}

func (m tableMap[T]) keep(running value) { *m.place = *running.(tableMap[T]).place }
func (m tableMap[T]) describe() description {
	return description{kind: "named tables", keys: m.keys(new(T))}
}

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
	t := &table{doc: &document{source: &sourceMap{}}}
	for _, k := range keys {
		if s, ok := k.value.(section); ok {
			setDefaults(s.keys)
		}
		if n, ok := k.def.(int); ok {
			k.def = int64(n) // as TOML has it
		}
		if k.def != nil && !k.value.read(t.field(k.name), k.def) {
			panic("config: the default of " + k.name + " cannot be used: " + t.doc.problems.list[0].String()) // a test reads them all
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
		k.value.keep(running[i].value)
	}
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

// Setting describes one key of the file for those who show or document it.
type Setting struct {
	Table string // where it stands: "control", "upstream.NAME.oauth"; empty: at the top
	Name  string
	// Kind is the type of the value: "text", "path", "choice", "boolean",
	// "number", "duration", "size" and others. That of a table is "table", of
	// [[NAME]] "tables", of [table.NAME] "named tables".
	Kind    string
	Choices []string // all values that there are; nil: any of the kind
	Default any      // as the file would write it; nil: Unset tells
	Unset   string   // what counts without the key, in words
	Help    string   // one sentence
	Secret  bool     // its value is never shown
	Restart bool     // a change takes a restart
}

// Settings are all keys that a file can have, each table before its keys.
func Settings() []Setting { return settings("", Default().keys()) }

func settings(table string, keys []key) (all []Setting) {
	for _, k := range keys {
		d := k.value.describe()
		all = append(all, Setting{table, k.name, d.kind, d.choices, k.def, k.unset, k.help, d.secret, k.restart})
		inner := joinKey(table, k.name)
		if d.kind == "named tables" {
			inner += ".NAME"
		}
		all = append(all, settings(inner, d.keys)...)
	}
	return all
}
