package merge

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"postern/relay/compose"
)

// place is a file name that is a template. What values put into it leads out
// of no folder: the name stays below what the message file itself says, up to
// the last slash before the first action.
type place struct {
	*field
	root string // of the literal part; empty: the folder of the step
	free bool   // there is no value in it
}

func (c *compiler) place(key, source string) place {
	literal, _, has := strings.Cut(source, "{{")
	p := place{field: c.compile(key, source, asText, maxField), free: !has}
	if cut := strings.LastIndexFunc(literal, isSeparator); cut >= 0 {
		p.root = literal[:cut+1]
	}
	return p
}

func isSeparator(r rune) bool { return r == '/' || runtime.GOOS == "windows" && r == '\\' }

// placed is the name for one message, and where that is. "" and false where it
// is wrong, which is recorded.
func (r *Renderer) placed(p place, data map[string]any) (name, path string, ok bool) {
	if p.field == nil {
		return "", "", false
	}
	name, ok = r.line(p.field, data)
	if !ok {
		return "", "", false
	}
	if name == "" {
		r.wrong(p.key, "is empty", "")
		return "", "", false
	}
	path = r.plan.step.path(name)
	if p.free {
		return name, path, true
	}
	root, outside := r.plan.step.path(p.root), p.root
	if p.root == "" {
		root, outside = r.plan.step.folder(), "the folder of the message file"
	}
	if rel, err := filepath.Rel(root, path); err != nil || !filepath.IsLocal(rel) {
		r.wrong(p.key, quoted(name)+" leaves "+outside, "")
		return "", "", false
	}
	return name, path, true
}

// attachment is one [[attach]].
type attachment struct {
	key       string
	of        *Attach
	file      place
	name, typ *field
	fixed     opener
}

// opener makes a part. Where no value decides which, one is made for all
// messages: what comes through a pipe comes once.
type opener func(path, name, mediaType string) (compose.Part, error)

func (p *Plan) opener(fixed bool) opener {
	if !fixed {
		return p.filePart
	}
	var once sync.Once
	var part compose.Part
	var err error
	return func(path, name, mediaType string) (compose.Part, error) {
		once.Do(func() { part, err = p.filePart(path, name, mediaType) })
		return part, err
	}
}

func (p *Plan) filePart(path, name, mediaType string) (compose.Part, error) {
	if err := p.step.reach(path); err != nil {
		return compose.Part{}, err
	}
	return p.shared.FilePart(path, name, mediaType)
}

// fixed reports whether every one of some fields has no action.
func fixed(fields ...*field) bool {
	return !slices.ContainsFunc(fields, func(f *field) bool { return f == nil || !f.constant() })
}

func (c *compiler) attachment(p *Plan, key string, of *Attach) attachment {
	a := attachment{key: key, of: of}
	if of.File != "" {
		a.file = c.place(key+".file", of.File)
	}
	a.name = c.compile(key+".name", of.Name, asText, maxField)
	a.typ = c.compile(key+".type", of.Type, asText, maxField)
	a.fixed = p.opener(a.file.free && fixed(a.name, a.typ))
	return a
}

// embedding is one [[embed]].
type embedding struct {
	key      string
	file     place
	cid, typ *field
	fixed    opener
}

func (c *compiler) embedding(p *Plan, key string, of *Embed) embedding {
	e := embedding{
		key: key, file: c.place(key+".file", of.File),
		cid: c.compile(key+".cid", of.CID, asText, maxField), typ: c.compile(key+".type", of.Type, asText, maxField),
	}
	e.fixed = p.opener(e.file.free && fixed(e.typ))
	return e
}

// attach adds the parts of a message.
func (r *Renderer) attach(m *Message, data map[string]any) {
	for i := range r.plan.attached {
		a := &r.plan.attached[i]
		switch {
		case a.of.Rows != "":
			r.attachRows(m, a, data)
		case a.of.Each == "rows":
			for _, row := range r.group.Rows {
				r.attachFile(m, a, r.ofRow(data, row))
			}
		default:
			r.attachFile(m, a, data)
		}
	}
	for i := range r.plan.embedded {
		r.embedFile(m, &r.plan.embedded[i], data)
	}
	m.Source.Embedded = append(m.Source.Embedded, r.embeds...)
}

// ofRow is data with the columns of one row on top.
func (r *Renderer) ofRow(data map[string]any, row Row) map[string]any {
	one := make(map[string]any, len(data)+len(row))
	for name, v := range row {
		one[name] = v
	}
	for _, name := range reserved {
		one[name] = data[name]
	}
	one["row"] = row
	return one
}

