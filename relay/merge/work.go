package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"reflect"
	"text/template"
	"time"

	"postern/relay/compose"
)

// maxWork bounds what the functions of one template are given and give, in
// bytes. It is counted and not measured by a clock, so that a message that was
// right when it was checked is still right when it is sent. The slowest
// functions do it in some seconds. Tests lower it.
var maxWork = 256 << 20

const (
	callWork     = 64 // of a call by itself
	rowWork      = 64 // of a row, beside its cells
	markdownWork = 16 // times the bytes
)

// maxStrangeMarkdown bounds the Markdown of one message file for others, in
// bytes: its values may be a stranger's. It is half a second or one.
const maxStrangeMarkdown = 512 << 10

// freeMemory is what takes too little to be asked for.
const freeMemory = 512 << 10

var errStarved = errors.New("there is no memory for it at present")

// take asks for memory.
func (r *Renderer) take(bytes int64) bool {
	if r.memory == nil || bytes <= freeMemory || r.memory(bytes) {
		return true
	}
	r.starved = true
	return false
}

// toHTML makes HTML of Markdown.
func (r *Renderer) toHTML(md string) (string, error) {
	if r.plan.step.ForOthers {
		if r.marked += len(md); r.marked > maxStrangeMarkdown {
			return "", fmt.Errorf("the Markdown is longer than %d KiB, which is too long for values of others", maxStrangeMarkdown>>10)
		}
	}
	if !r.take(compose.MarkdownWeight(md)) {
		return "", errStarved
	}
	return compose.Markdown(md)
}

// inline moves the rules of style sheets to the elements.
func (r *Renderer) inline(html string) (string, error) {
	if !r.plan.step.ForOthers { // others may have given much of it
		return compose.InlineCSS(html)
	}
	if !r.take(compose.InlineWeight(html)) {
		return "", errStarved
	}
	return compose.InlineStrangeCSS(html)
}

func tooMuchWork() error {
	return fmt.Errorf("takes too long: its functions work on more than %d MiB", maxWork>>20)
}

// uncounted are functions that cost the same whatever they are given, so that
// the bound on loops is enough.
var uncounted = map[string]bool{"tick": true, "now": true, "index": true, "default": true, "escape": true}

// counted makes every function count what it works on.
func (r *Renderer) counted(funcs template.FuncMap) template.FuncMap {
	for name, f := range funcs {
		if !uncounted[name] {
			funcs[name] = r.count(f, name == "markdown")
		}
	}
	return funcs
}

var errorType = reflect.TypeFor[error]()

// count is f, with an error where there is none, and which fails when the work
// of the template is too much.
func (r *Renderer) count(f any, slow bool) any {
	of := reflect.ValueOf(f)
	t := of.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}
	out := t.Out(0)
	spend := func(v reflect.Value) bool {
		n := weight(v.Interface())
		if slow {
			n *= markdownWork
		}
		r.work += n
		return r.work <= maxWork
	}
	tooMuch := func() []reflect.Value {
		err := tooMuchWork()
		return []reflect.Value{reflect.Zero(out), reflect.ValueOf(&err).Elem()}
	}
	none := reflect.Zero(errorType)
	return reflect.MakeFunc(reflect.FuncOf(in, []reflect.Type{out, errorType}, t.IsVariadic()), func(args []reflect.Value) []reflect.Value {
		r.work += callWork
		for _, a := range args {
			if !spend(a) {
				return tooMuch()
			}
		}
		var got []reflect.Value
		if t.IsVariadic() {
			got = of.CallSlice(args)
		} else {
			got = of.Call(args)
		}
		if !spend(got[0]) {
			return tooMuch()
		}
		if len(got) == 1 {
			got = append(got, none)
		}
		return got
	}).Interface()
}

// weight is about how many bytes a value has.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case json.Number:
		return len(v)
	case htmltemplate.HTML:
		return len(v)
	case raw:
		return len(v)
	case []string:
		n := 0
		for _, s := range v {
			n += len(s) + 16
		}
		return n
	case []any:
		n := 0
		for _, one := range v {
			n += weight(one) + 16
		}
		return n
	case map[string]any:
		return rowWeight(v)
	case Row:
		return rowWeight(v)
	case []Row:
		n := 0
		for _, row := range v {
			n += rowWeight(row)
		}
		return n
	case nil, int, bool, float64, time.Time:
		return 0
	}
	return callWork
}

func rowWeight(row map[string]any) int {
	n := rowWork
	for _, v := range row {
		n += weight(v)
	}
	return n
}
