package merge

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"postern/config"
)

// maxMessageFile bounds a message file and each file with a template, in bytes.
const maxMessageFile = 4 << 20

// Load reads a message file. The error is a *Problems. What a file does not
// say is as in the zero Step, but for InlineCSS, which is on.
func Load(path string) (*Step, error) {
	step := &Step{Path: path, Dir: filepath.Dir(path), InlineCSS: true}
	text, err := readTemplate(path)
	if err != nil {
		return nil, one(Problem{Kind: NoInput, File: path, Text: "cannot be read: " + Reason(err)})
	}
	return step, step.parse(text)
}

func one(p Problem) error { return &Problems{List: []Problem{p}, Total: 1} }

// Reason is the cause of an error of the file system without the path, which
// stands beside it.
func Reason(err error) string {
	var pathErr *os.PathError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "no such file"
	case errors.As(err, &pathErr):
		err = pathErr.Err
	}
	return err.Error()
}

// readTemplate reads a message file or a template: UTF-8, with or without a
// byte order mark.
func readTemplate(path string) (string, error) {
	f, err := openFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMessageFile+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxMessageFile:
		return "", errors.New("is larger than 4 MiB")
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	if !utf8.ValidString(text) {
		return "", errors.New("is not UTF-8")
	}
	return text, nil
}

// parse reads the text of a message file over what s holds.
func (s *Step) parse(text string) error {
	line, deep := config.Lines(text)
	s.lines = line
	if deep > 0 {
		return one(Problem{File: s.Path, Line: deep, Text: "nests values more than 32 deep"})
	}
	root := map[string]any{}
	if _, err := toml.Decode(text, &root); err != nil {
		why := config.NotTOML(err)
		if s.quiet {
			why = config.Problem{Line: why.Line, Text: "is not TOML"}
		}
		return one(Problem{File: s.Path, Line: why.Line, Text: why.Text, Hint: why.Hint})
	}
	d, known := &decoder{step: s}, s.keys()
	if s.quiet && len(root) > 0 && !hasAny(root, known) {
		return one(Problem{File: s.Path, Text: "is no message file: it has none of their keys"})
	}
	d.table("", root, known)
	return d.found.none()
}

func hasAny(root map[string]any, known keys) bool {
	for name := range root {
		if known[name] != nil {
			return true
		}
	}
	return false
}

// decoder puts the values of a TOML document into a Step.
type decoder struct {
	step  *Step
	found Problems
}

// keys binds the names of a table to what reads their values.
type keys map[string]func(d *decoder, key string, v any)

// table reads each key of a table; path is "" at the top.
func (d *decoder) table(path string, values map[string]any, known keys) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key := name
		if path != "" {
			key = path + "." + name
		}
		read, ok := known[name]
		if !ok {
			d.problem(key, "unknown key", nearest(name, slices.Sorted(maps.Keys(known))))
			continue
		}
		read(d, key, values[name])
	}
}

func (d *decoder) problem(key, text, hint string) {
	d.found.add(d.step.problem(key, text, hint))
}

func text(to *string) func(*decoder, string, any) {
	return func(d *decoder, key string, v any) {
		s, ok := v.(string)
		if !ok {
			d.problem(key, "must be a text", "such as '…'")
			return
		}
		*to = s
	}
}

func body(to *Content) func(*decoder, string, any) {
	return func(d *decoder, key string, v any) {
		to.Set = true
		text(&to.Text)(d, key, v)
	}
}

func truth(to *bool) func(*decoder, string, any) {
	return func(d *decoder, key string, v any) {
		b, ok := v.(bool)
		if !ok {
			d.problem(key, "must be true or false", "")
			return
		}
		*to = b
	}
}

func list(to *[]string) func(*decoder, string, any) {
	return func(d *decoder, key string, v any) {
		if s, ok := v.(string); ok {
			*to = []string{s}
			return
		}
		values, ok := v.([]any)
		if !ok {
			d.problem(key, "must be a list of texts", "such as ['…', '…']")
			return
		}
		*to = make([]string, len(values))
		for i := range values {
			text(&(*to)[i])(d, index(key, i), values[i])
		}
	}
}

