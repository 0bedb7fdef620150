package config

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Each kind of value begins with its place, which is left alone where the
// value of the file cannot be used.

// textAt is a string that may not be empty and has no control characters.
type textAt struct{ Place *string }

func (s textAt) show() any { return nonEmpty(*s.Place) }

func (s textAt) read(t *table, name string, v any) bool { return t.text(name, v, s.Place) }

// pathAt is a text. A relative one starts at the folder of the file.
type pathAt struct{ Place *string }

func (s pathAt) show() any { return nonEmpty(*s.Place) }

func (s pathAt) read(t *table, name string, v any) bool {
	if !t.text(name, v, s.Place) {
		return false
	}
	*s.Place = t.doc.path(*s.Place)
	return true
}

// choiceAt is a string out of a short list; see oneOf.
type choiceAt[T ~string] struct {
	Place   *T
	allowed []T
}

func oneOf[T ~string](place *T, allowed ...T) choiceAt[T] { return choiceAt[T]{place, allowed} }

func (c choiceAt[T]) show() any { return nonEmpty(string(*c.Place)) }

func (c choiceAt[T]) choices() []string {
	names := make([]string, len(c.allowed))
	for i, v := range c.allowed {
		names[i] = string(v)
	}
	return names
}

func (c choiceAt[T]) read(t *table, name string, v any) bool {
	var s string
	if !t.text(name, v, &s) {
		return false
	}
	if !slices.Contains(c.allowed, T(s)) {
		hint := "one of " + strings.Join(c.choices(), ", ")
		if near := Nearest(s, c.choices()); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
		}
		t.problem(name, strconv.Quote(s)+" is not known", hint)
		return false
	}
	*c.Place = T(s)
	return true
}

// boolAt is true or false.
type boolAt struct{ Place *bool }

func (f boolAt) show() any { return *f.Place }

func (f boolAt) read(t *table, name string, v any) bool {
	v = t.expandedNumber(name, v)
	b, ok := v.(bool)
	if !ok {
		t.wrongType(name, "true or false, without quotes", v)
		return false
	}
	*f.Place = b
	return true
}

// numberAt is a whole number from low to high.
type numberAt struct {
	Place     *int
	low, high int
}

func (n numberAt) show() any { return *n.Place }

func (n numberAt) read(t *table, name string, v any) bool {
	i, ok := t.expandedNumber(name, v).(int64)
	if !ok {
		t.wrongType(name, "a whole number without quotes", v)
		return false
	}
	if i < int64(n.low) || i > int64(n.high) {
		t.problem(name, fmt.Sprintf("%d is out of range", i), fmt.Sprintf("from %d to %d", n.low, n.high))
		return false
	}
	*n.Place = int(i)
	return true
}

// durationAt is one from low to high.
type durationAt struct {
	Place     *time.Duration
	low, high time.Duration
}

func (d durationAt) show() any { return formatDuration(*d.Place) }

func (d durationAt) read(t *table, name string, v any) bool { return d.readAt(t.doc, t.key(name), v) }

func (d durationAt) readAt(doc *document, key string, v any) bool {
	const units = "units are ms, s, m, h, d, w"
	s, ok := v.(string)
	if !ok {
		doc.problem(key, `must be a duration such as "5m", not `+bare(v), units)
		return false
	}
	parsed, err := ParseDuration(s)
	switch {
	case err != nil:
		doc.problem(key, strconv.Quote(s)+" "+err.Error(), units)
	case parsed < d.low:
		doc.problem(key, strconv.Quote(s)+" is too short", "at least "+formatDuration(d.low))
	case parsed > d.high:
		doc.problem(key, strconv.Quote(s)+" is too long", "at most "+formatDuration(d.high))
	default:
		*d.Place = parsed
		return true
	}
	return false
}

// sizeAt is a number of bytes of at least low.
type sizeAt struct {
	Place *int64
	low   int64
}

func (n sizeAt) show() any { return FormatSize(*n.Place) }

func (n sizeAt) read(t *table, name string, v any) bool {
	const units = "units are B, KB, MB, GB, KiB, MiB, GiB"
	s, ok := v.(string)
	if !ok {
		t.problem(name, `must be a size such as "35MiB", not `+bare(v), units)
		return false
	}
	parsed, err := parseSize(s)
	switch {
	case err != nil:
		t.problem(name, strconv.Quote(s)+" "+err.Error(), units)
	case parsed < n.low:
		t.problem(name, strconv.Quote(s)+" is too small", "at least "+FormatSize(n.low))
	default:
		*n.Place = parsed
		return true
	}
	return false
}

// bare is typeOf for a place where a number without a unit is likely.
func bare(v any) string {
	switch v.(type) {
	case int64, float64:
		return "a bare number"
	}
	return typeOf(v)
}

// modeAt is file permissions such as "0660".
type modeAt struct{ Place *fs.FileMode }

func (m modeAt) show() any { return fmt.Sprintf("%04o", m.Place.Perm()) }

func (m modeAt) read(t *table, name string, v any) bool {
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
	*m.Place = fs.FileMode(n)
	return true
}

// listAt is a list of strings, which may not be empty where it is given.
type listAt struct{ Place *[]string }

func (l listAt) show() any {
	if len(*l.Place) == 0 {
		return nil
	}
	return *l.Place
}

func (l listAt) read(t *table, name string, v any) bool { return t.list(name, v, l.Place) }

// pathsAt is a list of paths.
type pathsAt struct{ Place *[]string }

func (l pathsAt) show() any { return listAt(l).show() }

func (l pathsAt) read(t *table, name string, v any) bool {
	if !t.list(name, v, l.Place) {
		return false
	}
	for i, p := range *l.Place {
		(*l.Place)[i] = t.doc.path(p)
	}
	return true
}

// text reads a string that may not be empty and has no control characters.
func (t *table) text(name string, v any, dst *string) bool {
	s, ok := v.(string)
	switch {
	case !ok:
		hint := ""
		if n, isInt := v.(int64); isInt && !secretPath(name) {
			hint = "write " + strconv.Quote(strconv.FormatInt(n, 10))
		}
		t.problem(name, "must be a string, not "+typeOf(v), hint)
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

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// list reads a list of strings. What cannot be used of it is reported and
// stands in the target as "".
func (t *table) list(name string, v any, dst *[]string) bool {
	key := t.key(name)
	values, ok := v.([]any)
	if !ok {
		hint := ""
		if _, single := v.(string); single {
			hint = `put it in brackets, ["…"]`
		}
		t.doc.problem(key, "must be a list of strings, not "+typeOf(v), hint)
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
			t.doc.problem(joinIndex(key, i), "must be a string, not "+typeOf(element), "")
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

// nonEmpty is s, or nil, which is not shown.
func nonEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func texts[T fmt.Stringer](values []T) any {
	if len(values) == 0 {
		return nil
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
