package compose

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	maxDepth = 512     // elements within each other, as golang.org/x/net/html has it
	maxNodes = 1 << 20 // of a document, for about 250 MB
)

var (
	errDeep  = errors.New("elements stand in each other more than 512 deep")
	errNodes = errors.New("has more than 1,048,576 elements and texts: give a text, so that none is derived from it")
)

// parse reads a document for its text. It knows less than a browser: only what
// the text depends on becomes a node, so that a document takes memory and time in
// proportion to its length. html.Parse opens each <b> and <font> again that was
// left open, in each block that follows: 40 KB become 300 MB.
func parse(doc string) (*html.Node, error) {
	return (&tree{root: &html.Node{Type: html.DocumentNode}}).read(doc)
}

func (t *tree) read(doc string) (*html.Node, error) {
	t.open = append(t.open, t.root)
	z := html.NewTokenizer(strings.NewReader(doc))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); err != io.EOF {
				return nil, err
			}
			return t.root, nil
		case html.TextToken:
			t.text(z.Text())
		case html.StartTagToken:
			t.start(z, false)
		case html.SelfClosingTagToken:
			t.start(z, true)
		case html.EndTagToken:
			name, _ := z.TagName()
			t.end(atom.Lookup(name))
		}
		if t.nodes > maxNodes {
			return nil, errNodes
		}
		if len(t.open) > maxDepth {
			return nil, errDeep
		}
	}
}

// tree is a document that is read.
type tree struct {
	root    *html.Node
	open    []*html.Node // the first is root
	nodes   int
	dropped atom.Atom // whose text is not shown; 0: none
}

// kind is what an element means to the tree.
type kind uint8

const (
	shown    kind = 1 << iota // it becomes a node
	empty                     // it has no content
	block                     // it ends a paragraph
	piece                     // it belongs into a table
	boundary                  // an end tag within closes nothing around it
	heading
	raw // its text is not shown, and the tokenizer finds its end
)

var kinds = map[atom.Atom]kind{
	atom.Html: shown, atom.Body: shown,
	atom.P: shown | block, atom.Pre: shown | block, atom.Blockquote: shown | block, atom.Ul: shown | block, atom.Ol: shown | block,
	atom.Div: shown | block, atom.Section: shown | block, atom.Article: shown | block, atom.Header: shown | block, atom.Footer: shown | block,
	atom.Main: shown | block, atom.Nav: shown | block, atom.Aside: shown | block, atom.Address: shown | block, atom.Figure: shown | block,
	atom.Figcaption: shown | block, atom.Form: shown | block, atom.Fieldset: shown | block, atom.Center: shown | block, atom.Dl: shown | block,
	atom.Dt: shown | block, atom.Dd: shown | block, atom.Li: shown | block,
	atom.H1: shown | block | heading, atom.H2: shown | block | heading, atom.H3: shown | block | heading,
	atom.H4: shown | block | heading, atom.H5: shown | block | heading, atom.H6: shown | block | heading,
	atom.Details: block, atom.Summary: block, atom.Menu: block, atom.Dir: block, atom.Hgroup: block, atom.Dialog: block,
	atom.Table: shown | block | boundary, atom.Caption: shown | piece | boundary,
	atom.Thead: shown | piece, atom.Tbody: shown | piece, atom.Tfoot: shown | piece, atom.Tr: shown | piece,
	atom.Td: shown | piece | boundary, atom.Th: shown | piece | boundary,
	atom.A: shown, atom.Object: shown | boundary, atom.Template: shown | boundary, atom.Select: shown | boundary, atom.Svg: shown,
	atom.Br: shown | empty, atom.Hr: shown | empty | block, atom.Img: shown | empty, atom.Image: shown | empty,
	atom.Area: empty, atom.Base: empty, atom.Col: empty, atom.Embed: empty, atom.Input: empty, atom.Link: empty, atom.Meta: empty,
	atom.Param: empty, atom.Source: empty, atom.Track: empty, atom.Wbr: empty,
	atom.Style: raw, atom.Script: raw, atom.Title: raw, atom.Iframe: raw, atom.Noscript: raw, atom.Textarea: raw,
}

func (t *tree) top() *html.Node { return t.open[len(t.open)-1] }

// pop closes the elements from the i-th on.
func (t *tree) pop(i int) { t.open = t.open[:i] }

// find is the index of the innermost open element that is wanted, or 0 where
// there is none, or one at which stop holds comes before.
func (t *tree) find(wanted, stop func(atom.Atom) bool) int {
	for i := len(t.open) - 1; i > 0; i-- {
		switch a := t.open[i].DataAtom; {
		case wanted(a):
			return i
		case stop(a):
			return 0
		}
	}
	return 0
}

func is(list ...atom.Atom) func(atom.Atom) bool {
	return func(a atom.Atom) bool {
		for _, one := range list {
			if a == one {
				return true
			}
		}
		return false
	}
}

func is1(one atom.Atom) func(atom.Atom) bool { return func(a atom.Atom) bool { return a == one } }

var (
	isTable    = is1(atom.Table)
	isP        = is1(atom.P)
	isRow      = is1(atom.Tr)
	isSection  = is(atom.Table, atom.Thead, atom.Tbody, atom.Tfoot)
	inTable    = is(atom.Table, atom.Thead, atom.Tbody, atom.Tfoot, atom.Tr)
	isList     = is(atom.Ul, atom.Ol)
	isIntegral = is(atom.Desc, atom.Foreignobject)
	never      = func(atom.Atom) bool { return false }
)