func (r *Renderer) attachFile(m *Message, a *attachment, data map[string]any) {
	file, path, ok := r.placed(a.file, data)
	name, nameOK := r.line(a.name, data)
	mediaType, typeOK := r.line(a.typ, data)
	if !ok || !nameOK || !typeOK {
		return
	}
	part, ok := r.part(a.fixed, a.key+".file", file, path, name, mediaType)
	if !ok {
		return
	}
	part.Gzip = a.of.Gzip
	m.Source.Attached = append(m.Source.Attached, part)
	m.keys = append(m.keys, a.key)
}

// part is a file as it is now.
func (r *Renderer) part(open opener, key, file, path, name, mediaType string) (compose.Part, bool) {
	part, err := open(path, name, mediaType)
	if err == nil {
		return part, true
	}
	text := err.Error()
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = "no such file"
	case errors.Is(err, fs.ErrPermission):
		text = "may not be read"
	case errors.As(err, &pathErr):
		text = pathErr.Err.Error()
	}
	r.wrong(key, file+": "+text, "")
	return part, false
}

// attachRows adds the rows themselves.
func (r *Renderer) attachRows(m *Message, a *attachment, data map[string]any) {
	name, ok := r.line(a.name, data)
	mediaType, typeOK := r.line(a.typ, data)
	if !ok || !typeOK {
		return
	}
	columns := r.columnsOf(r.group.Rows, a.of.Columns)
	content, err := rowsAs(a.of, r.group.Rows, columns)
	if err != nil {
		r.wrong(a.key, err.Error(), "")
		return
	}
	if name == "" {
		name = "rows." + a.of.Rows
	}
	if mediaType == "" {
		mediaType = "text/" + a.of.Rows + "; charset=utf-8"
	}
	part := compose.BytesPart(name, mediaType, content)
	part.Gzip = a.of.Gzip
	m.Source.Attached = append(m.Source.Attached, part)
	m.keys = append(m.keys, a.key)
}

func rowsAs(a *Attach, rows []Row, columns []string) ([]byte, error) {
	b := output{limit: maxBody}
	if a.Rows == "csv" {
		if a.BOM {
			b.b = append(b.b, "\ufeff"...)
		}
		err := writeCSV(&b, rows, columns)
		return b.b, err
	}
	cells := [][]string{columns}
	for _, row := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			var err error
			if line[i], err = row.value(c); err != nil {
				return nil, err
			}
		}
		cells = append(cells, line)
	}
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n%s\n", htmlTable(cells))
	return b.b, nil
}

func (r *Renderer) embedFile(m *Message, e *embedding, data map[string]any) {
	file, path, ok := r.placed(e.file, data)
	cid, cidOK := r.line(e.cid, data)
	mediaType, typeOK := r.line(e.typ, data)
	if !ok || !cidOK || !typeOK {
		return
	}
	part, ok := r.part(e.fixed, e.key+".file", file, path, "", mediaType)
	if !ok {
		return
	}
	if part.ID = cid; cid == "" {
		part.ID = filepath.Base(path)
	}
	m.Source.Embedded = append(m.Source.Embedded, part)
}

// embed is {{embed "logo.png"}}: the URL of a file that goes with the message.
func (r *Renderer) embed(v any) (any, error) {
	name := Cell(v)
	id := filepath.Base(name)
	known := false
	for i := range r.plan.embedded {
		e := &r.plan.embedded[i]
		if e.cid.constant() && e.cid.text == name || e.cid.text == "" && e.file.free && e.file.text == name {
			known = true
			if e.cid.text != "" {
				id = e.cid.text
			}
		}
	}
	for _, p := range r.embeds {
		known = known || p.ID == id
	}
	if !known {
		path, err := r.inFolder(name)
		if err != nil {
			return nil, err
		}
		part, err := r.plan.filePart(path, "", "")
		if err != nil {
			return nil, fmt.Errorf("%s: %s", name, Reason(err))
		}
		part.ID = id
		r.embeds = append(r.embeds, part)
	}
	url := "cid:" + id
	if r.mode == asHTML {
		return htmltemplate.URL(url), nil
	}
	return raw(url), nil
}

// inFolder is a file that a template names, which a value may do: it lies below
// the folder of the message file.
func (r *Renderer) inFolder(name string) (string, error) {
	path := r.plan.step.path(name)
	rel, err := filepath.Rel(r.plan.step.folder(), path)
	if err != nil || !filepath.IsLocal(rel) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%s leaves the folder of the message file", quoted(name))
	}
	return path, nil
}

// file is {{file "terms.txt"}}: the text of a file.
func (r *Renderer) file(v any) (string, error) {
	name := Cell(v)
	if _, err := r.inFolder(name); err != nil {
		return "", err
	}
	text, err := r.plan.step.read(name)
	if err != nil {
		return "", fmt.Errorf("%s: %s", name, Reason(err))
	}
	return text, nil
}
