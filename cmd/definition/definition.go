package definition

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"postern/config"
)

// Kind is what is defined.
type Kind string

// The kinds. Their words are the tables of the configuration.
const (
	Upstream Kind = "upstream"
	Route    Kind = "route"
	Book     Kind = "book"
	Alert    Kind = "alert"
)

// Definition is one table of the configuration with what is in it.
type Definition struct {
	Kind Kind
	Name string
	// Values are texts, whole numbers (int64), booleans and lists of texts
	// ([]string), by the path of the key in the table: "host",
	// "oauth.client_id". Numbers and booleans may be texts too, and a single
	// text stands for a list of one.
	Values map[string]any
	// Secrets are kept in files; "password" sets the key "password_file". A
	// secret that is not here stays as it is.
	Secrets map[string]string
}

// Keys are the keys of the tables of a kind, with their path in the table as the
// name: those that Values can have, and those that Secrets can have, for which
// Secret is set. The name of a route or an alert is not among them.
func Keys(kind Kind) (list []config.Setting) {
	all, top := config.Settings(), string(kind)
	for _, s := range all {
		if s.Table == "" && s.Name == top && s.Kind == "named tables" {
			top += ".NAME"
			break
		}
	}
	for _, s := range all {
		inner, in := strings.CutPrefix(s.Table, top)
		if !in || inner != "" && inner[0] != '.' || s.Kind == "table" || inner == "" && s.Name == "name" {
			continue
		}
		s.Name = strings.TrimPrefix(inner+"."+s.Name, ".")
		hasFile := slices.ContainsFunc(all, func(o config.Setting) bool { return o.Table == s.Table && o.Name == lastOf(s.Name)+"_file" })
		if writable(s.Kind) && (!s.Secret || hasFile) {
			list = append(list, s)
		}
	}
	return list
}

func lastOf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// lists are the kinds of values that are lists of texts, others those that are
// one value. What is in neither, such as patterns for header fields, is for
// people who write TOML.
var (
	lists  = []string{"list", "patterns", "rates", "fingerprints", "extensions", "addresses", "URLs"}
	others = []string{"text", "path", "choice", "number", "boolean", "duration", "size", "address", "url", "date"}
)

func writable(kind string) bool { return IsList(kind) || slices.Contains(others, kind) }

// IsList tells whether values of a kind, as in config.Setting, are lists.
func IsList(kind string) bool { return slices.Contains(lists, kind) }

// named tells whether tables of the kind have their name in the header.
func (k Kind) named() bool { return k == Upstream || k == Book }

// check says what cannot be written at all. What values may be, the
// configuration says.
func (d *Definition) check() error {
	if !slices.Contains([]Kind{Upstream, Route, Book, Alert}, d.Kind) {
		return d.problem("", fmt.Sprintf("%q is no kind of definition", string(d.Kind)))
	}
	if d.Name == "" || len(d.Name) > 100 || !utf8.ValidString(d.Name) || strings.ContainsFunc(d.Name, func(r rune) bool { return r < ' ' }) {
		return d.problem("", strconv.QuoteToASCII(d.Name)+" cannot be a name")
	}
	known := Keys(d.Kind)
	find := func(name string, secret bool) *config.Setting {
		for i := range known {
			if known[i].Name == name && known[i].Secret == secret {
				return &known[i]
			}
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(d.Values)) {
		s := find(name, false)
		if s == nil {
			return d.problem(name, "is not a key that can be set here")
		}
		v, err := typed(s.Kind, d.Values[name])
		if err != nil {
			return d.problem(name, err.Error())
		}
		d.Values[name] = v
	}
	for name := range d.Secrets {
		if find(name, true) == nil {
			return d.problem(name, "is not a secret that can be set here")
		}
	}
	return nil
}

func (d *Definition) problem(key, text string) error {
	return &config.Problems{List: []config.Problem{{Key: strings.TrimSuffix(string(d.Kind)+"."+d.Name+"."+key, "."), Text: text}}}
}

// typed is a value as the file has it.
func typed(kind string, v any) (any, error) {
	text, isText := v.(string)
	switch {
	case IsList(kind) && isText:
		return []string{text}, nil
	case kind == "number" && isText:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number")
		}
		return n, nil
	case kind == "boolean" && isText:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("must be true or false")
		}
		return text == "true", nil
	}
	switch v := v.(type) {
	case string, int64, bool, []string:
		return v, nil
	case int:
		return int64(v), nil
	}
	return nil, fmt.Errorf("must be a text, a number, true or false, or a list of texts")
}

// render is the definition as TOML.
func (d *Definition) render() string {
	var b strings.Builder
	inner := "" // path of the table that is open
	if d.Kind.named() {
		fmt.Fprintf(&b, "[%s.%s]\n", d.Kind, bare(d.Name))
	} else {
		fmt.Fprintf(&b, "[[%s]]\nname = %s\n", d.Kind, quote(d.Name))
	}
	depth := func(a, c string) int {
		if n := strings.Count(a, ".") - strings.Count(c, "."); n != 0 {
			return n
		}
		return strings.Compare(a, c)
	}
	for _, path := range slices.SortedFunc(maps.Keys(d.Values), depth) {
		if at := strings.TrimSuffix(strings.TrimSuffix(path, lastOf(path)), "."); at != inner {
			inner = at
			if d.Kind.named() {
				fmt.Fprintf(&b, "\n[%s.%s.%s]\n", d.Kind, bare(d.Name), inner)
			} else {
				fmt.Fprintf(&b, "\n[%s.%s]\n", d.Kind, inner)
			}
		}
		fmt.Fprintf(&b, "%s = %s\n", lastOf(path), literal(d.Values[path]))
	}
	return b.String()
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []string:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = quote(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v) // numbers and booleans
}

// bare is a key of TOML, in quotes where it needs them.
func bare(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		return quote(name)
	}
	return name
}

// quote is a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// parse reads what render has written.
func parse(kind Kind, name, text string) (*Definition, error) {
	var root map[string]any
	if _, err := toml.Decode(text, &root); err != nil {
		return nil, err
	}
	var values map[string]any
	if outer, ok := root[string(kind)].(map[string]any); ok {
		values, _ = outer[name].(map[string]any)
	} else if list, ok := root[string(kind)].([]map[string]any); ok && len(list) == 1 && list[0]["name"] == name {
		values = list[0]
		delete(values, "name")
	}
	if values == nil {
		return nil, fmt.Errorf("%s %q is not in it", kind, name)
	}
	d := &Definition{Kind: kind, Name: name, Values: map[string]any{}}
	d.flatten("", values)
	return d, nil
}

func (d *Definition) flatten(at string, values map[string]any) {
	for name, v := range values {
		switch v := v.(type) {
		case map[string]any:
			d.flatten(at+name+".", v)
		case []any:
			list := []string{}
			for _, one := range v {
				list = append(list, fmt.Sprint(one))
			}
			d.Values[at+name] = list
		default:
			d.Values[at+name] = v
		}
	}
}
