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
	t.push(t.root, 0)
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
	open    []opened // the first is root
	nodes   int
	dropped atom.Atom // whose text is not shown; 0: none
}

// opened is an element that has no end yet.
type opened struct {
	*html.Node
	kind kind
}

// kind is what an element means to the tree. It is looked at for each open
// element at each tag, which is why it is a set of bits.
type kind uint32

const (
	shown    kind = 1 << iota // it becomes a node
	empty                     // it has no content
	block                     // it ends a paragraph
	piece                     // it belongs into a table
	boundary                  // an end tag within closes nothing around it
	heading
	raw // its text is not shown, and the tokenizer finds its end

	table
	section // of a table
	row
	paragraph
	lists
	item
	term // of a list of definitions, or what it means
	terms
	link
	drawing
	integral // of a drawing, in which HTML may stand

	ofTable = table | section | row
)

var kinds = map[atom.Atom]kind{
	atom.Html: shown, atom.Body: shown,
	atom.P: shown | block | paragraph, atom.Pre: shown | block, atom.Blockquote: shown | block, atom.Ul: shown | block | lists, atom.Ol: shown | block | lists,
	atom.Div: shown | block, atom.Section: shown | block, atom.Article: shown | block, atom.Header: shown | block, atom.Footer: shown | block,
	atom.Main: shown | block, atom.Nav: shown | block, atom.Aside: shown | block, atom.Address: shown | block, atom.Figure: shown | block,
	atom.Figcaption: shown | block, atom.Form: shown | block, atom.Fieldset: shown | block, atom.Center: shown | block, atom.Dl: shown | block | terms,
	atom.Dt: shown | block | term, atom.Dd: shown | block | term, atom.Li: shown | block | item,
	atom.H1: shown | block | heading, atom.H2: shown | block | heading, atom.H3: shown | block | heading,
	atom.H4: shown | block | heading, atom.H5: shown | block | heading, atom.H6: shown | block | heading,
	atom.Details: block, atom.Summary: block, atom.Menu: block, atom.Dir: block, atom.Hgroup: block, atom.Dialog: block,
	atom.Table: shown | block | boundary | table, atom.Caption: shown | piece | boundary,
	atom.Thead: shown | piece | section, atom.Tbody: shown | piece | section, atom.Tfoot: shown | piece | section, atom.Tr: shown | piece | row,
	atom.Td: shown | piece | boundary, atom.Th: shown | piece | boundary,
	atom.A: shown | link, atom.Object: shown | boundary, atom.Template: shown | boundary, atom.Select: shown | boundary, atom.Svg: shown | drawing,
	atom.Br: shown | empty, atom.Hr: shown | empty | block, atom.Img: shown | empty, atom.Image: shown | empty,
	atom.Area: empty, atom.Base: empty, atom.Col: empty, atom.Embed: empty, atom.Input: empty, atom.Link: empty, atom.Meta: empty,
	atom.Param: empty, atom.Source: empty, atom.Track: empty, atom.Wbr: empty,
	atom.Desc: integral, atom.Foreignobject: integral,
	atom.Style: raw, atom.Script: raw, atom.Title: raw, atom.Iframe: raw, atom.Noscript: raw, atom.Textarea: raw,
}

func (t *tree) top() opened { return t.open[len(t.open)-1] }

func (t *tree) push(n *html.Node, k kind) { t.open = append(t.open, opened{n, k}) }

// pop closes the elements from the i-th on.
func (t *tree) pop(i int) { t.open = t.open[:i] }

// find is the index of the innermost open element that is wanted, or 0 where
// there is none, or one of stop comes before.
func (t *tree) find(wanted, stop kind) int {
	for i := len(t.open) - 1; i > 0; i-- {
		switch k := t.open[i].kind; {
		case k&wanted != 0:
			return i
		case k&stop != 0:
			return 0
		}
	}
	return 0
}

// findName is find for the elements of one name.
func (t *tree) findName(a atom.Atom, stop kind) int {
	for i := len(t.open) - 1; i > 0; i-- {
		switch o := &t.open[i]; {
		case o.DataAtom == a:
			return i
		case o.kind&stop != 0:
			return 0
		}
	}
	return 0
}

