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

// at is a value that one function reads and another shows. The place is left
// alone where the value of the file cannot be used.
type at[T any] struct {
	place   *T
	kind    string
	parse   func(f field, v any) (T, bool)
	format  func(T) any
	choices []string
	secret  bool
}

func (a at[T]) read(f field, v any) bool {
	parsed, ok := a.parse(f, v)
	if ok {
		*a.place = parsed
	}
	return ok
}

func (a at[T]) show() any             { return a.format(*a.place) }
func (a at[T]) keep(running value)    { *a.place = *running.(at[T]).place }
func (a at[T]) describe() description { return description{a.kind, a.choices, a.secret, nil} }

// text is a string that may not be empty and has no control characters.
func text(place *string) value {
	return at[string]{place: place, kind: "text", parse: readText, format: unlessEmpty}
}

func readText(f field, v any) (string, bool) {
	s, ok := v.(string)
	switch {
	case !ok:
		hint := ""
		if n, isInt := v.(int64); isInt && !secretPath(f.name) {
			hint = "write " + strconv.Quote(strconv.FormatInt(n, 10))
		}
		return "", f.problem("must be a string, not "+typeOf(v), hint)
	case s == "":
		return "", f.problem("is empty", "remove the key or give it a value")
	case hasControl(s):
		return "", f.problem("contains a control character", "")
	}
	return s, true
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// path is a text. A relative one starts at the folder of the file.
func path(place *string) value {
	return at[string]{place: place, kind: "path", parse: readPath, format: unlessEmpty}
}

func readPath(f field, v any) (string, bool) {
	s, ok := readText(f, v)
	return f.t.doc.path(s), ok
}

// choice is a string out of a short list.
func choice[T ~string](place *T, allowed ...T) value {
	names := make([]string, len(allowed))
	for i, v := range allowed {
		names[i] = string(v)
	}
	read := func(f field, v any) (T, bool) {
		s, ok := readChoice(f, v, names)
		return T(s), ok
	}
	return at[T]{place: place, kind: "choice", parse: read, format: func(v T) any { return unlessEmpty(string(v)) }, choices: names}
}

func readChoice(f field, v any, names []string) (string, bool) {
	s, ok := readText(f, v)
	if ok && !slices.Contains(names, s) {
		hint := "one of " + strings.Join(names, ", ")
		if near := Nearest(s, names); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "? It is " + hint
		}
		ok = f.problem(strconv.Quote(s)+" is not known", hint)
	}
	return s, ok
}

// boolean is true or false.
func boolean(place *bool) value {
	read := func(f field, v any) (bool, bool) {
		b, ok := f.plain(v).(bool)
		if !ok {
			f.wrongType("true or false, without quotes", f.plain(v))
		}
		return b, ok
	}
	return at[bool]{place: place, kind: "boolean", parse: read, format: func(b bool) any { return b }}
}

// number is a whole number from low to high.
func number(place *int, low, high int) value {
	read := func(f field, v any) (int, bool) { return readNumber(f, v, low, high) }
	return at[int]{place: place, kind: "number", parse: read, format: func(n int) any { return n }}
}

// numberOrNone is a number that may be missing.
func numberOrNone(place **int, low, high int) value {
	read := func(f field, v any) (*int, bool) {
		n, ok := readNumber(f, v, low, high)
		return &n, ok
	}
	show := func(n *int) any {
		if n == nil {
			return nil
		}
		return *n
	}
	return at[*int]{place: place, kind: "number", parse: read, format: show}
}

func readNumber(f field, v any, low, high int) (int, bool) {
	v = f.plain(v)
	i, ok := v.(int64)
	switch {
	case !ok:
		return 0, f.wrongType("a whole number without quotes", v)
	case i < int64(low) || i > int64(high):
		return 0, f.problem(fmt.Sprintf("%d is out of range", i), fmt.Sprintf("from %d to %d", low, high))
	}
	return int(i), true
}

// duration is one from low to high.
func duration(place *time.Duration, low, high time.Duration) value {
	read := func(f field, v any) (time.Duration, bool) { return readDuration(f, v, low, high) }
	return at[time.Duration]{place: place, kind: "duration", parse: read, format: func(d time.Duration) any { return formatDuration(d) }}
}

func readDuration(f field, v any, low, high time.Duration) (time.Duration, bool) {
	const units = "units are ms, s, m, h, d, w"
	s, ok := v.(string)
	if !ok {
		return 0, f.problem(`must be a duration such as "5m", not `+bare(v), units)
	}
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		return 0, f.problem(strconv.Quote(s)+" "+err.Error(), units)
	case d < low:
		return 0, f.problem(strconv.Quote(s)+" is too short", "at least "+formatDuration(low))
	case d > high:
		return 0, f.problem(strconv.Quote(s)+" is too long", "at most "+formatDuration(high))
	}
	return d, true
}