func bounds(a atom.Atom) bool { return kinds[a]&boundary != 0 }

func (t *tree) text(b []byte) {
	if t.dropped != 0 {
		return
	}
	if inTable(t.top().DataAtom) && len(bytes.TrimSpace(b)) == 0 {
		return
	}
	t.insert(&html.Node{Type: html.TextNode, Data: string(b)})
}

// insert puts a node where it belongs: what is no part of a table, and stands
// between its parts, goes before it, as browsers show it.
func (t *tree) insert(n *html.Node) {
	t.nodes++
	top := t.top()
	if inTable(top.DataAtom) && kinds[n.DataAtom]&piece == 0 {
		if i := t.find(isTable, never); i > 0 && t.open[i].Parent != nil {
			t.open[i].Parent.InsertBefore(n, t.open[i])
			return
		}
	}
	top.AppendChild(n)
}

func (t *tree) start(z *html.Tokenizer, selfClosing bool) {
	name, more := z.TagName()
	a := atom.Lookup(name)
	if a == atom.Image {
		a = atom.Img
	}
	n := &html.Node{Type: html.ElementNode, DataAtom: a}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch string(key) {
		case "hidden", "style", "href", "alt", "start", "colspan", "rowspan", "role":
			if _, known := attribute(n, string(key)); !known {
				n.Attr = append(n.Attr, html.Attribute{Key: string(key), Val: string(value)})
			}
		}
	}
	k := kinds[a]
	t.dropped = 0
	switch {
	case k&raw != 0:
		t.dropped = a
		return
	case k&empty != 0 && k&shown == 0, selfClosing && a == atom.Svg:
		return
	case (a == atom.Html || a == atom.Body) && t.find(is1(a), never) > 0:
		return
	}
	t.makeRoom(a, k)
	if k&piece != 0 && !t.inPlace(a) {
		return
	}
	// What changes nothing is worth a node only where it hides something, or is
	// in another of its name, of which its end tag would be otherwise.
	if k&shown == 0 && !hidden(n) && t.find(is1(a), never) == 0 && !(isIntegral(a) && t.find(is1(atom.Svg), never) > 0) {
		return
	}
	t.insert(n)
	if k&empty == 0 {
		t.open = append(t.open, n)
	}
}

// makeRoom closes what the start of an element closes.
func (t *tree) makeRoom(a atom.Atom, k kind) {
	if k&(block|piece) != 0 {
		if i := t.find(is1(atom.Svg), func(a atom.Atom) bool { return bounds(a) || isIntegral(a) }); i > 0 {
			t.pop(i)
		}
	}
	if k&block != 0 {
		if i := t.find(isP, bounds); i > 0 {
			t.pop(i)
		}
	}
	switch {
	case k&heading != 0 && kinds[t.top().DataAtom]&heading != 0:
		t.pop(len(t.open) - 1)
	case a == atom.Li:
		if i := t.find(is1(a), func(a atom.Atom) bool { return bounds(a) || isList(a) }); i > 0 {
			t.pop(i)
		}
	case a == atom.Dt || a == atom.Dd:
		if i := t.find(is(atom.Dt, atom.Dd), func(a atom.Atom) bool { return bounds(a) || a == atom.Dl }); i > 0 {
			t.pop(i)
		}
	case a == atom.A:
		if i := t.find(is1(a), bounds); i > 0 {
			t.pop(i)
		}
	case a == atom.Table && inTable(t.top().DataAtom):
		t.pop(t.find(isTable, never))
	}
}

// inPlace closes what stands between a piece of a table and its place; false: it
// has none.
func (t *tree) inPlace(a atom.Atom) bool {
	table := t.find(isTable, never)
	if table == 0 {
		return false
	}
	at := table
	switch a {
	case atom.Tr:
		at = t.find(isSection, never)
	case atom.Td, atom.Th:
		if at = t.find(isRow, isTable); at == 0 {
			t.pop(t.find(isSection, never) + 1)
			row := &html.Node{Type: html.ElementNode, DataAtom: atom.Tr}
			t.insert(row)
			t.open = append(t.open, row)
			return true
		}
	}
	t.pop(at + 1)
	return true
}

func (t *tree) end(a atom.Atom) {
	t.dropped = 0
	k := kinds[a]
	stop := bounds
	wanted := is1(a)
	switch {
	case a == atom.Html || a == atom.Body:
		return
	case a == atom.Br:
		t.insert(&html.Node{Type: html.ElementNode, DataAtom: a})
		return
	case a == atom.Table:
		stop = never
	case k&piece != 0:
		stop = isTable
	case k&shown == 0:
		stop = func(a atom.Atom) bool { return kinds[a]&(boundary|block) != 0 }
	case k&heading != 0:
		wanted = func(a atom.Atom) bool { return kinds[a]&heading != 0 }
	case a == atom.Li:
		stop = func(a atom.Atom) bool { return bounds(a) || isList(a) }
	}
	if i := t.find(wanted, stop); i > 0 {
		t.pop(i)
	} else if a == atom.P {
		t.insert(&html.Node{Type: html.ElementNode, DataAtom: a})
	}
}
