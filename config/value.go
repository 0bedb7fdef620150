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

// kind is a type of value.
type kind[T any] struct {
	name    string // for a form: see Setting
	parse   func(f field, v any) (T, bool)
	format  func(T) any
	choices []string
	secret  bool
}

// The types of values that have no bounds of their own.
var (
	// A text is a string that may not be empty and has no control characters.
	text        = kind[string]{name: "text", parse: readText, format: unlessEmpty}
	path        = kind[string]{name: "path", parse: readPath, format: unlessEmpty}
	ticketFile  = kind[string]{name: "path", parse: readTicketFile, format: unlessEmpty}
	hostname    = kind[string]{name: "text", parse: readHostname, format: unlessEmpty}
	boolean     = kind[bool]{name: "boolean", parse: readBoolean, format: func(b bool) any { return b }}
	permissions = kind[fs.FileMode]{name: "permissions", parse: readPermissions, format: func(m fs.FileMode) any { return fmt.Sprintf("%04o", m.Perm()) }}

	textList     = kind[[]string]{name: "list", parse: readList, format: unlessNone}
	pathList     = kind[[]string]{name: "paths", parse: listOf(readListedPath), format: unlessNone}
	patternList  = kind[[]string]{name: "patterns", parse: listOf(readPattern), format: unlessNone}
	fingerprints = kind[[]string]{name: "fingerprints", parse: readFingerprints, format: showFingerprints}
	without      = kind[[]string]{name: "extensions", parse: readWithout, format: unlessNone, choices: extensions}
	rateList     = kind[[]Rate]{name: "rates", parse: readRates, format: written[Rate]}
	users        = kind[map[string]string]{name: "users", parse: readUsers, format: showUsers, secret: true}
	tokenHash    = kind[string]{name: "hash", parse: readTokenHash, format: func(string) any { return redacted }, secret: true}
	consoleHash  = kind[string]{name: "hash", parse: readConsoleHash, format: func(string) any { return redacted }, secret: true}
	compat       = kind[[]Dialect]{name: "choices", parse: listOf(readDialect), format: func(d []Dialect) any { return d }, choices: dialects}
	patternsOf   = kind[map[string][]string]{name: "patterns", parse: readPatternsOf, format: showHeader}
	header       = kind[map[string][]string]{name: "header", parse: readHeader, format: showHeader}
	date         = kind[time.Time]{name: "date", parse: readDate, format: showDate}
	mailDomain   = kind[string]{name: "domain", parse: readMailDomain, format: unlessEmpty}
	mailDomains  = kind[[]string]{name: "domains", parse: listOf(readDomain), format: unlessNone}
	redirectList = kind[[]string]{name: "addresses", parse: listOf(readRedirect), format: unlessNone}
	archiveList  = kind[[]string]{name: "addresses", parse: listOf(readArchive), format: unlessNone}
	aliases      = kind[map[string][]string]{name: "aliases", parse: readAlias, format: showAlias}
)

// at is a value of a kind. Its place is left alone where what the file says
// cannot be used.
type at[T any] struct {
	kind[T]
	place *T
}

func (k kind[T]) at(place *T) value { return at[T]{k, place} }

func (a at[T]) read(f field, v any) bool {
	parsed, ok := a.parse(f, v)
	if ok {
		*a.place = parsed
	}
	return ok
}

func (a at[T]) show() any             { return a.format(*a.place) }
func (a at[T]) keep(running value)    { *a.place = *running.(at[T]).place }
func (a at[T]) describe() description { return description{a.name, a.choices, a.secret, nil} }

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

// readPath is a text. A relative one starts at the folder of the file.
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
	show := func(v T) any { return unlessEmpty(string(v)) }
	return kind[T]{name: "choice", parse: read, format: show, choices: names}.at(place)
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

func readBoolean(f field, v any) (b, ok bool) {
	v = f.plain(v)
	if b, ok = v.(bool); !ok {
		f.wrongType("true or false, without quotes", v)
	}
	return b, ok
}

// number is a whole number from low to high.
func number(place *int, low, high int) value {
	read := func(f field, v any) (int, bool) { return readNumber(f, v, low, high) }
	return kind[int]{name: "number", parse: read, format: func(n int) any { return n }}.at(place)
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
	return kind[*int]{name: "number", parse: read, format: show}.at(place)
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
	show := func(d time.Duration) any { return formatDuration(d) }
	return kind[time.Duration]{name: "duration", parse: read, format: show}.at(place)
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
	show := func(steps []time.Duration) any { return each(steps, formatDuration) }
	return kind[[]time.Duration]{name: "durations", parse: read, format: show}.at(place)
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
	return kind[int64]{name: "size", parse: read, format: func(n int64) any { return FormatSize(n) }}.at(place)
}

// bare is typeOf for a place where a number without a unit is likely.
func bare(v any) string {
	switch v.(type) {
	case int64, float64:
		return "a bare number"
	}
	return typeOf(v)
}

// readPermissions are those of a file, such as "0660".
func readPermissions(f field, v any) (fs.FileMode, bool) {
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

// readList reads a list of strings, which may not be empty. What cannot be used
// of it is reported and is "" in the result.
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
func listOf[T any](one func(f field, s string) (T, bool)) func(f field, v any) ([]T, bool) {
	return func(f field, v any) (out []T, ok bool) {
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
}

func readListedPath(f field, s string) (string, bool) { return f.t.doc.path(s), true }

func readPattern(f field, s string) (string, bool) {
	pattern, err := ParsePattern(s)
	switch {
	case err != nil:
		return "", f.problem(strconv.QuoteToASCII(s)+" "+err.Error(), "")
	case pattern.Kind == PatternNull && (f.name == "to" || f.name == "allow_to"):
		return "", f.problem(`"<>" is no recipient`, "the null address only ever sends")
	}
	return s, true
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

// readDate reads a day, "2027-03-01", which may stand without quotes.
func readDate(f field, v any) (time.Time, bool) {
	s, _ := v.(string)
	if day, ok := v.(time.Time); ok && day.Equal(day.Truncate(time.Second)) && day.Format(time.TimeOnly) == "00:00:00" { // a date of TOML
		s = day.Format(time.DateOnly)
	}
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return at, f.problem("is not a day", `such as "2027-03-01"`)
	}
	return at, true
}

func showDate(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format(time.DateOnly)
}