func (t *tree) text(b []byte) {
	if t.dropped != 0 {
		return
	}
	if t.top().kind&ofTable != 0 && len(bytes.TrimSpace(b)) == 0 {
		return
	}
	t.insert(&html.Node{Type: html.TextNode, Data: string(b)})
}

// insert puts a node where it belongs: what is no part of a table, and stands
// between its parts, goes before it, as browsers show it.
func (t *tree) insert(n *html.Node) {
	t.nodes++
	top := t.top()
	if top.kind&ofTable != 0 && kinds[n.DataAtom]&piece == 0 {
		if i := t.find(table, 0); i > 0 && t.open[i].Parent != nil {
			t.open[i].Parent.InsertBefore(n, t.open[i].Node)
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
	style := false
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch string(key) {
		case "style": // it is looked at once, however long it is
			if !style && hides(string(value)) {
				n.Attr = append(n.Attr, html.Attribute{Key: "hidden"})
			}
			style = true
		case "hidden", "href", "alt", "start", "colspan", "rowspan", "role":
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
	case (a == atom.Html || a == atom.Body) && t.findName(a, 0) > 0:
		return
	}
	t.makeRoom(a, k)
	if k&piece != 0 && !t.inPlace(a) {
		return
	}
	// What changes nothing is worth a node only where it hides something, or is
	// in another of its name, of which its end tag would be otherwise.
	if k&shown == 0 && !hidden(n) && t.findName(a, 0) == 0 && !(k&integral != 0 && t.find(drawing, 0) > 0) {
		return
	}
	t.insert(n)
	if k&empty == 0 {
		t.push(n, k)
	}
}

// makeRoom closes what the start of an element closes.
func (t *tree) makeRoom(a atom.Atom, k kind) {
	if k&(block|piece) != 0 {
		if i := t.find(drawing, boundary|integral); i > 0 {
			t.pop(i)
		}
	}
	if k&block != 0 {
		if i := t.find(paragraph, boundary); i > 0 {
			t.pop(i)
		}
	}
	switch {
	case k&heading != 0 && t.top().kind&heading != 0:
		t.pop(len(t.open) - 1)
	case a == atom.Li:
		if i := t.find(item, boundary|lists); i > 0 {
			t.pop(i)
		}
	case a == atom.Dt || a == atom.Dd:
		if i := t.find(term, boundary|terms); i > 0 {
			t.pop(i)
		}
	case a == atom.A:
		if i := t.find(link, boundary); i > 0 {
			t.pop(i)
		}
	case a == atom.Table && t.top().kind&ofTable != 0:
		t.pop(t.find(table, 0))
	}
}

// inPlace closes what stands between a piece of a table and its place; false: it
// has none.
func (t *tree) inPlace(a atom.Atom) bool {
	at := t.find(table, 0)
	if at == 0 {
		return false
	}
	switch a {
	case atom.Tr:
		at = t.find(table|section, 0)
	case atom.Td, atom.Th:
		if at = t.find(row, table); at == 0 {
			t.pop(t.find(table|section, 0) + 1)
			tr := &html.Node{Type: html.ElementNode, DataAtom: atom.Tr}
			t.insert(tr)
			t.push(tr, kinds[atom.Tr])
			return true
		}
	}
	t.pop(at + 1)
	return true
}

func (t *tree) end(a atom.Atom) {
	t.dropped = 0
	k := kinds[a]
	stop := boundary
	switch {
	case a == atom.Html || a == atom.Body:
		return
	case a == atom.Br:
		t.insert(&html.Node{Type: html.ElementNode, DataAtom: a})
		return
	case a == atom.Table:
		stop = 0
	case k&piece != 0:
		stop = table
	case k&shown == 0:
		stop = boundary | block
	case k&heading != 0:
		if i := t.find(heading, stop); i > 0 {
			t.pop(i)
		}
		return
	case a == atom.Li:
		stop = boundary | lists
	}
	if i := t.findName(a, stop); i > 0 {
		t.pop(i)
	} else if a == atom.P {
		t.insert(&html.Node{Type: html.ElementNode, DataAtom: a})
	}
}
