package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// environment replaces ${NAME} and ${NAME:-default} in the strings of the
// document by variables of this process; $${ stands for ${ itself. What a
// variable holds is text and never becomes keys, lists or tables. A line for
// the shell is left to the shell.
func (d *document) environment() {
	d.expanded, d.unset = map[string]bool{}, map[string]bool{}
	d.expandTable("", d.root)
}

func (d *document) expandTable(path string, values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if strings.HasSuffix(name, string(secretCommand)) {
			continue
		}
		values[name] = d.expandValue(joinKey(path, name), values[name])
	}
}

func (d *document) expandValue(key string, value any) any {
	switch v := value.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "$"); ok && isVariable(name) && name == strings.ToUpper(name) {
			// Not which: it may be a password after all.
			d.warn(key, "looks like a variable of the environment without its braces, and is taken as it stands", "${NAME} is replaced")
		}
		return d.expandText(key, v)
	case map[string]any:
		d.expandTable(key, v)
	case []map[string]any:
		for i := range v {
			d.expandTable(joinIndex(key, i), v[i])
		}
	case []any:
		for i := range v {
			v[i] = d.expandValue(joinIndex(key, i), v[i])
		}
	}
	return value
}

// expandText replaces the variables of one value. Where one is missing, that
// is the only problem that is reported of this key.
func (d *document) expandText(key, text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasSuffix(before, "$") { // $${
			b.WriteByte('{')
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if !closed || !isVariable(name) {
			d.problem(key, "has ${ without the name of a variable and }", "${NAME} or ${NAME:-default}; write $${ for ${ itself")
			d.unset[key] = true
			return text
		}
		if strings.Contains(fallback, "${") {
			d.problem(key, "has ${ inside of ${ }", "a default is text; it cannot name another variable")
			d.unset[key] = true
			return text
		}
		value, set := os.LookupEnv(name)
		switch {
		case value == "" && hasFallback:
			value = fallback
		case !set:
			d.problem(key, name+" is not set in the environment of this process",
				fmt.Sprintf("set it where postern starts, or write ${%s:-default}", name))
			d.unset[key] = true
		}
		d.expanded[key] = true
		b.WriteString(value)
		text = after
	}
	return b.String()
}

// isVariable is true of a name that POSIX gives to environment variables.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// expandedNumber is a number or truth that came out of the environment, where
// everything is text; any other value stays as it is.
func (t *table) expandedNumber(name string, v any) any {
	s, isText := v.(string)
	if !isText || !t.doc.expanded[t.key(name)] {
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