// durationList is a list of durations, which usually grow.
func durationList(place *[]time.Duration, low, high time.Duration) value {
	read := func(f field, v any) ([]time.Duration, bool) {
		values, ok := v.([]any)
		if !ok || len(values) == 0 {
			return nil, f.problem("must be a list of durations", `such as ["1m", "5m", "15m", "1h"]`)
		}
		steps, good := make([]time.Duration, len(values)), true
		for i, v := range values {
			if steps[i], ok = readDuration(f.element(i), v, low, high); !ok {
				good = false
			} else if good && i > 0 && steps[i] < steps[i-1] {
				f.element(i).warn("is shorter than the step before", "waits usually grow")
			}
		}
		return steps, good
	}
	return at[[]time.Duration]{place: place, kind: "durations", parse: read, format: func(steps []time.Duration) any { return each(steps, formatDuration) }}
}

// size is a number of bytes of at least low.
func size(place *int64, low int64) value {
	const units = "units are B, KB, MB, GB, KiB, MiB, GiB"
	read := func(f field, v any) (int64, bool) {
		s, ok := v.(string)
		if !ok {
			return 0, f.problem(`must be a size such as "35MiB", not `+bare(v), units)
		}
		n, err := parseSize(s)
		switch {
		case err != nil:
			return 0, f.problem(strconv.Quote(s)+" "+err.Error(), units)
		case n < low:
			return 0, f.problem(strconv.Quote(s)+" is too small", "at least "+FormatSize(low))
		}
		return n, true
	}
	return at[int64]{place: place, kind: "size", parse: read, format: func(n int64) any { return FormatSize(n) }}
}

// bare is typeOf for a place where a number without a unit is likely.
func bare(v any) string {
	switch v.(type) {
	case int64, float64:
		return "a bare number"
	}
	return typeOf(v)
}

// permissions are those of a file, such as "0660".
func permissions(place *fs.FileMode) value {
	read := func(f field, v any) (fs.FileMode, bool) {
		s, ok := v.(string)
		if !ok {
			return 0, f.wrongType(`file permissions such as "0660", in quotes`, v)
		}
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o777 {
			return 0, f.problem(strconv.Quote(s)+" is not a set of file permissions", `octal digits such as "0660"`)
		}
		return fs.FileMode(n), true
	}
	return at[fs.FileMode]{place: place, kind: "permissions", parse: read, format: func(m fs.FileMode) any { return fmt.Sprintf("%04o", m.Perm()) }}
}

// textList is a list of strings, which may not be empty where it is given.
func textList(place *[]string) value {
	return at[[]string]{place: place, kind: "list", parse: readList, format: unlessNone}
}

// readList reads a list of strings. What cannot be used of it is reported and
// is "" in the result.
func readList(f field, v any) ([]string, bool) {
	values, ok := v.([]any)
	if !ok {
		hint := ""
		if _, single := v.(string); single {
			hint = `put it in brackets, ["…"]`
		}
		return nil, f.problem("must be a list of strings, not "+typeOf(v), hint)
	}
	if len(values) == 0 {
		return nil, f.problem("is an empty list", "remove the key or name something")
	}
	out := make([]string, len(values))
	for i, element := range values {
		s, ok := element.(string)
		switch {
		case !ok:
			f.element(i).problem("must be a string, not "+typeOf(element), "")
		case s == "":
			f.element(i).problem("is empty", "")
		case hasControl(s):
			f.element(i).problem("contains a control character", "")
		default:
			out[i] = s
		}
	}
	return out, true
}

// listOf reads a list of strings, each by one, which reports what it cannot
// use. The result has the rest.
func listOf[T any](f field, v any, one func(f field, s string) (T, bool)) (out []T, ok bool) {
	list, ok := readList(f, v)
	for i, s := range list {
		if s == "" {
			continue // reported
		}
		if parsed, ok := one(f.element(i), s); ok {
			out = append(out, parsed)
		}
	}
	return out, ok
}

// pathList is a list of paths.
func pathList(place *[]string) value {
	read := func(f field, v any) ([]string, bool) {
		return listOf(f, v, func(f field, s string) (string, bool) { return f.t.doc.path(s), true })
	}
	return at[[]string]{place: place, kind: "paths", parse: read, format: unlessNone}
}

// patternList is a list of address patterns.
func patternList(place *[]string) value {
	read := func(f field, v any) ([]string, bool) {
		return listOf(f, v, func(f field, s string) (string, bool) {
			pattern, err := ParsePattern(s)
			switch {
			case err != nil:
				return "", f.problem(strconv.QuoteToASCII(s)+" "+err.Error(), "")
			case pattern.Kind == PatternNull && f.name == "to":
				return "", f.problem(`"<>" is no recipient`, "the null address only ever sends")
			}
			return s, true
		})
	}
	return at[[]string]{place: place, kind: "patterns", parse: read, format: unlessNone}
}

// unlessEmpty is s, or nil, which is not shown.
func unlessEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// unlessNone is a list, or nil, which is not shown.
func unlessNone(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// written is a list of values as the file would write them.
func written[T fmt.Stringer](values []T) any { return unlessNone(each(values, T.String)) }

func each[T any](values []T, write func(T) string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = write(v)
	}
	return out
}