// oneOf is a text of a few. What is a template is looked at when it is filled in.
func oneOf[T ~string](to *T, words ...string) func(*decoder, string, any) {
	return func(d *decoder, key string, v any) {
		var s string
		text(&s)(d, key, v)
		if s != "" && !slices.Contains(words, s) {
			d.problem(key, quoted(s)+" is none of "+strings.Join(words, ", "), nearest(s, words))
			return
		}
		*to = T(s)
	}
}

func (s *Step) keys() keys {
	return keys{
		"from": text(&s.From), "to": list(&s.To), "cc": list(&s.Cc), "bcc": list(&s.Bcc), "reply_to": list(&s.ReplyTo),
		"subject": text(&s.Subject),
		"text":    body(&s.Text), "text_file": text(&s.Text.File),
		"html": body(&s.HTML), "html_file": text(&s.HTML.File),
		"markdown": body(&s.Markdown), "markdown_file": text(&s.Markdown.File),
		"calendar": body(&s.Calendar), "calendar_file": text(&s.Calendar.File),
		"inline_css": truth(&s.InlineCSS), "locale": text(&s.Locale), "save": text(&s.Save), "key": text(&s.Key),
		"priority": oneOf(&s.Priority, priorities...), "dsn": list(&s.DSN),
		"headers": readHeaders, "var": readVars, "rows": readRows,
		"attach": readAttach, "embed": readEmbed,
	}
}

var priorities = []string{"high", "normal", "low"}

// Priorities are what priority may say.
func Priorities() []string { return slices.Clone(priorities) }

func readHeaders(d *decoder, key string, v any) {
	values, ok := v.(map[string]any)
	if !ok {
		d.problem(key, "must be a table", "such as headers = { X-Class = 'reminder' }")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		h := Header{Name: name}
		text(&h.Value)(d, key+"."+name, values[name])
		d.step.Headers = append(d.step.Headers, h)
	}
}

func readVars(d *decoder, key string, v any) {
	values, ok := v.(map[string]any)
	if !ok {
		d.problem(key, "must be a table", "such as [var]")
		return
	}
	d.step.Vars = map[string]string{}
	for name, value := range values {
		var s string
		text(&s)(d, key+"."+name, value)
		d.step.Vars[name] = s
	}
}

func readRows(d *decoder, key string, v any) {
	values, ok := v.(map[string]any)
	if !ok {
		d.problem(key, "must be a table", "[rows]")
		return
	}
	r := &d.step.Rows
	d.table(key, values, keys{
		"file": text(&r.File), "command": list(&r.Command), "sheet": text(&r.Sheet),
		"format":  oneOf(&r.Format, string(Auto), string(CSV), string(TSV), string(JSON), string(NDJSON), string(XLSX)),
		"charset": text(&r.Charset), "per": text(&r.Per), "require": list(&r.Require),
		"empty": oneOf(&r.Empty, string(EmptySkip), string(EmptySend), string(EmptyFail)),
	})
}

// tables is an array of tables, each read by one.
func tables(d *decoder, key string, v any, one func(key string, values map[string]any)) {
	list, ok := v.([]map[string]any)
	if inline, isList := v.([]any); isList && !ok {
		ok = true
		for _, v := range inline {
			values, isTable := v.(map[string]any)
			ok = ok && isTable
			list = append(list, values)
		}
	}
	if !ok {
		d.problem(key, "must be an array of tables", "[["+key+"]]")
		return
	}
	for i, values := range list {
		one(index(key, i), values)
	}
}

func readAttach(d *decoder, key string, v any) {
	tables(d, key, v, func(key string, values map[string]any) {
		var a Attach
		d.table(key, values, keys{
			"file": text(&a.File), "name": text(&a.Name), "type": text(&a.Type), "each": oneOf(&a.Each, "rows"),
			"rows": oneOf(&a.Rows, "csv", "html"), "columns": list(&a.Columns), "bom": truth(&a.BOM), "gzip": truth(&a.Gzip),
		})
		d.step.Attach = append(d.step.Attach, a)
	})
}

