package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode/utf8"

	"golang.org/x/text/cases"

	"postern/relay/compose"
)

// functions are what templates can call beside what Go's have by themselves.
// None reads the environment, starts a program or opens a connection, and the
// result of each is bounded. What works on a value takes it last, for pipes.
func (r *Renderer) functions() template.FuncMap {
	return r.counted(template.FuncMap{
		"tick": r.tick, "escape": r.escape,

		"date": r.date, "now": func() time.Time { return r.plan.now },
		"number": r.number, "money": r.money, "sum": sum,
		"default":  orElse,
		"upper":    func(v any) string { return cases.Upper(r.plan.locale.tag).String(Cell(v)) },
		"lower":    func(v any) string { return cases.Lower(r.plan.locale.tag).String(Cell(v)) },
		"title":    func(v any) string { return cases.Title(r.plan.locale.tag).String(Cell(v)) },
		"trim":     func(v any) string { return strings.TrimSpace(Cell(v)) },
		"truncate": truncate, "join": join, "replace": replace,
		"split":    func(separator string, v any) []string { return strings.Split(Cell(v), separator) },
		"contains": func(part string, v any) bool { return strings.Contains(Cell(v), part) },
		"json":     toJSON, "csv": toCSV, "table": r.tableOf, "markdown": r.markdown,
		"file": r.file, "embed": r.embed, "addresses": r.addresses,

		// Go's own, which would let a template take all memory, or give
		// nothing for a column that is not there.
		"print":    bounded(fmt.Sprint),
		"println":  bounded(fmt.Sprintln),
		"printf":   printf,
		"html":     bounded(template.HTMLEscaper),
		"js":       bounded(template.JSEscaper),
		"urlquery": bounded(template.URLQueryEscaper),
		"index":    at,
	})
}

func within(s string) (string, error) {
	if len(s) > maxBody {
		return "", errTooLong
	}
	return s, nil
}

// wideVerb is a verb whose width or precision is an argument, or beyond 999.
var wideVerb = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`%[-+# 0-9.\[\]]*(\*|[0-9]{4})`)
})

// printf is fmt.Sprintf where its result is certain to be no longer than a body
// may be. A verb writes an argument six times as long at most ("\u200b").
func printf(format string, args ...any) (string, error) {
	if wideVerb().MatchString(strings.ReplaceAll(format, "%%", "")) {
		return "", errors.New("printf takes widths up to 999, written in the format")
	}
	most := 999
	for _, a := range args {
		most = max(most, 6*len(fmt.Sprint(a)))
	}
	if len(format)+(strings.Count(format, "%")+len(args))*most > maxBody {
		return "", errTooLong
	}
	return fmt.Sprintf(format, args...), nil
}

func bounded(f func(...any) string) func(...any) (string, error) {
	return func(args ...any) (string, error) { return within(f(args...)) }
}

// tick ends a template that goes round for too long.
func (r *Renderer) tick() (bool, error) {
	if r.ticks++; r.ticks > maxTicks {
		return false, fmt.Errorf("loops more than %d times", maxTicks)
	}
	return false, nil
}

// raw is Markdown, not a value in it.
type raw string

// escape makes a value text in Markdown or in a calendar.
func (r *Renderer) escape(v any) string {
	if m, ok := v.(raw); ok {
		return string(m)
	}
	if r.mode == asCalendar {
		return calendarText.Replace(Cell(v))
	}
	return escapeMarkdown(Cell(v))
}

// RFC 5545 §3.3.11
var calendarText = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`, "\r", `\n`, "\x00", "")

// escapeMarkdown writes text so that Markdown shows all of it as it is.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(s), "\r\n", "\n"), "\n") {
		if i > 0 {
			b.WriteString("\\\n")
		}
		for _, c := range strings.TrimSpace(line) {
			if c < utf8.RuneSelf && strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", c) {
				b.WriteByte('\\')
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}

// orElse is v, or otherwise where v is empty.
func orElse(otherwise, v any) any {
	if truth, ok := template.IsTrue(v); !ok || !truth {
		return otherwise
	}
	return v
}

// truncate cuts after n characters, with "…" in place of the last one.
func truncate(n int, v any) string {
	s := Cell(v)
	if n < 1 || utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// texts is a list of whatever kind, as texts.
func texts(v any) []string {
	switch v := v.(type) {
	case []string:
		return v
	case []any:
		list := make([]string, len(v))
		for i := range v {
			list[i] = Cell(v[i])
		}
		return list
	}
	return []string{Cell(v)}
}

func join(separator string, v any) (string, error) {
	list := texts(v)
	if n := len(list) * len(separator); n > maxBody {
		return "", errTooLong
	}
	return within(strings.Join(list, separator))
}

func replace(old, with string, v any) (string, error) {
	s := Cell(v)
	if grows := len(with) - len(old); grows > 0 && strings.Count(s, old)*grows > maxBody {
		return "", errTooLong
	}
	return strings.ReplaceAll(s, old, with), nil
}

func toJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// at is Go's index, but that a column that is not there is an error.
func at(v any, keys ...any) (any, error) {
	for _, key := range keys {
		of := reflect.ValueOf(v)
		switch of.Kind() {
		case reflect.Map:
			found := of.MapIndex(reflect.ValueOf(Cell(key)))
			if !found.IsValid() {
				return nil, fmt.Errorf("no column %s", quoted(Cell(key)))
			}
			v = found.Interface()
		case reflect.Slice, reflect.Array, reflect.String:
			i, ok := key.(int)
			if !ok || i < 0 || i >= of.Len() {
				return nil, fmt.Errorf("there is no element %v of %d", key, of.Len())
			}
			v = of.Index(i).Interface()
		default:
			return nil, fmt.Errorf("a value has no element %v", key)
		}
	}
	return v, nil
}

func sum(of any, column string) (json.Number, error) {
	rows, err := rowsOf(of)
	if err != nil {
		return "", err
	}
	total, decimals := new(big.Rat), 0
	for _, row := range rows {
		s, err := row.value(column)
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(s) == "" {
			continue
		}
		n, d, err := number(s)
		if err != nil {
			return "", err
		}
		total.Add(total, n)
		decimals = max(decimals, d)
	}
	return json.Number(total.FloatString(decimals)), nil
}

// markdown is a value that is Markdown itself.
func (r *Renderer) markdown(v any) (any, error) {
	switch r.mode {
	case asHTML:
		s, err := r.toHTML(Cell(v))
		return htmltemplate.HTML(s), err
	case asMarkdown:
		return raw(Cell(v)), nil
	}
	return Cell(v), nil
}

// addresses is a value that holds several addresses on purpose.
func (r *Renderer) addresses(v any) (string, error) {
	var all []string
	for _, s := range texts(v) {
		list, err := compose.ParseList(s)
		if err != nil {
			return "", err
		}
		for _, a := range list {
			r.listed = append(r.listed, a)
			all = append(all, a.String())
		}
	}
	return strings.Join(all, ", "), nil
}