func readEmbed(d *decoder, key string, v any) {
	tables(d, key, v, func(key string, values map[string]any) {
		var e Embed
		d.table(key, values, keys{"file": text(&e.File), "cid": text(&e.CID), "type": text(&e.Type)})
		d.step.Embed = append(d.step.Embed, e)
	})
}

// Check finds what is wrong with a step by itself: keys that exclude each
// other, or that miss another.
func (s *Step) check(found *Problems) {
	say := func(key, text, hint string) { found.add(s.problem(key, text, hint)) }
	if s.From == "" && !s.ForOthers {
		say("from", "is missing", "")
	}
	if len(s.To)+len(s.Cc)+len(s.Bcc) == 0 && !s.ForOthers {
		say("to", "is missing", "")
	}
	if s.Text.none() && s.HTML.none() && s.Markdown.none() && s.Calendar.none() && len(s.Attach) == 0 {
		say("text", "is missing, and there is neither html, markdown, calendar nor an attachment", s.emptyHint())
	}
	for _, b := range []struct {
		name string
		Content
	}{{"text", s.Text}, {"html", s.HTML}, {"markdown", s.Markdown}, {"calendar", s.Calendar}} {
		if b.Set && b.File != "" {
			say(b.name+"_file", "stands beside "+b.name, "keep one of them")
		}
	}
	if !s.HTML.none() && !s.Markdown.none() {
		say("markdown", "stands beside html", "keep one of them")
	}
	if len(s.DSN) > 0 {
		checkDSN(s.DSN, say)
	}
	if s.Priority != "" && !slices.Contains(priorities, s.Priority) {
		say("priority", quoted(s.Priority)+" is none of "+strings.Join(priorities, ", "), nearest(s.Priority, priorities))
	}
	if s.ForOthers && s.Rows.Given() {
		say("rows", "is for postern send: here the values are the only row", "")
	}
	if s.ForOthers && s.Save != "" {
		say("save", "is for postern send", "")
	}
	if s.Rows.File != "" && len(s.Rows.Command) > 0 {
		say("rows.command", "stands beside rows.file", "keep one of them")
	}
	for i := range s.Attach {
		s.Attach[i].check(index("attach", i), say)
	}
	for i := range s.Embed {
		if s.Embed[i].File == "" {
			say(index("embed", i), "has no file", "")
		}
	}
}

func (a *Attach) check(key string, say func(key, text, hint string)) {
	switch {
	case a.File == "" && a.Rows == "":
		say(key, "has neither file nor rows", "")
	case a.File != "" && a.Rows != "":
		say(key+".rows", "stands beside file", "keep one of them")
	}
	if a.Rows != "" && a.Each != "" {
		say(key+".each", "stands beside rows", "keep one of them")
	}
	if a.Rows == "" && len(a.Columns) > 0 {
		say(key+".columns", "is for rows = 'csv' or 'html'", "")
	}
	if a.BOM && a.Rows != "csv" {
		say(key+".bom", "is for rows = 'csv'", "")
	}
}

var dsnWords = []string{"never", "success", "failure", "delay"}

// checkDSN holds the words to RFC 3461 §4.1: NEVER stands alone.
func checkDSN(words []string, say func(key, text, hint string)) {
	for i, w := range words {
		switch {
		case !slices.Contains(dsnWords, w):
			say(index("dsn", i), fmt.Sprintf("%s is none of %s", quoted(w), strings.Join(dsnWords, ", ")), nearest(w, dsnWords))
		case w == "never" && len(words) > 1:
			say("dsn", "never stands alone", "")
		}
	}
}

// emptyHint says how a message of a subject alone is made.
func (s *Step) emptyHint() string {
	if s.Path == "" {
		return "--body '' sends a subject alone"
	}
	return "text = '' sends a subject alone"
}
